//! Gray pictures in the terminal: two pixels a character, the upper and the lower half of a block.

use std::fmt::Write;

/// Darkest gray that is drawn as ink where there are no colours.
const INK: u8 = 90;

/// A picture of `width` pixels a row at half its size, as lines of text. With colours each half block has its shade (of the 24 grays of a
/// 256-colour terminal), without them it is there or not.
pub fn half_size(pixels: &[u8], width: usize, colours: bool) -> Vec<String> {
    let small = halve(pixels, width);
    let width = width / 2;
    let rows: Vec<&[u8]> = if width == 0 { Vec::new() } else { small.chunks_exact(width).collect() };
    rows.chunks(2)
        .map(|pair| {
            let lower = |x: usize| pair.get(1).map_or(0, |r| r[x]);
            let mut line = String::new();
            for (x, &upper) in pair[0].iter().enumerate() {
                if colours {
                    let _ = write!(line, "\x1b[38;5;{};48;5;{}m▀", shade(upper), shade(lower(x)));
                } else {
                    line.push(block(upper >= INK, lower(x) >= INK));
                }
            }
            if colours {
                line.push_str("\x1b[0m");
            }
            line
        })
        .collect()
}

fn block(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

/// A gray of the terminal's palette.
fn shade(v: u8) -> u16 {
    232 + u16::from(v) * 23 / 255
}

/// Means of squares of four pixels; an odd last row or column is left out.
fn halve(pixels: &[u8], width: usize) -> Vec<u8> {
    let rows: Vec<&[u8]> = if width == 0 { Vec::new() } else { pixels.chunks_exact(width).collect() };
    let mut out = Vec::with_capacity(pixels.len() / 4);
    for pair in rows.chunks_exact(2) {
        for x in 0..width / 2 {
            let sum: u16 = [pair[0][2 * x], pair[0][2 * x + 1], pair[1][2 * x], pair[1][2 * x + 1]]
                .iter()
                .map(|&v| u16::from(v))
                .sum();
            out.push((sum / 4) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pixels_become_half_a_character() {
        let mut pixels = vec![0u8; 4 * 8];
        pixels[0..2].fill(255);
        pixels[4..6].fill(255);
        pixels[8 + 2..8 + 4].fill(255);
        pixels[12 + 2..12 + 4].fill(255);
        assert_eq!(half_size(&pixels, 4, false), ["▀▄", "  "]);
        assert_eq!(half_size(&pixels, 4, true)[0], "\x1b[38;5;255;48;5;232m▀\x1b[38;5;232;48;5;255m▀\x1b[0m");
        assert!(half_size(&[], 0, false).is_empty());
    }
}
