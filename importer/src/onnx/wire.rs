//! A bounded check of the protobuf wire format, before anything decodes.
//!
//! The decoder behind [`super::proto`] recurses as deep as the file tells it to (RUSTSEC-2024-0437) and allocates as it goes. So
//! the bytes are walked once here, without recursion and without an allocation sized by the file: every length must lie inside
//! its message, groups (long deprecated, never part of ONNX) are refused, nesting and counts are bounded, and a generous estimate
//! of what the decoded model will occupy must fit [`Limits::max_total_bytes`].
//!
//! The walk knows which fields of which message are messages themselves: only those make the decoder recurse.

use crate::error::{ImportError, Result};
use crate::limits::Limits;

/// Bytes charged for one decoded message, an upper bound of the size of the decoder's structs.
const MESSAGE_COST: u64 = 512;
/// Bytes charged for one decoded string or number in a list besides its content.
const ITEM_COST: u64 = 32;
/// Messages admitted for each node of [`Limits::max_nodes`].
const MESSAGES_A_NODE: u64 = 32;

/// The messages of `onnx.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TypeOfTensor,
    TypeOfElements,
    TypeOfMap,
    Shape,
    Dimension,
    Function,
    Training,
    Annotation,
    Entry,
    Segment,
    OperatorSet,
    /// `SequenceProto` and `OptionalProto`, whose fields have the same numbers.
    Values,
}

/// What a length-delimited field holds.
enum Content {
    Message(Message),
    /// Numbers one after the other: each byte may become a number.
    Packed,
    /// Text or bytes.
    Bytes,
}

