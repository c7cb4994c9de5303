//! The tables of the schema that an import needs, decoded. Numbers of fields are those of the schema (version 3, `schema.fbs`).

use pocketnn::{DType, Tensor};

use super::flat::{File, Table};
use super::names;
use crate::error::{ImportError, Result};
use crate::limits::{Budget, to_usize};
use crate::source::Source;

/// A whole model.
pub(super) struct Model<'a> {
    /// All the bytes, for data that lies outside the flatbuffer.
    source: Source<'a>,
    pub codes: Vec<Code>,
    pub graphs: Vec<Graph<'a>>,
    buffers: Vec<Buffer<'a>>,
    /// What the writer says about itself.
    pub description: Option<String>,
}

/// An operator that the model uses.
pub(super) struct Code {
    pub number: usize,
    /// Name of a custom operator.
    pub custom: Option<String>,
}

/// Number of `CUSTOM` in [`names::OPERATORS`].
const CUSTOM: usize = 32;
/// Operators from this number on are told by the wide field.
const WIDE: usize = 127;

impl Code {
    /// Name for tables and messages.
    pub fn name(&self) -> &str {
        match &self.custom {
            Some(custom) if self.number == CUSTOM => custom,
            _ => names::OPERATORS.get(self.number).copied().unwrap_or("(unknown)"),
        }
    }
    /// True for operators that are not part of the schema.
    pub fn is_custom(&self) -> bool {
        self.number == CUSTOM
    }
}

/// A graph: the model's, or the body of control flow.
pub(super) struct Graph<'a> {
    pub name: String,
    pub tensors: Vec<Info>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub nodes: Vec<Operator<'a>>,
}

/// What is declared about a tensor.
pub(super) struct Info {
    pub name: String,
    /// Number in [`names::TYPES`].
    pub kind: usize,
    /// The shape; an extent of -1 is decided by the caller.
    pub shape: Vec<i32>,
    pub buffer: usize,
    pub quant: Option<Quant>,
    pub variable: bool,
    /// Index into the list of buffers outside the file; 0 is none.
    pub external: u32,
    pub sparse: bool,
}

/// Quantization: `real = scale * (number - zero)`, for the whole tensor or for each index of `axis`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quant {
    pub scale: Vec<f32>,
    pub zero: Vec<i64>,
    pub axis: i32,
    /// Kept in a form that is not one scale a tensor or channel.
    pub other: bool,
}

impl Quant {
    /// The only scale and its zero point.
    pub fn whole(&self) -> Option<(f32, i64)> {
        match (self.scale.as_slice(), self.zero.as_slice()) {
            (&[s], &[]) => Some((s, 0)),
            (&[s], &[z]) => Some((s, z)),
            _ => None,
        }
    }
}

/// An operator applied to tensors; -1 is an absent one.
pub(super) struct Operator<'a> {
    pub code: usize,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub options: Option<Table<'a>>,
    /// The options of a custom operator, in a form of its own.
    pub custom: &'a [u8],
}

struct Buffer<'a> {
    inline: Option<&'a [u8]>,
    /// Of data behind the flatbuffer: from the start of the file.
    offset: u64,
    size: u64,
}

/// The types of tensors whose elements one of ours carries.
pub(super) fn dtype(kind: usize) -> Result<DType> {
    Ok(match names::TYPES.get(kind).copied() {
        Some("FLOAT32") => DType::F32,
        Some("FLOAT16") => DType::F16,
        Some("BFLOAT16") => DType::BF16,
        Some("FLOAT64") => DType::F64,
        Some("INT32") => DType::I32,
        Some("UINT8") => DType::U8,
        Some("INT64") => DType::I64,
        Some("BOOL") => DType::Bool,
        Some("INT16") => DType::I16,
        // Less than a byte: unpacked.
        Some("INT8" | "INT4" | "INT2") => DType::I8,
        Some("UINT4") => DType::U8,
        Some("UINT64") => DType::U64,
        Some("UINT32") => DType::U32,
        Some("UINT16") => DType::U16,
        other => {
            let found = other.map_or_else(|| format!("number {kind}"), str::to_owned);
            return Err(ImportError::unsupported("this element type is not supported").found(found));
        }
    })
}

