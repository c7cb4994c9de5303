#!/usr/bin/env python3
"""Cases beside the corpus of `keras_corpus.py`, in its layout: operations of `keras.ops`, preprocessing layers and the whole networks of
keras.applications (random weights, small inputs). Needs tensorflow and keras 3.

    keras_more.py --out DIR [--networks] [--filter REGEX]
    run_corpus.py --corpus DIR --server 'target/debug/conformance serve'
"""
import argparse, json, os, re, zlib
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import keras
from keras import layers as L, ops as K

CASES = {}


def op(name, f, *shapes, dtype="float32", **kw):
    """f(*inputs) -> tensor or list; inputs are named a, b, c."""
    def build():
        ins = [keras.Input(s, name="abc"[i], dtype=dtype) for i, s in enumerate(shapes)]
        return keras.Model(ins if len(ins) > 1 else ins[0], f(*ins))
    CASES["ops/" + name] = (build, kw)


def layer(name, make, shape, dtype="float32", **kw):
    def build():
        i = keras.Input(shape, name="a", dtype=dtype)
        return keras.Model(i, make()(i))
    CASES["preprocess/" + name] = (build, kw)


S = (4, 5)
for n in ("cbrt deg2rad rad2deg fabs sinc erfc isneginf isposinf isreal signbit nan_to_num real conj fliplr flipud "
          "zeros_like ones_like ravel").split():
    f = getattr(K, n, None) or getattr(K.math, n, None)
    if f is not None: op(n, lambda a, f=f: f(a), S, special=n in ("isneginf", "isposinf", "nan_to_num"))
for n in "fmax fmin fmod hypot logaddexp logaddexp2 heaviside isclose append vstack hstack dstack outer vdot".split():
    f = getattr(K, n, None)
    if f is None: continue
    one = n in ("vstack", "hstack", "dstack")
    op(n, (lambda a, b, f=f: f([a, b])) if one else (lambda a, b, f=f: f(a, b)), S, S, special=n in ("fmax", "fmin"), tiny=n == "fmod")
op("ldexp", lambda a, b: K.ldexp(a, K.cast(b, "int32")), S, S) if hasattr(K, "ldexp") else None
op("left_shift", lambda a: K.left_shift(a, 2), S, dtype="int32")
op("right_shift", lambda a: K.right_shift(a, 1), S, dtype="int32")
op("bitwise_invert", lambda a: K.bitwise_invert(a), S, dtype="int32")
for n in "nansum nanprod nanmax nanmin nanmean nanvar nanstd nanargmax nanargmin".split():
    f = getattr(K, n, None)
    if f is not None: op(n, lambda a, f=f: f(a, axis=-1), S, special="nan")
