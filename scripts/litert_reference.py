#!/usr/bin/env python3
"""What LiteRT's reference kernels compute for four of the shared models: writes tests/conformance/litert.json.

    litert_reference.py --shared ../shared

The outputs beside those models were made by LiteRT's default, which hands the graph to XNNPACK. That rounds integers in its own way (one
product in f32, ties to even, where the kernels multiply in fixed point) and quantizes the activations of dynamic-range models. The kernels that
define the format (BUILTIN_REF) give other numbers, which this script records; of the dynamic-range model the network with its weights as the
floats that they stand for. scripts/models.py holds the converted models against the record. Needs ai-edge-litert, flatbuffers, numpy.
"""
import argparse, gzip, json, os
import flatbuffers, numpy as np
from ai_edge_litert import schema_py_generated as S
from ai_edge_litert.interpreter import Interpreter, OpResolverType

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "conformance", "litert.json")


def run(model, inputs, resolver=OpResolverType.BUILTIN_REF):
    it = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    it.allocate_tensors()
    d, outputs = it.get_input_details()[0], []
    for x in inputs:
        it.set_tensor(d["index"], x.reshape(d["shape"]).astype(d["dtype"]))
        it.invoke()
        outputs.append(it.get_tensor(it.get_output_details()[0]["index"]).ravel().copy())
    return np.array(outputs)


def widened(model):
    """The same model with int8 weights as floats."""
    m = S.ModelT.InitFromObj(S.Model.GetRootAs(model, 0))
    g = m.subgraphs[0]
    for t in g.tensors:
        data, q = m.buffers[t.buffer].data, t.quantization
        if t.type == S.TensorType.INT8 and data is not None and len(data) and q is not None and q.scale is not None:
            w = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.int8).reshape(t.shape).astype("f4")
            shape = [1] * w.ndim
            if len(q.scale) > 1: shape[q.quantizedDimension] = len(q.scale)
            w = w * np.array(q.scale, "f4").reshape(shape)
            b = S.BufferT()
            b.data = np.frombuffer(w.tobytes(), np.uint8)
            m.buffers.append(b)
            t.buffer, t.type, t.quantization = len(m.buffers) - 1, S.TensorType.FLOAT32, None
    b = flatbuffers.Builder(1 << 16)
    b.Finish(m.Pack(b), b"TFL3")
    return bytes(b.Output())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shared", required=True)
    a = ap.parse_args()
    models, mnist = os.path.join(a.shared, "data", "models"), os.path.join(a.shared, "data", "mnist")
    read = lambda name: open(os.path.join(models, name), "rb").read()
    given = lambda name: [np.load(os.path.join(models, name + ".ref", "input.npy"))]
    default = lambda name: np.load(os.path.join(models, name + ".ref", "output_0.npy")).ravel().astype("f8")
    found = {}

    def note(name, y, tolerance=0.0, **more):
        apart = float(np.abs(y[:len(default(name)) // y.shape[1]].ravel().astype("f8") - default(name)).max())
        found[name] = {"outputs": y.ravel().tolist(), "tolerance": tolerance, "apart_from_default": apart, **more}

    for name in ("kws-dscnn-int8.tflite", "mobilenet_v1_0.25_128_quant.tflite"):
        note(name, run(read(name), given(name)))
    name = "kws-dscnn.tflite"
    kernels = run(read(name), given(name)).ravel().astype("f8")
    note(name, run(widened(read(name)), given(name)), 1e-5, kernels_apart_from_default=float(np.abs(kernels - default(name)).max()))
    name = "mnist-uint8-ptq.tflite"
    with gzip.open(os.path.join(mnist, "t10k-images-idx3-ubyte.gz")) as f: x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(os.path.join(mnist, "t10k-labels-idx1-ubyte.gz")) as f: labels = np.frombuffer(f.read(), np.uint8, offset=8)
    y = run(read(name), list(np.clip(np.round(x.astype("f4") / np.float32(255) / np.float32(0.003921568859368563)), 0, 255)))
    accuracy = round(float((y.argmax(1) == labels).mean()), 4)
    note(name, y[:100], accuracy=accuracy)
    with open(OUT, "w") as f: f.write(json.dumps(found, separators=(",", ":")) + "\n")
    for name, r in found.items(): print(name, {k: v for k, v in r.items() if k != "outputs"})


if __name__ == "__main__":
    main()