/// Decodes the tables of a model.
///
/// # Errors
/// `Format` where an offset leaves the file, `Invalid` where a number names nothing, `Limits` where a budget would be passed.
pub(super) fn read<'a>(file: &'a File<'a>, source: Source<'a>, budget: &Budget) -> Result<Model<'a>> {
    if source.bytes().get(4..8) != Some(b"TFL3") {
        return Err(ImportError::format("not a TFLite model").expected("the identifier TFL3 at byte 4"));
    }
    let root = file.root()?;
    let version = root.scalar::<u32>(0, 0)?;
    if version != 3 {
        return Err(ImportError::unsupported("this version of the schema is not supported").expected(3).found(version));
    }
    let codes = root.tables(1)?.iter().map(code).collect::<Result<Vec<_>>>()?;
    let buffers = root.tables(4)?.iter().map(buffer).collect::<Result<Vec<_>>>()?;
    let tables = root.tables(2)?;
    budget.entries(u64::try_from(tables.len()).unwrap_or(u64::MAX), "graphs")?;
    let graphs = tables.iter().map(|t| graph(t, &codes, buffers.len(), budget)).collect::<Result<Vec<_>>>()?;
    if graphs.is_empty() {
        return Err(ImportError::format("the model holds no graph"));
    }
    Ok(Model { source, codes, graphs, buffers, description: root.text(3)?.filter(|d| !d.is_empty()) })
}

fn code(t: &Table) -> Result<Code> {
    let narrow = usize::try_from(t.scalar::<i8>(0, 0)?).unwrap_or(0);
    let wide = usize::try_from(t.scalar::<i32>(3, 0)?).unwrap_or(0);
    let number = if narrow == WIDE { wide } else { narrow.max(wide) };
    Ok(Code { number, custom: t.text(1)? })
}

fn buffer<'a>(t: &Table<'a>) -> Result<Buffer<'a>> {
    Ok(Buffer { inline: t.bytes(0)?, offset: t.scalar(1, 0)?, size: t.scalar(2, 0)? })
}

fn graph<'a>(t: &Table<'a>, codes: &[Code], buffers: usize, budget: &Budget) -> Result<Graph<'a>> {
    let name = t.text(4)?.unwrap_or_default();
    let tables = t.tables(0)?;
    budget.entries(u64::try_from(tables.len()).unwrap_or(u64::MAX), "tensors of a graph")?;
    let mut tensors = Vec::new();
    for (i, t) in tables.iter().enumerate() {
        let info = info(t)?;
        if info.buffer >= buffers.max(1) {
            return Err(ImportError::invalid("a tensor names a buffer that is not there")
                .expected(format!("a number below {buffers}"))
                .found(info.buffer)
                .at_node(format!("{} (tensor {i})", info.name)));
        }
        tensors.push(info);
    }
    let operators = t.tables(3)?;
    budget.nodes(u64::try_from(operators.len()).unwrap_or(u64::MAX))?;
    let count = tensors.len();
    let tensor = |list: &[i32], what: &str, absent: bool| -> Result<()> {
        let fits = |&i: &i32| usize::try_from(i).map_or(absent && i == -1, |i| i < count);
        match list.iter().find(|i| !fits(i)) {
            None => Ok(()),
            Some(i) => Err(ImportError::invalid(format!("{what} is not a tensor of the graph"))
                .expected(format!("a number below {count}"))
                .found(i)),
        }
    };
    let mut nodes = Vec::new();
    for (i, t) in operators.iter().enumerate() {
        let place = |e: ImportError| e.at_node(format!("operator {i}"));
        let node = operator(t).map_err(place)?;
        if node.code >= codes.len() {
            return Err(place(ImportError::invalid("its kind is not in the model's list").found(node.code)));
        }
        tensor(&node.inputs, "an input", true)
            .and_then(|()| tensor(&node.outputs, "an output", true))
            .map_err(place)?;
        nodes.push(node);
    }
    let (inputs, outputs) = (t.numbers(1)?.unwrap_or_default(), t.numbers(2)?.unwrap_or_default());
    tensor(&inputs, "an input of the graph", false)?;
    tensor(&outputs, "an output of the graph", false)?;
    Ok(Graph { name, tensors, inputs, outputs, nodes })
}

fn info(t: &Table) -> Result<Info> {
    let shape = match t.numbers::<i32>(7)? {
        Some(signature) if !signature.is_empty() => signature,
        _ => t.numbers::<i32>(0)?.unwrap_or_default(),
    };
    Ok(Info {
        name: t.text(3)?.unwrap_or_default(),
        kind: usize::try_from(t.scalar::<i8>(1, 0)?).unwrap_or(usize::MAX),
        shape,
        buffer: to_usize(t.scalar::<u32>(2, 0)?.into(), "a buffer's number")?,
        quant: t.table(4)?.map(|q| quant(&q)).transpose()?.flatten(),
        variable: t.flag(5, false)?,
        external: t.scalar(10, 0)?,
        sparse: t.table(6)?.is_some(),
    })
}

fn quant(t: &Table) -> Result<Option<Quant>> {
    let scale = t.numbers::<f32>(2)?.unwrap_or_default();
    let other = t.scalar::<u8>(4, 0)? != 0;
    if scale.is_empty() && !other {
        return Ok(None);
    }
    Ok(Some(Quant { scale, zero: t.numbers(3)?.unwrap_or_default(), axis: t.scalar(6, 0)?, other }))
}

