//! A graph with concrete shapes, and the values that conversions add to it.

use crate::{Error, Graph, Result};

/// A graph whose every dimension is a number.
pub struct Bound {
    /// The graph.
    pub graph: Graph,
}

impl Bound {
    /// Checks that every dimension is known.
    ///
    /// # Errors
    /// An `Unsupported` error that names the first value whose shape is decided while running.
    pub fn new(graph: Graph) -> Result<Self> {
        if let Some(v) = graph.values().iter().find(|v| v.fact.ty.dtype.size() == 0) {
            return Err(Error::unsupported(format!(
                "`{}` holds {}, for which there is no plan",
                v.name, v.fact.ty.dtype
            )));
        }
        let open = graph.values().iter().find(|v| v.fact.ty.known_shape().is_none());
        match open {
            Some(v) => {
                Err(Error::unsupported(format!("the shape {} of `{}` is decided while running", v.fact.ty, v.name)))
            }
            None => Ok(Self { graph }),
        }
    }
}
