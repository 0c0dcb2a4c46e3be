#!/usr/bin/env python3
"""Makes traces.json: the first optimizer steps of small networks, computed in float64 by JAX.

    python3 -m venv venv && venv/bin/pip install jax==0.10.2 numpy==2.4.6
    venv/bin/python make_traces.py              # rewrites traces.json, byte for byte
    venv/bin/python make_traces.py --deviation  # how far the same code strays in float32

Nothing is shared with the crate: layers are the formulas of Keras 3 written on jax.numpy, gradients
are JAX's automatic differentiation, optimizers are the formulas of Keras 3. README.md beside this
file explains the JSON and the generator of weights and samples.
"""

import json
import math
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

X, LABELS = 1000, 1001  # tensor numbers of the samples; parameters are 0, 1, 2 ...


# ---- the generator -----------------------------------------------------------------------------


def uniform(tensor, count):
    """Elements 0..count of a tensor, uniform in [0, 1): 53 bits of SplitMix64's output function."""
    z = (np.uint64(tensor) << np.uint64(32)) | np.arange(count, dtype=np.uint64)
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def values(tensor, count, center, limit):
    """Uniform in center ± limit, rounded to float32: a float32 network starts from the same bits."""
    return (center + limit * (2.0 * uniform(tensor, count) - 1.0)).astype(np.float32)


def samples(count, shape, classes):
    """Pixels lie in [-1, 1): were they all positive, some channels of a first convolution would be
    too, batch normalisation would cancel their bias, and Adam would make steps of the noise left."""
    size = math.prod(shape)
    x = values(X, count * size, 0.0, 1.0).reshape(count, *shape)
    labels = np.floor(uniform(LABELS, count) * classes).astype(np.int64)
    return x, labels


# ---- layers ------------------------------------------------------------------------------------


def glorot(fan_in, fan_out):
    return round(math.sqrt(6.0 / (fan_in + fan_out)), 4)