op("ptp", lambda a: K.ptp(a, axis=1), S) if hasattr(K, "ptp") else None
op("median_odd", lambda a: K.median(a, axis=-1), S)
op("median_even", lambda a: K.median(a, axis=1, keepdims=True), S)
for k in (1, 3): op("rot90_%d" % k, lambda a, k=k: K.rot90(a, k, axes=(1, 2)), S)
op("diff", lambda a: K.diff(a, n=2, axis=1), S)
op("array_split", lambda a: K.array_split(a, 3, axis=1), S) if hasattr(K, "array_split") else None
op("hsplit", lambda a: K.hsplit(a, 2), S) if hasattr(K, "hsplit") else None
op("diagonal_off", lambda a: K.diagonal(a, offset=1, axis1=1, axis2=2), S)
op("trace_axes", lambda a: K.trace(a, axis1=1, axis2=2), S)
op("inner", lambda a, b: K.inner(a, b), S, (3, 5))
op("tensordot", lambda a, b: K.tensordot(a, b, axes=[[1, 2], [1, 2]]), S, S)
op("cross", lambda a, b: K.cross(a, b), (4, 3), (4, 3))
op("full_like", lambda a: K.full_like(a, 2.5), S)
op("take_along_axis", lambda a: K.take_along_axis(a, K.argsort(a, axis=-1), axis=-1), S)
op("digitize", lambda a: K.digitize(a, np.array([-1.0, 0.0, 0.5])), S)
op("isin", lambda a: K.isin(a, [1, 3]), S, dtype="int32") if hasattr(K, "isin") else None
op("saturate_cast", lambda a: K.saturate_cast(a * 200, "int8"), S)
op("multi_hot", lambda a: K.multi_hot(a, 10), (4,), dtype="int32")
op("depth_to_space", lambda a: K.nn.depth_to_space(a, 2), (3, 4, 8)) if hasattr(K.nn, "depth_to_space") else None
op("space_to_depth", lambda a: K.nn.space_to_depth(a, 2), (4, 6, 3)) if hasattr(K.nn, "space_to_depth") else None
op("attention", lambda a, b, c: K.dot_product_attention(a, b, c), (5, 2, 4), (6, 2, 4), (6, 2, 4))
op("attention_scale", lambda a, b, c: K.dot_product_attention(a, b, c, scale=0.3), (5, 2, 4), (6, 2, 4), (6, 2, 4))
op("grayscale", lambda a: K.image.rgb_to_grayscale(a), (5, 6, 3))
op("pad_images", lambda a: K.image.pad_images(a, top_padding=1, left_padding=2, target_height=8, target_width=9), (5, 6, 3))
op("crop_images", lambda a: K.image.crop_images(a, top_cropping=1, left_cropping=2, target_height=3, target_width=3), (5, 6, 3))
op("rescale_graph", lambda a: L.Conv2D(4, 3)(L.Rescaling(1 / 127.5, offset=-1)(a)), (8, 8, 3), pixels=True)

for m in ("int", "one_hot", "multi_hot", "count"):
    layer("discretization_" + m, lambda m=m: L.Discretization(bin_boundaries=[-1.0, 0.0, 0.5], output_mode=m), (6,))
    layer("lookup_" + m, lambda m=m: L.IntegerLookup(vocabulary=[2, 5, 7], output_mode=m), (4,), dtype="int64")
def adapted(make, data):
    l = make(); l.adapt(data); return l
layer("lookup_adapted", lambda: adapted(lambda: L.IntegerLookup(), np.array([2, 5, 7, 7])), (4,), dtype="int64")
layer("lookup_mask", lambda: L.IntegerLookup(vocabulary=[2, 5, 7], mask_token=0), (4,), dtype="int64")
layer("lookup_buckets", lambda: L.IntegerLookup(vocabulary=[2, 5, 7], num_oov_indices=3), (4,), dtype="int64")
layer("lookup_invert", lambda: L.IntegerLookup(vocabulary=[2, 5, 7], invert=True), (4,), dtype="int64", below=4)
layer("discretization_adapted", lambda: adapted(lambda: L.Discretization(num_bins=4), np.linspace(-2, 2, 100).astype("f4")), (6,))
layer("auto_contrast", lambda: L.AutoContrast(), (8, 9, 3), pixels=True)
layer("solarization", lambda: L.Solarization(), (8, 9, 3), pixels=True)
for m in ("bilinear", "bicubic", "lanczos3"):
    for size in ((5, 4), (13, 15)):
        layer("resizing_antialias_%s_%d" % (m, size[0]), lambda m=m, s=size: L.Resizing(*s, interpolation=m, antialias=True), (9, 11, 3))
layer("normalization_two_axes", lambda: L.Normalization(axis=(1, 3), mean=np.ones((3,)), variance=np.full((3,), 2.0)), (4, 5, 3))
layer("category_weights", lambda: (lambda a: L.CategoryEncoding(6, output_mode="count")(a, count_weights=K.cast(a, "float32") * 0.5)), (4,), dtype="int32", below=6)
for p in ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16"):
    layer("policy_" + p, lambda p=p: keras.Sequential([L.Conv2D(4, 3, dtype=p), L.BatchNormalization(dtype=p), L.ReLU(dtype=p), L.Flatten(dtype=p), L.Dense(5, dtype=p)]), (8, 8, 3), tol=3e-2)

