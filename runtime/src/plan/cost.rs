//! What a step is expected to cost, from shapes alone: no instruction set, no number of threads, no clock.
//!
//! A step does arithmetic and moves bytes. Its activations come from the smallest memory that holds them all; its weights from the
//! smallest that holds the weights of the whole network, since all others are read between two uses of one. The longer of arithmetic and
//! movement is its time (the roofline), plus what any step costs.
//!
//! The absolute figures are those of [`Machine::REFERENCE`] and matter little: choices are made by comparing two predictions.

/// A machine in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Multiply-adds of one core in GFLOP/s (each counts two).
    pub gflops: f64,
    /// Bytes of the second- and third-level cache that a network may count on.
    pub caches: [usize; 2],
    /// Gigabytes a second from the second-level cache, the third-level cache, and main memory, of one core.
    pub bandwidth: [f64; 3],
}

impl Machine {
    /// One core of a desktop processor of 2021 at 3.2 GHz with eight lanes and two multiply-adds a cycle.
    pub const REFERENCE: Machine =
        Machine { gflops: 100.0, caches: [384 << 10, 8 << 20], bandwidth: [95.0, 65.0, 15.0] };

    /// The level that holds so many bytes: 0 for the second-level cache, 1 for the third, 2 for main memory.
    pub fn level(&self, bytes: usize) -> usize {
        self.caches.iter().filter(|&&c| bytes > c).count()
    }
}

/// What bounds a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Multiply-adds.
    Arithmetic,
    /// Bytes from the second-level cache.
    L2,
    /// Bytes from the third-level cache.
    L3,
    /// Bytes from main memory.
    Memory,
}

impl Limit {
    /// Short name, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Arithmetic => "FMA",
            Limit::L2 => "L2",
            Limit::L3 => "L3",
            Limit::Memory => "DRAM",
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Operations that are really carried out: for a convolution by minimal filtering fewer than its multiply-accumulates say.
    pub flops: f64,
    /// Bytes of inputs and outputs that are computed at run time.
    pub activations: usize,
    /// Bytes of constants.
    pub weights: usize,
    /// Bytes of the constants of the whole network.
    pub all_weights: usize,
}

/// What a step is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Bytes from the second-level cache, the third-level cache, and main memory.
    pub bytes: [usize; 3],
    /// What bounds the step.
    pub limit: Limit,
    /// Time, no less than the bound.
    pub nanoseconds: f64,
}

/// Nanoseconds of any step: the call, and finding its operands.
const STEP: f64 = 50.0;

impl Work {
    /// The cost on one core.
    pub fn cost(&self, machine: &Machine) -> Cost {
        let mut bytes = [0; 3];
        bytes[machine.level(self.activations)] += self.activations;
        bytes[machine.level(self.all_weights)] += self.weights;
        let arithmetic = self.flops / machine.gflops;
        let times: [f64; 3] = std::array::from_fn(|i| bytes[i] as f64 / machine.bandwidth[i]);
        let slowest = (0..3).fold(0, |a, b| if times[b] > times[a] { b } else { a });
        let movement: f64 = times.iter().sum();
        let limit =
            if arithmetic >= movement { Limit::Arithmetic } else { [Limit::L2, Limit::L3, Limit::Memory][slowest] };
        Cost { bytes, limit, nanoseconds: STEP + arithmetic.max(movement) }
    }
    /// Operations for each byte.
    pub fn intensity(&self) -> f64 {
        self.flops / (self.activations + self.weights).max(1) as f64
    }
}

/// Operations an element of what has no multiply-accumulates: a vector instruction does several elements at once, so this is little.
const ELEMENT: f64 = 2.0;
/// Operations an element that the naive evaluation stands for.
const NAIVE: f64 = 2000.0;

/// Operations of an algorithm that computes `macs` multiply-accumulates, `elements` outputs.
pub(super) fn flops(algorithm: &str, macs: u64, elements: usize) -> f64 {
    let (direct, elements) = (2.0 * macs as f64, elements as f64);
    match algorithm {
        "interpreted" => NAIVE * elements.max(macs as f64 / 16.0),
        // Products at 36 points for 16 outputs of nine taps, at 16 points for 4; a transform works on every value twice.
        "winograd 4x4" => direct / 4.0 + 32.0 * elements,
        "winograd 2x2" => direct / 2.25 + 16.0 * elements,
        _ if macs > 0 => direct,
        _ => ELEMENT * elements,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_arithmetic_and_movement_counts() {
        let m = Machine::REFERENCE;
        let heavy = Work { flops: 1e9, activations: 1 << 20, weights: 1 << 16, all_weights: 1 << 24 };
        let cost = heavy.cost(&m);
        assert_eq!((cost.limit, cost.bytes), (Limit::Arithmetic, [0, 1 << 20, 1 << 16]));
        assert!((cost.nanoseconds - 1e7 - STEP).abs() < 1.0);
        let matrix = Work { flops: 2e6, activations: 8000, weights: 4_000_000, all_weights: 4_000_000 };
        assert_eq!(matrix.cost(&m).limit, Limit::L3);
        assert_eq!(Work { all_weights: 400_000_000, ..matrix }.cost(&m).limit, Limit::Memory);
        assert!(Work::default().cost(&m).nanoseconds == STEP);
    }

    #[test]
    fn minimal_filtering_carries_out_fewer_operations() {
        assert!(flops("winograd 4x4", 1_000_000_000, 200_704) < flops("winograd 2x2", 1_000_000_000, 200_704));
        assert!(flops("winograd 2x2", 1_000_000_000, 200_704) < flops("direct", 1_000_000_000, 200_704));
        assert!(flops("interpreted", 0, 10) > flops("map", 0, 10));
    }
}
