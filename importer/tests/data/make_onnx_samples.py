#!/usr/bin/env python3
"""Writes onnx_samples.json: small models of operators that the public corpus lacks, with inputs and what onnxruntime makes of them.

Each case: name, model, inputs and outputs as hexadecimal protobuf messages, tolerance. Needs numpy, onnx, onnxruntime.
"""
import json, os
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

R = np.random.default_rng(7)
CASES = []
ML, MS = "ai.onnx.ml", "com.microsoft"
f4 = lambda *s: R.standard_normal(s).astype("f4")


def case(name, op, inputs, outputs, domain="", tolerance=1e-5, constants=(), **attrs):
    """`inputs`: arrays in order; those whose index is in `constants` are initializers; None is absent."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    outs = [f"y{i}" for i in range(outputs)]
    node = h.make_node(op, names, outs, domain=domain, **attrs)
    given = [i for i, a in enumerate(inputs) if a is not None]
    info = [h.make_tensor_value_info(names[i], h.np_dtype_to_tensor_dtype(inputs[i].dtype), inputs[i].shape)
            for i in given if i not in constants]
    init = [nh.from_array(inputs[i], names[i]) for i in given if i in constants]
    graph = h.make_graph([node], "g", info, [onnx.ValueInfoProto(name=o) for o in outs], init)
    ids = [h.make_opsetid("", 17), h.make_opsetid(ML, 3), h.make_opsetid(MS, 1)]
    model = h.make_model(graph, opset_imports=ids, ir_version=9)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {names[i]: inputs[i] for i in given if i not in constants}
    result = session.run(None, feed)
    # The types that onnxruntime inferred are written down, so that readers need no inference.
    for o, y in zip(graph.output, result):
        y = np.asarray(y)
        kind = T.STRING if y.dtype.kind in "OU" else h.np_dtype_to_tensor_dtype(y.dtype)
        o.CopyFrom(h.make_tensor_value_info(o.name, kind, y.shape))
    model = h.make_model(graph, opset_imports=ids, ir_version=9)
    pb = lambda a: nh.from_array(np.asarray(a, dtype=object) if np.asarray(a).dtype.kind in "OU" else np.asarray(a)).SerializeToString().hex()
    CASES.append(dict(name=name, tolerance=tolerance, model=model.SerializeToString().hex(),
                      inputs=[pb(inputs[i]) for i in given if i not in constants], outputs=[pb(y) for y in result]))


def labels():
    s = lambda *v: np.array(v, dtype=object)
    i8 = lambda *v: np.array(v, "i8")
    case("label_text_float", "LabelEncoder", [s("b", "z")], 1, ML, keys_strings=["a", "b"], values_floats=[1.5, 2.5], default_float=-9.0)
    case("label_int_text", "LabelEncoder", [i8(3, 7)], 1, ML, keys_int64s=[3, 4], values_strings=["x", "y"], default_string="?")
    case("label_float_int", "LabelEncoder", [np.array([1.0, 2.5, 5.0], "f4")], 1, ML, keys_floats=[1.0, 2.5], values_int64s=[10, 20])
    case("category_text", "CategoryMapper", [s("cat", "cow")], 1, ML, cats_strings=["cat", "dog"], cats_int64s=[5, 6])
    case("category_int", "CategoryMapper", [i8(6, 9)], 1, ML, cats_strings=["cat", "dog"], cats_int64s=[5, 6])
    case("one_hot_text", "OneHotEncoder", [s("a", "c", "b")], 1, ML, cats_strings=["a", "b"], zeros=1)
    case("one_hot_int", "OneHotEncoder", [i8(1, 5, 2)], 1, ML, cats_int64s=[1, 2], zeros=1)
    case("imputer_nan", "Imputer", [np.array([[1, np.nan], [np.nan, 4]], "f4")], 1, ML, imputed_value_floats=[10.0, 20.0], replaced_value_float=float("nan"))
    case("imputer_int", "Imputer", [np.array([[1, -1], [-1, 4]], "i8")], 1, ML, imputed_value_int64s=[7], replaced_value_int64=-1)
    case("binarizer", "Binarizer", [f4(2, 3)], 1, ML, threshold=0.2)
    case("features", "FeatureVectorizer", [f4(2, 2), f4(2, 3)], 1, ML, inputdimensions=[2, 3])
    case("extractor", "ArrayFeatureExtractor", [f4(2, 4), i8(3, 0)], 1, ML)


def linear():
    case("scaler", "Scaler", [f4(2, 3)], 1, ML, offset=[0.5, 1.0, -1.0], scale=[2.0, 0.5, 3.0])
    for norm in ("MAX", "L1", "L2"):
        # onnxruntime's MAX does not take magnitudes; the standard's text does not say. Positive rows are the same either way.
        case("normalizer_" + norm.lower(), "Normalizer", [np.abs(f4(2, 3))], 1, ML, norm=norm)
    case("linear_regressor", "LinearRegressor", [f4(3, 2)], 1, ML, coefficients=[1.0, 2.0, -1.0, 0.5], intercepts=[0.1, 0.2], targets=2)
    for post in ("NONE", "SOFTMAX", "LOGISTIC"):
        case("linear_classifier_" + post.lower(), "LinearClassifier", [f4(4, 2)], 2, ML, coefficients=[1.0, 2.0, -1.0, 0.5, 0.3, -2.0],
             intercepts=[0.1, 0.2, -0.3], classlabels_ints=[10, 20, 30], post_transform=post)
    case("linear_classifier_text", "LinearClassifier", [f4(4, 2)], 2, ML, coefficients=[-1.0, -2.0, 1.0, 2.0], intercepts=[-0.1, 0.1],
         classlabels_strings=["no", "yes"], post_transform="LOGISTIC")


def vectors():
    sv = [float(x) for x in f4(12)]
    for kind, params in (("LINEAR", [0.0, 0.0, 0.0]), ("RBF", [0.4, 0.0, 3.0]), ("POLY", [0.5, 1.0, 2.0]), ("SIGMOID", [0.3, 0.1, 3.0])):
        case("svm_regressor_" + kind.lower(), "SVMRegressor", [f4(3, 3)], 1, ML, kernel_type=kind, kernel_params=params, n_supports=4,
             coefficients=[0.5, -1.0, 0.7, 0.2], support_vectors=sv, rho=[0.3], tolerance=1e-4)
    case("svm_one_class", "SVMRegressor", [f4(5, 3)], 1, ML, kernel_type="RBF", kernel_params=[0.4, 0.0, 3.0], n_supports=4, one_class=1,
         coefficients=[0.5, -1.0, 0.7, 0.2], support_vectors=sv, rho=[0.05])
    case("svm_classifier_three", "SVMClassifier", [f4(5, 3)], 2, ML, kernel_type="RBF", kernel_params=[0.4, 0.0, 3.0],
         coefficients=[0.5, -1.0, 0.7, 0.2, 0.9, 0.1, -0.4, -0.6], support_vectors=sv, vectors_per_class=[1, 2, 1], rho=[0.1, -0.2, 0.05],
         classlabels_ints=[0, 1, 2], tolerance=1e-4)
    case("svm_classifier_two", "SVMClassifier", [f4(5, 3)], 2, ML, kernel_type="RBF", kernel_params=[0.4, 0.0, 3.0],
         coefficients=[0.5, 1.0, -0.7, -0.2], support_vectors=sv, vectors_per_class=[2, 2], rho=[0.1],
         classlabels_ints=[0, 1], prob_a=[-1.5], prob_b=[0.1], tolerance=6e-3)


def trees():
    # Two trees: x0 <= 0.1 ? (x1 < 0 ? a : b) : c, and x1 > 0.3 ? d : e.
    nodes = dict(nodes_treeids=[0, 0, 0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2],
                 nodes_featureids=[0, 1, 0, 0, 0, 1, 0, 0], nodes_values=[0.1, 0.0, 0, 0, 0, 0.3, 0, 0],
                 nodes_modes=["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF", "BRANCH_GT", "LEAF", "LEAF"],
                 nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0],
                 nodes_missing_value_tracks_true=[1, 0, 0, 0, 0, 0, 0, 0])
    x = np.concatenate([f4(6, 2), np.array([[np.nan, 0.5]], "f4")])
    weights = lambda p, ids: {p + "_treeids": [0, 0, 0, 1, 1], p + "_nodeids": [3, 4, 2, 1, 2], p + "_ids": ids,
                              p + "_weights": [0.1, 0.2, 0.4, 0.3, 0.7]}
    for how in ("SUM", "AVERAGE", "MIN", "MAX"):
        case("trees_" + how.lower(), "TreeEnsembleRegressor", [x], 1, ML, n_targets=1, aggregate_function=how, base_values=[0.5],
             **nodes, **weights("target", [0] * 5))
    case("trees_classes", "TreeEnsembleClassifier", [x], 2, ML, classlabels_int64s=[3, 5, 8], post_transform="SOFTMAX", **nodes,
         **weights("class", [0, 1, 2, 1, 0]))
    # Where no weight is negative, onnxruntime compares the sum with a half instead of the two scores.
    mixed = dict(weights("class", [0] * 5), class_weights=[0.1, 0.2, 0.4, -0.3, 0.7])
    case("trees_binary", "TreeEnsembleClassifier", [x], 2, ML, classlabels_strings=["no", "yes"], post_transform="LOGISTIC", **nodes, **mixed)


def regions():
    case("max_roi_pool", "MaxRoiPool", [f4(2, 2, 6, 6), np.array([[0, 0, 0, 3, 3], [1, 1, 2, 5, 4]], "f4")], 1, pooled_shape=[2, 2])


def quantized():
    q = lambda lo, hi, *s, t="u1": R.integers(lo, hi, s).astype(t)
    S = lambda v: np.array(v, "f4")
    Z = lambda v, t="u1": np.array(v, t)
    a, b = q(0, 255, 2, 3), q(0, 255, 2, 3)
    two = [a, S(0.02), Z(120), b, S(0.03), Z(128), S(0.05), Z(130)]
    case("q_add", "QLinearAdd", two, 1, MS)
    case("q_mul", "QLinearMul", two, 1, MS)
    case("q_sigmoid", "QLinearSigmoid", [a, S(0.02), Z(120), S(1 / 256), Z(0)], 1, MS, constants=(1, 2, 3, 4))
    case("q_leaky_relu", "QLinearLeakyRelu", [a, S(0.02), Z(120), S(0.02), Z(60)], 1, MS, constants=(1, 2, 3, 4), alpha=0.1)
    case("q_softmax", "QLinearSoftmax", [a, S(0.02), Z(120), S(1 / 256), Z(0)], 1, MS, constants=(1, 2, 3, 4), axis=-1, **{"opset": 17})
    image = q(0, 255, 1, 2, 4, 4)
    case("q_global_average_pool", "QLinearGlobalAveragePool", [image, S(0.02), Z(120), S(0.01), Z(100)], 1, MS)
    case("q_average_pool", "QLinearAveragePool", [image, S(0.02), Z(120), S(0.02), Z(110)], 1, MS, kernel_shape=[2, 2], strides=[2, 2], tolerance=1.0)
    case("q_concat", "QLinearConcat", [S(0.05), Z(100), a, S(0.02), Z(120), b, S(0.03), Z(128)], 1, MS, constants=(0, 1, 3, 4, 6, 7), axis=1)
    w = q(-128, 127, 3, 4, t="i1")
    case("q_to_float", "MatMulIntegerToFloat", [a, w, S(0.02), S(0.01), Z(120), Z(3, "i1"), f4(4)], 1, MS, constants=(1, 3, 5, 6))
    case("q_dynamic", "DynamicQuantizeMatMul", [f4(2, 3), w, S(0.01), Z(0, "i1"), f4(4)], 1, MS, constants=(1, 2, 3, 4))
    case("q_gemm", "QGemm", [a, S(0.02), Z(120), w, S(0.01), Z(0, "i1"), R.integers(-99, 99, 4).astype("i4"), S(0.05), Z(128)], 1, MS,
         constants=(1, 2, 3, 4, 5, 6, 7, 8), alpha=1.0)
    case("q_linear", "QuantizeLinear", [f4(2, 3), S(0.02), Z(1000, "u2")], 1, MS, constants=(1, 2))
    case("q_delinear", "DequantizeLinear", [q(-99, 99, 2, 3, t="i2"), S(0.02), Z(7, "i2")], 1, MS, constants=(1, 2))


def fused():
    x = f4(2, 3, 8)
    g = f4(8)
    case("bias_gelu", "BiasGelu", [x, g], 1, MS)
    case("fast_gelu", "FastGelu", [x, g], 1, MS, tolerance=1e-4)
    case("skip_norm", "SkipLayerNormalization", [x, f4(2, 3, 8), g, f4(8), f4(8)], 1, MS, epsilon=1e-5, tolerance=1e-4)
    case("skip_rms", "SkipSimplifiedLayerNormalization", [x, f4(2, 3, 8), g], 1, MS, epsilon=1e-5, tolerance=1e-4)
    case("rms", "SimplifiedLayerNormalization", [x, g], 1, epsilon=1e-5, axis=-1, tolerance=1e-4)
    image = f4(1, 2, 5, 5)
    for act, params in (("Relu", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.3, 0.4])):
        case("fused_conv_" + act.lower(), "FusedConv", [image, f4(4, 2, 3, 3), f4(4)], 1, MS, constants=(1, 2), activation=act,
             pads=[1, 1, 1, 1], tolerance=1e-4, **(dict(activation_params=params) if params else {}))
    case("fused_conv_sum", "FusedConv", [image, f4(4, 2, 3, 3), f4(4), f4(1, 4, 5, 5)], 1, MS, constants=(1, 2), activation="Relu",
         pads=[1, 1, 1, 1], tolerance=1e-4)
    case("fused_gemm", "FusedGemm", [f4(2, 3), f4(4, 3), f4(4)], 1, MS, constants=(1, 2), transB=1, activation="LeakyRelu",
         activation_alpha=0.2)


for group in (labels, linear, vectors, trees, regions, quantized, fused):
    group()
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx_samples.json")
with open(path, "w") as f:
    f.write(json.dumps(CASES, indent=0) + "\n")
print(len(CASES), "cases", os.path.getsize(path), "bytes")
