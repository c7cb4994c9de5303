//! numpy archives: named arrays in a zip of `.npy` files.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use pocketnn::{DType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Named arrays in the order of the file.
pub type Arrays = Vec<(String, Tensor)>;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an archive.
///
/// # Errors
/// When the file cannot be read or an array is of a kind that is not a tensor's.
pub fn read(path: &Path) -> Result<Arrays, String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut arrays = Vec::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.trim_end_matches(".npy").to_string();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(|e| format!("{name}: {e}"))?;
        arrays.push((name.clone(), parse(&data).map_err(|e| format!("{name}: {e}"))?));
    }
    Ok(arrays)
}

/// Writes an archive.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, arrays: &[(String, Tensor)]) -> Result<(), String> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, tensor) in arrays {
        zip.start_file(format!("{name}.npy"), options).map_err(|e| e.to_string())?;
        zip.write_all(&bytes(tensor)).map_err(|e| e.to_string())?;
    }
    let data = zip.finish().map_err(|e| e.to_string())?.into_inner();
    fs::write(path, data).map_err(|e| format!("{}: {e}", path.display()))
}

/// One `.npy` array. bfloat16, which numpy lacks, is written as f32.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let float = pocketnn::ops::elementwise::cast(tensor, DType::F32);
    let tensor = match (tensor.dtype(), &float) {
        (DType::BF16, Ok(f)) => f,
        _ => tensor,
    };
    let shape: String = tensor.shape().iter().map(|d| format!("{d}, ")).collect();
    let order = if tensor.dtype().size() == 1 { '|' } else { '<' };
    let descr = tensor.dtype().numpy();
    let mut header = format!("{{'descr': '{order}{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut out = [MAGIC, &[1, 0]].concat();
    out.extend_from_slice(&(header.len() as u16).to_le_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(tensor.bytes());
    out
}

fn parse(data: &[u8]) -> Result<Tensor, String> {
    if !data.starts_with(MAGIC) || data.len() < 12 {
        return Err("not an .npy array".to_string());
    }
    let (length, start) = if data[6] == 1 {
        (usize::from(u16::from_le_bytes([data[8], data[9]])), 10)
    } else {
        (u32::from_le_bytes([data[8], data[9], data[10], data[11]]) as usize, 12)
    };
    let header = data.get(start..start + length).ok_or("short header")?;
    let header = std::str::from_utf8(header).map_err(|e| e.to_string())?;
    let field = |key: &str| header.split(&format!("'{key}':")).nth(1).map(str::trim_start).ok_or(format!("no {key}"));
    let descr: String = field("descr")?.trim_start_matches('\'').chars().take_while(|c| *c != '\'').collect();
    let shape: Vec<usize> = field("shape")?
        .trim_start_matches('(')
        .split(')')
        .next()
        .unwrap_or("")
        .split(',')
        .filter(|s| !s.trim().is_empty())
        .map(|s| s.trim().parse().map_err(|_| format!("shape in {header}")))
        .collect::<Result<_, _>>()?;
    let kind = descr.trim_start_matches(['<', '|', '=']);
    let dtype = DType::ALL.iter().copied().find(|d| d.numpy() == kind && *d != DType::BF16);
    let dtype = dtype.ok_or(format!("element type {descr}"))?;
    let body = data.get(start + length..).ok_or("short array")?;
    if field("fortran_order")?.starts_with("True") {
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        let tensor = Tensor::from_bytes(dtype, &reversed, body).map_err(|e| e.to_string())?;
        return transposed(&tensor).map_err(|e| e.to_string());
    }
    Tensor::from_bytes(dtype, &shape, body).map_err(|e| e.to_string())
}

fn transposed(tensor: &Tensor) -> pocketnn::Result<Tensor> {
    use pocketnn::ops::Evaluate;
    let op = pocketnn::ops::movement::Transpose::default();
    op.eval(&[Some(tensor)], 1)?.pop().ok_or_else(|| pocketnn::Error::graph("no output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_a_round_trip() {
        for tensor in [
            Tensor::new(&[2, 3], vec![1f32, 2., 3., 4., 5., 6.]).unwrap(),
            Tensor::scalar(7i64),
            Tensor::vector(&[true, false]),
            Tensor::new(&[0, 4], Vec::<u8>::new()).unwrap(),
        ] {
            assert_eq!(parse(&bytes(&tensor)).unwrap(), tensor);
        }
    }

    #[test]
    fn fortran_order_is_transposed() {
        let mut data = [MAGIC, &[1, 0]].concat();
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }\n";
        data.extend_from_slice(&(header.len() as u16).to_le_bytes());
        data.extend_from_slice(header.as_bytes());
        data.extend_from_slice(&[1, 2, 3, 4]);
        assert_eq!(parse(&data).unwrap(), Tensor::new(&[2, 2], vec![1u8, 3, 2, 4]).unwrap());
    }
}
