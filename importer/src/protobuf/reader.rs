//! Fields of a message, one after the other.

use std::cell::Cell;

use crate::error::{ImportError, Result};
use crate::limits::Limits;

/// Bytes charged for one decoded message besides its content.
const MESSAGE_COST: u64 = 256;

/// What decoding may still cost.
#[derive(Debug)]
pub(crate) struct Meter {
    left: Cell<u64>,
    most: u64,
}

impl Meter {
    /// A meter of these limits.
    pub fn new(limits: &Limits) -> Self {
        Self { left: Cell::new(limits.max_total_bytes), most: limits.max_total_bytes }
    }

    /// Asks for one decoded message.
    pub fn message(&self) -> Result<()> {
        self.bytes(MESSAGE_COST)
    }

    /// Asks for `bytes` of decoded data.
    pub fn bytes(&self, bytes: u64) -> Result<()> {
        let left = self.left.get().checked_sub(bytes).ok_or_else(|| {
            ImportError::limits("the decoded model would be over the limit `max_total_bytes`")
                .expected(format!("at most {} bytes", self.most))
                .help("raise `Limits::max_total_bytes` if the model is trusted")
        })?;
        self.left.set(left);
        Ok(())
    }
}

/// A message, or other length-delimited content: a range of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    /// Offset of the first byte in the file.
    start: usize,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    /// Field number of the schema.
    pub number: u64,
    wire: Wire<'a>,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Message<'a>),
    Fixed32(u32),
}

impl<'a> Message<'a> {
    /// A whole file.
    pub fn file(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0 }
    }

    /// The content as it is.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The content as text.
    pub fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes)
            .map_err(|_| ImportError::format("a name that is no UTF-8 text").at_offset(offset(self.start)))
    }

    /// The fields in the order of the file.
    pub fn fields(self) -> Fields<'a> {
        Fields { message: self, at: 0 }
    }

    /// The last field of this number (of several, protobuf takes the last).
    pub fn field(self, number: u64) -> Result<Option<Field<'a>>> {
        let mut found = None;
        for f in self.fields() {
            let f = f?;
            if f.number == number {
                found = Some(f);
            }
        }
        Ok(found)
    }

    /// Key and value of an entry of a map; what is absent is empty.
    pub fn entry(self) -> Result<(&'a str, Message<'a>)> {
        let (mut key, mut value) = ("", Message::default());
        for f in self.fields() {
            let f = f?;
            match f.number {
                1 => key = f.text()?,
                2 => value = f.message()?,
                _ => {}
            }
        }
        Ok((key, value))
    }
}

/// See [`Message::fields`].
pub(crate) struct Fields<'a> {
    message: Message<'a>,
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.bytes.len() {
            return None;
        }
        let start = self.at;
        let field = self.read(start).map_err(|e| e.at_offset(offset(self.message.start.saturating_add(start))));
        if field.is_err() {
            self.at = self.message.bytes.len();
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self, start: usize) -> Result<Field<'a>> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(ImportError::format("not a protobuf field")
                .expected("a field number from 1 to 536870911")
                .found(number));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let begin = self.at;
                let bytes = usize::try_from(length).ok().and_then(|n| self.take(n)).ok_or_else(|| {
                    ImportError::format("a field is longer than the message it is in (is the file truncated?)")
                        .expected(format!("at most {} bytes", self.message.bytes.len().saturating_sub(begin)))
                        .found(length)
                })?;
                Wire::Bytes(Message { bytes, start: self.message.start.saturating_add(begin) })
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                return Err(ImportError::format("a wire type that is never used")
                    .expected("0, 1, 2 or 5 (groups are not allowed)")
                    .found(other));
            }
        };
        Ok(Field { number, wire, at: self.message.start.saturating_add(start) })
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let part = self.message.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let part = self.take(N).and_then(|p| p.try_into().ok());
        part.ok_or_else(|| ImportError::format("a number is cut off (is the file truncated?)"))
    }

    fn varint(&mut self) -> Result<u64> {
        let (value, length) = varint(self.message.bytes.get(self.at..).unwrap_or_default())?;
        self.at = self.at.saturating_add(length);
        Ok(value)
    }
}

/// A number in groups of seven bits, lowest first, and the bytes it takes.
pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << i.saturating_mul(7);
        if byte & 0x80 == 0 {
            return Ok((value, i.saturating_add(1)));
        }
    }
    Err(if bytes.len() < 10 {
        ImportError::format("a number is cut off (is the file truncated?)")
    } else {
        ImportError::format("a number is longer than 64 bits")
    })
}

impl<'a> Field<'a> {
    fn wrong(&self, expected: &str) -> ImportError {
        let found = match self.wire {
            Wire::Varint(_) => "a number",
            Wire::Fixed32(_) => "four bytes",
            Wire::Fixed64(_) => "eight bytes",
            Wire::Bytes(_) => "a message or text",
        };
        ImportError::format(format!("field {} has another kind than the schema says", self.number))
            .expected(expected)
            .found(found)
            .at_offset(offset(self.at))
    }

    /// A number of up to 64 bits.
    pub fn unsigned(&self) -> Result<u64> {
        match self.wire {
            Wire::Varint(x) => Ok(x),
            _ => Err(self.wrong("a number")),
        }
    }

    /// A signed number.
    pub fn int(&self) -> Result<i64> {
        self.unsigned().map(|x| x as i64)
    }

