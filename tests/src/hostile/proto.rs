//! Protobuf messages as trees without a schema, so that a mutant keeps the lengths around what it changes.

use super::mutate::Leaf;
use crate::support::Rng;

/// Deeper content stays bytes.
const MOST_DEPTH: usize = 24;

/// A field with its content.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its number in the schema.
    pub number: u64,
    /// Its content.
    pub value: Value,
}

/// Content of a field.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Varint(u64),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Text, or what is no message.
    Bytes(Vec<u8>),
    /// What reads as a message.
    Message(Vec<Field>),
}

/// Reads a message; nothing where the bytes are none.
pub fn parse(bytes: &[u8]) -> Option<Vec<Field>> {
    message(bytes, 0)
}

fn message(mut rest: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => Value::Fixed64(take(&mut rest, 8)?.try_into().ok()?),
            2 => {
                let n = usize::try_from(varint(&mut rest)?).ok()?;
                content(take(&mut rest, n)?, depth + 1)
            }
            5 => Value::Fixed32(take(&mut rest, 4)?.try_into().ok()?),
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push(Field { number: tag >> 3, value });
    }
    Some(fields)
}

fn content(bytes: &[u8], depth: usize) -> Value {
    let text = bytes.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    let inner = if text || depth > MOST_DEPTH { None } else { message(bytes, depth) };
    inner.map_or_else(|| Value::Bytes(bytes.to_vec()), Value::Message)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (part, after) = rest.split_at_checked(n)?;
    *rest = after;
    Some(part)
}

/// A number in groups of seven bits, lowest first.
pub fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Adds a number in groups of seven bits.
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The bytes of a message.
pub fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for f in fields {
        let wire = match f.value {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) | Value::Message(_) => 2,
            Value::Fixed32(_) => 5,
        };
        put_varint(&mut out, f.number << 3 | wire);
        match &f.value {
            Value::Varint(n) => put_varint(&mut out, *n),
            Value::Fixed32(b) => out.extend(b),
            Value::Fixed64(b) => out.extend(b),
            Value::Bytes(b) => {
                put_varint(&mut out, b.len() as u64);
                out.extend(b);
            }
            Value::Message(inner) => {
                let inner = write(inner);
                put_varint(&mut out, inner.len() as u64);
                out.extend(inner);
            }
        }
    }
    out
}

fn count(fields: &[Field]) -> usize {
    fields.iter().map(|f| 1 + if let Value::Message(inner) = &f.value { count(inner) } else { 0 }).sum()
}

/// The list that holds field `n` in the order of the file, and its place in it.
fn find<'a>(fields: &'a mut Vec<Field>, n: &mut usize) -> Option<(&'a mut Vec<Field>, usize)> {
    for i in 0..fields.len() {
        if *n == 0 {
            return Some((fields, i));
        }
        *n -= 1;
        let inner = if let Value::Message(inner) = &fields[i].value { count(inner) } else { 0 };
        if *n < inner {
            let Value::Message(inner) = &mut fields[i].value else { return None };
            return find(inner, n);
        }
        *n -= inner;
    }
    None
}

/// Changes one to four fields.
pub fn mutate(fields: &mut Vec<Field>, rng: &mut Rng, leaf: Leaf<'_>) {
    for _ in 0..rng.range(1, 4) {
        let all = count(fields);
        let other = find(fields, &mut rng.below(all)).map(|(list, i)| list[i].clone());
        let Some((list, i)) = find(fields, &mut rng.below(all)) else { return };
        match rng.below(8) {
            0 => drop(list.remove(i)),
            1 => {
                let copy = list[i].clone();
                list.insert(i, copy);
            }
            2 => {
                let to = rng.below(list.len());
                list.swap(i, to);
            }
            3 => list.extend(other),
            4 => {
                // Content of the same kind from elsewhere: a name, an operator, a tensor.
                if let Some(other) = other
                    && std::mem::discriminant(&other.value) == std::mem::discriminant(&list[i].value)
                {
                    list[i].value = other.value;
                }
            }
            _ => value(&mut list[i].value, rng, leaf),
        }
    }
}

fn value(value: &mut Value, rng: &mut Rng, leaf: Leaf<'_>) {
    match value {
        Value::Varint(n) => {
            *n = match rng.below(6) {
                0 => rng.pick(&[0, 1, 2, 7, 127, 1 << 20, 1 << 31, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX]),
                1 => n.wrapping_neg(),
                2 => n.wrapping_mul(2),
                3 => rng.below(32) as u64,
                4 => n.wrapping_add(1),
                _ => n.wrapping_sub(1),
            }
        }
        Value::Fixed32(b) => *b = (rng.bits() as u32).to_le_bytes(),
        Value::Fixed64(b) => *b = rng.bits().to_le_bytes(),
        Value::Bytes(b) => leaf(b),
        Value::Message(inner) => {
            let mut bytes = write(inner);
            leaf(&mut bytes);
            *value = content(&bytes, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_comes_back_as_it_was() {
        let bytes = include_bytes!("../../../importer/tests/data/tensorflow1/saved_model.pb");
        let fields = parse(bytes).unwrap();
        assert_eq!(write(&fields), bytes);
        assert!(count(&fields) > 500);
    }
}
