//! Hostile files of every format through the functions that the fuzz targets run: truncations, flipped bits and mutants of real files, and
//! all that fuzzing kept. Each is answered by an error or a network, within its memory.

use pocketnn_tests::counting::{Counting, peak};
use pocketnn_tests::hostile::{self, Target, mutate, target};
use pocketnn_tests::support::Rng;
use std::path::{Path, PathBuf};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = root().join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files of a folder below the root, in the order of their names.
fn folder(path: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut all: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    all.sort();
    all
}

/// Real files of a target's format, small ones first.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = folder(&format!("fuzz/seeds/{}", target.name)).iter().map(read).collect();
    all.sort_by_key(Vec::len);
    all
}

/// Mutants of a target: cuts, flipped bits, and changes inside an intact container. Gives how many there were.
fn mutants(name: &str) -> usize {
    let target = target(name);
    let seeds = seeds(target);
    assert!(seeds.len() >= 2, "{name}: {} seeds", seeds.len());
    for (i, seed) in seeds.iter().enumerate() {
        assert!(hostile::run(target, seed), "{name}: seed {i} of {} bytes is refused", seed.len());
    }
    let (mut count, mut refused) = (0, 0);
    let mut run = |bytes: &[u8]| {
        count += 1;
        refused += usize::from(!hostile::run(target, bytes));
    };
    let mut rng = Rng::new(7);
    for seed in seeds.iter().take(4) {
        for k in 0..100 {
            run(&seed[..seed.len() * k / 100]);
        }
        for _ in 0..150 {
            let mut flipped = seed.clone();
            flipped[rng.below(seed.len())] ^= 1 << rng.below(8);
            run(&flipped);
        }
    }
    for k in 0..600 {
        let seed = &seeds[k % seeds.len()];
        let mut inner = Rng::new(rng.bits());
        let mutant = (target.mutate)(seed, &mut rng, &mut |bytes| mutate::bytes(bytes, &mut inner));
        run(&mutant);
    }
    assert!(refused > count / 10, "{name}: {refused} of {count} mutants are refused");
    assert!(resident() < 1 << 30, "{name}: {} bytes of memory were in use", resident());
    count
}

/// The most memory that this process had at once, mapped memory (which the allocator does not see) included; 0 where the system does
/// not tell.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Runs all that fuzzing kept below a folder.
fn replay(what: &str) -> usize {
    let mut count = 0;
    for target in hostile::TARGETS {
        for path in folder(&format!("fuzz/{what}")).iter().filter(|p| p.ends_with(target.name)) {
            for file in std::fs::read_dir(path).expect("a folder") {
                let file = file.expect("an entry").path();
                let bytes = read(&file);
                // What panics does not say which file it was.
                println!("{}", file.display());
                hostile::run(target, &bytes);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn what_fuzzing_kept_is_answered() {
    let count = replay("corpus");
    assert!(count > 500, "{count} files");
}

#[test]
fn what_once_broke_a_parser_is_answered() {
    let count = replay("regressions");
    assert!(count > 2, "{count} files");
}

#[test]
fn the_allocator_counts() {
    assert_eq!(peak(|| drop(vec![1u8; 1000])), 1000);
    let grown = peak(|| {
        let mut v = vec![1u8; 1000];
        v.reserve_exact(2000);
    });
    assert_eq!(grown, 3000);
}

macro_rules! formats {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                let count = mutants($name);
                assert!(count > 1000, "{count} mutants");
            }
        )*
        #[test]
        fn every_target_has_its_test() {
            let names: Vec<&str> = hostile::TARGETS.iter().map(|t| t.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

formats! {
    wire_formats_are_answered "wire"
    onnx_models_are_answered "onnx"
    hdf5_files_are_answered "hdf5"
    keras_archives_are_answered "zip"
    tflite_models_are_answered "tflite"
    frozen_graphs_are_answered "graphdef"
    saved_models_are_answered "bundle"
    pnn_files_are_answered "pnn"
}
