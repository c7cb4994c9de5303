//! Small networks and sample digits trained and drawn for pocketnn.
//!
//! - [`DIGITS_KERAS`]: a classifier of handwritten digits as Keras saved it (`mnist/README.md` tells how it was trained), and
//!   [`SAMPLES`]: digits that were drawn for this project, none of them from a data set. Together they are a demonstration
//!   and an end-to-end test that need no file.
//! - [`mnist`]: finding, reading and fetching the MNIST images.
//! - [`lenet5`]: a network written with the graph builder, as an example of it.
//!
//! ```
//! let sevens = pocketnn_models::SAMPLES.iter().filter(|sample| sample.label == 7);
//! assert_eq!(sevens.count(), 3);
//! ```

mod lenet;
pub mod mnist;

pub use lenet::lenet5;

/// The digit classifier in Keras 3's format.
///
/// Input `image` `[N, 28, 28, 1]` f32, raw pixels 0..255, white ink on black: the network scales them itself. Output
/// `[N, 10]`, the probabilities of the digits 0 to 9.
pub const DIGITS_KERAS: &[u8] = include_bytes!("../mnist/digits.keras");

/// Keras' own outputs for [`SAMPLES`]: a JSON object from [`Sample::name`] to ten probabilities.
pub const EXPECTED_JSON: &str = include_str!("../mnist/expected.json");

/// A handwritten digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Digit and hand: `7b` is a seven in hand b.
    pub name: &'static str,
    /// The digit that was meant.
    pub label: u8,
    /// A PNG of 28 x 28 pixels, 8-bit gray, white on black.
    pub png: &'static [u8],
}

macro_rules! sample {
    ($name:literal, $label:literal) => {
        Sample { name: $name, label: $label, png: include_bytes!(concat!("../mnist/samples/", $name, ".png")) }
    };
}

/// Thirty digits: each of the ten in three hands, in the order of their names.
pub const SAMPLES: &[Sample] = &[
    sample!("0a", 0),
    sample!("0b", 0),
    sample!("0c", 0),
    sample!("1a", 1),
    sample!("1b", 1),
    sample!("1c", 1),
    sample!("2a", 2),
    sample!("2b", 2),
    sample!("2c", 2),
    sample!("3a", 3),
    sample!("3b", 3),
    sample!("3c", 3),
    sample!("4a", 4),
    sample!("4b", 4),
    sample!("4c", 4),
    sample!("5a", 5),
    sample!("5b", 5),
    sample!("5c", 5),
    sample!("6a", 6),
    sample!("6b", 6),
    sample!("6c", 6),
    sample!("7a", 7),
    sample!("7b", 7),
    sample!("7c", 7),
    sample!("8a", 8),
    sample!("8b", 8),
    sample!("8c", 8),
    sample!("9a", 9),
    sample!("9b", 9),
    sample!("9c", 9),
];