NETS = dict(MobileNet=96, MobileNetV2=96, MobileNetV3Small=96, MobileNetV3Large=96, EfficientNetB0=96, EfficientNetV2B0=96, ResNet50=64, ResNet50V2=64,
            DenseNet121=64, InceptionV3=96, Xception=96, NASNetMobile=96, ConvNeXtTiny=64, VGG16=64, InceptionResNetV2=96)
SKIP_TOP = {"VGG16", "NASNetMobile"}


def network(name, side):
    def build():
        kw = dict(weights=None, input_shape=(side, side, 3), classes=10)
        return getattr(keras.applications, name)(**kw)
    CASES["network/" + name.lower()] = (build, dict(net=True, pixels="V3" in name and "Inception" not in name or "Efficient" in name or "ConvNeXt" in name))


def randomize(model, rng):
    for w in model.weights:
        if not w.dtype.startswith(("float", "bfloat")) or "Normalization" in type(w).__name__: continue
        v = w.numpy().astype("f4"); n = w.path.rsplit("/", 1)[-1]
        if "variance" in n: v = rng.uniform(0.5, 1.5, v.shape)
        elif "gamma" in n: v = rng.uniform(0.8, 1.2, v.shape)
        elif v.ndim > 1: v = rng.normal(0, (2.0 / max(1, np.prod(v.shape[:-1]))) ** 0.5, v.shape)
        elif "count" not in n: v = rng.normal(0, 0.1, v.shape)
        w.assign(v.astype("f4"))


def feed(t, rng, kw):
    shape = (2 if not kw.get("net") else 1,) + tuple(t.shape[1:])
    if "int" in t.dtype: return rng.integers(0, kw.get("below", 9), shape).astype(t.dtype)
    x = rng.uniform(0, 255, shape) if kw.get("pixels") else rng.normal(0, 1, shape)
    x = x.astype("f4")
    if kw.get("tiny"): x = x + np.sign(x) * 0.5
    if kw.get("special"):
        flat = x.reshape(-1); flat[3] = np.nan
        if kw["special"] != "nan": flat[5], flat[6] = np.inf, -np.inf
    return x


def main():
    ap = argparse.ArgumentParser(); ap.add_argument("--out", required=True); ap.add_argument("--networks", action="store_true"); ap.add_argument("--filter", default="")
    a = ap.parse_args()
    if a.networks:
        for n, s in NETS.items(): network(n, s)
    for key, (build, kw) in CASES.items():
        if not re.search(a.filter, key): continue
        seed = zlib.crc32(key.encode()); rng = np.random.default_rng(seed); d = os.path.join(a.out, key); os.makedirs(d, exist_ok=True)
        keras.backend.clear_session(); keras.utils.set_random_seed(seed)
        try:
            m = build(); randomize(m, rng)
            xs = [feed(t, rng, kw) for t in m.inputs]
            ys = m(xs if len(xs) > 1 else xs[0], training=False)
            ys = [np.asarray(K.convert_to_numpy(y)) for y in (ys if isinstance(ys, (list, tuple)) else [ys])]
            ys = [y.astype("f4") if y.dtype.kind not in "iub" else y for y in ys]
            variants = []
            for fmt, f in (("keras3", "model.keras"), ("h5_k3", "model.h5")):
                if fmt == "h5_k3" and not kw.get("net"): continue
                m.save(os.path.join(d, f))
                variants.append(dict(format=fmt, model=f, tol=kw.get("tol", 1e-4), runs=[dict(inputs="x.npz", outputs="y.npz")]))
            np.savez(os.path.join(d, "x.npz"), **{t.name.split(":")[0]: x for t, x in zip(m.inputs, xs)})
            np.savez(os.path.join(d, "y.npz"), **{"out%d" % i: y for i, y in enumerate(ys)})
            c, n = key.split("/")
            json.dump(dict(name=n, category=c, expect="ok", variants=variants), open(os.path.join(d, "case.json"), "w"))
        except Exception as e:
            print("skipped", key, str(e).split("\n")[0][:160])


if __name__ == "__main__":
    main()
