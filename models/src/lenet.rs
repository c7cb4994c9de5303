//! LeNet-5, written with the graph builder.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{DType, Dim, Graph, GraphBuilder, Result, Tensor};

/// LeCun's LeNet-5 (1998) with ReLU and max pooling: `image` `[N, 1, 28, 28]` to `digit` `[N, 10]`, the probabilities.
///
/// `weights` gives each parameter by name and shape: kernels `[O, I, kh, kw]` or `[O, I]`, biases `[O]`.
///
/// # Errors
/// When `weights` returns a tensor of another shape.
pub fn lenet5(mut weights: impl FnMut(&str, &[usize]) -> Tensor) -> Result<Graph> {
    let mut b = GraphBuilder::new("lenet5");
    let mut layer = |b: &mut GraphBuilder, name: &str, shape: &[usize]| {
        let kernel = weights(&format!("{name}.weight"), shape);
        let bias = weights(&format!("{name}.bias"), &shape[..1]);
        (b.constant(&format!("{name}.weight"), kernel), b.constant(&format!("{name}.bias"), bias))
    };
    let mut x = b.input("image", DType::F32, [Dim::symbol("N"), 1.into(), 28.into(), 28.into()]);
    for (name, shape, pads) in [("conv1", [6, 1, 5, 5], Pads::SameUpper), ("conv2", [16, 6, 5, 5], Pads::default())] {
        let (kernel, bias) = layer(&mut b, name, &shape);
        x = b.conv(x, kernel, Some(bias), Conv { pads, ..Conv::default() }, name)?;
        x = b.relu(x, "relu")?;
        x = b.max_pool(x, &[2, 2], "pool")?;
    }
    x = b.flatten(x, "flatten")?;
    for (name, shape) in [("dense1", [120, 400]), ("dense2", [84, 120]), ("dense3", [10, 84])] {
        let (kernel, bias) = layer(&mut b, name, &shape);
        x = b.dense(x, kernel, Some(bias), name)?;
        x = if name == "dense3" { b.softmax(x, 1, "digit")? } else { b.relu(x, "relu")? };
    }
    b.output(x);
    b.finish()
}
