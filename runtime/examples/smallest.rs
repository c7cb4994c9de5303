//! The smallest program: a classifier of digits in memory, 28 x 28 bytes of gray on standard input, the digit on standard output.
//! `scripts/size.sh` builds and weighs it.

use pocketnn::{Model, Options};
use std::io::Read;

static DIGITS: &[u8] = include_bytes!("../../models/mnist/digits.pnn");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pixels = [0u8; 28 * 28];
    std::io::stdin().read_exact(&mut pixels)?;
    let mut session = Model::from_bytes(DIGITS)?.session(&Options::default())?;
    for (x, pixel) in session.input_mut::<f32>(0)?.iter_mut().zip(pixels) {
        *x = f32::from(pixel);
    }
    session.execute()?;
    let probabilities = session.output::<f32>(0)?;
    let best = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    println!("{}", best.unwrap_or(0));
    Ok(())
}
