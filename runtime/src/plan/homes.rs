//! Which bytes each value of a plan takes: aliases, parts of a concatenation or a split, and results computed in place share
//! one buffer, each at its own offset.

use std::ops::Range;

/// A value and the buffer it lies in.
#[derive(Clone, Copy, Debug)]
struct Home {
    /// The value whose buffer it shares; itself for the owner.
    of: usize,
    /// Bytes from the start of that value.
    at: usize,
    bytes: usize,
    /// First and last step that touch it; `from > to` when none does.
    from: usize,
    to: usize,
}

/// The homes of all values of a plan.
#[derive(Debug)]
pub(super) struct Homes {
    values: Vec<Home>,
    /// For every owner, all values in its buffer.
    members: Vec<Vec<usize>>,
}

impl Homes {
    /// Every value in a buffer of its own of so many bytes.
    pub fn new(bytes: impl Iterator<Item = usize>) -> Self {
        let own = |(of, bytes)| Home { of, at: 0, bytes, from: usize::MAX, to: 0 };
        let values: Vec<Home> = bytes.enumerate().map(own).collect();
        Self { members: (0..values.len()).map(|v| vec![v]).collect(), values }
    }
    /// The value that owns the buffer of `v`, and the bytes of `v` in it.
    pub fn find(&self, v: usize) -> (usize, Range<usize>) {
        let (mut owner, mut at) = (v, 0);
        while self.values[owner].of != owner {
            at += self.values[owner].at;
            owner = self.values[owner].of;
        }
        (owner, at..at + self.values[v].bytes)
    }
    /// `v`, so far the owner of a buffer, lies `at` bytes from the start of `whole`.
    pub fn put(&mut self, v: usize, whole: usize, at: usize) {
        (self.values[v].of, self.values[v].at) = (whole, at);
        let (members, owner) = (std::mem::take(&mut self.members[v]), self.find(whole).0);
        self.members[owner].extend(members);
    }
    /// Says that a step touches a value.
    pub fn touch(&mut self, v: usize, step: usize) {
        let h = &mut self.values[v];
        (h.from, h.to) = (h.from.min(step), h.to.max(step));
    }
    /// Puts `inputs`, each at its offset, into `whole`, which they fill in this order; gives what could be put there. An input that is no
    /// value, or a part of another buffer whose other parts would not fall into place, too, is to be copied.
    pub fn join(
        &mut self,
        whole: usize,
        inputs: &[(Option<usize>, usize)],
        movable: impl Fn(usize) -> bool,
    ) -> Vec<bool> {
        let place = |homes: &Self, i: usize| {
            let (v, at) = (inputs[i].0?, inputs[i].1);
            let (owner, own) = homes.find(v);
            Some((owner, at.checked_sub(own.start)?, own.len()))
        };
        let mut placed = vec![false; inputs.len()];
        for i in 0..inputs.len() {
            let Some((owner, start, bytes)) = place(self, i) else { continue };
            if owner == whole {
                // It came with an earlier input of the same buffer.
                placed[i] = start == 0;
                continue;
            }
            let all = start..start + self.values[owner].bytes;
            let alone = (0..inputs.len()).filter(|&j| j != i).all(|j| match inputs[j].0.map(|v| self.find(v).0) {
                // Another part of the same buffer, or the value again.
                Some(other) if other == owner => place(self, j).is_some_and(|p| p.1 == start),
                _ => {
                    let end = inputs.get(j + 1).map_or(self.values[whole].bytes, |next| next.1);
                    end <= all.start || all.end <= inputs[j].1
                }
            });
            if alone && movable(owner) && all.end <= self.values[whole].bytes && bytes > 0 {
                self.put(owner, whole, start);
                placed[i] = true;
            }
        }
        placed
    }
    /// True when the result `y` of step `now` may lie where its operand `x` lies: nothing else needs those bytes then or later.
    /// Where `y` has a place in a larger buffer already, `x` can go there. `outside` tells buffers that may not be written.
    pub fn overlay(&mut self, x: usize, y: usize, now: usize, outside: impl Fn(usize) -> bool) -> bool {
        let ((from, range), (to, target)) = (self.find(x), self.find(y));
        if range.len() != target.len() || from == to || outside(from) || outside(to) {
            return false;
        }
        let over = |homes: &Self, owner: usize, range: &Range<usize>, fits: &dyn Fn(&Home) -> bool| {
            homes.members[owner].iter().all(|&w| {
                let (r, h) = (homes.find(w).1, &homes.values[w]);
                let apart = r.end <= range.start || range.end <= r.start || h.from > h.to;
                apart || fits(h)
            })
        };
        if !over(self, from, &range, &|h| h.to <= now) {
            return false;
        }
        if to == y {
            self.put(y, from, range.start);
            return true;
        }
        let whole = range.start == 0 && self.values[from].bytes == range.len();
        if whole && over(self, to, &target, &|h| h.from >= now) {
            self.put(from, to, target.start);
            return true;
        }
        false
    }
    /// For every owner whose buffer some step touches: its bytes, and the first and last step that touch any part.
    pub fn buffers(&self) -> Vec<(usize, super::memory::Buffer)> {
        let mut all = vec![super::memory::Buffer { bytes: 0, from: usize::MAX, to: 0 }; self.values.len()];
        for (v, h) in self.values.iter().enumerate().filter(|(_, h)| h.from <= h.to) {
            let (owner, range) = self.find(v);
            let b = &mut all[owner];
            b.bytes = b.bytes.max(range.end).max(self.values[owner].bytes);
            (b.from, b.to) = (b.from.min(h.from), b.to.max(h.to));
        }
        all.into_iter().enumerate().filter(|(_, b)| b.bytes > 0 && b.from <= b.to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(bytes: &[usize]) -> Homes {
        Homes::new(bytes.iter().copied())
    }

    #[test]
    fn inputs_fall_into_place_and_what_is_shared_stays() {
        // 0 is split in 1 and 2; 4 joins both and 3; 5 joins 3 again.
        let mut h = homes(&[20, 10, 10, 5, 25, 10]);
        h.put(1, 0, 0);
        h.put(2, 0, 10);
        assert_eq!(h.join(4, &[(Some(1), 0), (Some(2), 10), (Some(3), 20)], |_| true), [true; 3]);
        assert_eq!((h.find(2), h.find(0)), ((4, 10..20), (4, 0..20)));
        assert_eq!(h.join(5, &[(Some(3), 0), (Some(3), 5)], |_| true), [false, false]);
        // Half of a split alone would bring the other half with it.
        let mut h = homes(&[20, 10, 10, 10, 20]);
        h.put(1, 0, 0);
        h.put(2, 0, 10);
        assert_eq!(h.join(4, &[(Some(1), 0), (Some(3), 10)], |_| true), [false, true]);
        assert_eq!(h.find(1), (0, 0..10));
        // What is copied into its place must not overwrite the other half.
        let mut h = homes(&[20, 10, 10, 20]);
        h.put(1, 0, 0);
        h.put(2, 0, 10);
        assert_eq!(h.join(3, &[(Some(1), 0), (None, 10)], |_| true), [false, false]);
        // The same value twice cannot lie in two places, and a fixed one in none.
        let mut h = homes(&[10, 20, 20]);
        assert_eq!(h.join(1, &[(Some(0), 0), (Some(0), 10)], |_| true), [false, false]);
        let mut h = homes(&[10, 10, 20]);
        assert_eq!(h.join(2, &[(Some(0), 0), (Some(1), 10)], |v| v != 0), [false, true]);
    }

    #[test]
    fn results_take_the_place_of_operands_that_nobody_needs() {
        let mut h = homes(&[10, 10, 10, 20]);
        [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)].iter().for_each(|&(v, s)| h.touch(v, s));
        assert!(h.overlay(0, 1, 2, |_| false));
        assert_eq!(h.find(1), (0, 0..10));
        // Still needed at step 3.
        let mut h = homes(&[10, 10]);
        [(0, 1), (0, 3), (1, 2)].iter().for_each(|&(v, s)| h.touch(v, s));
        assert!(!h.overlay(0, 1, 2, |_| false));
        // The result has a place in a concatenation: its operand moves there.
        let mut h = homes(&[10, 10, 10, 20]);
        h.join(3, &[(Some(1), 0), (Some(2), 10)], |_| true);
        [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)].iter().for_each(|&(v, s)| h.touch(v, s));
        assert!(h.overlay(0, 1, 2, |_| false));
        assert_eq!(h.find(0), (3, 0..10));
        // A part of a concatenation that is read later must keep its elements.
        let mut h = homes(&[10, 10, 10, 20]);
        h.join(3, &[(Some(0), 0), (Some(1), 10)], |_| true);
        [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4)].iter().for_each(|&(v, s)| h.touch(v, s));
        assert!(!h.overlay(0, 2, 3, |_| false));
    }
}
