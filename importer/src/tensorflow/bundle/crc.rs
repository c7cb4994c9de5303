//! CRC-32C (Castagnoli), as tables and bundles store it.

/// The polynomial 0x1edc6f41, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Row `k` advances a byte by `k` more zero bytes, so that eight bytes are taken at once.
static TABLES: [[u32; 256]; 8] = tables();

#[allow(clippy::indexing_slicing, reason = "computed by the compiler, within fixed bounds")]
const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut k = 0;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let mut c = i as u32;
            let mut bit = 0;
            while bit < 8 * (k + 1) {
                c = if c & 1 == 1 { (c >> 1) ^ POLYNOMIAL } else { c >> 1 };
                bit += 1;
            }
            t[k][i] = c;
            i += 1;
        }
        k += 1;
    }
    t
}

fn step(row: usize, byte: u8) -> u32 {
    TABLES.get(row).and_then(|t| t.get(usize::from(byte))).copied().unwrap_or(0)
}

/// The checksum of these bytes.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut c = u32::MAX;
    let (eights, rest) = bytes.as_chunks::<8>();
    for chunk in eights {
        let [a, b, d, e, f, g, h, i] = *chunk;
        let [p, q, r, s] = c.to_le_bytes();
        c = step(7, a ^ p)
            ^ step(6, b ^ q)
            ^ step(5, d ^ r)
            ^ step(4, e ^ s)
            ^ step(3, f)
            ^ step(2, g)
            ^ step(1, h)
            ^ step(0, i);
    }
    for &b in rest {
        let [low, ..] = c.to_le_bytes();
        c = (c >> 8) ^ step(0, low ^ b);
    }
    !c
}

/// The checksum as files store it: turned and shifted, because a checksum of data that holds checksums is weak.
pub(super) fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_vectors_of_the_standard() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }
}
