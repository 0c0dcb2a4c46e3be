"""The Fashion-MNIST samples that a recipe trains on, and its initial weights."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes import SIDE, Conv, Dense, Flatten, Lstm, Norm, Pool


def parameters(recipe, rng):
    """Initial weights, one dict per layer: Glorot uniform kernels ([in, out] and [3, 3, in, out]),
    zero biases; LSTM gates side by side in the order i, f, g, o, with an orthogonal recurrent kernel.
    Peers that train with other layouts transpose them."""

    def glorot(shape, fan_in, fan_out):
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    out, shape = [], recipe.shape
    for layer in recipe.layers:
        p = {}
        match layer:
            case Dense(units):
                p = {"w": glorot((shape[0], units), shape[0], units), "b": np.zeros(units, np.float32)}
                shape = (units,)
            case Conv(filters, padding):
                h, w, c = shape
                p = {"w": glorot((3, 3, c, filters), 9 * c, 9 * filters),
                     "b": np.zeros(filters, np.float32)}
                trim = 0 if padding == "same" else 2
                shape = (h - trim, w - trim, filters)
            case Norm():
                p = {"gamma": np.ones(shape[-1], np.float32), "beta": np.zeros(shape[-1], np.float32)}
            case Pool():
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case Flatten():
                shape = (math.prod(shape),)
            case Lstm(units):
                q, _ = np.linalg.qr(rng.standard_normal((4 * units, units)))
                bias = np.zeros(4 * units, np.float32)
                bias[units:2 * units] = 1
                p = {"w": glorot((shape[1], 4 * units), shape[1], 4 * units),
                     "u": np.ascontiguousarray(q.T, dtype=np.float32), "b": bias}
                shape = (units,)
        out.append(p)
    return out


@dataclass
class Samples:
    """Images as bytes [n, 28, 28], labels from 0, and what a byte is scaled by: x * factor + offset,
    one of each per pixel position, flat [784]."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    factor: np.ndarray
    offset: np.ndarray

    def scaled(self, x, shape):
        """Floats in the given shape of one input."""
        flat = x.reshape(len(x), -1) * self.factor + self.offset
        return flat.astype(np.float32).reshape(len(x), *shape)


def load(recipe, data, seed):
    """The samples of a recipe from a folder with the four IDX files, packed or not."""
    x, y = read_part(data, "train")
    x_test, y_test = read_part(data, "t10k")
    (x, y), (x_test, y_test) = (_pick(recipe, *part) for part in ((x, y), (x_test, y_test)))
    rest = 0
    if recipe.split == "merged":
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
        order = np.random.default_rng(seed).permutation(len(x))
        x, y = x[order], y[order]
        test = round(recipe.test * len(x))
        x, y, x_test, y_test = x[:-test], y[:-test], x[-test:], y[-test:]
        rest = round(recipe.held_out * (len(x) + test))
    elif recipe.held_out:
        rest = round(recipe.held_out * len(x))
    if rest:
        x, y = x[:-rest], y[:-rest]
    factor = np.full(SIDE * SIDE, 1 / 255, np.float32)
    offset = np.zeros(SIDE * SIDE, np.float32)
    if recipe.standardise:
        flat = x.reshape(len(x), -1).astype(np.float64)
        std = flat.std(axis=0)
        factor = np.where(std > 0, 1 / np.maximum(std, 1e-9), 0).astype(np.float32)
        offset = (-flat.mean(axis=0) * factor).astype(np.float32)
    return Samples(x, y, x_test, y_test, factor, offset)


def read_part(data, part):
    """Images [n, 28, 28] and labels, bytes, of one part: "train" or "t10k"."""
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = Path(data) / f"{part}-{kind}-ubyte"
        raw = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
        arrays.append(np.frombuffer(raw, np.uint8, offset=header))
    images, labels = arrays
    return images.reshape(-1, SIDE, SIDE), labels


def _pick(recipe, x, y):
    if len(recipe.classes) == 10:
        return x, y.astype(np.int32)
    keep = np.isin(y, recipe.classes)
    return x[keep], (y[keep] == recipe.classes[1]).astype(np.int32)
