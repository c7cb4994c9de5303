#!/usr/bin/env python3
"""Writes the data of tests/tensorflow.rs with TensorFlow 2.21: `tensorflow_ops.safetensors`, small frozen graphs with inputs and what
TensorFlow computes, and the SavedModels in `tensorflow1` and `tensorflow2`.

A case NAME is the tensors NAME/graph (the bytes of the GraphDef), NAME/in0, ... and NAME/out0, ...; NAME begins with the operation
it covers, and a dot parts what distinguishes cases of one operation.
"""
import os, shutil, struct, json
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"; os.environ["CUDA_VISIBLE_DEVICES"] = ""; os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import numpy as np
import tensorflow as tf
tf1, raw = tf.compat.v1, tf.raw_ops
tf1.enable_control_flow_v2()
HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.RandomState(7)
cases = []


def f(*shape, lo=-2.0, hi=2.0): return rng.uniform(lo, hi, shape).astype(np.float32)
def i(*shape, lo=-9, hi=9): return rng.randint(lo, hi, shape).astype(np.int32)
def case(name, inputs, fn, fixed=True): cases.append((name, inputs, fn, fixed))
def each(names, inputs, **kw):
    for name in names: case(name, inputs, lambda *x, name=name: op(name)(x, **kw))
def op(name):
    fn = getattr(raw, name)
    import inspect
    args = [a for a in inspect.signature(fn).parameters if a != "name"]
    return lambda x, **kw: fn(**dict(zip([a for a in args if a not in kw], x)), **kw)


A, B = f(3, 4), f(3, 4)
each("Abs Asinh Atan Ceil Cos Cosh Elu Erf Erfc Exp Expm1 Floor LeakyRelu LogSoftmax Neg Relu Relu6 Rint Round Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Square Tan Tanh".split(), [A])
each("Acos Asin Atanh".split(), [f(3, 4, lo=-0.9, hi=0.9)])
each("Acosh".split(), [f(3, 4, lo=1.1, hi=3)])
each("Log Log1p Rsqrt Sqrt Reciprocal Inv".split(), [f(3, 4, lo=0.2, hi=3)])
each("IsFinite IsInf IsNan".split(), [np.array([1, np.inf, -np.inf, np.nan], np.float32)])
each("Add AddV2 Atan2 Maximum Minimum Mul SquaredDifference Sub RealDiv Div FloorDiv FloorMod".split(), [A, f(1, 4, lo=0.5, hi=2)])
each("TruncateDiv TruncateMod FloorDiv FloorMod Mod".split(), [i(2, 5), np.array([3, -2, 4, -5, 7], np.int32)])
cases[:] = [(n + ".int" if sum(m == n for m, *_ in cases[:k]) else n, *r) for k, (n, *r) in enumerate(cases)]
each(["Pow"], [f(3, 4, lo=0.2, hi=3), f(4)])
each("Equal Greater GreaterEqual Less LessEqual NotEqual".split(), [np.round(A), np.round(B)])
T, U = A > 0, B > 0
each("LogicalAnd LogicalOr".split(), [T, U]); each(["LogicalNot"], [T])
each("BitwiseAnd BitwiseOr BitwiseXor".split(), [i(3, 4), i(3, 4)]); each(["Invert"], [i(3, 4)])
each("LeftShift RightShift".split(), [i(4, lo=0), np.array([0, 1, 2, 3], np.int32)])
Z = np.where(B > 0, B, 0).astype(np.float32)
each("DivNoNan MulNoNan".split(), [A, Z]); each("Xdivy Xlogy".split(), [np.where(A > 0, A, 0).astype(np.float32), f(3, 4, lo=0.5, hi=2)])
case("AddN", [A, B], lambda a, b: raw.AddN(inputs=[a, b, a]))
case("BiasAdd", [A, f(4)], lambda x, b: raw.BiasAdd(value=x, bias=b))
case("BiasAdd.NCHW", [f(1, 3, 2, 2), f(3)], lambda x, b: raw.BiasAdd(value=x, bias=b, data_format="NCHW"))
case("BiasAddV1", [A, f(4)], lambda x, b: raw.BiasAddV1(value=x, bias=b))
case("Bitcast", [A], lambda x: raw.Bitcast(input=x, type=tf.int32))
case("Cast.int", [A * 3], lambda x: raw.Cast(x=x, DstT=tf.int32)); case("Cast.half", [A], lambda x: raw.Cast(x=raw.Cast(x=x, DstT=tf.float16), DstT=tf.float32))
case("ClipByValue", [A], lambda x: raw.ClipByValue(t=x, clip_value_min=tf.constant(-0.5), clip_value_max=tf.constant(0.75)))
case("Select", [np.array([True, False, True]), A, B], lambda c, a, b: raw.Select(condition=c, x=a, y=b))
case("SelectV2", [T, A, B], lambda c, a, b: raw.SelectV2(condition=c, t=a, e=b))
for name in "All Any".split(): case(name, [T], lambda x, name=name: op(name)([x], axis=tf.constant([1]), keep_dims=True))
for name in "Max Mean Min Prod Sum EuclideanNorm".split(): case(name, [f(2, 3, 4)], lambda x, name=name: op(name)([x], axis=tf.constant([-1, 0])))
case("Sum.none", [A], lambda x: raw.Sum(input=x, axis=tf.constant([], tf.int32)))
for name in "ArgMax ArgMin".split(): case(name, [A], lambda x, name=name: op(name)([x], dimension=tf.constant(1), output_type=tf.int32))
# Products.
case("MatMul", [A], lambda x: raw.MatMul(a=x, b=tf.constant(f(4, 5)))); case("MatMul.turned", [A, f(5, 3)], lambda a, b: raw.MatMul(a=a, b=b, transpose_a=True, transpose_b=True))
for name in "BatchMatMul BatchMatMulV2 BatchMatMulV3".split():
    case(name, [f(2, 3, 4), f(2, 5, 4)], lambda a, b, name=name: op(name)([a, b], adj_y=True, **({"Tout": tf.float32} if name.endswith("V3") else {})))
