//! The `.npy` format: a magic number, a Python dictionary of type, order and shape, then the elements.
//!
//! Any byte order and either element order is read; half floats and truth values too. bfloat16, which numpy has no name for, is written
//! as f32.

use crate::failure::Failure;
use pocketnn::{DType, Tensor, checked_bytes};

/// First bytes of every `.npy` file.
pub const MAGIC: &[u8] = b"\x93NUMPY";
/// Largest header that is read, in bytes.
const MAX_HEADER: usize = 1 << 16;
/// Most dimensions that are read; numpy allows 64.
const MAX_RANK: usize = 64;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    dtype: DType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Reads the bytes of a file.
///
/// # Errors
/// When they are not a `.npy` file of numbers, or more or fewer than the header says.
pub fn read(bytes: &[u8]) -> Result<Tensor, Failure> {
    let (header, start) = split(bytes)?;
    let h = parse(header)?;
    let size = checked_bytes(h.dtype, &h.shape)?;
    let data = &bytes[start..];
    if data.len() != size {
        return Err(bad(format!(
            "expected {size} bytes of elements for {} {:?}, found {}",
            h.dtype,
            h.shape,
            data.len()
        )));
    }
    let mut owned;
    let mut data = data;
    if h.big_endian && h.dtype.size() > 1 {
        owned = data.to_vec();
        owned.chunks_exact_mut(h.dtype.size()).for_each(<[u8]>::reverse);
        data = &owned;
    }
    if h.fortran_order && h.shape.len() > 1 {
        owned = row_major(data, &h.shape, h.dtype.size());
        data = &owned;
    }
    Ok(Tensor::from_bytes(h.dtype, &h.shape, data)?)
}

fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("not a readable .npy array: {message}"))
}

