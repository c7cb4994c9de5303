//! Peak memory of a run, measured by a process of its own: packed weights, the declared arena, and at most 8 MB for all else.

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{Bindings, DType, Dim, Graph, GraphBuilder, Model, Node, Options, Session, Tensor, format, plan};
use std::path::Path;
use std::process::Command;

/// Names the model of the child process.
const MODEL: &str = "POCKETNN_TEST_MODEL";
const REST: usize = 8 << 20;

/// Convolutions of 3x3 over `size` x `size` pixels with these numbers of channels.
fn network(size: usize, channels: &[usize]) -> Graph {
    let mut b = GraphBuilder::new("memory");
    let mut x = b.input("x", DType::F32, [1, channels[0], size, size].map(Dim::from));
    for (i, pair) in channels.windows(2).enumerate() {
        let n = pair[0] * pair[1] * 9;
        let elements = (0..n).map(|k| (k % 251) as f32 * 1e-3 - 0.125).collect();
        let w = b.constant(&format!("w{i}"), Tensor::new(&[pair[1], pair[0], 3, 3], elements).unwrap());
        let conv = Conv { pads: Pads::symmetric(&[1, 1]), ..Conv::default() };
        x = b.op(conv, &[x, w], &format!("y{i}")).unwrap();
    }
    b.output(x);
    b.finish().unwrap()
}

/// Most memory that this process held so far, in bytes.
fn peak() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// Bytes of the weights as kernels keep them: minimal filtering has (m + 2)^2 numbers in place of 9 of a kernel of 3x3.
fn kept(model: &Model, session: &Session<'_>) -> usize {
    let steps = session.plan().unwrap().steps();
    let of = |n: &Node| {
        let step = steps.iter().find(|s| s.name == n.name).unwrap();
        let points = match step.algorithm.as_str() {
            "winograd 2x2" => 16,
            "winograd 4x4" => 36,
            _ => 9,
        };
        n.operands().filter_map(|v| model.graph().constant(v)).map(Tensor::byte_len).sum::<usize>() / 9 * points
    };
    model.graph().nodes().iter().map(of).sum()
}

/// Opens, runs twice, and prints the weights, the arena, and by how much the peak grew.
fn child(path: &Path) {
    let before = peak();
    let model = Model::open(path).unwrap();
    let mut session = model.session(&Options::default()).unwrap();
    session.input_mut::<f32>(0).unwrap().fill(1.0);
    for _ in 0..2 {
        session.execute().unwrap();
    }
    assert!(session.output::<f32>(0).unwrap().iter().any(|&v| v != 0.0));
    println!("{} {} {}", kept(&model, &session), session.arena_bytes(), peak() - before);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc/self/status")]
fn a_run_takes_its_weights_its_arena_and_little_more() {
    if let Some(path) = std::env::var_os(MODEL) {
        return child(Path::new(&path));
    }
    let folder = std::env::temp_dir().join(format!("pocketnn-memory-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, size, channels) in [
        ("weights", 8, [512, 1024, 1024, 512]),
        ("one-pixel", 1, [512, 1024, 1024, 512]),
        ("arena", 256, [16, 64, 64, 16]),
    ] {
        let path = folder.join(name).with_extension("pnn");
        let packed = plan::pack(network(size, &channels), &Bindings::default()).unwrap();
        let stored: usize = packed.weights_bytes();
        format::save(&packed, &path).unwrap();
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact", "a_run_takes_its_weights_its_arena_and_little_more"])
            .env(MODEL, &path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let numbers = |l: &str| l.split(' ').map(|n| n.parse::<usize>().ok()).collect::<Option<Vec<_>>>();
        let found = text.lines().filter_map(numbers).find(|n| n.len() == 3);
        let Some([weights, arena, grew]) = found.as_deref() else {
            panic!("{name}: {text}{}", String::from_utf8_lossy(&out.stderr))
        };
        println!("{name}: weights {weights} (stored {stored}), arena {arena}, peak {grew}");
        assert!(*grew <= weights + arena + REST, "{name}: {grew} of {weights} + {arena} + {REST}");
        // A peak that misses one of the two would say nothing.
        assert!(*grew >= (weights + arena) / 2, "{name}: {grew} of {weights} + {arena}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
