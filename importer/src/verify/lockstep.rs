//! The naive run of the source graph, recorded: what it computes is written down value by value, so that the source's weights need not be in
//! memory beside the packed weights of the converted graph.
//!
//! Small records stay in memory, large ones go to a temporary file.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use pocketnn::plan::Interpreter;
use pocketnn::{DType, Graph, Op, Tensor, passes};

use super::record::{Divergence, difference};
use crate::error::{ImportError, Result};

/// Bytes of a record that are kept in memory.
const IN_MEMORY: usize = 1 << 20;

/// A value that was recorded.
#[derive(Debug)]
struct Entry {
    /// Position of its node in the source.
    at: usize,
    op: &'static str,
    dtype: DType,
    shape: Vec<usize>,
    /// Where its bytes begin in the record.
    start: u64,
}

/// The naive run of a graph: its values by name, and its outputs.
#[derive(Debug)]
pub(super) struct Recording {
    values: HashMap<String, Entry>,
    bytes: Storage,
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// Values that were not recorded, to save space.
    pub skipped: usize,
}

impl Recording {
    /// Runs `source` on these inputs. What corresponds to a value of `converted` is recorded, up to `max_bytes`.
    pub fn new(source: &Graph, converted: &Graph, inputs: &[Tensor], max_bytes: usize) -> Result<Self> {
        let mut wanted: HashSet<String> = HashSet::new();
        for v in converted.nodes().iter().flat_map(|n| &n.outputs) {
            wanted.extend(corresponding(&converted.value(*v).name).into_iter().map(|(name, _)| name));
        }
        let mut run = Interpreter::new(source, inputs)?;
        let (mut values, mut bytes, mut skipped, mut at) = (HashMap::new(), Storage::default(), 0usize, 0usize);
        while let Some((node, computed)) = run.step()? {
            for (&v, t) in node.outputs.iter().zip(&computed) {
                let name = source.value(v).name.as_str();
                if !wanted.contains(name) || t.dtype().size() == 0 {
                    continue;
                }
                if bytes.len() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
                    skipped = skipped.saturating_add(1);
                    continue;
                }
                let start = bytes.push(t.bytes())?;
                let entry = Entry { at, op: node.op.name(), dtype: t.dtype(), shape: t.shape().to_vec(), start };
                values.insert(name.to_owned(), entry);
            }
            at = at.saturating_add(1);
        }
        Ok(Self { values, bytes, outputs: run.outputs()?, skipped })
    }
}

/// The comparison of a recorded run with the steps of the converted graph.
pub(super) struct Comparison<'r> {
    recording: &'r mut Recording,
    tolerance: f64,
    /// Every value that was compared, with the position of its node in the source.
    pub values: Vec<(usize, Divergence)>,
}

impl<'r> Comparison<'r> {
    pub fn new(recording: &'r mut Recording, tolerance: f64) -> Self {
        Self { recording, tolerance, values: Vec::new() }
    }

    /// Compares what a step computed under this name; `elements` gives it.
    pub fn compare(&mut self, name: &str, elements: impl FnOnce() -> pocketnn::Result<Tensor>) -> Result<()> {
        let known: Vec<_> =
            corresponding(name).into_iter().filter(|(n, _)| self.recording.values.contains_key(n)).collect();
        if known.is_empty() {
            return Ok(());
        }
        let y = elements()?;
        for (name, perm) in known {
            let Some(entry) = self.recording.values.get(&name) else { continue };
            let size = entry.shape.iter().try_fold(entry.dtype.size(), |n, &d| n.checked_mul(d));
            let size = size.ok_or_else(|| ImportError::limits("a recorded value"))?;
            let bytes = self.recording.bytes.read(entry.start, size)?;
            let want = permute(&Tensor::from_bytes(entry.dtype, &entry.shape, &bytes)?, perm)?;
            if want.shape() == y.shape() && want.dtype() == y.dtype() {
                let (max_abs, max_relative) = difference(&want, &y);
                self.values.push((entry.at, Divergence { name, op: entry.op.to_owned(), max_abs, max_relative }));
            }
        }
        Ok(())
    }

