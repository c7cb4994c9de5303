#!/usr/bin/env python3
"""Operators on integers, and what LiteRT's reference kernels (BUILTIN_REF) compute: writes tflite_integers.safetensors.

    tflite_integers.py [OUT]

Each case is a model of one operator with random scales, zero points and numbers (seeded), so that every rounding rule is met: tensors
NAME/model (its bytes), NAME/in0.. and NAME/out0... Needs ai-edge-litert, flatbuffers and numpy. LiteRT 2.3.0 made the file here.
"""
import math, os, sys
import flatbuffers, numpy as np
from ai_edge_litert import schema_py_generated as S
from ai_edge_litert.interpreter import Interpreter, OpResolverType

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tflite_integers.safetensors")
KINDS = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int16": 7, "int8": 9}
NAMES = {"float32": "F32", "int32": "I32", "uint8": "U8", "int64": "I64", "int16": "I16", "int8": "I8"}
B, O = S.BuiltinOperator, S.BuiltinOptions
rng = np.random.default_rng(2)
TYPES = ("int8", "uint8", "int16")


def logarithmic(lo, hi):
    return float(np.float32(math.exp(rng.uniform(math.log(lo), math.log(hi)))))


def scale(dtype):
    return logarithmic(1e-4, 1e-3) if dtype == "int16" else logarithmic(0.005, 0.1)


def zero(dtype):
    return 0 if dtype == "int16" else int(rng.integers(-20, 21)) + (128 if dtype == "uint8" else 0)


def numbers(dtype, shape, lo=None, hi=None):
    info = np.iinfo(dtype)
    return rng.integers(info.min if lo is None else lo, (info.max if hi is None else hi) + 1, shape).astype(dtype)


class Model:
    """One operator: tensors in the order in which they are added."""
    def __init__(self):
        self.tensors, self.data, self.buffers = [], [], [S.BufferT()]

    def add(self, shape, dtype, scales=None, zeros=0, axis=0, data=None):
        t = S.TensorT()
        t.name, t.shape, t.type, t.buffer = "t%d" % len(self.tensors), [int(d) for d in shape], KINDS[dtype], 0
        if scales is not None:
            q = S.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(scales)]
            q.zeroPoint, q.quantizedDimension = [int(zeros)] * len(q.scale), axis
            t.quantization = q
        if data is not None:
            b = S.BufferT()
            b.data, t.buffer = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8), len(self.buffers)
            self.buffers.append(b)
        self.tensors.append(t)
        self.data.append(data)
        return len(self.tensors) - 1

    def file(self, op, inputs, output, options, kind, version):
        code, operator, graph, model = S.OperatorCodeT(), S.OperatorT(), S.SubGraphT(), S.ModelT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = op, min(op, 127), version
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.live = [i for i in inputs if self.data[i] is None]
        graph.tensors, graph.inputs, graph.outputs, graph.operators = self.tensors, self.live, [output], [operator]
        model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [code], self.buffers, [graph]
        b = flatbuffers.Builder(1024)
        b.Finish(model.Pack(b), b"TFL3")
        return bytes(b.Output())


saved = {}


def case(name, m, op, inputs, output, options=None, kind=0, version=1, given=None):
    model = m.file(op, inputs, output, options, kind, version)
    it = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    it.allocate_tensors()
    saved[name + "/model"] = np.frombuffer(model, np.uint8)
    for k, (d, t) in enumerate(zip(it.get_input_details(), m.live)):
        dtype = np.dtype(d["dtype"]).name
        x = given if given is not None and k == 0 else \
            (rng.normal(size=d["shape"]) * 3).astype("f4") if dtype == "float32" else numbers(dtype, d["shape"])
        it.set_tensor(d["index"], x)
        saved["%s/in%d" % (name, k)] = x
    it.invoke()
    saved[name + "/out0"] = it.get_tensor(it.get_output_details()[0]["index"])


def options(kind, **fields):
    o = getattr(S, kind + "OptionsT")()
    for k, v in fields.items():
        assert hasattr(o, k), k
        setattr(o, k, v)
    return {"options": o, "kind": getattr(O, kind + "Options")}


