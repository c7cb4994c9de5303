"""Trains the digit classifier on MNIST and writes it in every format that pocketnn reads.

    pip install -r requirements.txt
    python train.py [--data DIR]

The run is seeded and uses deterministic operations: on one kind of CPU it gives the same weights again. The last epoch's
weights are kept; the test set is looked at once, at the end.
"""

import argparse
import hashlib
import json
import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

import exports
import mnist_data

SEED = 28
TOLERANCE = 1e-5
MIN_ACCURACY = 0.992
MAX_WEIGHT_BYTES = 150_000


def build():
    """Raw pixels 0..255 `[N, 28, 28, 1]` in, probabilities `[N, 10]` out."""

    def block(filters, padding, index):
        return [
            layers.Conv2D(filters, 3, padding=padding, use_bias=False, name=f"conv{index}"),
            layers.BatchNormalization(name=f"norm{index}"),
            layers.ReLU(name=f"relu{index}"),
        ]

    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Rescaling(1 / 255, name="scale"),
            *block(16, "same", 1),
            layers.MaxPooling2D(2, name="pool1"),
            *block(32, "same", 2),
            layers.MaxPooling2D(2, name="pool2"),
            *block(48, "valid", 3),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def warp(images, rng):
    """Each image under its own small rotation, slant, zoom and shift (bilinear, zero outside)."""
    n = len(images)
    angle, slant = rng.uniform(-0.17, 0.17, n), rng.uniform(-0.2, 0.2, n)
    zoom_x, zoom_y = rng.uniform(0.87, 1.13, (2, n))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos * zoom_x, (slant * cos - sin) * zoom_y], [sin * zoom_x, (slant * sin + cos) * zoom_y]])
    shift = rng.uniform(-2.0, 2.0, (2, n))
    grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij")).reshape(2, -1) - 13.5
    # The source point of each target pixel: [2, N, 784], in a frame with a border of two zero pixels.
    source = np.einsum("ijn,jp->inp", matrix, grid) + shift[:, :, None] + 13.5 + 2
    source = np.clip(source, 0, 30.999).astype(np.float32)
    padded = np.pad(images[..., 0], ((0, 0), (2, 2), (2, 2))).reshape(-1)
    low = source.astype(np.int32)
    fy, fx = source - low.astype(np.float32)
    at = low[0] * 32 + low[1] + (np.arange(n, dtype=np.int32) * 1024)[:, None]
    top = padded[at] * (1 - fx) + padded[at + 1] * fx
    bottom = padded[at + 32] * (1 - fx) + padded[at + 33] * fx
    return (top * (1 - fy) + bottom * fy).reshape(n, 28, 28, 1)


class Warped(keras.utils.PyDataset):
    """Shuffled batches of warped images; epoch `e`, batch `b` depend on the seed only."""

    def __init__(self, images, labels, batch):
        super().__init__(workers=1, use_multiprocessing=False)
        self.images, self.labels, self.batch = images, labels, batch
        self.epoch = -1
        self.on_epoch_begin()

    def __len__(self):
        return len(self.images) // self.batch

    def on_epoch_begin(self):
        self.epoch += 1
        self.order = np.random.default_rng([SEED, self.epoch]).permutation(len(self.images))

    def __getitem__(self, index):
        picked = self.order[index * self.batch : (index + 1) * self.batch]
        return warp(self.images[picked], np.random.default_rng([SEED, self.epoch, index])), self.labels[picked]


def train(model, images, labels, epochs, batch=128):
    """Adam with a warm start and cosine decay to zero."""
    steps = epochs * (len(images) // batch)
    rate = keras.optimizers.schedules.CosineDecay(3e-4, steps - 500, warmup_target=4e-3, warmup_steps=500)
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(Warped(images, labels, batch), epochs=epochs, verbose=2, shuffle=False)


def read_samples():
    """Names and pixels `[S, 28, 28, 1]` of the digits drawn for this project."""
    paths = sorted((exports.HERE / "samples").glob("*.png"))
    return [p.stem for p in paths], np.stack([np.asarray(Image.open(p)) for p in paths])[..., None].astype(np.float32)


def write_expected(model, names, pixels):
    """Keras' own outputs for the sample digits; every one must be read correctly."""
    outputs = model.predict(pixels, verbose=0)
    for name, row in zip(names, outputs):
        print(f"  {name}: {row.argmax()} with {row.max():.4f}")
    wrong = [n for n, row in zip(names, outputs) if row.argmax() != int(n[0])]
    if wrong:
        raise SystemExit(f"samples read wrongly: {wrong}")
    rows = {name: [float(f"{x:.9g}") for x in row] for name, row in zip(names, outputs)}
    body = ",\n".join(f"  {json.dumps(n)}: {json.dumps(r)}" for n, r in rows.items())
    (exports.HERE / "expected.json").write_text("{\n" + body + "\n}\n")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the MNIST files (else $MNIST_DIR, else ../shared/data/mnist)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--reuse", action="store_true", help="export the weights of digits.keras again, without training")
    args = parser.parse_args()

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    data = mnist_data.locate(args.data)
    test_images, test_labels = mnist_data.read_split(data, "test")
    if args.reuse:
        model = keras.models.load_model(exports.HERE / "digits.keras")
    else:
        model = build()
        model.summary()
        train(model, *(a.astype(t) for a, t in zip(mnist_data.read_split(data, "train"), ("float32", "int32"))), args.epochs)

    test_images = test_images.astype(np.float32)
    outputs = model.predict(test_images, batch_size=1000, verbose=0)
    correct = int((outputs.argmax(1) == test_labels).sum())
    weights = model.count_params()
    print(f"test images: {correct} of {len(test_labels)} correct; {weights} parameters")
    if correct / len(test_labels) < MIN_ACCURACY or weights * 4 >= MAX_WEIGHT_BYTES:
        raise SystemExit(f"wanted at least {MIN_ACCURACY} and less than {MAX_WEIGHT_BYTES} bytes of weights")

    written = exports.write_all(model)
    names, samples = read_samples()
    write_expected(model, names, samples)
    inputs = np.concatenate([samples, test_images[:500]])
    reference = model.predict(inputs, verbose=0)
    differences = exports.check_all(inputs, reference, TOLERANCE)

    record = {
        "accuracy": round(correct / len(test_labels), 4),
        "test_images": len(test_labels),
        "correct": correct,
        "parameters": weights,
        "weight_bytes": weights * 4,
        "seed": SEED,
        "epochs": args.epochs,
        "versions": {"python": platform.python_version(), **exports.versions()},
        "largest_difference_from_keras": differences,
        "sha256": {str(p.relative_to(exports.HERE)): digest(p) for p in written},
    }
    (exports.HERE / "digits.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