    /// The first node of the source whose value differs.
    pub fn first(&self) -> Option<Divergence> {
        let beyond = self.values.iter().filter(|(_, d)| d.max_relative > self.tolerance);
        beyond.min_by_key(|(at, _)| *at).map(|(_, d)| d.clone())
    }
}

/// Bytes in memory, or in a file that goes away with it.
#[derive(Debug, Default)]
struct Storage {
    memory: Vec<u8>,
    file: Option<(File, PathBuf)>,
    len: u64,
}

impl Storage {
    fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes and says where they begin.
    fn push(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.len;
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.file.is_none() && self.memory.len().saturating_add(bytes.len()) <= IN_MEMORY {
            self.memory.extend_from_slice(bytes);
        } else {
            if self.file.is_none() {
                let (mut file, path) = temporary()?;
                file.write_all(&self.memory).map_err(|e| ImportError::io(path.display(), &e))?;
                self.memory = Vec::new();
                self.file = Some((file, path));
            }
            if let Some((file, path)) = &mut self.file {
                file.write_all(bytes).map_err(|e| ImportError::io(path.display(), &e))?;
            }
        }
        self.len = self.len.saturating_add(more);
        Ok(start)
    }

    fn read(&mut self, start: u64, size: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; size];
        if let Some((file, path)) = &mut self.file {
            let found = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut out));
            found.map_err(|e| ImportError::io(path.display(), &e))?;
            return Ok(out);
        }
        let at = usize::try_from(start).ok();
        let part = at.and_then(|at| self.memory.get(at..at.checked_add(size)?));
        out.copy_from_slice(part.ok_or_else(|| ImportError::invalid("a recorded value is cut off"))?);
        Ok(out)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some((file, path)) = self.file.take() {
            drop(file);
            // A file that cannot be removed is left to whoever clears temporary files.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new file for reading and writing where temporary files belong.
fn temporary() -> Result<(File, PathBuf)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("pocketnn-{}-{number}.values", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    file.map(|f| (f, path.clone())).map_err(|e| ImportError::io(path.display(), &e))
}

/// Values of the source that a value of this name may be: itself, or (where the passes permuted it) the one before `@`, with the
/// permutation. A name may hold an @ of its own.
fn corresponding(name: &str) -> Vec<(String, Option<Vec<usize>>)> {
    let mut all = vec![(name.to_owned(), None)];
    if let Some((base, perm)) = passes::permuted_source(name) {
        all.push((base.to_owned(), Some(perm)));
    }
    all
}

fn permute(t: &Tensor, perm: Option<Vec<usize>>) -> pocketnn::Result<Tensor> {
    let Some(perm) = perm.filter(|p| p.len() == t.rank()) else { return Ok(t.clone()) };
    let op = Op::from(pocketnn::ops::movement::Transpose { perm });
    op.eval(&[Some(t)], 1)?.pop().ok_or_else(|| pocketnn::Error::graph("a transpose gives nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_records_go_to_a_file_that_goes_away() {
        let mut s = Storage::default();
        let small = s.push(&[1, 2, 3]).unwrap();
        let large = s.push(&vec![7; IN_MEMORY]).unwrap();
        let last = s.push(&[4, 5]).unwrap();
        assert_eq!((small, large, last), (0, 3, 3 + IN_MEMORY as u64));
        let path = s.file.as_ref().unwrap().1.clone();
        assert!(path.exists() && s.memory.is_empty());
        assert_eq!(s.read(last, 2).unwrap(), [4, 5]);
        assert_eq!(s.read(small, 3).unwrap(), [1, 2, 3]);
        assert_eq!(s.read(large, IN_MEMORY).unwrap(), vec![7; IN_MEMORY]);
        assert!(s.read(last, 3).is_err());
        drop(s);
        assert!(!path.exists());
    }
}
