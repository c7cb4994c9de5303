//! TFLite models written field by field, so that tests decide every byte.

#![allow(dead_code, reason = "each test file uses a part")]

use pocketnn::{DType, Model as Network, Options, Tensor, plan};
use pocketnn_importer::tflite::{Imported, import, operators};
use pocketnn_importer::{ImportError, ImportOptions, Limits};

/// What a field of a table holds.
#[derive(Clone, Debug)]
pub enum F {
    Byte(i8),
    Int(i32),
    Long(i64),
    Float(f32),
    Text(String),
    Bytes(Vec<u8>),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Floats(Vec<f32>),
    Table(Table),
    Tables(Vec<Table>),
}

/// Fields by number.
pub type Table = Vec<(usize, F)>;

impl F {
    /// Bytes in the table itself: of the number, or of the offset.
    fn size(&self) -> usize {
        match self {
            F::Byte(_) => 1,
            F::Long(_) => 8,
            _ => 4,
        }
    }
}

/// A flatbuffer with the identifier of TFLite; every offset goes forwards.
pub fn flatbuffer(root: &Table) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, b'T', b'F', b'L', b'3'];
    let at = table(root, &mut out);
    out[..4].copy_from_slice(&(at as u32).to_le_bytes());
    out
}

fn align(out: &mut Vec<u8>, to: usize) {
    while out.len() % to != 0 {
        out.push(0);
    }
}

fn table(fields: &Table, out: &mut Vec<u8>) -> usize {
    let slots = fields.iter().map(|f| f.0 + 1).max().unwrap_or(0);
    let mut offsets = vec![0u16; slots];
    let mut size = 4;
    // The widest first, so that all are aligned.
    for width in [8, 4, 1] {
        for (i, f) in fields.iter().filter(|f| f.1.size() == width) {
            if width == 8 && size % 8 != 0 {
                size += 8 - size % 8;
            }
            offsets[*i] = size as u16;
            size += f.size();
        }
    }
    align(out, 2);
    let vtable = out.len();
    out.extend(((4 + 2 * slots) as u16).to_le_bytes());
    out.extend((size as u16).to_le_bytes());
    offsets.iter().for_each(|o| out.extend(o.to_le_bytes()));
    align(out, 8);
    let start = out.len();
    out.extend(((start - vtable) as i32).to_le_bytes());
    out.resize(start + size, 0);
    for (i, f) in fields {
        let at = start + offsets[*i] as usize;
        match f {
            F::Byte(v) => out[at] = *v as u8,
            F::Int(v) => out[at..at + 4].copy_from_slice(&v.to_le_bytes()),
            F::Float(v) => out[at..at + 4].copy_from_slice(&v.to_le_bytes()),
            F::Long(v) => out[at..at + 8].copy_from_slice(&v.to_le_bytes()),
            other => {
                let child = child(other, out);
                out[at..at + 4].copy_from_slice(&((child - at) as u32).to_le_bytes());
            }
        }
    }
    start
}