case("Einsum", [f(2, 3, 4), f(4, 5)], lambda a, b: raw.Einsum(inputs=[a, b], equation="abc,cd->dab")); case("Einsum.dense", [f(2, 3, 4)], lambda a: raw.Einsum(inputs=[a, tf.constant(f(4, 5))], equation="abc,cd->abd"))
# Convolutions and pools.
X, K = f(2, 7, 6, 3), f(3, 2, 3, 4)
case("Conv2D.same", [X], lambda x: raw.Conv2D(input=x, filter=tf.constant(K), strides=[1, 2, 1, 1], padding="SAME"))
case("Conv2D.valid", [X], lambda x: raw.Conv2D(input=x, filter=tf.constant(K), strides=[1, 1, 1, 1], padding="VALID", dilations=[1, 2, 1, 1]))
case("Conv2D.explicit", [X], lambda x: raw.Conv2D(input=x, filter=tf.constant(K), strides=[1, 1, 1, 1], padding="EXPLICIT", explicit_paddings=[0, 0, 2, 1, 0, 3, 0, 0]))
case("Conv2D.groups", [f(1, 5, 5, 4)], lambda x: raw.Conv2D(input=x, filter=tf.constant(f(3, 3, 2, 6)), strides=[1, 1, 1, 1], padding="SAME"))
case("Conv3D", [f(1, 4, 5, 4, 2)], lambda x: raw.Conv3D(input=x, filter=tf.constant(f(2, 2, 3, 2, 3)), strides=[1, 1, 2, 1, 1], padding="SAME"))
case("DepthwiseConv2dNative", [X], lambda x: raw.DepthwiseConv2dNative(input=x, filter=tf.constant(f(3, 3, 3, 2)), strides=[1, 2, 2, 1], padding="SAME"))
case("Conv2DBackpropInput.same", [f(1, 4, 3, 4)], lambda x: raw.Conv2DBackpropInput(input_sizes=tf.constant([1, 7, 6, 3]), filter=tf.constant(K), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME"))
case("Conv2DBackpropInput.valid", [f(1, 3, 3, 4)], lambda x: raw.Conv2DBackpropInput(input_sizes=tf.constant([1, 8, 6, 3]), filter=tf.constant(K), out_backprop=x, strides=[1, 2, 2, 1], padding="VALID"))
case("Conv3DBackpropInputV2", [f(1, 2, 3, 2, 3)], lambda x: raw.Conv3DBackpropInputV2(input_sizes=tf.constant([1, 4, 6, 4, 2]), filter=tf.constant(f(2, 3, 2, 2, 3)), out_backprop=x, strides=[1, 2, 2, 2, 1], padding="SAME"))
case("DepthwiseConv2dNativeBackpropInput", [f(1, 4, 3, 6)], lambda x: raw.DepthwiseConv2dNativeBackpropInput(input_sizes=tf.constant([1, 8, 6, 3]), filter=tf.constant(f(3, 3, 3, 2)), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME"))
case("SpaceToBatchND.conv", [f(2, 9, 8, 3)], lambda x: raw.BatchToSpaceND(input=raw.Conv2D(input=raw.SpaceToBatchND(input=x, block_shape=tf.constant([2, 3]), paddings=tf.constant([[2, 3], [1, 3]])),
     filter=tf.constant(f(2, 2, 3, 4)), strides=[1, 1, 1, 1], padding="VALID"), block_shape=tf.constant([2, 3]), crops=tf.constant([[0, 1], [1, 0]])))
case("SpaceToBatchND", [f(2, 5, 6, 3)], lambda x: raw.SpaceToBatchND(input=x, block_shape=tf.constant([2, 3]), paddings=tf.constant([[1, 0], [2, 1]])))
case("BatchToSpaceND", [f(12, 2, 3, 2)], lambda x: raw.BatchToSpaceND(input=x, block_shape=tf.constant([2, 3]), crops=tf.constant([[1, 0], [2, 1]])))
P = dict(ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1])
case("AvgPool", [X], lambda x: raw.AvgPool(value=x, padding="SAME", **P)); case("MaxPool", [X], lambda x: raw.MaxPool(input=x, padding="SAME", **P)); case("MaxPool.valid", [X], lambda x: raw.MaxPool(input=x, padding="VALID", **P))
case("MaxPoolV2", [X], lambda x: raw.MaxPoolV2(input=x, ksize=tf.constant([1, 3, 2, 1]), strides=tf.constant([1, 2, 1, 1]), padding="VALID"))
case("MaxPoolWithArgmax", [X], lambda x: list(raw.MaxPoolWithArgmax(input=x, padding="VALID", **P)))
P3 = dict(ksize=[1, 2, 2, 2, 1], strides=[1, 2, 1, 2, 1])
case("AvgPool3D", [f(1, 4, 5, 4, 2)], lambda x: raw.AvgPool3D(input=x, padding="SAME", **P3)); case("MaxPool3D", [f(1, 4, 5, 4, 2)], lambda x: raw.MaxPool3D(input=x, padding="VALID", **P3))
# Normalisation.
S = [f(3, lo=0.5, hi=2), f(3), f(3), f(3, lo=0.5, hi=2)]
for name in "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3".split():
    case(name, [X], lambda x, name=name: op(name)([x] + [tf.constant(s) for s in S], is_training=False, epsilon=1e-3, **({} if name == "FusedBatchNorm" else {"U": tf.float32} if 0 else {})).y)
case("FusedBatchNormV3.training", [X], lambda x: raw.FusedBatchNormV3(x=x, scale=tf.constant(S[0]), offset=tf.constant(S[1]), mean=tf.constant([], tf.float32), variance=tf.constant([], tf.float32), is_training=True).y)
case("LRN", [f(1, 2, 2, 9)], lambda x: raw.LRN(input=x, depth_radius=2, bias=1.5, alpha=0.3, beta=0.6))
case("L2Loss", [A], lambda x: raw.L2Loss(t=x))
# Shapes.
case("Shape", [A], lambda x: raw.Shape(input=x)); case("ShapeN", [A, X], lambda a, b: list(raw.ShapeN(input=[a, b]))); case("Size", [X], lambda x: raw.Size(input=x)); case("Rank", [X], lambda x: raw.Rank(input=x))
case("Reshape", [A], lambda x: raw.Reshape(tensor=x, shape=tf.constant([2, -1]))); case("Reshape.computed", [X], lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 3]), False)
case("ExpandDims", [A], lambda x: raw.ExpandDims(input=x, axis=tf.constant(-1))); case("Squeeze", [f(2, 1, 3, 1)], lambda x: raw.Squeeze(input=x, axis=[1])); case("Squeeze.all", [f(2, 1, 3, 1)], lambda x: raw.Squeeze(input=x))
case("Fill", [A], lambda x: raw.AddV2(x=raw.Fill(dims=raw.Shape(input=x), value=tf.constant(2.5)), y=x), False)
case("ZerosLike", [A], lambda x: raw.ZerosLike(x=x)); case("OnesLike", [A], lambda x: raw.OnesLike(x=x))
case("Range", [A], lambda x: raw.AddV2(x=raw.Range(start=tf.constant(0.0), limit=tf.constant(2.0), delta=tf.constant(0.5)), y=x)); case("LinSpace", [A], lambda x: raw.AddV2(x=raw.LinSpace(start=tf.constant(1.0), stop=tf.constant(2.5), num=tf.constant(4)), y=x))
case("BroadcastTo", [f(1, 4)], lambda x: raw.BroadcastTo(input=x, shape=tf.constant([2, 3, 4]))); case("BroadcastArgs", [A], lambda x: raw.BroadcastTo(input=x, shape=raw.BroadcastArgs(s0=tf.constant([2, 1, 4]), s1=tf.constant([3, 1]))))
case("Unique", [A], lambda x: list(raw.GatherV2(params=x, indices=o, axis=tf.constant(0)) for o in raw.Unique(x=tf.constant([2, 0, 2, 1]))))
# Movement.
case("ConcatV2", [A, B], lambda a, b: raw.ConcatV2(values=[a, b], axis=tf.constant(-1))); case("Concat", [A, B], lambda a, b: raw.Concat(concat_dim=tf.constant(0), values=[a, b]))
case("Pack", [A, B], lambda a, b: raw.Pack(values=[a, b], axis=1)); case("Unpack", [A], lambda x: raw.Unpack(value=x, num=4, axis=-1))
case("Split", [A], lambda x: raw.Split(axis=tf.constant(1), value=x, num_split=2)); case("SplitV", [A], lambda x: raw.SplitV(value=x, size_splits=tf.constant([1, -1]), axis=tf.constant(1), num_split=2))
case("Transpose", [X], lambda x: raw.Transpose(x=x, perm=tf.constant([3, 0, 2, 1]))); case("Tile", [A], lambda x: raw.Tile(input=x, multiples=tf.constant([2, 3])))
case("Pad", [A], lambda x: raw.Pad(input=x, paddings=tf.constant([[1, 2], [0, 3]]))); case("PadV2", [A], lambda x: raw.PadV2(input=x, paddings=tf.constant([[1, 2], [0, 3]]), constant_values=tf.constant(-1.5)))
for mode in ("REFLECT", "SYMMETRIC"): case("MirrorPad." + mode, [A], lambda x, mode=mode: raw.MirrorPad(input=x, paddings=tf.constant([[1, 2], [0, 3]]), mode=mode))
case("ReverseV2", [A], lambda x: raw.ReverseV2(tensor=x, axis=tf.constant([1]))); case("Reverse", [A], lambda x: raw.Reverse(tensor=x, dims=tf.constant([True, False]))); case("Roll", [A], lambda x: raw.Roll(input=x, shift=tf.constant([1, -1]), axis=tf.constant([0, 1])))
case("Slice", [A], lambda x: raw.Slice(input=x, begin=tf.constant([1, 0]), size=tf.constant([-1, 2])))
case("StridedSlice.masks", [X], lambda x: x[1, ..., tf.newaxis, ::-2, 1:]); case("StridedSlice.ends", [X], lambda x: x[:, 1:-1:2, -1]); case("StridedSlice.computed", [A], lambda x: x[:tf.shape(x)[0] - 1, tf.argmax(x[0], output_type=tf.int32)])
case("SpaceToDepth", [f(1, 4, 6, 2)], lambda x: raw.SpaceToDepth(input=x, block_size=2)); case("DepthToSpace", [f(1, 2, 3, 8)], lambda x: raw.DepthToSpace(input=x, block_size=2)); case("MatrixBandPart", [f(2, 4, 5)], lambda x: raw.MatrixBandPart(input=x, num_lower=tf.constant(1), num_upper=tf.constant(2)))
# Choosing.
N = np.array([[2, 0], [1, 2]], np.int32)
case("Gather", [A, N], lambda x, n: raw.Gather(params=x, indices=n)); case("GatherV2", [A, N], lambda x, n: raw.GatherV2(params=x, indices=n, axis=tf.constant(1))); case("GatherV2.batch", [f(2, 4, 3), N], lambda x, n: raw.GatherV2(params=x, indices=n, axis=tf.constant(1), batch_dims=1))
case("GatherNd", [A, N], lambda x, n: raw.GatherNd(params=x, indices=n)); case("ScatterNd", [N, f(2)], lambda n, u: raw.ScatterNd(indices=n, updates=u, shape=tf.constant([3, 4])))
for name in "TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterUpdate".split(): case(name, [A, N, f(2)], lambda x, n, u, name=name: op(name)([x, n, u]))
case("OneHot", [np.array([[0, 2], [-1, 3]], np.int32)], lambda x: raw.OneHot(indices=x, depth=tf.constant(3), on_value=tf.constant(5.0), off_value=tf.constant(-1.0), axis=1))
case("TopKV2", [A], lambda x: list(raw.TopKV2(input=x, k=tf.constant(2)))); case("Cumsum", [A], lambda x: raw.Cumsum(x=x, axis=tf.constant(1), exclusive=True, reverse=True))
case("Where", [T], lambda x: raw.Where(condition=x)); case("Bucketize", [A], lambda x: raw.Bucketize(input=x, boundaries=[-1, 0.25, 1])); case("InvertPermutation", [A], lambda x: raw.GatherV2(params=x, indices=raw.InvertPermutation(x=tf.constant([2, 0, 1])), axis=tf.constant(0)))
case("DenseBincount", [np.array([[0, 2, 2], [1, 5, 0]], np.int32)], lambda x: raw.DenseBincount(input=x, size=tf.constant(4), weights=tf.constant([], tf.float32)))
case("DenseBincount.weights", [np.array([[0, 2, 2], [1, 3, 0]], np.int32), f(2, 3)], lambda x, w: raw.DenseBincount(input=x, size=tf.constant(4), weights=w)); case("DenseBincount.binary", [np.array([[0, 2, 2], [1, 5, 0]], np.int32)], lambda x: raw.DenseBincount(input=x, size=tf.constant(4), weights=tf.constant([], tf.float32), binary_output=True))
# Images.
for size in ([5, 9], [3, 4]):
    tag = ".up" if size[0] == 5 else ".down"; I = f(1, 4, 5, 2)
    for name in "ResizeBilinear ResizeNearestNeighbor ResizeBicubic".split():
        for grid, kw in (("", {}), (".corners", dict(align_corners=True)), (".centers", dict(half_pixel_centers=True))): case(name + tag + grid, [I], lambda x, name=name, kw=kw, size=size: op(name)([x], size=tf.constant(size), **kw))
    case("ResizeArea" + tag, [I], lambda x, size=size: raw.ResizeArea(images=x, size=tf.constant(size)))
    for kernel in "lanczos1 lanczos3 lanczos5 gaussian box triangle keyscubic mitchellcubic".split():
        case("ScaleAndTranslate%s.%s" % (tag, kernel), [I], lambda x, size=size, kernel=kernel: raw.ScaleAndTranslate(images=x, size=tf.constant(size), scale=tf.constant([size[0] / 4, size[1] / 5], tf.float32), translation=tf.constant([0.0, 0.0]), kernel_type=kernel, antialias=True))
case("AdjustContrastv2", [I], lambda x: raw.AdjustContrastv2(images=x, contrast_factor=tf.constant(1.7)))
# Rounding to a grid.
case("FakeQuantWithMinMaxArgs", [A], lambda x: raw.FakeQuantWithMinMaxArgs(inputs=x, min=-1, max=1.5)); case("FakeQuantWithMinMaxVars", [A], lambda x: raw.FakeQuantWithMinMaxVars(inputs=x, min=tf.constant(-1.1), max=tf.constant(1.5), num_bits=4, narrow_range=True))
case("FakeQuantWithMinMaxVarsPerChannel", [A], lambda x: raw.FakeQuantWithMinMaxVarsPerChannel(inputs=x, min=tf.constant([-1.0, -0.5, 0.0, -2.0]), max=tf.constant([1.0, 0.7, 2.0, -0.1])))
# State and control.
case("Identity", [A], lambda x: raw.Identity(input=raw.StopGradient(input=x))); case("IdentityN", [A, B], lambda a, b: raw.IdentityN(input=[b, a])); case("CheckNumerics", [A], lambda x: raw.CheckNumerics(tensor=raw.PreventGradient(input=raw.Snapshot(input=x)), message="m"))
case("EnsureShape", [A], lambda x: raw.EnsureShape(input=x, shape=[None, 4])); case("PlaceholderWithDefault", [A], lambda x: raw.AddV2(x=x, y=tf1.placeholder_with_default(np.float32(3), [])))
case("Print", [A], lambda x: raw.Print(input=x, data=[x], message="x", first_n=0))


def asserted(x):
    with tf.control_dependencies([raw.Assert(condition=tf.constant(True), data=[x])]): return tf.identity(x)
def switched(x):
    a, b = raw.Switch(data=x, pred=tf.constant(False)); return raw.Merge(inputs=[raw.Neg(x=a), raw.Exp(x=b)])[0]
@tf.function
def inner(x, y): return x * y + 1.0
def loop(x):
    n = tf.constant(0); items = tf.raw_ops.TensorListFromTensor(tensor=tf.transpose(x), element_shape=tf.constant([3])); out = raw.TensorListReserve(element_shape=tf.constant([3]), num_elements=tf.constant(4), element_dtype=tf.float32)
    def body(n, s, out):
        s = s * 0.5 + raw.TensorListGetItem(input_handle=items, index=n, element_shape=tf.constant([3]), element_dtype=tf.float32)
        return n + 1, s, raw.TensorListSetItem(input_handle=out, index=n, item=s)
    _, s, out = tf.while_loop(lambda n, s, out: n < 4, body, [n, tf.zeros([3]), out]); return [s, raw.TensorListStack(input_handle=out, element_shape=tf.constant([3]), element_dtype=tf.float32)]
def lists(x):
    l = raw.EmptyTensorList(element_shape=tf.constant([4]), max_num_elements=tf.constant(9), element_dtype=tf.float32)
    for k in range(3): l = raw.TensorListPushBack(input_handle=l, tensor=x[k])
    l, last = raw.TensorListPopBack(input_handle=l, element_shape=tf.constant([4]), element_dtype=tf.float32)
    return [raw.TensorListStack(input_handle=l, element_shape=tf.constant([4]), element_dtype=tf.float32), last, raw.TensorListLength(input_handle=l), raw.TensorListElementShape(input_handle=l, shape_type=tf.int32)]
def joined(x):
    l = raw.TensorListFromTensor(tensor=tf.reshape(x, [3, 2, 2]), element_shape=tf.constant([2, 2])); l = raw.TensorListResize(input_handle=l, size=tf.constant(2))
    return list(raw.TensorListConcatV2(input_handle=l, element_shape=tf.constant([2, 2]), leading_dims=tf.constant([], tf.int64), element_dtype=tf.float32))
case("Assert", [A], asserted); case("Switch", [A], switched); case("StatefulPartitionedCall", [A, B], lambda a, b: inner(a, b)); case("PartitionedCall", [A, B], lambda a, b: tf.function(lambda x, y: x - y)(a, b))
case("If", [A], lambda x: tf.cond(tf.constant(2) > 1, lambda: x + 1, lambda: x - 1)); case("If.computed", [A], lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x + 1, lambda: x - 1)); case("Case", [A], lambda x: tf.switch_case(tf.constant(1), [lambda: x + 1, lambda: x * 3, lambda: x]))
case("While", [A], loop); case("TensorListPushBack", [A], lists); case("TensorListConcatV2", [A], joined)


