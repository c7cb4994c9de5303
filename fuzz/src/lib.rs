//! What every fuzz target does: run a parser under a counting allocator, and mutate its input with libFuzzer's own mutations inside
//! an intact container. The parsers' entry points and the mutants are in `pocketnn_tests::hostile`.

use pocketnn_tests::counting::Counting;
use pocketnn_tests::hostile::{Target, run};
use pocketnn_tests::support::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where the last panic was.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Lets a parser catch panics of a library that it guards; libFuzzer's hook would end the process at once.
pub fn init() {
    std::panic::set_hook(Box::new(|info| {
        let trace = std::env::var_os("RUST_BACKTRACE").map(|_| std::backtrace::Backtrace::force_capture());
        if let Ok(mut last) = LAST.lock() {
            *last = format!("{info}\n{}", trace.map(|t| t.to_string()).unwrap_or_default());
        }
    }));
}

/// Runs the target; a panic that comes out of it is a finding.
pub fn fuzz(target: &Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(target, bytes))).is_err() {
        eprintln!("{}", LAST.lock().map(|l| l.clone()).unwrap_or_default());
        std::process::abort();
    }
}

/// A mutant of `data[..size]` in its place; gives its size.
pub fn mutate(target: &Target, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut rng = Rng::new(seed.into());
    let mut leaf = |bytes: &mut Vec<u8>| {
        let size = bytes.len();
        bytes.resize(size + 64, 0);
        let most = bytes.len();
        let size = libfuzzer_sys::fuzzer_mutate(bytes, size, most);
        bytes.truncate(size);
    };
    let mutant = (target.mutate)(&data[..size], &mut rng, &mut leaf);
    // What does not fit is cut, which is a mutant as well.
    let size = mutant.len().min(max);
    data[..size].copy_from_slice(&mutant[..size]);
    size
}

/// The program of a fuzz target.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        fn target() -> &'static pocketnn_tests::hostile::Target {
            pocketnn_tests::hostile::target($name)
        }
        libfuzzer_sys::fuzz_target!(init: $crate::init(), |data: &[u8]| $crate::fuzz(target(), data));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
            $crate::mutate(target(), data, size, max, seed)
        });
    };
}
