//! Nothing runs between runs. The processor time of all threads says so; this file has one test, so that nothing else counts.

#![cfg(target_os = "linux")]

use pocketnn::ops::conv::{Conv, Pads};
use pocketnn::{DType, Dim, GraphBuilder, Model, Options, Tensor, Threads};
use std::time::Duration;

/// Nanoseconds on a processor, of all threads of this process.
fn processor_time() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |t: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(t.unwrap().path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    threads.map(of).sum()
}

#[test]
fn members_use_no_processor_when_there_is_nothing_to_do() {
    let mut b = GraphBuilder::new("one");
    let x = b.input("x", DType::F32, [Dim::from(1), Dim::from(64), Dim::from(28), Dim::from(28)]);
    let w = b.constant("w", Tensor::new(&[64, 64, 3, 3], vec![0.01f32; 64 * 64 * 9]).unwrap());
    let y = b.conv(x, w, None, Conv { pads: Pads::SameUpper, ..Conv::default() }, "conv").unwrap();
    b.output(y);
    let model = Model::new(b.finish().unwrap());
    let mut session = model.session(&Options::default().threads(Threads::new(3).unwrap())).unwrap();
    session.execute().unwrap();
    let (pauses, pause) = (20, Duration::from_millis(20));
    let mut idle = 0;
    for _ in 0..pauses {
        session.execute().unwrap();
        // Members stay for a moment, in case another run follows.
        std::thread::sleep(Duration::from_millis(2));
        let before = processor_time();
        std::thread::sleep(pause);
        idle += processor_time() - before;
    }
    let slept = pause.as_nanos() as u64 * pauses;
    println!("{} us of processor time in {} ms of pauses", idle / 1000, slept / 1_000_000);
    // Two members that spin would take up to twice the time slept; going to sleep and waking take some microseconds.
    assert!(idle < slept / 20, "{idle} ns on processors in {slept} ns of pauses");
}
