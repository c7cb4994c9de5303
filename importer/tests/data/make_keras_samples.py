#!/usr/bin/env python3
"""Writes tiny.h5 (Keras 2 layout) and tiny.keras (Keras 3 layout): Dense 3 -> 2 with ReLU, kernel 1..6, bias 0.5 and -20.5. Needs h5py."""
import io, json, zipfile
import h5py, numpy as np

KERNEL, BIAS = np.arange(1, 7, dtype="f4").reshape(3, 2), np.array([0.5, -20.5], "f4")
dense = dict(name="d", trainable=True, units=2, activation="relu", use_bias=True)

with h5py.File("tiny.h5", "w") as f:
    layers = [dict(class_name="InputLayer", config=dict(name="x", batch_input_shape=[None, 3], dtype="float32")),
              dict(class_name="Dense", config=dense)]
    f.attrs.update(keras_version="2.4.0", backend="tensorflow",
                   model_config=json.dumps(dict(class_name="Sequential", config=dict(name="tiny", layers=layers))))
    g = f.create_group("model_weights")
    g.attrs["layer_names"] = [b"d"]
    d = g.create_group("d")
    d.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
    d["d/kernel:0"], d["d/bias:0"] = KERNEL, BIAS

buffer = io.BytesIO()
with h5py.File(buffer, "w") as f:
    v = f.create_group("layers/dense/vars")
    v["0"], v["1"] = KERNEL.astype("f2"), BIAS.astype("f8")
tensor = dict(class_name="__keras_tensor__", config=dict(shape=[None, 3], dtype="float32", keras_history=["x", 0, 0]))
layers = [dict(module="keras.layers", class_name="InputLayer", registered_name=None, name="x", inbound_nodes=[],
               config=dict(name="x", batch_shape=[None, 3], dtype="float32")),
          dict(module="keras.layers", class_name="Dense", registered_name=None, name="d", config=dense,
               inbound_nodes=[dict(args=[tensor], kwargs={})])]
config = dict(module="keras.src.models.functional", class_name="Functional", registered_name="Functional",
              config=dict(name="tiny", layers=layers, input_layers=["x", 0, 0], output_layers=["d", 0, 0]))
with zipfile.ZipFile("tiny.keras", "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("metadata.json", json.dumps(dict(keras_version="3.5.0")))
    z.writestr("config.json", json.dumps(config))
    z.writestr("model.weights.h5", buffer.getvalue())