fn operator<'a>(t: &Table<'a>) -> Result<Operator<'a>> {
    // The second kind of options holds what came after the first was full.
    let options = match t.table(4)? {
        Some(options) => Some(options),
        None => t.table(12)?,
    };
    Ok(Operator {
        code: to_usize(t.scalar::<u32>(0, 0)?.into(), "an operator's number")?,
        inputs: t.numbers(1)?.unwrap_or_default(),
        outputs: t.numbers(2)?.unwrap_or_default(),
        options,
        custom: t.bytes(5)?.unwrap_or_default(),
    })
}

impl<'a> Model<'a> {
    /// The bytes of a tensor's elements; none for a tensor that is computed.
    pub fn data(&self, info: &Info) -> Result<Option<&'a [u8]>> {
        if info.external != 0 {
            return Err(
                ImportError::unsupported("its elements lie in another file").help("write the model as one file")
            );
        }
        let Some(buffer) = self.buffers.get(info.buffer) else { return Ok(None) };
        match buffer.inline {
            Some(bytes) if !bytes.is_empty() => Ok(Some(bytes)),
            // An offset of 1 stands for no data yet.
            _ if buffer.offset > 1 => {
                let outside = || {
                    ImportError::format("a buffer lies outside the file")
                        .found(format!("{} bytes at {}", buffer.size, buffer.offset))
                };
                let start = usize::try_from(buffer.offset).map_err(|_| outside())?;
                let size = usize::try_from(buffer.size).map_err(|_| outside())?;
                let end = start.checked_add(size).ok_or_else(outside)?;
                self.source.bytes().get(start..end).map(Some).ok_or_else(outside)
            }
            _ => Ok(None),
        }
    }

    /// The elements of a constant; none for a tensor that is computed.
    pub fn constant(&self, info: &Info, budget: &Budget) -> Result<Option<Tensor>> {
        let Some(bytes) = self.data(info)? else { return Ok(None) };
        if info.sparse {
            return Err(ImportError::unsupported("sparse constants are not supported")
                .help("convert the model without sparsity"));
        }
        let dtype = dtype(info.kind)?;
        let shape: Option<Vec<u64>> = info.shape.iter().map(|&d| u64::try_from(d).ok()).collect();
        let shape = shape
            .ok_or_else(|| ImportError::invalid("a constant of unknown shape").found(format!("{:?}", info.shape)))?;
        let size = u64::try_from(dtype.size()).unwrap_or(8);
        let count = budget.elements(&shape, size, "a tensor")?;
        let shape = shape.iter().map(|&d| to_usize(d, "a dimension")).collect::<Result<Vec<_>>>()?;
        let made = match bits(info.kind) {
            8 => Tensor::from_bytes(dtype, &shape, bytes),
            bits => Tensor::from_bytes(dtype, &shape, &unpack(bytes, bits, count, dtype == DType::I8)),
        };
        self.source.done(bytes);
        made.map(Some).map_err(|e| ImportError::invalid(e.message()))
    }
}

/// Bits of an element of a type smaller than a byte, else 8.
fn bits(kind: usize) -> u32 {
    match names::TYPES.get(kind).copied() {
        Some("INT4" | "UINT4") => 4,
        Some("INT2") => 2,
        _ => 8,
    }
}

/// Elements of a few bits, the first in the lowest, one a byte.
fn unpack(bytes: &[u8], bits: u32, count: usize, signed: bool) -> Vec<u8> {
    let rest = 8u32.saturating_sub(bits);
    let one = |byte: u8, place: u32| {
        let high = byte << rest.saturating_sub(place.saturating_mul(bits));
        // An arithmetic shift brings the sign along.
        if signed { (high.cast_signed() >> rest).cast_unsigned() } else { high >> rest }
    };
    let places = 8 / bits.max(1);
    bytes.iter().flat_map(|&b| (0..places).map(move |p| one(b, p))).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_operators_and_types_have_names() {
        assert_eq!(names::OPERATORS.len(), 210);
        assert_eq!(names::OPERATORS[CUSTOM], "CUSTOM");
        assert_eq!(names::OPERATORS[WIDE], "PLACEHOLDER_FOR_GREATER_OP_CODES");
        let known = (0..names::TYPES.len()).filter(|&k| dtype(k).is_ok()).count();
        assert_eq!(known, names::TYPES.len() - 7, "text, complex numbers, handles and float8 have no tensor");
    }

    #[test]
    fn elements_of_four_and_two_bits_are_unpacked_lowest_first() {
        assert_eq!(unpack(&[0x8f, 0x07], 4, 3, true), [0xff, 0xf8, 7]);
        assert_eq!(unpack(&[0x8f], 4, 2, false), [15, 8]);
        assert_eq!(unpack(&[0b1101_0010], 2, 4, true), [0xfe, 0, 1, 0xff]);
    }
}
