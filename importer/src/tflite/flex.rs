//! FlexBuffers, the form that most custom operators keep their options in.
//!
//! The last byte is the width of the root, the one before it its type; a type is a kind and the width of what it points to. Numbers stand in
//! place, all else behind an offset backwards. (FlexBuffers internals, <https://flatbuffers.dev/internals/>.)

use serde_json::{Map, Value};

/// Deepest nesting.
const DEPTH: u32 = 16;

/// The value of a buffer; `None` for bytes that are none.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let (&[kind, width], at) = (bytes.last_chunk::<2>()?, bytes.len().checked_sub(2)?);
    let mut reader = Reader { bytes, left: bytes.len().saturating_mul(4) };
    reader.value(at.checked_sub(usize::from(width))?, usize::from(width), kind, DEPTH)
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Values that may still be read: lists may be shared, so a small buffer could stand for an endless one.
    left: usize,
}

impl<'a> Reader<'a> {
    fn unsigned(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        matches!(width, 1 | 2 | 4 | 8).then(|| bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn signed(&self, at: usize, width: usize) -> Option<i64> {
        let free = 64u32.checked_sub(u32::try_from(width).ok()?.checked_mul(8)?)?;
        Some((self.unsigned(at, width)? << free).cast_signed() >> free)
    }

    fn float(&self, at: usize, width: usize) -> Option<Value> {
        let bits = self.unsigned(at, width)?;
        let x = match width {
            4 => f64::from(f32::from_bits(u32::try_from(bits).ok()?)),
            8 => f64::from_bits(bits),
            _ => return None,
        };
        Some(Value::from(x))
    }

    /// Where the offset at `at` points.
    fn follow(&self, at: usize, width: usize) -> Option<usize> {
        at.checked_sub(usize::try_from(self.unsigned(at, width)?).ok()?)
    }

    /// The length in front of `at`, with what it counts inside the buffer.
    fn length(&self, at: usize, width: usize) -> Option<usize> {
        let n = usize::try_from(self.unsigned(at.checked_sub(width)?, width)?).ok()?;
        (n <= self.bytes.len()).then_some(n)
    }

    fn key(&self, at: usize) -> Option<&'a str> {
        let rest = self.bytes.get(at..)?;
        std::str::from_utf8(rest.get(..rest.iter().position(|&b| b == 0)?)?).ok()
    }

    /// The value at `at`, which has `width` bytes.
    fn value(&mut self, at: usize, width: usize, packed: u8, depth: u32) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        let (kind, inner) = (packed >> 2, 1usize << (packed & 3));
        Some(match kind {
            0 => Value::Null,
            1 => self.signed(at, width)?.into(),
            2 => self.unsigned(at, width)?.into(),
            3 => self.float(at, width)?,
            26 => (self.unsigned(at, width)? != 0).into(),
            _ => {
                let to = self.follow(at, width)?;
                match kind {
                    4 => self.key(to)?.into(),
                    5 => {
                        let end = to.checked_add(self.length(to, inner)?)?;
                        std::str::from_utf8(self.bytes.get(to..end)?).ok()?.into()
                    }
                    6 => self.signed(to, inner)?.into(),
                    7 => self.unsigned(to, inner)?.into(),
                    8 => self.float(to, inner)?,
                    9 => self.map(to, inner, depth)?,
                    10 => self.mixed(to, inner, depth)?.into(),
                    11..=14 => self.list(to, inner, kind.checked_sub(10)?, self.length(to, inner)?, depth)?,
                    // Two, three or four numbers, without a length.
                    16..=24 => {
                        let (form, count) = (kind.checked_sub(16)?, usize::from(kind.checked_sub(16)? / 3));
                        self.list(to, inner, (form % 3).checked_add(1)?, count.checked_add(2)?, depth)?
                    }
                    25 => {
                        let end = to.checked_add(self.length(to, inner)?)?;
                        self.bytes.get(to..end)?.to_vec().into()
                    }
                    36 => self.list(to, inner, 26, self.length(to, inner)?, depth)?,
                    _ => return None,
                }
            }
        })
    }

    /// Elements of one kind.
    fn list(&mut self, at: usize, width: usize, kind: u8, count: usize, depth: u32) -> Option<Value> {
        let element = |i: usize| at.checked_add(i.checked_mul(width)?);
        (0..count)
            .map(|i| self.value(element(i)?, width, kind << 2, depth))
            .collect::<Option<Vec<_>>>()
            .map(Value::from)
    }

    /// Elements whose types follow them.
    fn mixed(&mut self, at: usize, width: usize, depth: u32) -> Option<Vec<Value>> {
        let count = self.length(at, width)?;
        let types = at.checked_add(count.checked_mul(width)?)?;
        let one = |i: usize| {
            let kind = *self.bytes.get(types.checked_add(i)?)?;
            self.value(at.checked_add(i.checked_mul(width)?)?, width, kind, depth)
        };
        (0..count).map(one).collect()
    }

    fn map(&mut self, at: usize, width: usize, depth: u32) -> Option<Value> {
        let before = |n: usize| at.checked_sub(n.checked_mul(width)?);
        let keys = self.follow(before(3)?, width)?;
        let key_width = usize::try_from(self.unsigned(before(2)?, width)?).ok()?;
        let values = self.mixed(at, width, depth)?;
        if self.length(keys, key_width)? != values.len() {
            return None;
        }
        let mut map = Map::new();
        for (i, value) in values.into_iter().enumerate() {
            let key = self.follow(keys.checked_add(i.checked_mul(key_width)?)?, key_width)?;
            map.insert(self.key(key)?.to_owned(), value);
        }
        Some(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `{"a": 3, "b": [1.5, -2], "c": "hi"}`.
    const SAMPLE: &[u8] = &[
        97, 0, 98, 0, 2, 0, 0, 0, 0, 0, 192, 63, 254, 255, 255, 255, 14, 6, 99, 0, 2, 104, 105, 0, 3, 25, 24, 9, 3, 1,
        3, 3, 24, 12, 4, 42, 20, 6, 36, 1,
    ];

    #[test]
    fn maps_lists_numbers_and_texts_are_read() {
        assert_eq!(read(SAMPLE), Some(json!({"a": 3, "b": [1.5, -2], "c": "hi"})));
        // Two numbers without a length, and truth values.
        assert_eq!(read(&[5, 0xff, 2, 16 << 2, 1]), Some(json!([5, -1])));
        assert_eq!(read(&[2, 1, 0, 2, 36 << 2, 1]), Some(json!([true, false])));
    }

    #[test]
    fn no_change_of_a_byte_makes_a_read_leave_the_buffer_or_go_on_for_ever() {
        for at in 0..SAMPLE.len() {
            for value in 0..=255 {
                let mut bytes = SAMPLE.to_vec();
                bytes[at] = value;
                let _ = read(&bytes);
            }
            let _ = read(&SAMPLE[..at]);
        }
        // A list that holds itself.
        assert_eq!(read(&[1, 1, 10 << 2, 2, 10 << 2, 1]), None);
    }
}