def run(name, inputs, fn, fixed):
    g = tf.Graph()
    with g.as_default():
        ph = [tf1.placeholder(v.dtype, v.shape if fixed else [None] + list(v.shape[1:]), name="x%d" % k) for k, v in enumerate(inputs)]
        outs = fn(*ph); outs = list(outs) if isinstance(outs, (list, tuple)) else [outs]
        outs = [tf.identity(o, name="Identity" if k == 0 else "Identity_%d" % k) for k, o in enumerate(outs)]
        with tf1.Session(graph=g) as s: res = s.run(outs, dict(zip(ph, inputs)))
    gd = tf1.graph_util.extract_sub_graph(g.as_graph_def(), [o.op.name for o in outs] + [p.op.name for p in ph])
    for n in list(gd.node) + [n for fd in gd.library.function for n in fd.node_def]:
        for a in [a for a in n.attr if a in ("config_proto", "_output_shapes", "_lower_using_switch_merge", "_num_original_outputs", "_read_only_resource_inputs")]: del n.attr[a]
    return gd.SerializeToString(), res


def save(path, tensors):
    header, data = {}, b""
    names = {"float32": "F32", "int32": "I32", "int64": "I64", "uint8": "U8", "bool": "BOOL", "float16": "F16"}
    for name, v in sorted(tensors.items(), key=lambda kv: (-kv[1].dtype.itemsize, kv[0])):
        raw_bytes = v.tobytes(); header[name] = {"dtype": names[str(v.dtype)], "shape": list(v.shape), "data_offsets": [len(data), len(data) + len(raw_bytes)]}; data += raw_bytes
    text = json.dumps(header, separators=(",", ":")).encode(); text += b" " * (-len(text) % 8)
    with open(path, "wb") as out: out.write(struct.pack("<Q", len(text)) + text + data)