def plan(layers, shape):
    """The parameter and state tensors of a network: (name, shape, center, limit), in order."""
    parameters, states, seen = [], [], {}
    for layer in layers:
        kind = layer["type"]
        seen[kind] = seen.get(kind, 0) + 1
        name = f"{kind}_{seen[kind]}"

        def tensor(part, *shape, center=0.0, limit=0.05):
            parameters.append((f"{name}/{part}", list(shape), center, limit))

        if kind == "dense":
            (features,), units = shape, layer["units"]
            tensor("kernel", features, units, limit=glorot(features, units))
            tensor("bias", units)
            shape = (units,)
        elif kind == "conv2d":
            (h, w, channels), filters, k = shape, layer["filters"], layer["kernel"]
            tensor("kernel", k, k, channels, filters, limit=glorot(k * k * channels, k * k * filters))
            tensor("bias", filters)
            cut = k - 1 if layer["padding"] == "valid" else 0
            shape = (h - cut, w - cut, filters)
        elif kind == "batch_norm":
            tensor("gamma", shape[-1], center=1.0, limit=0.2)
            tensor("beta", shape[-1], limit=0.2)
            states.append((f"{name}/moving_mean", [shape[-1]], 0.0))
            states.append((f"{name}/moving_variance", [shape[-1]], 1.0))
        elif kind in ("max_pool", "average_pool"):
            h, w, channels = shape
            shape = (h // layer["size"], w // layer["size"], channels)
        elif kind == "flatten":
            shape = (math.prod(shape),)
        elif kind in ("simple_rnn", "lstm"):
            (_, inputs), units = shape, layer["units"]
            gates = 4 if kind == "lstm" else 1
            tensor("kernel", inputs, gates * units, limit=glorot(inputs, gates * units))
            tensor("recurrent", units, gates * units, limit=glorot(units, gates * units))
            tensor("bias", gates * units, limit=0.5 if kind == "lstm" else 0.05)
            shape = (units,)
    return parameters, states, shape[0]


ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: jnp.where(z > 0, z, 0),
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


def forward(layers, parameters, states, x, training):
    """Logits of a batch, and the states after it. Images are [n, H, W, C]."""
    parameters, states, after = iter(parameters), iter(states), []
    for layer in layers:
        kind = layer["type"]
        if kind == "dense":
            x = x @ next(parameters) + next(parameters)
        elif kind == "conv2d":
            x = jax.lax.conv_general_dilated(
                x,
                next(parameters),
                window_strides=(1, 1),
                padding=layer["padding"].upper(),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            x = x + next(parameters)
        elif kind == "leaky_relu":
            x = jnp.where(x > 0, x, layer["slope"] * x)
        elif kind == "batch_norm":
            gamma, beta, moving_mean, moving_variance = (
                next(it) for it in (parameters, parameters, states, states)
            )
            mean, variance = moving_mean, moving_variance
            if training:
                axes = tuple(range(x.ndim - 1))
                mean, variance = x.mean(axes), x.var(axes)  # biased
                momentum = layer["momentum"]
                moving_mean = momentum * moving_mean + (1 - momentum) * mean
                moving_variance = momentum * moving_variance + (1 - momentum) * variance
            after += [moving_mean, moving_variance]
            x = (x - mean) / jnp.sqrt(variance + layer["epsilon"]) * gamma + beta
        elif kind in ("max_pool", "average_pool"):
            size = layer["size"]
            n, h, w, channels = x.shape
            x = x[:, : h // size * size, : w // size * size]
            x = x.reshape(n, h // size, size, w // size, size, channels)
            x = x.max((2, 4)) if kind == "max_pool" else x.mean((2, 4))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "simple_rnn":
            kernel, recurrent, bias = (next(parameters) for _ in range(3))
            h = jnp.zeros((len(x), layer["units"]), x.dtype)
            for row in range(x.shape[1]):
                h = jnp.tanh(x[:, row] @ kernel + h @ recurrent + bias)
            x = h
        elif kind == "lstm":
            kernel, recurrent, bias = (next(parameters) for _ in range(3))
            h = c = jnp.zeros((len(x), layer["units"]), x.dtype)
            for row in range(x.shape[1]):
                i, f, g, o = jnp.split(x[:, row] @ kernel + h @ recurrent + bias, 4, axis=1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
            x = h
        else:
            raise ValueError(kind)
        x = ACTIVATIONS[layer.get("activation", "linear")](x)
    return x, after


def losses(loss, logits, labels, smoothing=0.0):
    """One loss per sample."""
    if loss == "softmax_cross_entropy":
        t = (1 - smoothing) * targets(logits, labels) + smoothing / logits.shape[1]
        return jax.nn.logsumexp(logits, axis=1) - (t * logits).sum(1)
    if loss == "binary_cross_entropy":
        z, t = logits[:, 0], labels.astype(logits.dtype)
        t = (1 - smoothing) * t + smoothing / 2
        return jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))
    if loss == "mean_squared_error":
        return ((logits - targets(logits, labels)) ** 2).mean(1)
    raise ValueError(loss)


def targets(outputs, labels):
    """What squared errors are the distance to: one-hot labels, or the label itself as a number."""
    if outputs.shape[1] == 1:
        return labels[:, None].astype(outputs.dtype)
    return jax.nn.one_hot(labels, outputs.shape[1], dtype=outputs.dtype)


def classify(loss, logits):
    if loss == "mean_squared_error":
        # A number names a label that it is nearer to than half.
        near = jnp.floor(logits[:, 0] + 0.5).astype(jnp.int64)
        return logits, near if logits.shape[1] == 1 else logits.argmax(1)
    if loss == "binary_cross_entropy":
        return jax.nn.sigmoid(logits), (logits[:, 0] > 0).astype(jnp.int64)
    return jax.nn.softmax(logits), logits.argmax(1)


# ---- optimizers: the formulas of Keras 3 -------------------------------------------------------


def update(o, step, p, g, slots):
    """One tensor's step number `step` (from 1): the new values and the two buffers it keeps."""
    lr = o["learning_rate"]
    if o["type"] == "sgd":
        velocity = o["momentum"] * slots[0] - lr * g
        return p + velocity, (velocity, slots[1])
    if o["type"] == "rmsprop":
        v = o["rho"] * slots[0] + (1 - o["rho"]) * g * g
        momentum = o["momentum"] * slots[1] + lr * g / jnp.sqrt(v + o["epsilon"])
        return p - momentum, (v, momentum)
    if o["type"] in ("adam", "adamw"):
        if p.ndim > 1:
            p = p - lr * o.get("weight_decay", 0.0) * p
        m = o["beta1"] * slots[0] + (1 - o["beta1"]) * g
        v = o["beta2"] * slots[1] + (1 - o["beta2"]) * g * g
        lr = lr * math.sqrt(1 - o["beta2"] ** step) / (1 - o["beta1"] ** step)
        return p - lr * m / (jnp.sqrt(v) + o["epsilon"]), (m, v)
    raise ValueError(o["type"])


def sgd(learning_rate=0.01, momentum=0.0):
    return {"type": "sgd", "learning_rate": learning_rate, "momentum": momentum}


def rmsprop(learning_rate=0.001, momentum=0.0):
    kept = {"rho": 0.9, "momentum": momentum, "epsilon": 1e-7}
    return {"type": "rmsprop", "learning_rate": learning_rate, **kept}


def adam(learning_rate=0.001):
    kept = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
    return {"type": "adam", "learning_rate": learning_rate, **kept}


def adamw(learning_rate, weight_decay):
    return {**adam(learning_rate), "type": "adamw", "weight_decay": weight_decay}


# ---- the cases ---------------------------------------------------------------------------------


def dense(units, activation="linear"):
    return {"type": "dense", "units": units, "activation": activation}


def conv(filters, activation="linear", padding="valid"):
    shape = {"filters": filters, "kernel": 3, "padding": padding}
    return {"type": "conv2d", **shape, "activation": activation}


FLATTEN = {"type": "flatten"}
MAX_POOL = {"type": "max_pool", "size": 2}
AVERAGE_POOL = {"type": "average_pool", "size": 2}
LEAKY = {"type": "leaky_relu", "slope": 0.1}
BATCH_NORM = {"type": "batch_norm", "momentum": 0.99, "epsilon": 0.001}


def case(
    id,
    input,
    layers,
    optimizer,
    batch,
    steps,
    tolerance=(1e-5, 2e-5),
    samples=None,
    loss=None,
    **regularised,
):
    binary = layers[-1]["units"] == 1
    return {
        "id": id,
        "input": input,
        "layers": layers,
        "loss": loss or ("binary_cross_entropy" if binary else "softmax_cross_entropy"),
        **regularised,
        "optimizer": optimizer,
        "batch": batch,
        "samples": samples or 2 * batch,
        "steps": steps,
        "tolerance": dict(zip(("losses", "parameters"), tolerance)),
    }


FLAT, IMAGE, ROWS = [784], [28, 28, 1], [28, 28]
NLP_CNN = [
    *(conv(32), LEAKY, BATCH_NORM, MAX_POOL),
    *(conv(64), LEAKY, BATCH_NORM, MAX_POOL),
    *(conv(64), LEAKY, BATCH_NORM, FLATTEN),
    *(dense(64), LEAKY, dense(10)),
]
COMP475_CNN = [
    *(conv(32, "relu"), MAX_POOL, conv(64, "relu"), MAX_POOL, conv(64, "relu"), FLATTEN),
    *(dense(64, "relu"), dense(64, "relu"), dense(10)),
]
CSE574_CNN = [
    *(conv(64, "relu", "same"), MAX_POOL, conv(32, "relu", "same"), MAX_POOL, FLATTEN),
    *(dense(256, "relu"), dense(10)),
]
AVERAGE_CNN = [conv(8, "tanh"), AVERAGE_POOL, conv(8, "tanh"), AVERAGE_POOL, FLATTEN, dense(10)]
SCRATCH = [dense(32, "sigmoid"), dense(1)]
MLP = [dense(512, "relu"), dense(256, "relu"), dense(128, "relu"), dense(10)]
RNN = [{"type": "simple_rnn", "units": 16}, dense(10)]
LSTM = [{"type": "lstm", "units": 16}, dense(10)]
NUMBER = [dense(24, "tanh"), dense(1)]
SQUARED = {"loss": "mean_squared_error"}
SMALL_CNN = [conv(8, "relu"), BATCH_NORM, MAX_POOL, FLATTEN, dense(10)]
ALL = {"l2": 0.01, "label_smoothing": 0.1, "clip_norm": 0.5}

# Tolerances are at least ten times what --deviation prints.
CASES = [
    case("biu-scratch", FLAT, SCRATCH, sgd(0.1), 1, 10, samples=4),
    case("biu-base", FLAT, [dense(40, "sigmoid"), dense(2)], sgd(0.01), 32, 10),
    case("cse574-mlp", FLAT, MLP, adam(0.0001), 16, 10),
    case("nlp-cnn", IMAGE, NLP_CNN, adam(), 8, 6, (5e-5, 2e-4)),
    case("comp475-cnn", IMAGE, COMP475_CNN, adam(), 8, 6),
    case("cse574-cnn", IMAGE, CSE574_CNN, adam(), 8, 6),
    case("average-cnn", IMAGE, AVERAGE_CNN, adam(), 8, 6),
    case("softmax-rmsprop", FLAT, [dense(10)], rmsprop(0.001, 0.9), 16, 10),
    case("softmax-rmsprop-plain", FLAT, [dense(10)], rmsprop(), 16, 10),
    case("softmax-sgd-momentum", FLAT, [dense(10)], sgd(0.001, 0.9), 16, 10),
    case("rnn", ROWS, RNN, adam(), 16, 10),
    case("lstm", ROWS, LSTM, adam(), 16, 10),
    case("squared-one-hot", FLAT, [dense(40, "sigmoid"), dense(10)], adam(), 16, 10, **SQUARED),
    case("squared-number", FLAT, NUMBER, sgd(0.02, 0.5), 16, 10, **SQUARED),
    case("adamw", FLAT, [dense(40, "sigmoid"), dense(10)], adamw(0.01, 0.3), 16, 10),
    case("penalty", IMAGE, SMALL_CNN, rmsprop(), 8, 6, l2=0.01),
    case("smooth", FLAT, [dense(24, "tanh"), dense(10)], sgd(0.05), 16, 10, label_smoothing=0.2),
    case("smooth-binary", FLAT, SCRATCH, sgd(0.1), 16, 10, label_smoothing=0.2, l2=0.02),
    case("clipped", ROWS, LSTM, sgd(0.1, 0.5), 16, 10, clip_norm=0.5, l2=0.01),
    case("regularised", IMAGE, SMALL_CNN, adamw(0.001, 0.1), 8, 6, (5e-5, 2e-4), **ALL),
]


# ---- running them ------------------------------------------------------------------------------


def run(case, dtype):
    layers, loss, optimizer, batch = (case[k] for k in ("layers", "loss", "optimizer", "batch"))
    l2, smoothing = case.get("l2", 0.0), case.get("label_smoothing", 0.0)
    tensors, states, outputs = plan(layers, case["input"])
    classes = max(2, outputs)
    x, labels = samples(case["samples"], case["input"], classes)
    x = jnp.asarray(x, dtype)
    start = [
        jnp.asarray(values(number, math.prod(shape), center, limit).reshape(shape), dtype)
        for number, (_, shape, center, limit) in enumerate(tensors)
    ]
    states_now = [jnp.full(shape, value, dtype) for _, shape, value in states]

    def mean_loss(parameters, states, x, labels):
        logits, after = forward(layers, parameters, states, x, training=True)
        value = losses(loss, logits, labels, smoothing).mean() + penalty(parameters)
        return value, (after, classify(loss, logits)[1])

    def penalty(parameters):
        """Biases, and the scales and offsets of normalisation, are vectors."""
        return l2 * sum((p * p).sum() for p in parameters if p.ndim > 1)

    def clipped(grads):
        """As Keras's global_clipnorm."""
        if "clip_norm" not in case:
            return grads
        norm = jnp.sqrt(sum((g * g).sum() for g in grads))
        return [g * case["clip_norm"] / jnp.maximum(norm, case["clip_norm"]) for g in grads]

    gradient = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))
    now = start
    slots = [(jnp.zeros_like(p), jnp.zeros_like(p)) for p in now]
    trace, correct = [], []
    for step in range(case["steps"]):
        picks = (step * batch + np.arange(batch)) % case["samples"]
        (value, aux), grads = gradient(now, states_now, x[picks], labels[picks])
        states_now, answers = aux
        trace.append(float(value))
        correct.append(int((answers == labels[picks]).sum()))
        moved = [update(optimizer, step + 1, *each) for each in zip(now, clipped(grads), slots)]
        now, slots = [p for p, _ in moved], [s for _, s in moved]

    logits, _ = forward(layers, now, states_now, x[:batch], training=False)

    def sums(values):
        values = np.asarray(values, np.float64)
        return {"sum": values.sum(), "sum_of_squares": (values * values).sum()}

    def distance(p, p0):
        difference = np.asarray(p, np.float64) - np.asarray(p0, np.float64)
        return {"distance": np.sqrt((difference * difference).sum())}

    named = ("name", "shape", "center", "limit")
    return {
        "losses": trace,
        "correct": correct,
        "parameters": [
            {**dict(zip(named, tensor)), **sums(p), **distance(p, p0)}
            for tensor, p, p0 in zip(tensors, now, start)
        ],
        "states": [
            {"name": name, "shape": shape, **sums(state)}
            for (name, shape, _), state in zip(states, states_now)
        ],
        "evaluation": {
            "loss": float(losses(loss, logits, labels[:batch], smoothing).mean() + penalty(now)),
            "probabilities": np.asarray(classify(loss, logits)[0][0], np.float64).tolist(),
        },
    }


def rounded(value):
    """Nine significant digits: what float64 sums give on any machine, in whatever order."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.8e}") if isinstance(value, float) else value


def differences(exact, rough):
    """The largest differences of two runs: of the figures that `losses` bounds, of the others."""
    near, far = [0.0], [0.0]
    losses = [*zip(exact["losses"], rough["losses"])]
    losses.append((exact["evaluation"]["loss"], rough["evaluation"]["loss"]))
    near += [abs(a - b) / max(1.0, a) for a, b in losses]
    probabilities = exact["evaluation"]["probabilities"], rough["evaluation"]["probabilities"]
    near += [abs(a - b) for a, b in zip(*probabilities)]
    for a, b in zip(exact["parameters"] + exact["states"], rough["parameters"] + rough["states"]):
        squares = a["sum_of_squares"]
        far.append(abs(squares - b["sum_of_squares"]) / squares)
        # A sum of mixed signs has no scale of its own: take that of the elements.
        far.append(abs(a["sum"] - b["sum"]) / math.sqrt(math.prod(a["shape"]) * squares))
        if "distance" in a:
            far.append(abs(a["distance"] - b["distance"]) / a["distance"])
    return max(near), max(far)


def deviation():
    """How far float32 strays from float64 in this very code, beside what a test may allow."""
    for case in CASES:
        exact, rough = run(case, jnp.float64), run(case, jnp.float32)
        near, far = differences(exact, rough)
        allowed = case["tolerance"]
        same = "" if exact["correct"] == rough["correct"] else ", correct counts differ"
        print(
            f"{case['id']:21} losses {near:.1e} of {allowed['losses']:.0e}, "
            f"parameters {far:.1e} of {allowed['parameters']:.0e}{same}"
        )


def main():
    if sys.argv[1:] == ["--deviation"]:
        return deviation()
    check = [(0, 0.0, 0.0857), (3, 1.0, 0.2), (X, 0.0, 1.0)]
    document = {
        "made_by": f"make_traces.py, JAX {jax.__version__}, NumPy {np.__version__}, float64",
        "generator": [
            {"tensor": t, "center": c, "limit": l, "first": [float(v) for v in values(t, 6, c, l)]}
            for t, c, l in check
        ],
        "labels": [int(v) for v in samples(24, [1], 10)[1]],
        "cases": [{**case, **rounded(run(case, jnp.float64))} for case in CASES],
    }
    path = pathlib.Path(__file__).with_name("traces.json")
    path.write_text(layout(document) + "\n", encoding="utf-8")


def layout(value, indent=""):
    """JSON with one line per element of a list of objects: readable, and small diffs."""
    inner = indent + "  "
    if isinstance(value, dict) and not flat(value):
        parts = [f"{inner}{json.dumps(key)}: {layout(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and not flat(value):
        return "[\n" + ",\n".join(inner + layout(part, inner) for part in value) + f"\n{indent}]"
    return json.dumps(value)


def flat(value):
    """Whether a value holds no object, or is a small object of plain values and lists."""
    if isinstance(value, dict):
        return not any(isinstance(part, dict) or not flat(part) for part in value.values())
    if isinstance(value, list):
        return not any(isinstance(part, (dict, list)) for part in value)
    return True


if __name__ == "__main__":
    main()
