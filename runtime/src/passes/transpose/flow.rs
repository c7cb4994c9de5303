//! Smallest cut of a network between two poles (Dinic's algorithm): which nodes change sides so that the cost is least.

use std::collections::VecDeque;

/// Capacity that is never cut.
pub(super) const NEVER: u64 = 1 << 40;

/// Nodes stay (side of the source) or change (side of the sink).
pub(super) struct Network {
    /// For each node, its edges in `edges`; an edge and its reverse are neighbours.
    at: Vec<Vec<usize>>,
    edges: Vec<(usize, u64)>,
}

/// The pole of nodes that stay.
pub(super) const STAY: usize = 0;
/// The pole of nodes that change.
pub(super) const CHANGE: usize = 1;

impl Network {
    /// The two poles and nothing else.
    pub fn new() -> Self {
        Self { at: vec![Vec::new(); 2], edges: Vec::new() }
    }
    pub fn node(&mut self) -> usize {
        self.at.push(Vec::new());
        self.at.len() - 1
    }
    /// This costs `cost` when `a` stays and `b` changes.
    pub fn edge(&mut self, a: usize, b: usize, cost: u64) {
        self.at[a].push(self.edges.len());
        self.edges.push((b, cost));
        self.at[b].push(self.edges.len());
        self.edges.push((a, 0));
    }
    /// The least cost, and which nodes change; as few as possible of those that do not matter.
    pub fn cut(mut self) -> (u64, Vec<bool>) {
        let mut total = 0;
        while let Some(level) = self.levels() {
            let mut next = vec![0; self.at.len()];
            loop {
                let pushed = self.push(&level, &mut next);
                if pushed == 0 {
                    break;
                }
                total += pushed;
            }
        }
        // What still reaches the pole of change must change; everything else may stay.
        let mut changes = vec![false; self.at.len()];
        let mut queue = VecDeque::from([CHANGE]);
        changes[CHANGE] = true;
        while let Some(v) = queue.pop_front() {
            for &i in &self.at[v] {
                let from = self.edges[i].0;
                if self.edges[i ^ 1].1 > 0 && !std::mem::replace(&mut changes[from], true) {
                    queue.push_back(from);
                }
            }
        }
        (total, changes)
    }
    fn levels(&self) -> Option<Vec<usize>> {
        let mut level = vec![usize::MAX; self.at.len()];
        level[STAY] = 0;
        let mut queue = VecDeque::from([STAY]);
        while let Some(v) = queue.pop_front() {
            for &i in &self.at[v] {
                let (to, left) = self.edges[i];
                if left > 0 && level[to] == usize::MAX {
                    level[to] = level[v] + 1;
                    queue.push_back(to);
                }
            }
        }
        (level[CHANGE] != usize::MAX).then_some(level)
    }
    /// Sends as much as fits along one path; 0 when there is none.
    fn push(&mut self, level: &[usize], next: &mut [usize]) -> u64 {
        let mut path: Vec<usize> = Vec::new();
        let mut v = STAY;
        while v != CHANGE {
            match self.at[v].get(next[v]) {
                Some(&i) => {
                    let (to, left) = self.edges[i];
                    if left > 0 && level[to] == level[v] + 1 {
                        path.push(i);
                        v = to;
                    } else {
                        next[v] += 1;
                    }
                }
                None => match path.pop() {
                    Some(i) => {
                        v = self.edges[i ^ 1].0;
                        next[v] += 1;
                    }
                    None => return 0,
                },
            }
        }
        let amount = path.iter().map(|&i| self.edges[i].1).min().unwrap_or(0);
        for i in path {
            self.edges[i].1 -= amount;
            self.edges[i ^ 1].1 += amount;
        }
        amount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_side_wins() {
        // Two nodes that should agree; one would pay 5 for changing, the other 7 for staying.
        let mut n = Network::new();
        let (a, b) = (n.node(), n.node());
        n.edge(STAY, a, 5);
        n.edge(b, CHANGE, 7);
        n.edge(a, b, 3);
        n.edge(b, a, 3);
        let (cost, changes) = n.cut();
        assert_eq!((cost, changes[a], changes[b]), (3, false, true));
        let mut n = Network::new();
        let (a, b) = (n.node(), n.node());
        n.edge(STAY, a, 5);
        n.edge(b, CHANGE, 7);
        n.edge(a, b, NEVER);
        let (cost, changes) = n.cut();
        assert_eq!((cost, changes[a], changes[b]), (5, true, true));
        let (cost, changes) = Network::new().cut();
        assert_eq!((cost, changes), (0, vec![false, true]));
    }
}
