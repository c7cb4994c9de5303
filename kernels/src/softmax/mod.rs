//! Softmax, log-softmax and hardmax along one axis.

/// What is computed along the axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// `e^(x - max) / sum e^(x - max)`.
    Softmax,
    /// `x - max - ln(sum e^(x - max))`.
    LogSoftmax,
    /// 1 at the first largest element, 0 elsewhere.
    Hardmax,
}
