"""Writes a trained model as Keras 3, legacy HDF5, ONNX, TensorFlow Lite and SavedModel, and compares all of them."""

import shutil
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
OPSET = 17


def versions():
    """What wrote the files."""
    return {"keras": keras.__version__, "tensorflow": tf.__version__, "onnx": onnx.__version__, "numpy": np.__version__}


def write_all(model):
    """Every format of `model`; returns the files written."""
    model = without_training(model)
    model.save(HERE / "digits.keras")
    model.save(HERE / "digits.h5")
    onnx.save(to_onnx(model), HERE / "digits.onnx")
    (HERE / "digits.tflite").write_bytes(to_tflite(model))
    folder = HERE / "digits_savedmodel"
    shutil.rmtree(folder, ignore_errors=True)
    model.export(folder, verbose=False)
    single = [HERE / f"digits.{suffix}" for suffix in ("keras", "h5", "onnx", "tflite")]
    return single + sorted(p for p in folder.rglob("*") if p.is_file())


def without_training(model):
    """The same network without optimizer state, which would triple the files."""
    clone = keras.Sequential.from_config(model.get_config())
    clone.set_weights(model.get_weights())
    return clone


def to_tflite(model):
    """Batch 1, variables frozen into constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    call = tf.function(lambda image: model(image, training=False))
    frozen = convert_variables_to_constants_v2(call.get_concrete_function(tf.TensorSpec((1, 28, 28, 1), tf.float32, "image")))
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()


class OnnxWriter:
    """A chain of nodes: each takes the tensor that the last one made."""

    def __init__(self, tensor):
        self.tensor, self.nodes, self.constants = tensor, [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op, name, *constants, **attributes):
        self.nodes.append(helper.make_node(op, [self.tensor, *constants], [name], name, **attributes))
        self.tensor = name


def to_onnx(model):
    """Channels-last input and the rows of the dense layer as in Keras; channels first in between, as ONNX wants."""
    w = OnnxWriter("image")
    for layer in model.layers:
        WRITERS[type(layer).__name__](w, layer, layer.name)
    w.nodes[-1].output[0] = "probabilities"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 28, 28, 1])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(w.nodes, "digits", [image], [probabilities], w.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="pocketnn digits")
    onnx.checker.check_model(made, full_check=True)
    return made


def rescaling(w, layer, name):
    w.add("Mul", name, w.constant(f"{name}/factor", np.float32(layer.scale)))
    w.add("Transpose", f"{name}/channels_first", perm=[0, 3, 1, 2])


def conv2d(w, layer, name):
    kernel = w.constant(f"{name}/kernel", layer.kernel.numpy().transpose(3, 2, 0, 1))
    side = 1 if layer.padding == "same" else 0
    w.add("Conv", name, kernel, kernel_shape=[3, 3], pads=[side] * 4)


def batch_normalization(w, layer, name):
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    constants = [w.constant(f"{name}/{part}", getattr(layer, part).numpy()) for part in parts]
    w.add("BatchNormalization", name, *constants, epsilon=layer.epsilon)


def flatten(w, _layer, name):
    w.add("Transpose", f"{name}/channels_last", perm=[0, 2, 3, 1])
    w.add("Flatten", name, axis=1)


def dense(w, layer, name):
    kernel, bias = (w.constant(f"{name}/{part}", getattr(layer, part).numpy()) for part in ("kernel", "bias"))
    w.add("Gemm", name, kernel, bias)
    w.add("Softmax", f"{name}/softmax", axis=1)


WRITERS = {
    "Rescaling": rescaling,
    "Conv2D": conv2d,
    "BatchNormalization": batch_normalization,
    "ReLU": lambda w, _layer, name: w.add("Relu", name),
    "MaxPooling2D": lambda w, _layer, name: w.add("MaxPool", name, kernel_shape=[2, 2], strides=[2, 2]),
    "Flatten": flatten,
    "Dropout": lambda _w, _layer, _name: None,
    "Dense": dense,
}


def run_onnx(inputs):
    session = onnxruntime.InferenceSession(HERE / "digits.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"image": inputs})[0]


def run_tflite(inputs):
    interpreter = tf.lite.Interpreter(str(HERE / "digits.tflite"))
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for image in inputs:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target)[0].copy())
    return np.stack(rows)


def run_keras(name):
    return lambda inputs: keras.models.load_model(HERE / name).predict(inputs, verbose=0)


def run_saved_model(inputs):
    loaded = tf.saved_model.load(HERE / "digits_savedmodel")
    return loaded.serve(inputs).numpy()


RUNNERS = {
    "digits.keras": run_keras("digits.keras"),
    "digits.h5": run_keras("digits.h5"),
    "digits.onnx": run_onnx,
    "digits.tflite": run_tflite,
    "digits_savedmodel": run_saved_model,
}


def check_all(inputs, reference, tolerance):
    """Runs each file on `inputs` `[N, 28, 28, 1]`; stops if an output is further than `tolerance` from `reference`."""
    differences = {name: float(np.abs(run(inputs) - reference).max()) for name, run in RUNNERS.items()}
    for name, difference in differences.items():
        print(f"  {name}: at most {difference:.1e} from Keras")
    far = {name: d for name, d in differences.items() if not d <= tolerance}
    if far:
        raise SystemExit(f"exports differ from Keras by more than {tolerance}: {far}")
    return {name: float(f"{d:.1e}") for name, d in differences.items()}
