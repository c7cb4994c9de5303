#!/usr/bin/env python3
"""Writes resize.json: what keras.layers.Resizing (TensorFlow backend) makes of small pictures. Needs keras 3 and tensorflow."""
import json, os
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np
import keras
import tensorflow as tf

rng = np.random.default_rng(5)
cases = []
for h, w, c in [(7, 5, 3), (4, 9, 1), (12, 6, 3)]:
    x = rng.integers(0, 256, (h, w, c), dtype=np.uint8)
    for oh, ow in [(3, 3), (8, 6), (5, 10)]:
        for method in ("nearest", "bilinear", "bicubic"):
            for fit in ("stretch", "crop", "letterbox"):
                layer = keras.layers.Resizing(oh, ow, interpolation=method, crop_to_aspect_ratio=fit == "crop",
                                              pad_to_aspect_ratio=fit == "letterbox", fill_value=7.0)
                y = np.asarray(layer(x[None].astype("float32")))[0]
                cases.append(dict(h=h, w=w, c=c, x=x.ravel().tolist(), oh=oh, ow=ow, resize=method, fit=fit, antialias=False,
                                  y=[round(float(v), 4) for v in y.ravel()]))
        for method in ("bilinear", "bicubic"):
            y = tf.image.resize(x[None].astype("float32"), (oh, ow), method=method, antialias=True).numpy()[0]
            cases.append(dict(h=h, w=w, c=c, x=x.ravel().tolist(), oh=oh, ow=ow, resize=method, fit="stretch", antialias=True,
                              y=[round(float(v), 4) for v in y.ravel()]))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "resize.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
