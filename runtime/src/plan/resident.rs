//! Packed constants of a mapped file, and their copies in huge pages.
//!
//! Weights are read from end to end in every run. In pages of 4 KiB each page costs a walk through the page tables, which a processor (a
//! virtual one twice over) cannot hide: networks of tens of megabytes lose 5 to 25 % of their speed. Reading the file in place is the
//! fastest way to a first result; [`crate::Model::settle`] makes the copies afterwards, and every kernel reads its copy from then on.

use crate::format::map::{ALIGN, Bytes, OwnedBytes};
use crate::{Graph, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of packed constants from which a copy pays.
const LEAST: usize = 4 << 20;

/// Bytes that are copied before the pages they came from are given back.
const PART: usize = 8 << 20;

/// Where the copy of a constant will be.
pub type Copied = Arc<OnceLock<Tensor>>;

/// The copies of a model's packed constants, by the address of the original.
#[derive(Default)]
pub struct Resident(Mutex<BTreeMap<usize, (Tensor, Copied)>>);

impl Resident {
    /// Where the copy of `numbers` is or will be; of what does not lie in a mapped file there is none.
    pub fn of(&self, numbers: &Tensor) -> Copied {
        if !numbers.is_mapped() {
            return Copied::default();
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(numbers.bytes().as_ptr().addr()).or_insert_with(|| (numbers.clone(), Copied::default())).1.clone()
    }
    /// Copies every packed constant of `graph` that lies in a mapped file, and gives the number of bytes: 0 where it does not pay, or
    /// where it was done before.
    pub fn settle(&self, graph: &Graph) -> usize {
        let constants = graph.values().iter().filter_map(|v| v.fact.constant.as_ref());
        for (_, numbers) in constants.filter_map(Tensor::stored) {
            self.of(numbers);
        }
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = all.values().filter(|(_, copy)| copy.get().is_none()).collect();
        let bytes = missing.iter().map(|(t, _)| t.byte_len().next_multiple_of(ALIGN)).sum();
        if bytes < LEAST || !huge_pages() {
            return 0;
        }
        let mut memory = OwnedBytes::zeroed(bytes);
        let mut starts = Vec::with_capacity(missing.len());
        let mut end = 0;
        for (t, _) in &missing {
            starts.push(end);
            for part in (0..t.byte_len()).step_by(PART).map(|at| at..(at + PART).min(t.byte_len())) {
                t.fetch(part.clone());
                memory.as_mut_slice()[end + part.start..end + part.end].copy_from_slice(&t.bytes()[part.clone()]);
                t.release(part);
            }
            end += t.byte_len().next_multiple_of(ALIGN);
        }
        let memory = Arc::new(Bytes::Owned(memory));
        for ((t, copy), start) in missing.into_iter().zip(starts) {
            if let Ok(copied) = Tensor::from_shared(t.dtype(), t.shape(), memory.clone(), start) {
                // Nobody else sets it: the lock is held.
                let _ = copy.set(copied);
            }
        }
        bytes
    }
}

/// Whether the system gives huge pages to those who ask.
fn huge_pages() -> bool {
    cfg!(target_os = "linux")
        && std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").is_ok_and(|s| !s.contains("[never]"))
}
