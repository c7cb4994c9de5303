//! Normalisations: layer and root mean square, group and instance, batch, local response, by a norm.
//!
//! Means and variances are taken in two passes over the elements. A missing scale is 1, a missing bias 0.

mod group;
mod rows;
mod window;

pub use group::{Affine, Group};
pub use rows::{Divide, Layer};
pub use window::LocalResponse;

const FILTER: &str = "norm";

/// Elements that make a parallel chunk worth its hand-over.
const CHUNK: usize = 8 * 1024;
