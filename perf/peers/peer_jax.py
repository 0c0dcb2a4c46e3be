"""Trains a recipe in JAX. A variant is a list of words joined by "+": scan (one compiled loop over the
batches of an epoch) or step (a call of a compiled step per batch), and optionally im2col (convolutions
as matrix products) and unroll (four steps, or a recurrent layer, are unrolled)."""

import os

import protocol
from recipes import (BETA1, BETA2, EPSILON, LEAKY_SLOPE, RECIPES, Conv, Dense, Dropout, Flatten, Lstm,
                     Norm, Pool)
from samples import load, parameters

args = protocol.arguments("jax")
words = args.variant.split("+")
if args.threads == 1:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ACTIVATIONS = {"linear": lambda z: z, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid,
               "leaky": lambda z: jnp.maximum(z, LEAKY_SLOPE * z)}


def convolve(layer, p, x):
    if "im2col" not in words:
        y = lax.conv_general_dilated(x, p["w"], (1, 1), layer.padding.upper(),
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + p["b"]
    if layer.padding == "same":
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    n, h, w, c = x.shape
    taps = [x[:, i:h - 2 + i, j:w - 2 + j, :] for i in range(3) for j in range(3)]
    columns = jnp.concatenate(taps, axis=-1).reshape(-1, 9 * c)
    y = columns @ p["w"].reshape(9 * c, -1) + p["b"]
    return y.reshape(n, h - 2, w - 2, -1)


@jax.custom_vjp
def pool(x):
    n, h, w, c = x.shape
    x = x[:, :h // 2 * 2, :w // 2 * 2, :].reshape(n, h // 2, 2, w // 2, 2, c)
    return jnp.maximum(jnp.maximum(x[:, :, 0, :, 0], x[:, :, 0, :, 1]),
                       jnp.maximum(x[:, :, 1, :, 0], x[:, :, 1, :, 1]))


def pool_backward(kept, dy):
    # The derivative of reduce_window scatters: 40 times slower. Equal maxima all get the gradient; they
    # are zeros of a ReLU or of a dropout, which do not pass it on.
    x, y = kept
    n, h, w, c = x.shape
    even = x[:, :h // 2 * 2, :w // 2 * 2, :].reshape(n, h // 2, 2, w // 2, 2, c)
    winners = even == y[:, :, None, :, None, :]
    dx = jnp.where(winners, dy[:, :, None, :, None, :], 0).reshape(n, h // 2 * 2, w // 2 * 2, c)
    return (jnp.pad(dx, ((0, 0), (0, h % 2), (0, w % 2), (0, 0))),)


def pool_forward(x):
    y = pool(x)
    return y, (x, y)


pool.defvjp(pool_forward, pool_backward)


def dropout(rate, x, seed):
    # Bits by a hash of the element's number, as XLA's own generators take 17 ns per number on a CPU.
    z = lax.iota(jnp.uint32, x.size) * jnp.uint32(0x9E3779B9) + seed
    z = (z ^ (z >> 16)) * jnp.uint32(0x85EBCA6B)
    z = (z ^ (z >> 13)) * jnp.uint32(0xC2B2AE35)
    keep = (z ^ (z >> 16)) >= jnp.uint32(rate * 2**32)
    return jnp.where(keep.reshape(x.shape), x / (1 - rate), 0)


def lstm(layer, p, x):
    n, steps, inputs = x.shape
    zx = (x.reshape(-1, inputs) @ p["w"] + p["b"]).reshape(n, steps, -1).swapaxes(0, 1)

    def step(carry, zx):
        h, c = carry
        i, f, g, o = jnp.split(zx + h @ p["u"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    zero = jnp.zeros((n, layer.units))
    (h, _), _ = lax.scan(step, (zero, zero), zx, unroll="unroll" in words)
    return h


def forward(recipe, params, moving, x, seed=None):
    """Logits and the new moving statistics; `seed` is given in training."""
    new = []
    for number, (layer, p, m) in enumerate(zip(recipe.layers, params, moving)):
        match layer:
            case Dense():
                x = ACTIVATIONS[layer.activation](x @ p["w"] + p["b"])
            case Conv():
                x = ACTIVATIONS[layer.activation](convolve(layer, p, x))
            case Pool():
                x = pool(x)
            case Flatten():
                x = x.reshape(len(x), -1)
            case Dropout(rate):
                x = x if seed is None else dropout(rate, x, seed + jnp.uint32(0x632BE5AB) * number)
            case Norm(momentum, epsilon):
                mean, var = m["mean"], m["var"]
                if seed is not None:
                    axes = tuple(range(x.ndim - 1))
                    mean = jnp.mean(x, axes)
                    var = jnp.mean(jnp.square(x - mean), axes)
                    m = {"mean": momentum * m["mean"] + (1 - momentum) * lax.stop_gradient(mean),
                         "var": momentum * m["var"] + (1 - momentum) * lax.stop_gradient(var)}
                scale = p["gamma"] * lax.rsqrt(var + epsilon)
                x = x * scale + (p["beta"] - mean * scale)
            case Lstm():
                x = lstm(layer, p, x)
        new.append(m)
    return x, new


def loss(recipe, logits, y):
    if recipe.loss == "binary":
        z = logits[:, 0]
        return jnp.mean(jnp.logaddexp(0, z) - y * z)
    picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def update(recipe, state, grads):
    params, t = state["params"], state["t"] + 1
    if recipe.optimizer == "sgd":
        params = jax.tree.map(lambda p, g: p - recipe.rate * g, params, grads)
        return {"params": params, "t": t}
    m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), state["m"], grads)
    v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), state["v"], grads)
    rate = recipe.rate * jnp.sqrt(1 - BETA2 ** t) / (1 - BETA1 ** t)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
    return {"params": params, "m": m, "v": v, "t": t}


def main():
    recipe = RECIPES[args.recipe]
    samples = load(recipe, args.data, args.seed)
    flat = jnp.asarray(samples.x.reshape(len(samples.x), -1))
    labels = jnp.asarray(samples.y)
    factor, offset = jnp.asarray(samples.factor), jnp.asarray(samples.offset)
    unit = not recipe.standardise

    def inputs(x):
        x = x.astype(jnp.float32)
        x = x * (1 / 255) if unit else x * factor + offset
        return x.reshape(-1, *recipe.shape)

    params = jax.tree.map(jnp.asarray, parameters(recipe, np.random.default_rng(args.seed)))
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = {"params": params, "t": jnp.float32(0)}
    if recipe.optimizer == "adam":
        state |= {"m": zeros, "v": jax.tree.map(jnp.zeros_like, params)}
    state["moving"] = [{"mean": jnp.zeros_like(p["beta"]), "var": jnp.ones_like(p["gamma"])}
                       if "gamma" in p else {} for p in params]

    def step(state, flat, labels, batch):
        seed = state["t"].astype(jnp.uint32) * jnp.uint32(0x85157AF5)

        def objective(params):
            logits, moving = forward(recipe, params, state["moving"], inputs(flat[batch]), seed)
            return loss(recipe, logits, labels[batch]), moving

        (value, moving), grads = jax.value_and_grad(objective, has_aux=True)(state["params"])
        return update(recipe, state, grads) | {"moving": moving}, value

    def scan(state, flat, labels, picks):
        unroll = 4 if "unroll" in words and recipe.input == "pixels" else 1
        return lax.scan(lambda state, batch: step(state, flat, labels, batch), state, picks, unroll=unroll)

    scan, step = (jax.jit(f, donate_argnums=0) for f in (scan, step))

    def train(picks):
        nonlocal state
        if "scan" in words:
            state, value = scan(state, flat, labels, picks)
        else:
            for batch in picks:
                state, value = step(state, flat, labels, batch)
        value.block_until_ready()

    @jax.jit
    def hits(state, x, y):
        logits, _ = forward(recipe, state["params"], state["moving"], inputs(x))
        predicted = logits[:, 0] > 0 if recipe.loss == "binary" else jnp.argmax(logits, axis=1)
        return jnp.sum(predicted == y)

    def accuracy():
        x = samples.x_test.reshape(len(samples.x_test), -1)
        total = sum(int(hits(state, x[i:i + 500], samples.y_test[i:i + 500])) for i in range(0, len(x), 500))
        return total / len(x)

    protocol.run(args, recipe, len(flat), train, accuracy, "jax", jax.__version__)


main()