fn child(f: &F, out: &mut Vec<u8>) -> usize {
    let vector = |out: &mut Vec<u8>, count: usize, wide: bool, bytes: Vec<u8>| {
        align(out, 4);
        if wide && out.len() % 8 != 4 {
            out.extend([0; 4]);
        }
        let at = out.len();
        out.extend((count as u32).to_le_bytes());
        out.extend(bytes);
        at
    };
    match f {
        F::Table(t) => table(t, out),
        F::Text(t) => vector(out, t.len(), false, [t.as_bytes(), &[0]].concat()),
        F::Bytes(b) => vector(out, b.len(), true, b.clone()),
        F::Ints(v) => vector(out, v.len(), false, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        F::Longs(v) => vector(out, v.len(), true, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        F::Floats(v) => vector(out, v.len(), false, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
        F::Tables(list) => {
            let at = vector(out, list.len(), false, vec![0; 4 * list.len()]);
            for (i, t) in list.iter().enumerate() {
                let entry = at + 4 + 4 * i;
                let child = table(t, out);
                out[entry..entry + 4].copy_from_slice(&((child - entry) as u32).to_le_bytes());
            }
            at
        }
        _ => unreachable!("numbers stand in the table"),
    }
}

/// Number of an element type in the schema.
pub fn kind(dtype: DType) -> i8 {
    match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::I32 => 2,
        DType::U8 => 3,
        DType::I64 => 4,
        DType::Bool => 6,
        DType::I16 => 7,
        DType::I8 => 9,
        DType::F64 => 10,
        other => panic!("no number for {other}"),
    }
}

/// Scales, zero points and axis.
#[derive(Clone, Debug)]
pub struct Q(pub Vec<f32>, pub Vec<i64>, pub i32);

/// One graph: tensors, operators, and which tensors come from outside.
#[derive(Clone, Debug, Default)]
pub struct G {
    pub tensors: Vec<Table>,
    pub buffers: Vec<Vec<u8>>,
    pub operators: Vec<Table>,
    pub codes: Vec<Table>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
}

impl G {
    pub fn new() -> Self {
        Self { buffers: vec![Vec::new()], ..Self::default() }
    }
    fn add(&mut self, name: &str, dtype: DType, shape: &[i32], q: Option<Q>, data: Option<&[u8]>) -> i32 {
        let buffer = data.map_or(0, |d| {
            self.buffers.push(d.to_vec());
            self.buffers.len() as i32 - 1
        });
        let mut t = vec![
            (0, F::Ints(shape.iter().map(|&d| d.abs()).collect())),
            (1, F::Byte(kind(dtype))),
            (2, F::Int(buffer)),
            (3, F::Text(name.to_string())),
        ];
        if let Some(Q(scale, zero, axis)) = q {
            t.push((4, F::Table(vec![(2, F::Floats(scale)), (3, F::Longs(zero)), (6, F::Int(axis))])));
        }
        if shape.iter().any(|&d| d < 0) {
            t.push((7, F::Ints(shape.to_vec())));
        }
        self.tensors.push(t);
        self.tensors.len() as i32 - 1
    }
    /// An input; an extent of -1 is symbolic.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[i32]) -> i32 {
        let i = self.add(name, dtype, shape, None, None);
        self.inputs.push(i);
        i
    }
    pub fn quantized_input(&mut self, name: &str, dtype: DType, shape: &[i32], q: Q) -> i32 {
        let i = self.add(name, dtype, shape, Some(q), None);
        self.inputs.push(i);
        i
    }
    pub fn constant(&mut self, t: &Tensor) -> i32 {
        self.quantized_constant(t, None)
    }
    pub fn quantized_constant(&mut self, t: &Tensor, q: Option<Q>) -> i32 {
        let shape: Vec<i32> = t.shape().iter().map(|&d| d as i32).collect();
        let name = format!("c{}", self.tensors.len());
        self.add(&name, t.dtype(), &shape, q, Some(t.bytes()))
    }
    pub fn ints(&mut self, list: &[i32]) -> i32 {
        self.constant(&Tensor::vector(list))
    }
    /// A tensor that an operator computes.
    pub fn computed(&mut self, name: &str, dtype: DType, shape: &[i32], q: Option<Q>) -> i32 {
        self.add(name, dtype, shape, q, None)
    }
    /// An operator of the schema.
    pub fn op(&mut self, name: &str, inputs: &[i32], outputs: &[i32], options: Table) {
        let number = operators().position(|o| o.0 == name).unwrap_or_else(|| panic!("no operator {name}")) as i32;
        self.code(vec![(0, F::Byte(number.min(127) as i8)), (3, F::Int(number))], inputs, outputs, options);
    }
    pub fn code(&mut self, code: Table, inputs: &[i32], outputs: &[i32], options: Table) {
        self.codes.push(code);
        let at = self.codes.len() as i32 - 1;
        self.operators.push(vec![
            (0, F::Int(at)),
            (1, F::Ints(inputs.to_vec())),
            (2, F::Ints(outputs.to_vec())),
            (3, F::Byte(1)),
            (4, F::Table(options)),
        ]);
    }
    pub fn output(&mut self, t: i32) {
        self.outputs.push(t);
    }
    /// The file, with these graphs as bodies of control flow (numbers 1, 2, ...).
    pub fn file_with(&self, bodies: &[G]) -> Vec<u8> {
        let (mut codes, mut buffers, mut graphs) = (Vec::new(), Vec::new(), Vec::new());
        for g in std::iter::once(self).chain(bodies) {
            let (first_code, first_buffer) = (codes.len() as i32, buffers.len() as i32);
            let shift = |t: &Table, field: usize, by: i32| -> Table {
                let one = |(i, f): &(usize, F)| match f {
                    F::Int(v) if *i == field => (*i, F::Int(v + by)),
                    other => (*i, other.clone()),
                };
                t.iter().map(one).collect()
            };
            codes.extend(g.codes.clone());
            buffers.extend(g.buffers.iter().map(|b| vec![(0, F::Bytes(b.clone()))]));
            graphs.push(vec![
                (0, F::Tables(g.tensors.iter().map(|t| shift(t, 2, first_buffer)).collect())),
                (1, F::Ints(g.inputs.clone())),
                (2, F::Ints(g.outputs.clone())),
                (3, F::Tables(g.operators.iter().map(|o| shift(o, 0, first_code)).collect())),
                (4, F::Text("graph".to_string())),
            ]);
        }
        flatbuffer(&vec![
            (0, F::Int(3)),
            (1, F::Tables(codes)),
            (2, F::Tables(graphs)),
            (3, F::Text("made by a test".to_string())),
            (4, F::Tables(buffers)),
        ])
    }
    pub fn file(&self) -> Vec<u8> {
        self.file_with(&[])
    }
}

pub fn load(bytes: &[u8]) -> Result<Imported, ImportError> {
    import(bytes, &ImportOptions { limits: Limits::small(), ..ImportOptions::default() })
}

/// Runs a file by the interpreter and by a session, which must agree, and gives the outputs.
pub fn run(bytes: &[u8], inputs: &[Tensor]) -> Vec<Tensor> {
    let graph = load(bytes).unwrap_or_else(|e| panic!("{e}")).graph;
    let naive = plan::interpret(&graph, inputs, |_, _| Ok(())).unwrap();
    let got = Network::new(graph).session(&Options::default()).unwrap().run_tensors(inputs).unwrap();
    for (a, b) in naive.iter().zip(&got) {
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        let close = a.to_f64().iter().zip(b.to_f64()).all(|(x, y)| (x - y).abs() <= 1e-4 * x.abs().max(1.0));
        assert!(if a.dtype().is_float() { close } else { a == b }, "{a:?} {b:?}");
    }
    got
}
