//! Offsets of values in the arena.

use std::ops::Range;

/// A buffer: its size, and the first and last step that touch it.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Bytes.
    pub bytes: usize,
    /// Step that writes it first.
    pub from: usize,
    /// Last step that reads or writes it.
    pub to: usize,
}

/// Alignment of every buffer: a cache line.
const ALIGN: usize = crate::format::map::ALIGN;

/// Offsets for the buffers and the size of the arena. Greedy by size: each buffer goes into the lowest gap between those that
/// live at the same time. The second figure is the lower bound: the largest sum of live bytes at any step.
pub fn assign(buffers: &[Buffer]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), buffers[i].from, i));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let b = buffers[i];
        let bytes = b.bytes.next_multiple_of(ALIGN);
        let mut busy: Vec<Range<usize>> = placed
            .iter()
            .filter(|&&j| buffers[j].from <= b.to && b.from <= buffers[j].to)
            .map(|&j| offsets[j]..offsets[j] + buffers[j].bytes.next_multiple_of(ALIGN))
            .collect();
        busy.sort_by_key(|r| r.start);
        let mut at = 0;
        for r in busy {
            if r.start >= at + bytes {
                break;
            }
            at = at.max(r.end);
        }
        offsets[i] = at;
        total = total.max(at + bytes);
        placed.push(i);
    }
    (offsets, total)
}

/// The largest sum of live bytes at any step: no arena can be smaller.
pub fn lower_bound(buffers: &[Buffer]) -> usize {
    let last = buffers.iter().map(|b| b.to).max().unwrap_or(0);
    let live =
        |s: usize| buffers.iter().filter(|b| b.from <= s && s <= b.to).map(|b| b.bytes.next_multiple_of(ALIGN)).sum();
    (0..=last).map(live).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_live_together_do_not_overlap_and_a_chain_needs_two() {
        let chain: Vec<Buffer> = (0..6).map(|i| Buffer { bytes: 1000, from: i, to: i + 1 }).collect();
        let (offsets, total) = assign(&chain);
        assert_eq!(total, 2 * 1024);
        assert_eq!(lower_bound(&chain), 2 * 1024);
        assert!(chain.windows(2).enumerate().all(|(i, _)| offsets[i] != offsets[i + 1]));
    }
}