/// The header's text and where the elements begin.
fn split(bytes: &[u8]) -> Result<(&str, usize), Failure> {
    let short = || bad("the header is cut off");
    if !bytes.starts_with(MAGIC) {
        return Err(bad("it does not begin with \\x93NUMPY"));
    }
    let major = *bytes.get(6).ok_or_else(short)?;
    let (length, start) = match major {
        1 => (bytes.get(8..10).and_then(|b| b.try_into().ok()).map(|b| u16::from_le_bytes(b) as usize), 10),
        2 | 3 => (bytes.get(8..12).and_then(|b| b.try_into().ok()).map(|b| u32::from_le_bytes(b) as usize), 12),
        v => return Err(bad(format!("expected format version 1, 2 or 3, found {v}"))),
    };
    let length = length.ok_or_else(short)?;
    if length > MAX_HEADER {
        return Err(bad(format!("the header has {length} bytes, at most {MAX_HEADER} are read")));
    }
    let text = bytes.get(start..start + length).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| bad("the header is not text"))?;
    Ok((text, start + length))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse(text: &str) -> Result<Header, Failure> {
    let mut p = Parser { rest: text.trim() };
    p.expect("{")?;
    let (mut descr, mut order, mut shape) = (None, None, None);
    while !p.take("}") {
        let key = p.string()?;
        p.expect(":")?;
        match key {
            "descr" => descr = Some(p.string()?),
            "fortran_order" if p.take("True") => order = Some(true),
            "fortran_order" if p.take("False") => order = Some(false),
            "shape" => shape = Some(p.shape()?),
            _ => return Err(bad(format!("unexpected header field or value `{key}`"))),
        }
        if !p.take(",") {
            p.expect("}")?;
            break;
        }
    }
    let missing = |what: &str| bad(format!("the header has no `{what}`"));
    let (dtype, big_endian) = element(descr.ok_or_else(|| missing("descr"))?)?;
    let fortran_order = order.ok_or_else(|| missing("fortran_order"))?;
    Ok(Header { dtype, big_endian, fortran_order, shape: shape.ok_or_else(|| missing("shape"))? })
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        let found = rest.strip_prefix(token);
        self.rest = found.unwrap_or(rest);
        found.is_some()
    }
    fn expect(&mut self, token: &str) -> Result<(), Failure> {
        if self.take(token) {
            Ok(())
        } else {
            Err(bad(format!("expected `{token}` in the header before `{}`", clip(self.rest))))
        }
    }
    fn string(&mut self) -> Result<&'a str, Failure> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let found = quote.and_then(|q| rest[1..].split_once(q));
        let (text, rest) =
            found.ok_or_else(|| bad(format!("expected a string in the header, found `{}`", clip(rest))))?;
        self.rest = rest;
        Ok(text)
    }
    fn shape(&mut self) -> Result<Vec<usize>, Failure> {
        self.expect("(")?;
        let mut shape = Vec::new();
        while !self.take(")") {
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let number: usize = self.rest[..end].parse().map_err(|_| bad("a dimension is not a number that fits"))?;
            shape.push(number);
            self.rest = &self.rest[end..];
            // Python 2 wrote long integers with an L.
            self.take("L");
            if shape.len() > MAX_RANK {
                return Err(bad(format!("more than {MAX_RANK} dimensions")));
            }
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

fn clip(text: &str) -> String {
    text.chars().take(16).collect()
}

/// The type of a numpy type string, and whether its bytes are reversed.
fn element(descr: &str) -> Result<(DType, bool), Failure> {
    let (order, kind) = match descr.as_bytes().first() {
        Some(b'<' | b'|' | b'=') => (false, &descr[1..]),
        Some(b'>') => (true, &descr[1..]),
        _ => (false, descr),
    };
    let found = DType::ALL.iter().copied().find(|d| d.numpy() == kind && *d != DType::BF16);
    found.map(|d| (d, order)).ok_or_else(|| {
        bad(format!(
            "element type `{descr}` is none of {}",
            DType::ALL.iter().map(|d| d.name()).collect::<Vec<_>>().join(" ")
        ))
    })
}

/// Elements of first-index-fastest order in last-index-fastest order.
fn row_major(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = vec![1usize; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut index = vec![0usize; shape.len()];
    let mut out = Vec::with_capacity(data.len());
    while out.len() < data.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend_from_slice(&data[at * size..(at + 1) * size]);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            if index[d] < shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
    out
}

/// The bytes of a file: version 1, little-endian, row-major, elements on a multiple of 64.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let floats = (tensor.dtype() == DType::BF16).then(|| tensor.to_f32());
    let dtype = if floats.is_some() { DType::F32 } else { tensor.dtype() };
    let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let mut header = format!(
        "{{'descr': '{order}{}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        dtype.numpy(),
        dims.join(", ")
    );
    let total = (10 + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', total - 10 - header.len() - 1));
    header.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    match floats {
        Some(x) => x.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
        None => out.extend_from_slice(tensor.bytes()),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend_from_slice(&(header.len() as u16).to_le_bytes());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        for &dtype in DType::ALL.iter().filter(|d| **d != DType::BF16 && d.is_plain()) {
            for shape in [&[][..], &[3], &[0, 4], &[2, 1, 5]] {
                let n = shape.iter().product::<usize>() * dtype.size();
                let bytes: Vec<u8> =
                    (0..n).map(|i| if dtype == DType::Bool { (i % 2) as u8 } else { i as u8 }).collect();
                let t = Tensor::from_bytes(dtype, shape, &bytes).unwrap();
                let written = write(&t);
                assert_eq!((written.len() - n) % 64, 0);
                assert!(read(&written).unwrap().same_bits(&t), "{dtype} {shape:?}");
            }
        }
        let half = Tensor::from_bytes(DType::BF16, &[1], &[0x80, 0x3f]).unwrap();
        assert_eq!(read(&write(&half)).unwrap(), Tensor::vector(&[1.0f32]));
    }

    #[test]
    fn byte_and_element_order_are_converted() {
        let t = read(&file(
            "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3)}",
            &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 1, 6],
        ))
        .unwrap();
        assert_eq!(t, Tensor::new(&[2, 3], vec![1i16, 2, 3, 4, 5, 262]).unwrap());
    }

    #[test]
    fn hostile_headers_are_errors() {
        let wrong = [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }",
            "{'descr': '<f4', 'fortran_order': 1, 'shape': (), }",
            "{'descr': '<f4', 'shape': (), }",
            "{'descr': '<f4'",
            "{'descr': '",
            "{",
            "",
            "{'descr': 'é', 'fortran_order': False, 'shape': (), }",
        ];
        for header in wrong {
            assert!(read(&file(header, &[0; 4])).is_err(), "{header}");
        }
        let good = write(&Tensor::vector(&[1.0f32, 2.0]));
        for n in 0..good.len() {
            assert!(read(&good[..n]).is_err(), "cut at {n}");
        }
        for i in 0..good.len() {
            for bit in 0..8 {
                let mut changed = good.clone();
                changed[i] ^= 1 << bit;
                // Either an error or another array; never a panic.
                let _ = read(&changed);
            }
        }
    }
}