    /// A signed number of 32 bits, as enums are; what is larger is no known value and becomes -1.
    pub fn int32(&self) -> Result<i32> {
        self.int().map(|x| i32::try_from(x).unwrap_or(-1))
    }

    /// A truth value.
    pub fn flag(&self) -> Result<bool> {
        self.unsigned().map(|x| x != 0)
    }

    /// Four bytes.
    pub fn fixed32(&self) -> Result<u32> {
        match self.wire {
            Wire::Fixed32(x) => Ok(x),
            _ => Err(self.wrong("four bytes")),
        }
    }

    /// A float.
    pub fn float(&self) -> Result<f32> {
        self.fixed32().map(f32::from_bits)
    }

    /// A message.
    pub fn message(&self) -> Result<Message<'a>> {
        match self.wire {
            Wire::Bytes(m) => Ok(m),
            _ => Err(self.wrong("a message or text")),
        }
    }

    /// Bytes.
    pub fn bytes(&self) -> Result<&'a [u8]> {
        self.message().map(Message::bytes)
    }

    /// Text.
    pub fn text(&self) -> Result<&'a str> {
        self.message()?.text()
    }

    /// Adds a number, or all numbers of a packed list.
    pub fn unsigneds(&self, into: &mut Vec<u64>, meter: &Meter) -> Result<()> {
        match self.wire {
            Wire::Varint(x) => into.push(x),
            Wire::Bytes(m) => {
                // Each byte may become a number.
                meter.bytes(offset(m.bytes.len()).saturating_mul(8))?;
                let mut at = 0usize;
                while let Some(rest) = m.bytes.get(at..).filter(|r| !r.is_empty()) {
                    let (value, length) = varint(rest).map_err(|e| e.at_offset(offset(m.start.saturating_add(at))))?;
                    into.push(value);
                    at = at.saturating_add(length);
                }
            }
            _ => return Err(self.wrong("numbers")),
        }
        Ok(())
    }

    /// Adds four bytes, or all of a packed list.
    pub fn fixed32s(&self, into: &mut Vec<u32>, meter: &Meter) -> Result<()> {
        match self.wire {
            Wire::Fixed32(x) => into.push(x),
            Wire::Bytes(m) => {
                meter.bytes(offset(m.bytes.len()))?;
                let (whole, rest) = m.bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(self.wrong("a whole number of four-byte numbers"));
                }
                into.extend(whole.iter().map(|c| u32::from_le_bytes(*c)));
            }
            _ => return Err(self.wrong("four-byte numbers")),
        }
        Ok(())
    }

    /// Adds eight bytes, or all of a packed list.
    pub fn fixed64s(&self, into: &mut Vec<u64>, meter: &Meter) -> Result<()> {
        match self.wire {
            Wire::Fixed64(x) => into.push(x),
            Wire::Bytes(m) => {
                meter.bytes(offset(m.bytes.len()))?;
                let (whole, rest) = m.bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.wrong("a whole number of eight-byte numbers"));
                }
                into.extend(whole.iter().map(|c| u64::from_le_bytes(*c)));
            }
            _ => return Err(self.wrong("eight-byte numbers")),
        }
        Ok(())
    }
}

fn offset(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn all(bytes: &[u8]) -> Result<Vec<Field<'_>>> {
        Message::file(bytes).fields().collect()
    }

    #[test]
    fn each_broken_rule_is_told_with_its_offset() {
        let rows: &[(&[u8], &str, u64)] = &[
            (b"\x08", "cut off", 0),
            (b"\x08\x80", "cut off", 0),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "longer than 64 bits", 0),
            (b"\x08\x01\x00\x00", "not a protobuf field", 2),
            (b"\x08\x01\x0b", "wire type", 2),
            (b"\x3a\x05\x0a", "longer than the message", 0),
            (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than the message", 0),
            (b"\x09\x00\x00", "cut off", 0),
            (b"\x0d\x00\x00", "cut off", 0),
        ];
        for (bytes, text, at) in rows {
            let error = all(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{bytes:02x?}");
            assert!(error.to_string().contains(text), "{bytes:02x?}: {error}");
            assert_eq!(error.location().offset, Some(*at), "{bytes:02x?}: {error}");
        }
    }

    #[test]
    fn offsets_of_inner_messages_are_those_of_the_file() {
        let inner = Message::file(b"\x08\x01\x12\x02\x08\x80").field(2).unwrap().unwrap().message().unwrap();
        assert_eq!(inner.fields().next().unwrap().unwrap_err().location().offset, Some(4));
    }

    #[test]
    fn lists_may_be_packed_or_not_and_ask_the_meter() {
        let meter = Meter::new(&Limits { max_total_bytes: 100, ..Limits::default() });
        let mut list = Vec::new();
        for f in all(b"\x0a\x03\x01\x80\x01\x08\x05").unwrap() {
            f.unsigneds(&mut list, &meter).unwrap();
        }
        assert_eq!(list, [1, 128, 5]);
        let mut long = vec![0x0a, 100];
        long.extend([1; 100]);
        let error = all(&long).unwrap()[0].unsigneds(&mut list, &meter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limits);
    }

    #[test]
    fn a_field_of_another_kind_is_refused() {
        let fields = all(b"\x08\x01\x15\0\0\x80\x3f").unwrap();
        assert!(fields[0].text().is_err() && fields[0].float().is_err());
        assert!(fields[1].int().is_err());
        assert_eq!(fields[1].float().unwrap(), 1.0);
    }
}
