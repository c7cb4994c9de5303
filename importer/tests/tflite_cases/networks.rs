//! Recurrent cells, control flow and integers.

use super::*;
use crate::tflite_support::{F, G, Q, Table, load, run};
use pocketnn::{DType, Tensor};
use pocketnn_importer::ErrorKind;

pub fn recurrent_cases() {
    // One unit, weights 1, recurrent weights 0: y = tanh(x).
    let x = floats(&[1, 2, 1], &[0.5, -1.0]);
    let (one, zero) = (floats(&[1, 1], &[1.0]), floats(&[1, 1], &[0.0]));
    let bias = floats(&[1], &[0.0]);
    let tanh = [0.5f64.tanh(), (-1f64).tanh()];
    let state = floats(&[1, 1], &[0.0]);
    let options = vec![(1, F::Byte(4))];
    let weights = [one.clone(), zero.clone(), bias.clone(), state.clone()];
    let y = apply("UNIDIRECTIONAL_SEQUENCE_RNN", std::slice::from_ref(&x), &weights, options, &[DType::F32]);
    close("UNIDIRECTIONAL_SEQUENCE_RNN", &y[0], &tanh);
    let y = apply("RNN", &[floats(&[1, 1], &[0.5])], &weights, vec![(0, F::Byte(4))], &[DType::F32]);
    close("RNN", &y[0], &tanh[..1]);
    let both = [weights.to_vec(), weights.to_vec()].concat();
    let options = vec![(1, F::Byte(4)), (2, F::Byte(1))];
    let y = apply("BIDIRECTIONAL_SEQUENCE_RNN", std::slice::from_ref(&x), &both, options, &[DType::F32]).remove(0);
    assert_eq!(y.shape(), [1, 2, 2]);
    close("BIDIRECTIONAL_SEQUENCE_RNN", &y, &[tanh[0], tanh[0], tanh[1], tanh[1]]);
    // An LSTM whose gates are half open: c1 = tanh(x) / 2.
    let lstm = |name: &str, directions: usize, options: Table| {
        SEEN.with_borrow_mut(|s| s.insert(name.to_string()));
        let mut g = G::new();
        let mut operands = vec![g.input("x", DType::F32, &[1, 1, 1])];
        for _ in 0..directions {
            for (gate, w) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 0.0)] {
                assert!(gate < 4);
                operands.push(g.constant(&floats(&[1, 1], &[w])));
            }
            operands.extend((0..4).map(|_| g.constant(&zero)));
            operands.extend([-1; 3]);
            operands.extend((0..4).map(|_| g.constant(&bias)));
            operands.extend([-1; 2]);
        }
        operands.extend((0..2 * directions).map(|_| g.constant(&state)));
        let y = g.computed("y", DType::F32, &[], None);
        g.op(name, &operands, &[y], options);
        g.output(y);
        run(&g.file(), &[floats(&[1, 1, 1], &[0.5])]).remove(0)
    };
    let want = (0.5f64.tanh() / 2.0).tanh() / 2.0;
    close("lstm", &lstm("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, vec![(0, F::Byte(4))]), &[want]);
    let options = vec![(0, F::Byte(4)), (3, F::Byte(1)), (4, F::Byte(0))];
    close("lstm", &lstm("BIDIRECTIONAL_SEQUENCE_LSTM", 2, options), &[want, want]);
}

pub fn control_cases() {
    let see = |n: &str| SEEN.with_borrow_mut(|s| s.insert(n.to_string()));
    ["WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "STABLEHLO_COMPOSITE"]
        .iter()
        .for_each(|n| {
            see(n);
        });
    // while (i < 3) { i += 1; x += x }
    let scalar = |g: &mut G| (g.input("i", DType::I32, &[]), g.input("x", DType::F32, &[2]));
    let mut condition = G::new();
    let (i, _) = scalar(&mut condition);
    let (three, less) = (condition.constant(&Tensor::scalar(3)), condition.computed("go", DType::Bool, &[], None));
    condition.op("LESS", &[i, three], &[less], vec![]);
    condition.output(less);
    let mut body = G::new();
    let (i, x) = scalar(&mut body);
    let one = body.constant(&Tensor::scalar(1));
    let (next, twice) = (body.computed("next", DType::I32, &[], None), body.computed("twice", DType::F32, &[2], None));
    body.op("ADD", &[i, one], &[next], vec![]);
    body.op("ADD", &[x, x], &[twice], vec![]);
    body.output(next);
    body.output(twice);
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[2]);
    let start = g.constant(&Tensor::scalar(0));
    let (n, y) = (g.computed("n", DType::I32, &[], None), g.computed("y", DType::F32, &[2], None));
    g.op("WHILE", &[start, x], &[n, y], vec![(0, F::Int(1)), (1, F::Int(2))]);
    g.output(y);
    assert_eq!(run(&g.file_with(&[condition, body]), &[ramp(&[2])])[0].to_f64(), [0.0, 8.0]);
    // if (c) x + x else -x; called, as a composite, and chosen while running.
    let branch = |name: &str, twice: bool| {
        let mut b = G::new();
        let x = b.input("x", DType::F32, &[2]);
        let y = b.computed("y", DType::F32, &[2], None);
        b.op(name, &if twice { vec![x, x] } else { vec![x] }, &[y], vec![]);
        b.output(y);
        b
    };
    let bodies = [branch("ADD", true), branch("NEG", false)];
    let mut g = G::new();
    let (c, x) = (g.input("c", DType::Bool, &[1]), g.input("x", DType::F32, &[2]));
    let outs: Vec<i32> = (0..3).map(|i| g.computed(&format!("y{i}"), DType::F32, &[2], None)).collect();
    g.op("IF", &[c, x], &outs[..1], vec![(0, F::Int(1)), (1, F::Int(2))]);
    g.op("CALL", &[x], &outs[1..2], vec![(0, F::Int(1))]);
    g.op("STABLEHLO_COMPOSITE", &[x], &outs[2..], vec![(1, F::Int(2))]);
    outs.iter().for_each(|&o| g.output(o));
    for (c, want) in [(true, [0.0, 2.0]), (false, [0.0, -1.0])] {
        let y = run(&g.file_with(&bodies), &[Tensor::vector(&[c]), ramp(&[2])]);
        assert_eq!(y[0].to_f64(), want);
        assert_eq!((y[1].to_f64(), y[2].to_f64()), (vec![0.0, 2.0], vec![0.0, -1.0]));
    }
    // A variable that is assigned once before, read, and kept from run to run when the graph assigns it.
    let variable = |assigns: bool| {
        let mut first = G::new();
        let handle = first.computed("v", DType::I32, &[], None);
        let value = first.constant(&floats(&[2], &[3.0, 4.0]));
        first.op("VAR_HANDLE", &[], &[handle], vec![(1, F::Text("v".to_string()))]);
        first.op("ASSIGN_VARIABLE", &[handle, value], &[], vec![]);
        let mut g = G::new();
        let x = g.input("x", DType::F32, &[2]);
        let handle = g.computed("v", DType::I32, &[], None);
        let (read, y) = (g.computed("r", DType::F32, &[2], None), g.computed("y", DType::F32, &[2], None));
        g.op("CALL_ONCE", &[], &[], vec![(0, F::Int(1))]);
        g.op("VAR_HANDLE", &[], &[handle], vec![(1, F::Text("v".to_string()))]);
        g.op("READ_VARIABLE", &[handle], &[read], vec![]);
        g.op("ADD", &[x, read], &[y], vec![]);
        if assigns {
            g.op("ASSIGN_VARIABLE", &[handle, y], &[], vec![]);
        }
        g.output(y);
        g.file_with(&[first])
    };
    assert_eq!(run(&variable(false), &[ramp(&[2])])[0].to_f64(), [3.0, 5.0]);
    let error = load(&variable(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("keeps a state"), "{error}");
}

pub fn quantized_cases() {
    SEEN.with_borrow_mut(|s| s.extend(["QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"].map(str::to_string)));
    // f32 -> i8 (scale 1/2, zero 1) -> f32.
    let mut g = G::new();
    let x = g.input("x", DType::F32, &[4]);
    let q = g.computed("q", DType::I8, &[4], Some(Q(vec![0.5], vec![1], 0)));
    let y = g.computed("y", DType::F32, &[4], None);
    g.op("QUANTIZE", &[x], &[q], vec![]);
    g.op("DEQUANTIZE", &[q], &[y], vec![]);
    g.output(q);
    g.output(y);
    let out = run(&g.file(), &[floats(&[4], &[0.0, 0.25, -0.25, 1e6])]);
    assert_eq!(out[0].to_i64().unwrap(), [1, 2, 0, 127]);
    assert_eq!(out[1].to_f64(), [0.0, 0.5, -0.5, 63.0]);
    let meta = &load(&g.file()).unwrap().graph.meta["quantization"];
    assert_eq!((meta["q"]["scale"].as_f64(), meta["q"]["zero_point"].as_i64()), (Some(0.5), Some(1)));
    let options = vec![(0, F::Float(-1.0)), (1, F::Float(1.0)), (2, F::Int(8))];
    let y = apply("FAKE_QUANT", &[floats(&[2], &[0.3, 5.0])], &[], options, &[DType::F32]).remove(0);
    let step = 2.0f64 / 255.0;
    // In single precision 1 / step lies just below 127.5, so the zero point is 127.
    close("FAKE_QUANT", &y, &[(0.3 / step).round() * step, (255.0 - 127.0) * step]);
}