#[allow(clippy::unnested_or_patterns, clippy::enum_glob_use, reason = "one line a field reads as the schema does")]
/// The content of field `number` of `message`; fields that are not known are kept by the decoder as bytes.
fn content(message: Message, number: u64) -> Content {
    use Message::*;
    let inner = match (message, number) {
        (Model, 7) | (Attribute, 6 | 11) | (Training, 1 | 2) => Graph,
        (Model, 8) | (Function, 9) => OperatorSet,
        (Model, 14)
        | (Graph, 16)
        | (Node, 9)
        | (Tensor, 13 | 16)
        | (ValueInfo, 4)
        | (Function, 14)
        | (Annotation, 2)
        | (Training, 3 | 4) => Entry,
        (Model, 20) => Training,
        (Model, 25) => Function,
        (Graph, 1) | (Function, 7) => Node,
        (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => Tensor,
        (Graph, 11..=13) | (Function, 12) => ValueInfo,
        (Graph, 14) => Annotation,
        (Graph, 15) | (Attribute, 22 | 23) => SparseTensor,
        (Node, 5) | (Function, 11) => Attribute,
        (Attribute, 14 | 15) | (ValueInfo, 2) | (TypeOfElements, 1) | (TypeOfMap, 2) => Type,
        (Type, 1 | 8) => TypeOfTensor,
        (Type, 4 | 9) => TypeOfElements,
        (Type, 5) => TypeOfMap,
        (TypeOfTensor, 2) => Shape,
        (Shape, 1) => Dimension,
        (Tensor, 3) => Segment,
        (Values, 3) => Tensor,
        (Values, 4) => SparseTensor,
        (Values, 5 | 7) => Values,
        (Attribute, 7 | 8) | (Tensor, 1 | 4 | 5 | 7 | 10 | 11) | (SparseTensor, 3) => return Content::Packed,
        _ => return Content::Bytes,
    };
    Content::Message(inner)
}

/// Checks that `bytes` are one message of kind `root` that may be decoded.
///
/// # Errors
/// `Format` with the byte offset where the bytes are not protobuf, `Limits` where decoding would cost too much.
pub(super) fn check(bytes: &[u8], root: Message, limits: &Limits) -> Result<()> {
    let mut walk = Walk { bytes, at: 0, limits, messages: 0, nodes: 0, cost: 0 };
    walk.run(root).map_err(|e| e.at_offset(u64::try_from(walk.at).unwrap_or(u64::MAX)))
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    messages: u64,
    nodes: u64,
    cost: u64,
}

impl Walk<'_> {
    fn run(&mut self, root: Message) -> Result<()> {
        let mut open = vec![(root, self.bytes.len())];
        while let Some(&(message, end)) = open.last() {
            if self.at == end {
                open.pop();
                continue;
            }
            let start = self.at;
            let tag = self.varint(end)?;
            let number = tag >> 3;
            if number == 0 || number > (1 << 29) - 1 {
                self.at = start;
                return Err(ImportError::format("not a protobuf field")
                    .expected("a field number from 1 to 536870911")
                    .found(number));
            }
            match tag & 7 {
                0 => {
                    self.varint(end)?;
                    self.charge(ITEM_COST)?;
                }
                1 => self.skip(8, end)?,
                2 => {
                    if let Some(inner) = self.delimited(message, number, end)? {
                        let depth = u32::try_from(open.len()).unwrap_or(u32::MAX);
                        if depth > self.limits.max_depth {
                            return Err(ImportError::limits("messages nested too deeply")
                                .expected(format!("at most {} levels", self.limits.max_depth))
                                .help("raise `Limits::max_depth` if the model is trusted"));
                        }
                        open.push(inner);
                    }
                }
                5 => self.skip(4, end)?,
                wire => {
                    self.at = start;
                    return Err(ImportError::format("a wire type that ONNX never uses")
                        .expected("0, 1, 2 or 5 (groups are not allowed)")
                        .found(wire));
                }
            }
        }
        Ok(())
    }

    /// A length-delimited field: the message to descend into, or `None` when its bytes were passed over.
    fn delimited(&mut self, message: Message, number: u64, end: usize) -> Result<Option<(Message, usize)>> {
        let start = self.at;
        let length = self.varint(end)?;
        let stop = usize::try_from(length).ok().and_then(|n| self.at.checked_add(n)).filter(|&s| s <= end);
        let Some(stop) = stop else {
            self.at = start;
            let left = end.saturating_sub(start);
            return Err(ImportError::format("a field is longer than the message it is in (is the file truncated?)")
                .expected(format!("at most {left} bytes"))
                .found(length));
        };
        match content(message, number) {
            Content::Message(inner) => {
                self.count(inner)?;
                return Ok(Some((inner, stop)));
            }
            Content::Packed => self.charge(length.saturating_mul(8).saturating_add(ITEM_COST))?,
            Content::Bytes => self.charge(length.saturating_add(ITEM_COST))?,
        }
        self.at = stop;
        Ok(None)
    }

    fn count(&mut self, message: Message) -> Result<()> {
        self.messages = self.messages.saturating_add(1);
        let most = self.limits.max_nodes.saturating_mul(MESSAGES_A_NODE);
        if self.messages > most {
            return Err(ImportError::limits("too many messages")
                .expected(format!("at most {most}, {MESSAGES_A_NODE} for each node of `max_nodes`"))
                .help("raise `Limits::max_nodes` if the model is trusted"));
        }
        if message == Message::Node {
            self.nodes = self.nodes.saturating_add(1);
            if self.nodes > self.limits.max_nodes {
                return Err(ImportError::limits("nodes of the graph over the limit `max_nodes`")
                    .expected(format!("at most {}", self.limits.max_nodes))
                    .help("raise `Limits::max_nodes` if the model is trusted"));
            }
        }
        self.charge(MESSAGE_COST)
    }

    fn charge(&mut self, bytes: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(bytes);
        if self.cost <= self.limits.max_total_bytes {
            return Ok(());
        }
        Err(ImportError::limits("the decoded model would be over the limit `max_total_bytes`")
            .expected(format!("at most {} bytes", self.limits.max_total_bytes))
            .help("raise `Limits::max_total_bytes` if the model is trusted"))
    }

    fn skip(&mut self, bytes: usize, end: usize) -> Result<()> {
        let stop = self.at.checked_add(bytes).filter(|&s| s <= end);
        self.at = stop.ok_or_else(|| {
            ImportError::format("a number is cut off (is the file truncated?)")
                .expected(format!("{bytes} bytes"))
                .found(end.saturating_sub(self.at))
        })?;
        self.charge(ITEM_COST)
    }

    fn varint(&mut self, end: usize) -> Result<u64> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.bytes.get(self.at).copied().filter(|_| self.at < end);
            let Some(byte) = byte else {
                self.at = start;
                return Err(ImportError::format("a number is cut off (is the file truncated?)"));
            };
            self.at = self.at.saturating_add(1);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.at = start;
        Err(ImportError::format("a number is longer than 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn refused(bytes: &[u8]) -> ImportError {
        check(bytes, Message::Model, &Limits::small()).unwrap_err()
    }

    #[test]
    fn each_broken_rule_is_told_with_its_offset() {
        let rows: &[(&[u8], ErrorKind, &str, u64)] = &[
            (b"\x08", ErrorKind::Format, "cut off", 1),
            (b"\x08\x80", ErrorKind::Format, "cut off", 1),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", ErrorKind::Format, "longer than 64 bits", 1),
            (b"\x00\x00", ErrorKind::Format, "not a protobuf field", 0),
            (b"\x08\x01\x0b", ErrorKind::Format, "groups", 2),
            (b"\x0f\x01", ErrorKind::Format, "wire type", 0),
            (b"\x3a\x05\x0a", ErrorKind::Format, "longer than the message", 1),
            (b"\x3a\x02\x0a\x7f", ErrorKind::Format, "longer than the message", 3),
            (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrorKind::Format, "longer than the message", 1),
            (b"\x09\x00\x00", ErrorKind::Format, "cut off", 1),
            (b"\x0d\x00\x00", ErrorKind::Format, "cut off", 1),
        ];
        for (bytes, kind, text, offset) in rows {
            let error = refused(bytes);
            assert_eq!(error.kind(), *kind, "{bytes:02x?}: {error}");
            assert!(error.to_string().contains(text), "{bytes:02x?}: {error}");
            assert_eq!(error.location().offset, Some(*offset), "{bytes:02x?}: {error}");
        }
    }

    /// A graph in an attribute in a node in a graph ...
    fn nested(levels: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let wrap = |tag: u8, inner: Vec<u8>| {
            let mut out = vec![tag];
            let mut n = inner.len();
            while n > 0x7f {
                out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
                n >>= 7;
            }
            out.push(u8::try_from(n).unwrap());
            out.extend(inner);
            out
        };
        for _ in 0..levels {
            bytes = wrap(0x0a, wrap(0x2a, wrap(0x32, bytes)));
        }
        wrap(0x3a, bytes)
    }

    #[test]
    fn depth_is_bounded() {
        assert!(check(&nested(9), Message::Model, &Limits::small()).is_ok());
        let error = refused(&nested(100_000 / 3));
        assert_eq!(error.kind(), ErrorKind::Limits);
        assert!(error.to_string().contains("nested"), "{error}");
    }

    #[test]
    fn many_small_messages_are_refused_before_they_are_decoded() {
        let inner = b"\x0a\x00".repeat(20_001);
        let mut bytes = vec![0x3a];
        bytes.extend([0xc2, 0xb8, 0x02]);
        bytes.extend(inner);
        let error = refused(&bytes);
        assert_eq!(error.kind(), ErrorKind::Limits);
        assert!(error.to_string().contains("max_nodes"), "{error}");
        let imports = b"\x42\x00".repeat(1_000_000);
        assert_eq!(refused(&imports).kind(), ErrorKind::Limits);
        let limits = Limits { max_total_bytes: 1000, ..Limits::small() };
        let names = b"\x12\x00".repeat(100);
        assert_eq!(check(&names, Message::Model, &limits).unwrap_err().kind(), ErrorKind::Limits);
    }

    #[test]
    fn an_empty_file_and_unknown_fields_are_fine_here() {
        assert!(check(b"", Message::Model, &Limits::small()).is_ok());
        assert!(check(b"\xf2\x07\x03\x0b\x0b\x0b", Message::Model, &Limits::small()).is_ok());
    }
}
