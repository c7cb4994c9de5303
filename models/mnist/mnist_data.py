"""Locates and reads the four MNIST files, as written by LeCun, Cortes and Burges (IDX, plain or gzip)."""

import gzip
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def locate(argument=None):
    """`argument` if given, else the first of `$MNIST_DIR` and `../shared/data/mnist` beside the repository that holds MNIST."""
    places = [argument] if argument else [os.environ.get("MNIST_DIR"), HERE.parents[2] / "shared/data/mnist"]
    for place in filter(None, places):
        if any(Path(place).glob(FILES["test"][0] + "*")):
            return Path(place)
    raise SystemExit(f"no MNIST in {[str(p) for p in places if p]}: give --data DIR or set MNIST_DIR")


def read_idx(folder, name):
    """One IDX file of unsigned bytes as an array; the magic's last byte is the number of dimensions."""
    plain = folder / name
    raw = plain.read_bytes() if plain.exists() else gzip.decompress((folder / (name + ".gz")).read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise SystemExit(f"{plain}: not an IDX file of unsigned bytes")
    dims = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, int(np.prod(dims)), 4 + 4 * raw[3]).reshape(dims)


def read_split(folder, split):
    """Images `[N, 28, 28, 1]` (uint8, ink is 255) and labels `[N]` of "train" or "test"."""
    images, labels = (read_idx(folder, name) for name in FILES[split])
    return images[..., None], labels
