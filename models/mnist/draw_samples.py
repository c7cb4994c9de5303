"""Draws the sample digits: 28x28 white on black PNGs in `samples/`, named by their digit and the hand that drew them.

    python draw_samples.py

A digit is a few pen strokes, each a smooth curve (Catmull-Rom) or a polyline through points of a box one unit high, y
downwards. A hand has its own slant, pen, proportions, unsteadiness and letter forms. The ink is laid down at 20 times the
size, scaled so that the digit fills 20 pixels, and centred by its mass: the conventions of MNIST, none of its data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SCALE = 20
SAMPLES = Path(__file__).resolve().parent / "samples"


@dataclass(frozen=True)
class Hand:
    slant: float  # horizontal shift of the top against the bottom, in heights
    width: float  # of the letter against its nominal width
    pen: float  # diameter in pixels of the finished image
    pressure: float  # how much thinner a stroke ends than it begins, 0..1
    jitter: float  # unsteadiness of the points, in heights
    turn: float  # rotation in degrees


HANDS = {
    "a": Hand(slant=0.02, width=1.0, pen=2.3, pressure=0.15, jitter=0.010, turn=0),
    "b": Hand(slant=0.24, width=0.92, pen=1.9, pressure=0.35, jitter=0.016, turn=2),
    "c": Hand(slant=-0.06, width=1.14, pen=2.9, pressure=0.10, jitter=0.022, turn=-4),
}

# A stroke is "~" (smooth) or "/" (straight pieces) and its points, x y, in the order of writing.
FORMS = {
    "0a": ["~ .34 .02 .12 .14 .03 .5 .13 .86 .34 .98 .56 .86 .65 .5 .56 .14 .34 .02"],
    "0b": ["~ .46 .05 .24 .03 .07 .3 .06 .66 .2 .95 .42 .96 .6 .7 .6 .3 .45 .06 .28 .1"],
    "0c": ["~ .3 .06 .1 .2 .04 .55 .14 .9 .38 .97 .6 .8 .66 .45 .54 .12 .34 .03 .22 .12"],
    "1a": ["~ .3 .0 .3 .35 .3 .7 .29 1.0"],
    "1b": ["/ .22 .17 .34 .0", "~ .34 .0 .34 .3 .33 .7 .33 1.0"],
    "1c": ["/ .1 .28 .33 .02 .33 .96", "/ .1 .97 .58 .96"],
    "2a": ["~ .06 .24 .16 .06 .38 .01 .56 .12 .56 .32 .4 .58 .2 .8 .04 .97", "/ .04 .97 .64 .96"],
    "2b": ["~ .08 .22 .2 .04 .42 .02 .56 .18 .5 .42 .32 .7 .14 .9 .05 .9 .1 .8 .24 .84 .44 .97 .68 .92"],
    "2c": ["~ .04 .2 .22 .02 .5 .06 .58 .28 .42 .56 .22 .78 .04 .96 .3 .93 .66 .97"],
    "3a": ["~ .08 .12 .26 .01 .5 .06 .54 .26 .42 .42 .24 .46", "~ .24 .46 .48 .5 .62 .68 .56 .9 .32 1.0 .05 .88"],
    "3b": ["~ .1 .14 .3 .0 .54 .1 .5 .32 .26 .46 .3 .47 .54 .56 .58 .8 .4 .98 .16 .98 .02 .86"],
    "3c": ["/ .06 .04 .58 .04 .28 .4", "~ .28 .4 .5 .42 .64 .62 .58 .88 .32 .99 .04 .9"],
    "4a": ["/ .44 .0 .03 .66 .68 .66", "/ .48 .36 .48 1.0"],
    "4b": ["~ .12 .02 .1 .3 .07 .52 .16 .58 .4 .54 .62 .5", "~ .56 .02 .52 .4 .48 .7 .46 1.0"],
    "4c": ["/ .1 .04 .06 .54 .66 .55", "/ .54 .04 .52 .98"],
    "5a": ["/ .56 .03 .14 .03 .1 .44", "~ .1 .44 .34 .36 .56 .48 .61 .7 .48 .93 .26 1.0 .04 .9"],
    "5b": ["~ .16 .04 .14 .22 .1 .42 .32 .4 .52 .54 .54 .76 .38 .96 .16 1.0 .01 .92", "/ .16 .05 .64 .0"],
    "5c": ["/ .58 .05 .12 .03 .08 .46 .16 .42", "~ .16 .42 .44 .4 .63 .58 .6 .84 .36 .98 .03 .93"],
    "6a": ["~ .5 .01 .28 .16 .1 .44 .06 .74 .2 .97 .44 .96 .58 .76 .48 .56 .28 .54 .1 .7"],
    "6b": ["~ .44 .0 .24 .26 .1 .54 .08 .82 .22 .99 .42 .92 .5 .72 .4 .58 .24 .62 .12 .8"],
    "6c": ["~ .56 .06 .3 .1 .1 .4 .05 .7 .16 .93 .4 .99 .6 .84 .56 .6 .34 .5 .1 .62"],
    "7a": ["/ .04 .04 .6 .03 .24 1.0"],
    "7b": ["/ .04 .06 .6 .02", "~ .6 .02 .42 .36 .3 .66 .22 1.0", "/ .2 .5 .56 .46"],
    "7c": ["~ .05 .18 .06 .05 .3 .07 .6 .03 .46 .34 .32 .66 .28 .98"],
    "8a": ["~ .54 .16 .36 .01 .14 .1 .14 .3 .34 .46 .56 .64 .56 .88 .34 1.0 .1 .88 .1 .66 .32 .46 .52 .32 .54 .14"],
    "8b": ["~ .56 .1 .36 .01 .18 .14 .22 .36 .44 .6 .46 .86 .28 1.0 .1 .88 .14 .64 .38 .42 .56 .22 .54 .08"],
    "8c": [
        "~ .34 .03 .12 .12 .12 .36 .34 .46 .56 .34 .56 .12 .34 .03",
        "~ .34 .46 .06 .6 .06 .86 .34 .98 .62 .86 .62 .6 .34 .46",
    ],
    "9a": ["~ .56 .2 .4 .02 .16 .06 .05 .28 .16 .48 .38 .48 .54 .3 .57 .16", "~ .57 .16 .57 .45 .54 .75 .5 1.0"],
    "9b": ["~ .54 .14 .36 .02 .14 .12 .08 .36 .22 .5 .42 .38 .54 .14 .52 .4 .46 .72 .4 1.0"],
    "9c": ["~ .56 .12 .34 .02 .1 .14 .1 .4 .34 .52 .56 .38 .58 .12", "~ .58 .12 .6 .5 .48 .86 .2 .98"],
}


def smooth(points, pieces=24):
    """The Catmull-Rom curve through `points` `[P, 2]`."""
    p = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, pieces)[:, None]
    curves = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:]):
        curves.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    return np.vstack(curves)


def straight(points, pieces=48):
    t = np.linspace(0, 1, pieces)[:, None]
    return np.vstack([a + (b - a) * t for a, b in zip(points, points[1:])])


def paths_of(form, hand, rng):
    """The strokes of a form as that hand writes it: arrays `[P, 2]` of x, y in heights."""
    cos, sin = np.cos(np.radians(hand.turn)), np.sin(np.radians(hand.turn))
    paths = []
    for stroke in form:
        kind, *numbers = stroke.split()
        points = np.array(numbers, float).reshape(-1, 2) * [hand.width, 1]
        points += rng.normal(0, hand.jitter, points.shape)
        path = smooth(points) if kind == "~" else straight(points)
        # A slow tremble along the stroke, so that nothing is quite straight.
        phase, along = rng.uniform(0, 2 * np.pi, 2), np.linspace(0, 5, len(path))[:, None]
        path = path + 0.6 * hand.jitter * np.sin(along + phase)
        path[:, 0] += hand.slant * (0.5 - path[:, 1])
        paths.append(path @ np.array([[cos, sin], [-sin, cos]]))
    return paths


def ink(paths, hand, size, height):
    """Coverage `[size, size]`, 0..1, with the digit `height` high in the middle."""
    every = np.vstack(paths)
    low, high = every.min(0), every.max(0)
    zoom = height / max(high - low)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    canvas = np.zeros((size, size), np.float32)
    for path in paths:
        dense = np.vstack([path[:-1] + (path[1:] - path[:-1]) * f for f in (0.0, 0.5)] + [path[-1:]])
        for i, (x, y) in enumerate((np.vstack(path) - (low + high) / 2) * zoom + size / 2):
            radius = hand.pen * SCALE / 2 * (1 - hand.pressure * i / max(len(dense) / 2, 1))
            r = int(radius) + 2
            box = np.s_[max(int(y) - r, 0) : int(y) + r + 1, max(int(x) - r, 0) : int(x) + r + 1]
            distance = np.hypot(xs[box] - x, ys[box] - y)
            canvas[box] = np.maximum(canvas[box], np.clip(radius - distance + 0.5, 0, 1))
    return canvas


def centred(image):
    """Moves the centre of mass to the middle, by whole pixels of the large image."""
    ys, xs = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    middle = (image.shape[0] - 1) / 2
    dy, dx = (round(middle - float((axis * image).sum() / image.sum())) for axis in (ys, xs))
    return np.roll(image, (dy, dx), (0, 1))


def draw(name):
    hand = HANDS[name[1]]
    rng = np.random.default_rng([ord(c) for c in name])
    large = centred(ink(paths_of(FORMS[name], hand, rng), hand, 28 * SCALE, (20 - hand.pen) * SCALE))
    small = large.reshape(28, SCALE, 28, SCALE).mean((1, 3))
    return Image.fromarray(np.round(np.clip(small * 1.15, 0, 1) * 255).astype(np.uint8))


def main():
    SAMPLES.mkdir(exist_ok=True)
    for name in FORMS:
        draw(name).save(SAMPLES / f"{name}.png", optimize=True)
    print(f"{len(FORMS)} digits in {SAMPLES}")


if __name__ == "__main__":
    main()
