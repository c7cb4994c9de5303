//! The sliding window that convolutions and pools share.

/// Size of a window and how it moves, one entry per spatial axis (one to three axes).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Extent of the window, in taps.
    pub kernel: Vec<usize>,
    /// Step between neighbouring windows, at least 1.
    pub stride: Vec<usize>,
    /// Distance between neighbouring taps, at least 1.
    pub dilation: Vec<usize>,
    /// Padding before the first and after the last position.
    pub pads: Vec<(usize, usize)>,
}

impl Window {
    /// A window with stride 1, dilation 1 and no padding.
    pub fn new(kernel: &[usize]) -> Self {
        let rank = kernel.len();
        Self { kernel: kernel.to_vec(), stride: vec![1; rank], dilation: vec![1; rank], pads: vec![(0, 0); rank] }
    }
    /// Number of spatial axes.
    pub fn rank(&self) -> usize {
        self.kernel.len()
    }
    /// Positions that a dilated window covers on an axis: `(kernel - 1) * dilation + 1`, and 0 for an empty kernel.
    pub fn span(&self, axis: usize) -> usize {
        self.kernel[axis].checked_sub(1).map_or(0, |k| k * self.dilation[axis] + 1)
    }
    /// Output extent of an axis of `size` positions, windows that do not fit dropped: 0 when none fits.
    pub fn output(&self, axis: usize, size: usize) -> usize {
        let padded = size + self.pads[axis].0 + self.pads[axis].1;
        padded.checked_sub(self.span(axis)).map_or(0, |free| free / self.stride[axis] + 1)
    }
    /// Output extent of an axis when the last, partial window is kept (ceil mode). A window that would start in the padding
    /// after the data is dropped, as in PyTorch and ONNX.
    pub fn output_ceil(&self, axis: usize, size: usize) -> usize {
        let padded = size + self.pads[axis].0 + self.pads[axis].1;
        let Some(free) = padded.checked_sub(self.span(axis)) else { return 0 };
        let out = free.div_ceil(self.stride[axis]) + 1;
        if (out - 1) * self.stride[axis] >= size + self.pads[axis].0 { out - 1 } else { out }
    }
    /// The same window on three axes: missing leading axes have one tap.
    ///
    /// # Panics
    /// When the window has more than three axes.
    pub fn to3(&self) -> Window3 {
        Window3 {
            kernel: lead(&self.kernel, 1),
            stride: lead(&self.stride, 1),
            dilation: lead(&self.dilation, 1),
            pads: lead(&self.pads, (0, 0)),
        }
    }
}

/// [`Window`] on exactly three axes: depth, height, width.
#[derive(Clone, Copy, Debug)]
pub struct Window3 {
    /// Extent in taps.
    pub kernel: [usize; 3],
    /// Step between windows.
    pub stride: [usize; 3],
    /// Distance between taps.
    pub dilation: [usize; 3],
    /// Padding before and after.
    pub pads: [(usize, usize); 3],
}

impl Window3 {
    /// Input position of tap `k` of window `o` on `axis`; `None` in the padding.
    pub fn at(&self, axis: usize, o: usize, k: usize, size: usize) -> Option<usize> {
        let i = (o * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.pads[axis].0)?;
        (i < size).then_some(i)
    }
    /// The windows `start..end` of `out` whose tap `k` lies inside `size` positions.
    pub fn inside(&self, axis: usize, k: usize, size: usize, out: usize) -> std::ops::Range<usize> {
        let (tap, before, stride) = (k * self.dilation[axis], self.pads[axis].0, self.stride[axis]);
        let start = before.saturating_sub(tap).div_ceil(stride).min(out);
        let end = (size + before).saturating_sub(tap).div_ceil(stride).min(out);
        start..end.max(start)
    }
}

/// Three values, the missing leading ones `fill`.
///
/// # Panics
/// When there are more than three.
pub(crate) fn lead<T: Copy>(values: &[T], fill: T) -> [T; 3] {
    assert!(values.len() <= 3, "at most three spatial axes, found {}", values.len());
    let mut all = [fill; 3];
    all[3 - values.len()..].copy_from_slice(values);
    all
}
