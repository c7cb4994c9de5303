//! What the tests of all families share: seeded numbers, blocked images, parallel loops, distances, and planned runs against the naive
//! interpretation.

use pocketnn::ops::pool::Pool;
use pocketnn::plan::interpret;
use pocketnn::{DType, Dim, GraphBuilder, Model, Options, Tensor, Threads as Count, ValueId};
use pocketnn_kernels::isa::Isa;
use pocketnn_kernels::layout::{BLOCK, Blocked};
use pocketnn_kernels::par::Parallel;

/// A small seeded generator (splitmix64): the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }
    /// A number from `lo` to `hi`, both possible.
    pub fn range(&mut self, lo: usize, hi: usize) -> usize {
        lo + self.below(hi - lo + 1)
    }
    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
    /// A float in -1 .. 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    /// Floats in -1 .. 1.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// A parallel loop on `n` threads, chunk `i` on thread `i % n`.
#[derive(Clone, Copy, Debug)]
pub struct Threads(pub usize);

impl Parallel for Threads {
    fn threads(&self) -> usize {
        self.0
    }
    fn run(&self, chunks: usize, body: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|s| {
            for t in 0..self.0 {
                s.spawn(move || (t..chunks).step_by(self.0).for_each(body));
            }
        });
    }
}

/// A plain image `[N, C, D, H, W]` in blocks, halo and padding channels zero.
pub fn block(x: &[f32], g: &Blocked) -> Vec<f32> {
    let mut y = vec![0.0; g.len()];
    each(g, |plain, blocked| y[blocked] = x[plain]);
    y
}

/// A blocked image as a plain one `[N, C, D, H, W]`.
pub fn unblock(x: &[f32], g: &Blocked) -> Vec<f32> {
    let mut y = vec![0.0; g.n * g.c * g.positions()];
    each(g, |plain, blocked| y[plain] = x[blocked]);
    y
}

/// Checks that halo and padding channels of a blocked image are zero.
///
/// # Panics
/// When one is not.
pub fn assert_zero_outside(x: &[f32], g: &Blocked) {
    let mut inside = vec![false; g.len()];
    each(g, |_, blocked| inside[blocked] = true);
    let bad = x.iter().zip(&inside).position(|(v, inside)| !inside && v.to_bits() & 0x7fff_ffff != 0);
    assert_eq!(bad, None, "halo or padding channel is not zero in {g:?}");
}

fn each(g: &Blocked, mut f: impl FnMut(usize, usize)) {
    let mut plain = 0;
    for n in 0..g.n {
        for c in 0..g.c {
            for z in 0..g.size[0] {
                for y in 0..g.size[1] {
                    for x in 0..g.size[2] {
                        f(plain, g.offset(n, c / BLOCK, [z, y, x]) + c % BLOCK);
                        plain += 1;
                    }
                }
            }
        }
    }
}

/// Distance of a float from an exact value, in units in the last place of the exact value's nearest float. NaN is near NaN
/// only, infinity near values that round to it only.
pub fn ulps(found: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if found == nearest || (found.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    if !found.is_finite() || !nearest.is_finite() {
        return f64::INFINITY;
    }
    let exponent = (nearest.abs().to_bits() >> 23).max(1) as i32 - 127 - 23;
    (f64::from(found) - exact).abs() / 2f64.powi(exponent)
}

/// Checks floats against expected ones: `|found - expected| <= absolute + relative |expected|`; NaN is near NaN only.
///
/// # Panics
/// When one is too far, with its place and what `place` says.
pub fn assert_close(found: &[f32], expected: &[f32], absolute: f32, relative: f32, place: impl Fn() -> String) {
    assert_eq!(found.len(), expected.len(), "{}", place());
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let near = (f - e).abs() <= absolute + relative * e.abs();
        assert!(near || f == e || (f.is_nan() && e.is_nan()), "{}: element {i}: expected {e:e}, found {f:e}", place());
    }
}

/// The bits of floats, every NaN the same: what must be equal on all instruction sets with fused multiply-add.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// Where the image of a test comes from: straight from the input, from one with channels last, or in blocks from an image op.
pub const SOURCES: [&str; 3] = ["plain", "channels last", "blocked"];

/// An image `[N, C, spatial...]` from one of the [`SOURCES`], and what to feed for it.
///
/// # Panics
/// When the shape is not that of an image.
pub fn image(b: &mut GraphBuilder, rng: &mut Rng, name: &str, source: &str, shape: &[usize]) -> (ValueId, Tensor) {
    let (rank, mut fed) = (shape.len(), shape.to_vec());
    if source == "channels last" {
        let c = fed.remove(1);
        fed.push(c);
    }
    let x = b.input(name, DType::F32, fed.iter().map(|&d| Dim::from(d)).collect::<Vec<_>>());
    let data = Tensor::new(&fed, rng.floats(fed.iter().product())).unwrap();
    let x = match source {
        "channels last" => {
            let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
            b.transpose(x, &perm, "first").unwrap()
        }
        "blocked" => b.op(Pool { kernel: vec![1; rank - 2], ..Pool::default() }, &[x], "first").unwrap(),
        _ => x,
    };
    (x, data)
}

/// Plans and runs the graph on every instruction set, on one thread and two, and compares with the interpretation: floats within
/// `tolerance` (and a hundred-thousandth of their size), everything else exactly, two threads bit by bit. Nodes called `tested` must
/// have a kernel.
///
/// # Panics
/// When something differs, with what `place` says.
pub fn check_planned(b: GraphBuilder, inputs: &[Tensor], tolerance: f32, place: &str) {
    let graph = b.finish().unwrap();
    let expected = interpret(&graph, inputs, |_, _| Ok(())).unwrap();
    for isa in Isa::available() {
        let model = Model::new(graph.clone());
        let options = Options::default().isa(isa);
        let mut session = model.session(&options).unwrap();
        let found = session.run_tensors(inputs).unwrap();
        for (f, e) in found.iter().zip(&expected) {
            assert_eq!((f.dtype(), f.shape()), (e.dtype(), e.shape()), "{place} {isa}");
            if e.dtype() == DType::F32 {
                assert_close(&f.to_f32(), &e.to_f32(), tolerance, 1e-5, || format!("{place} {isa}"));
            } else {
                assert!(f.same_bits(e), "{place} {isa}: expected {e:?}, found {f:?}");
            }
        }
        let slow = session.plan().unwrap().steps().iter().find(|s| s.interpreted && s.name == "tested");
        assert!(slow.is_none(), "{place} {isa}: no kernel for {slow:?}");
        let mut two = model.session(&options.threads(Count::new(2).unwrap())).unwrap();
        for (f, e) in two.run_tensors(inputs).unwrap().iter().zip(&found) {
            let same = if e.dtype() == DType::F32 { bits(&f.to_f32()) == bits(&e.to_f32()) } else { f.same_bits(e) };
            assert!(same, "{place} {isa}: two threads");
        }
    }
}
