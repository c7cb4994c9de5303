#!/usr/bin/env python3
"""Writes state_dict.safetensors: the parameters of a small network as PyTorch's `state_dict` names and shapes them, and prints
what the network computes. Needs numpy only.

    conv1 = Conv2d(1, 4, 3, padding=1); bn1 = BatchNorm2d(4); relu; MaxPool2d(2); flatten; fc = Linear(64, 10)

Input: x[0, 0, i, j] = ((3 i + 5 j) mod 16) / 16 for an image of 8 x 8.
"""
import json, os, struct
import numpy as np


def values(n, seed):
    """n numbers from -1/2 to 1/2 in steps of 1/128, the same everywhere."""
    k = np.arange(n, dtype=np.int64)
    return ((k * 2654435761 + seed * 40503) % 129 - 64) / 128.0


SHAPES = [("conv1.weight", (4, 1, 3, 3)), ("conv1.bias", (4,)), ("bn1.weight", (4,)), ("bn1.bias", (4,)), ("bn1.running_mean", (4,)),
          ("bn1.running_var", (4,)), ("bn1.num_batches_tracked", ()), ("fc.weight", (10, 64)), ("fc.bias", (10,))]


def state_dict():
    p = {}
    for i, (name, shape) in enumerate(SHAPES):
        v = values(int(np.prod(shape)), i + 1).reshape(shape)
        if name.endswith("running_var"): v = v + 1
        if name.endswith("tracked"): p[name] = np.array(100, np.int64); continue
        # The big matrix is stored in half precision, as checkpoints often are.
        p[name] = v.astype(np.float16 if name == "fc.weight" else np.float32)
    return p


def save(path, p):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, v in sorted(p.items(), key=lambda kv: (-kv[1].dtype.itemsize, kv[0])):
        raw = v.tobytes()
        dtype = {"float32": "F32", "float16": "F16", "int64": "I64"}[str(v.dtype)]
        header[name] = {"dtype": dtype, "shape": list(v.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f: f.write(struct.pack("<Q", len(text)) + text + data)


def forward(p):
    p = {k: v.astype(np.float64) for k, v in p.items()}
    i, j = np.mgrid[0:8, 0:8]
    x = np.pad(((3 * i + 5 * j) % 16) / 16.0, 1)
    y = np.stack([sum(x[a:a + 8, b:b + 8] * w[0, a, b] for a in range(3) for b in range(3)) + c for w, c in zip(p["conv1.weight"], p["conv1.bias"])])
    each = lambda v: v[:, None, None]
    y = (y - each(p["bn1.running_mean"])) / np.sqrt(each(p["bn1.running_var"]) + 1e-5) * each(p["bn1.weight"]) + each(p["bn1.bias"])
    y = np.maximum(y, 0).reshape(4, 4, 2, 4, 2).max(axis=(2, 4))
    return p["fc.weight"] @ y.reshape(-1) + p["fc.bias"]


if __name__ == "__main__":
    p = state_dict()
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "state_dict.safetensors"), p)
    print([round(float(v), 5) for v in forward(p)])
