//! A network of PyTorch, written as a graph, with the weights of its state dict: loaded by name, shapes checked.
//!
//! ```text
//! cargo run --example state_dict -- runtime/tests/data/state_dict.safetensors
//! ```
//!
//! In PyTorch: `safetensors.torch.save_file(model.state_dict(), "model.safetensors")`. Convolutions `[out, in, height, width]` and
//! linear layers `[out, in]` lie in the graph as they do there.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::ops::norm::BatchNorm;
use pocketnn::{DType, Dim, Graph, GraphBuilder, Model, Options, Result, Weights};

/// `Conv2d(1, 4, 3, padding=1)`, `BatchNorm2d(4)`, `ReLU`, `MaxPool2d(2)`, `Flatten`, `Linear(64, 10)`.
fn network(weights: &Weights) -> Result<Graph> {
    let mut b = GraphBuilder::new("small");
    let x = b.input("image", DType::F32, [Dim::symbol("batch"), 1.into(), 8.into(), 8.into()]);
    let w = b.weight(weights, "conv1.weight", &[4, 1, 3, 3])?;
    let bias = b.weight(weights, "conv1.bias", &[4])?;
    let x = b.conv(x, w, Some(bias), Conv { pads: Pads::symmetric(&[1, 1]), ..Conv::default() }, "conv1")?;
    let mut norm = vec![x];
    for part in ["weight", "bias", "running_mean", "running_var"] {
        norm.push(b.weight(weights, &format!("bn1.{part}"), &[4])?);
    }
    let x = b.op(BatchNorm { epsilon: 1e-5, ..BatchNorm::default() }, &norm, "bn1")?;
    let x = b.relu(x, "relu")?;
    let x = b.max_pool(x, &[2, 2], "pool")?;
    let x = b.flatten(x, "flatten")?;
    let w = b.weight(weights, "fc.weight", &[10, 64])?;
    let bias = b.weight(weights, "fc.bias", &[10])?;
    let y = b.dense(x, w, Some(bias), "fc")?;
    b.output(y);
    b.finish()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state_dict.safetensors");
    let path = std::env::args().nth(1).unwrap_or_else(|| default.to_string());
    let weights = Weights::open(path)?;
    for (name, t) in weights.iter() {
        println!("{name}: {} {:?}", t.dtype(), t.shape());
    }
    let (graph, _) = pocketnn::passes::optimize(network(&weights)?)?;
    let mut session = Model::new(graph).session(&Options::default())?;
    for (k, x) in session.input_mut::<f32>(0)?.iter_mut().enumerate() {
        *x = ((3 * (k / 8) + 5 * (k % 8)) % 16) as f32 / 16.0;
    }
    session.execute()?;
    println!("{:.4?}", session.output::<f32>(0)?);
    Ok(())
}