def saved_models():
    path = os.path.join(HERE, "tensorflow1"); shutil.rmtree(path, ignore_errors=True)
    with tf.Graph().as_default():
        x = tf1.placeholder(tf.float32, [None, 6], name="x")
        w = tf1.get_variable("dense/w", initializer=f(6, 4), use_resource=False)
        with tf1.variable_scope("p", partitioner=tf1.fixed_size_partitioner(2, axis=0)): v = tf1.get_variable("w", shape=[4, 3], initializer=lambda shape, dtype=None, partition_info=None: tf.constant(np.arange(np.prod(shape)).reshape(shape), tf.float32) * 0.25 + (0 if partition_info is None else partition_info.var_offset[0]), use_resource=False)
        phase = tf1.placeholder_with_default(False, [], name="keras_learning_phase")
        h = tf.matmul(x, w); a, b = raw.Switch(data=h, pred=phase); h = raw.Merge(inputs=[raw.Identity(input=a), raw.Neg(x=b)])[0]
        y = tf.matmul(tf.nn.relu(h), v)
        with tf1.Session() as s:
            s.run(tf1.global_variables_initializer()); tf1.saved_model.simple_save(s, path, {"x": x}, {"y": y, "hidden": h})
            data = f(2, 6); ry, rh = s.run([y, h], {x: data})
    out = {"tensorflow1/in0": data, "tensorflow1/y": ry, "tensorflow1/hidden": rh}
    path = os.path.join(HERE, "tensorflow2"); shutil.rmtree(path, ignore_errors=True)
    class Net(tf.Module):
        def __init__(self):
            super().__init__(); self.parts = [tf.Variable(f(4, 4), name="w") for _ in range(2)]; self.table = tf.Variable(f(5, 4), name="table")
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x): return {"y": tf.nn.relu(x @ self.parts[0]) @ self.parts[1]}
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rows")])
        def rows(self, rows): return {"z": tf.gather(self.table, rows)}
    n = Net(); tf.saved_model.save(n, path, {"serving_default": n.serve, "rows": n.rows})
    data, at = f(3, 4), np.array([4, 0, 2], np.int32)
    out.update({"tensorflow2/in0": data, "tensorflow2/y": n.serve(data)["y"].numpy(), "tensorflow2/rows": at, "tensorflow2/z": n.rows(at)["z"].numpy()})
    for junk in ("assets", "fingerprint.pb"):
        p = os.path.join(path, junk); shutil.rmtree(p, ignore_errors=True)
        if os.path.exists(p): os.remove(p)
    return out


if __name__ == "__main__":
    tensors = {}
    for name, inputs, fn, fixed in cases:
        try: graph, outs = run(name, inputs, fn, fixed)
        except Exception as e: print("FAILED", name, str(e)[:300]); continue
        assert name + "/graph" not in tensors, name
        tensors[name + "/graph"] = np.frombuffer(graph, np.uint8)
        for k, v in enumerate(inputs): tensors["%s/in%d" % (name, k)] = v
        for k, v in enumerate(outs): tensors["%s/out%d" % (name, k)] = np.asarray(v)
    tensors.update(saved_models())
    save(os.path.join(HERE, "tensorflow_ops.safetensors"), tensors)
    print(len(cases), "cases")