def sums():
    """Layers, convolutions and products of matrices."""
    for dtype, bias, per in (("int8", "int32", 0), ("int8", "int32", 1), ("uint8", "int32", 0), ("int16", "int64", 0),
                             ("int16", "int64", 1), ("int16", "int32", 0)):
        m, n, k, o = Model(), 48, 64, 24
        sx, sw = scale(dtype), [logarithmic(0.001, 0.01) for _ in range(o if per else 1)]
        sy = logarithmic(1e-3, 1e-2) if dtype == "int16" else logarithmic(0.05, 0.3)
        wide = "uint8" if dtype == "uint8" else "int8"
        x = m.add([n, k], dtype, sx, zero(dtype))
        w = m.add([o, k], wide, sw, 117 if wide == "uint8" else 0, 0, numbers(wide, (o, k), *((0, 255) if wide == "uint8" else (-127, 127))))
        b = m.add([o], bias, np.float32(sx) * np.array(sw, "f4"), 0, 0, rng.integers(-3000, 3000, o).astype(bias))
        y = m.add([n, o], dtype, sy, zero(dtype))
        kinds = {"int32": 2, "int64": 4}
        case("fully_connected_%s_%s%s" % (dtype, bias, "_channels" if per else ""), m, B.FULLY_CONNECTED, [x, w, b], y,
             version={"int8": 5, "uint8": 1, "int16": 11}[dtype],
             **options("FullyConnected", keepNumDims=False, quantizedBiasType=kinds[bias] if dtype == "int16" else 0))
    for form in ("conv", "depthwise", "transposed"):
        for dtype, bias in (("int8", "int32"), ("uint8", "int32"), ("int16", "int64")):
            m, h, w_, c, o, k, s = Model(), 9, 8, 5, 5 if form == "transposed" else 10, 3, 2
            wide = "uint8" if dtype == "uint8" else "int8"
            shape = (1, k, k, o) if form == "depthwise" else (o, k, k, c)
            sx, sw = scale(dtype), [logarithmic(0.001, 0.01) for _ in range(1 if wide == "uint8" else o)]
            sy = logarithmic(1e-3, 1e-2) if dtype == "int16" else logarithmic(0.02, 0.1)
            x = m.add([2, h, w_, c], dtype, sx, zero(dtype))
            w = m.add(shape, wide, sw, 117 if wide == "uint8" else 0, 3 if form == "depthwise" else 0,
                      numbers(wide, shape, *((0, 255) if wide == "uint8" else (-127, 127))))
            b = m.add([o], bias, np.float32(sx) * np.array(sw, "f4"), 0, 0, rng.integers(-3000, 3000, o).astype(bias))
            out = [2, h * s, w_ * s, o] if form == "transposed" else [2, (h + 1) // s, w_ // s, o]
            y = m.add(out, dtype, sy, zero(dtype))
            steps = dict(strideH=s, strideW=s, padding=0)
            if form == "conv":
                case("conv_" + dtype, m, B.CONV_2D, [x, w, b], y, version={"int8": 3, "uint8": 1, "int16": 4}[dtype],
                     **options("Conv2D", dilationHFactor=1, dilationWFactor=1, **steps))
            elif form == "depthwise":
                case("depthwise_" + dtype, m, B.DEPTHWISE_CONV_2D, [x, w, b], y, version={"int8": 3, "uint8": 1, "int16": 5}[dtype],
                     **options("DepthwiseConv2D", depthMultiplier=2, dilationHFactor=1, dilationWFactor=1, **steps))
            else:
                size = m.add([4], "int32", data=np.array(out, "i4"))
                case("transposed_" + dtype, m, B.TRANSPOSE_CONV, [size, w, x, b], y, version=3, **options("TransposeConv", **steps))
    for dtype in ("int8", "int16"):
        m = Model()
        a, b = m.add([2, 7, 33], dtype, scale(dtype), zero(dtype)), m.add([2, 33, 9], dtype, scale(dtype), zero(dtype))
        y = m.add([2, 7, 9], dtype, logarithmic(1e-3, 1e-2) if dtype == "int16" else logarithmic(0.1, 0.9), zero(dtype))
        case("batch_matmul_" + dtype, m, B.BATCH_MATMUL, [a, b], y, version=2 if dtype == "int8" else 3, **options("BatchMatMul"))


def pairs():
    for dtype in TYPES:
        for op in ("Add", "Sub", "Mul"):
            m, sa, sb = Model(), scale(dtype), scale(dtype)
            sy = sa * sb * (15000 if dtype == "int16" else 80) if op == "Mul" else scale(dtype)
            a, b, y = (m.add([4, 60], dtype, s, zero(dtype)) for s in (sa, sb, sy))
            version = {"int8": 2, "uint8": 1, "int16": 5 if op == "Sub" else 4}[dtype]
            more = {} if op == "Mul" else {"potScaleInt16": False}
            case("%s_%s" % (op.lower(), dtype), m, getattr(B, op.upper()), [a, b], y, version=version, **options(op, **more))
    m = Model()
    a, b, y = (m.add([4, 60], "int8", scale("int8"), zero("int8")) for _ in range(3))
    case("squared_difference_int8", m, B.SQUARED_DIFFERENCE, [a, b], y, **options("SquaredDifference"))
    for dtype in ("int8", "uint8"):
        m = Model()
        x = m.add([1, 6, 6, 8], dtype, scale(dtype), zero(dtype))
        a = m.add([1, 1, 8], dtype, logarithmic(0.001, 0.01), zero(dtype), 0, numbers(dtype, (1, 1, 8)))
        case("prelu_" + dtype, m, B.PRELU, [x, a], m.add([1, 6, 6, 8], dtype, scale(dtype), zero(dtype)))


def reductions():
    for dtype in TYPES:
        for axes, keep in (((1, 2), True), ((3,), False), ((1, 3), False), ((1, 3), True)):
            m, shape = Model(), (2, 5, 7, 20)
            x = m.add(shape, dtype, scale(dtype), zero(dtype))
            a = m.add([len(axes)], "int32", data=np.array(axes, "i4"))
            out = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
            y = m.add(out, dtype, scale(dtype) / 4, zero(dtype))
            case("mean_%s_%s%s" % (dtype, "".join(map(str, axes)), "_kept" if keep else ""), m, B.MEAN, [x, a], y,
                 version=3 if dtype == "int16" else 2, **options("Reducer", keepDims=keep))
    m = Model()
    x, a = m.add([4, 30], "uint8", 0.02, 131), m.add([1], "int32", data=np.array([1], "i4"))
    case("sum_uint8", m, B.SUM, [x, a], m.add([4], "uint8", 0.31, 120), version=2, **options("Reducer", keepDims=False))


def functions():
    unit = {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0)}
    signed = {"int8": (1 / 128, 0), "uint8": (1 / 128, 128), "int16": (1 / 32768, 0)}
    some = lambda dtype: (scale(dtype), zero(dtype))
    rows = [("LOGISTIC", TYPES, None, {}, unit), ("TANH", TYPES, None, {}, signed),
            ("SOFTMAX", TYPES, "Softmax", {"beta": 1.0}, unit), ("RELU", TYPES, None, {}, None), ("RELU6", TYPES, None, {}, None),
            ("LEAKY_RELU", TYPES, "LeakyRelu", {"alpha": 0.3}, None), ("HARD_SWISH", ("int8", "uint8"), None, {}, None),
            ("GELU", TYPES, "Gelu", {}, None), ("ABS", ("int8", "int16"), None, {}, None), ("EXP", ("int8", "int16"), "Exp", {}, None),
            ("LOG_SOFTMAX", ("int8", "uint8"), "LogSoftmax", {}, {"int8": (1 / 16, 127), "uint8": (1 / 16, 255)})]
    for op, dtypes, kind, fields, fixed in rows:
        for dtype in dtypes:
            m, n = Model(), 3000 if dtype == "int16" else 256
            shape = [n // 100, 100] if "SOFTMAX" in op and dtype == "int16" else [1, n]
            x, info = m.add(shape, dtype, *some(dtype)), np.iinfo(dtype)
            y = m.add(shape, dtype, *(fixed[dtype] if fixed else some(dtype)))
            given = None if dtype == "int16" else np.arange(info.min, info.max + 1).astype(dtype).reshape(shape)
            version = {"LOGISTIC": (2, 1, 3), "TANH": (2, 1, 3), "SOFTMAX": (2, 1, 3), "RELU": (2, 2, 3), "RELU6": (2, 1, 3),
                       "ABS": (2, 1, 3), "HARD_SWISH": (1, 1, 1)}.get(op, (2, 2, 2))[TYPES.index(dtype)]
            case("%s_%s" % (op.lower(), dtype), m, getattr(B, op), [x], y, version=version, given=given,
                 **(options(kind, **fields) if kind else {}))
    for a in TYPES:
        for b in TYPES:
            if (a, b) != ("int16", "uint8"):
                m = Model()
                x, y = m.add([1, 200], a, *some(a)), m.add([1, 200], b, *some(b))
                case("quantize_%s_%s" % (a, b), m, B.QUANTIZE, [x], y, version=2 if "int16" in (a, b) else 1, **options("Quantize"))
        m = Model()
        x, y = m.add([1, 200], "float32"), m.add([1, 200], a, *some(a))
        case("quantize_" + a, m, B.QUANTIZE, [x], y, **options("Quantize"))


def images():
    for dtype in TYPES:
        for op in ("AVERAGE", "MAX"):
            m, s, z = Model(), scale(dtype), zero(dtype)
            x, y = m.add([1, 9, 8, 5], dtype, s, z), m.add([1, 5, 4, 5], dtype, s, z)
            case("%s_pool_%s" % (op.lower(), dtype), m, getattr(B, op + "_POOL_2D"), [x], y, version={"int8": 2, "uint8": 1, "int16": 3}[dtype],
                 **options("Pool2D", filterHeight=3, filterWidth=3, strideH=2, strideW=2, padding=0))
        if dtype != "uint8":
            for corners, half in ((True, False), (False, True), (False, False)):
                m, s, z = Model(), scale(dtype), zero(dtype)
                x, size = m.add([1, 5, 6, 3], dtype, s, z), m.add([2], "int32", data=np.array([9, 13], "i4"))
                case("bilinear_%s_%d%d" % (dtype, corners, half), m, B.RESIZE_BILINEAR, [x, size], m.add([1, 9, 13, 3], dtype, s, z),
                     version=2 if dtype == "int8" else 4, **options("ResizeBilinear", alignCorners=corners, halfPixelCenters=half))
    m = Model()
    x, size = m.add([1, 5, 6, 3], "uint8", 0.1, 3), m.add([2], "int32", data=np.array([10, 12], "i4"))
    case("bilinear_uint8", m, B.RESIZE_BILINEAR, [x, size], m.add([1, 10, 12, 3], "uint8", 0.1, 3), version=3,
         **options("ResizeBilinear", alignCorners=False, halfPixelCenters=True))
    m = Model()
    a, b = m.add([1, 40], "uint8", scale("uint8"), 120), m.add([1, 50], "uint8", scale("uint8"), 131)
    case("concatenation_uint8", m, B.CONCATENATION, [a, b], m.add([1, 90], "uint8", scale("uint8"), 128), **options("Concatenation", axis=1))


def save(path):
    import json
    header, at = {}, 0
    for name, t in sorted(saved.items()):
        t = saved[name] = np.ascontiguousarray(t)
        header[name] = {"dtype": NAMES[t.dtype.name], "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(saved):
            f.write(saved[name].tobytes())


if __name__ == "__main__":
    for family in (sums, pairs, reductions, functions, images):
        family()
    save(sys.argv[1] if len(sys.argv) > 1 else OUT)
    print(sum(n.endswith("/model") for n in saved), "cases")
