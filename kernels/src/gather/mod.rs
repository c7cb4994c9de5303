//! Elements chosen, or written, by index.

use crate::{Error, Result};

/// An index that counts from the end where it is negative, as a position of an axis of `extent` elements.
///
/// # Errors
/// When it lies outside `-extent .. extent`.
pub fn position(index: i64, extent: usize) -> Result<usize> {
    let from_end = if index < 0 { index.checked_add_unsigned(extent as u64) } else { Some(index) };
    from_end
        .and_then(|i| usize::try_from(i).ok())
        .filter(|&i| i < extent)
        .ok_or_else(|| Error::new("gather", format!("index {index} is outside an axis of {extent} elements")))
}
