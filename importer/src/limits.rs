//! Budgets: every allocation, count and depth that a file decides asks here first.

use std::cell::Cell;

use crate::error::{ImportError, Result};

/// What a source model may cost. The defaults admit every network that fits a device, not every file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest source file, in bytes.
    pub max_file_bytes: u64,
    /// Largest single tensor, in bytes.
    pub max_tensor_bytes: u64,
    /// Sum of all decoded tensors and archive entries, in bytes.
    pub max_total_bytes: u64,
    /// Nodes of the source graph, nested graphs included.
    pub max_nodes: u64,
    /// Nesting of messages, configurations and graphs.
    pub max_depth: u32,
    /// Entries of an archive or objects of a container.
    pub max_entries: u64,
    /// Largest text or configuration, in bytes.
    pub max_text_bytes: u64,
    /// Dimensions of a tensor.
    pub max_rank: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 8 << 30,
            max_tensor_bytes: 4 << 30,
            max_total_bytes: 16 << 30,
            max_nodes: 1_000_000,
            max_depth: 64,
            max_entries: 200_000,
            max_text_bytes: 256 << 20,
            max_rank: 32,
        }
    }
}

impl Limits {
    /// Tight limits for tests and for untrusted uploads: 64 MiB files and tensors, 256 MiB together.
    pub fn small() -> Self {
        Self {
            max_file_bytes: 64 << 20,
            max_tensor_bytes: 64 << 20,
            max_total_bytes: 256 << 20,
            max_nodes: 20_000,
            max_depth: 32,
            max_entries: 10_000,
            max_text_bytes: 16 << 20,
            max_rank: 16,
        }
    }
}

/// The limits of one import together with what it has used so far.
#[derive(Debug, Default)]
pub struct Budget {
    limits: Limits,
    bytes: Cell<u64>,
    nodes: Cell<u64>,
}

impl Budget {
    /// A fresh budget.
    pub fn new(limits: Limits) -> Self {
        Self { limits, bytes: Cell::new(0), nodes: Cell::new(0) }
    }

    /// The limits behind it.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes granted so far.
    pub fn used_bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Asks for `bytes` of tensor or entry data called `what`; grants them as a length.
    pub fn tensor(&self, bytes: u64, what: &str) -> Result<usize> {
        self.grant(bytes, self.limits.max_tensor_bytes, "max_tensor_bytes", what)
    }

    /// Asks for `bytes` of text or configuration called `what`.
    pub fn text(&self, bytes: u64, what: &str) -> Result<usize> {
        self.grant(bytes, self.limits.max_text_bytes, "max_text_bytes", what)
    }

    /// Asks for a file of `bytes`. Files do not count towards the total.
    pub fn file(&self, bytes: u64, what: &str) -> Result<usize> {
        within(bytes, self.limits.max_file_bytes, "max_file_bytes", what)?;
        to_usize(bytes, what)
    }

    /// Counts `count` more nodes.
    pub fn nodes(&self, count: u64) -> Result<()> {
        let nodes = self.nodes.get().saturating_add(count);
        within(nodes, self.limits.max_nodes, "max_nodes", "nodes of the graph")?;
        self.nodes.set(nodes);
        Ok(())
    }

    /// Refuses nesting beyond the limit.
    pub fn depth(&self, depth: u32, what: &str) -> Result<()> {
        within(depth.into(), self.limits.max_depth.into(), "max_depth", what)
    }

    /// Refuses containers with too many entries.
    pub fn entries(&self, count: u64, what: &str) -> Result<()> {
        within(count, self.limits.max_entries, "max_entries", what)
    }

    /// Refuses more dimensions than the limit, gives their number otherwise.
    pub fn rank(&self, rank: usize, what: &str) -> Result<usize> {
        let count = u64::try_from(rank).unwrap_or(u64::MAX);
        within(count, self.limits.max_rank.into(), "max_rank", what).map(|()| rank)
    }

    /// As [`Self::elements`], of a tensor that is made here.
    pub fn made(&self, shape: &[usize], element_bytes: u64, what: &str) -> Result<usize> {
        let shape: Vec<u64> = shape.iter().map(|&d| u64::try_from(d).unwrap_or(u64::MAX)).collect();
        self.elements(&shape, element_bytes, what)
    }

    /// The element count of a tensor of `shape`, whose bytes (at `element_bytes` each) are asked for.
    pub fn elements(&self, shape: &[u64], element_bytes: u64, what: &str) -> Result<usize> {
        self.rank(shape.len(), what)?;
        let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|n| n.checked_mul(element_bytes));
        let (Some(count), Some(bytes)) = (count, bytes) else {
            return Err(ImportError::limits("the size of a tensor overflows").found(format!("{what} {shape:?}")));
        };
        self.tensor(bytes, what)?;
        to_usize(count, what)
    }

    fn grant(&self, bytes: u64, limit: u64, name: &str, what: &str) -> Result<usize> {
        within(bytes, limit, name, what)?;
        let total = self.bytes.get().saturating_add(bytes);
        within(total, self.limits.max_total_bytes, "max_total_bytes", what)?;
        self.bytes.set(total);
        to_usize(bytes, what)
    }
}

fn within(amount: u64, limit: u64, name: &str, what: &str) -> Result<()> {
    if amount <= limit {
        return Ok(());
    }
    Err(ImportError::limits(format!("{what} over the limit `{name}`"))
        .expected(format!("at most {limit}"))
        .found(amount)
        .help(format!("raise `Limits::{name}` if the model is trusted")))
}

/// A length of the file as a length of this machine.
pub fn to_usize(n: u64, what: &str) -> Result<usize> {
    usize::try_from(n).map_err(|_| ImportError::limits(format!("{what} does not fit this machine")).found(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn totals_are_summed_and_a_refused_request_costs_nothing() {
        let budget = Budget::new(Limits { max_total_bytes: 100, max_tensor_bytes: 60, ..Limits::default() });
        assert_eq!(budget.tensor(60, "a").unwrap(), 60);
        assert_eq!(budget.tensor(61, "b").unwrap_err().kind(), ErrorKind::Limits);
        assert_eq!(budget.tensor(41, "c").unwrap_err().kind(), ErrorKind::Limits);
        assert_eq!(budget.tensor(40, "d").unwrap(), 40);
        assert_eq!(budget.used_bytes(), 100);
    }

    #[test]
    fn shapes_that_overflow_are_refused() {
        let budget = Budget::default();
        assert_eq!(budget.elements(&[2, 3], 4, "w").unwrap(), 6);
        assert_eq!(budget.elements(&[u64::MAX, 2], 4, "w").unwrap_err().kind(), ErrorKind::Limits);
        assert_eq!(budget.elements(&[1 << 62], 4, "w").unwrap_err().kind(), ErrorKind::Limits);
        assert_eq!(budget.elements(&[1; 40], 4, "w").unwrap_err().kind(), ErrorKind::Limits);
    }

    #[test]
    fn nodes_and_depth_are_bounded() {
        let budget = Budget::new(Limits { max_nodes: 3, max_depth: 2, ..Limits::default() });
        assert!(budget.nodes(3).is_ok());
        assert!(budget.nodes(1).is_err());
        assert!(budget.depth(2, "x").is_ok());
        assert!(budget.depth(3, "x").is_err());
    }
}
