#!/usr/bin/env python3
"""Checks traces.json against Keras itself, so that "as in Keras 3" is not only our reading of it.

    venv/bin/pip install jax==0.10.2 numpy==2.4.6 keras==3.15.1
    venv/bin/python check_with_keras.py

Builds every case from Keras's own layers, losses and optimizers, in float64, from the same weights
and samples. Keras keeps the learning rate in float32, so agreement starts near 1e-8 and ends where
the network's own sensitivity takes it: 6e-6 in nlp-cnn, 4e-8 elsewhere.
"""

import json
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "jax"

import make_traces  # sets JAX to float64 before Keras starts it
import keras
import numpy as np

LIMIT = 1e-5

keras.config.set_floatx("float64")


def layer(spec, l2):
    spec = dict(spec)
    decay = {"kernel_regularizer": keras.regularizers.L2(l2)}
    kind, build = spec.pop("type"), keras.layers
    if kind == "dense":
        return build.Dense(spec["units"], spec["activation"], **decay)
    if kind == "conv2d":
        sizes = spec["filters"], spec["kernel"]
        return build.Conv2D(*sizes, padding=spec["padding"], activation=spec["activation"], **decay)
    if kind == "leaky_relu":
        return build.LeakyReLU(negative_slope=spec["slope"])
    if kind == "batch_norm":
        return build.BatchNormalization(momentum=spec["momentum"], epsilon=spec["epsilon"])
    if kind == "max_pool":
        return build.MaxPooling2D(spec["size"])
    if kind == "average_pool":
        return build.AveragePooling2D(spec["size"])
    if kind == "flatten":
        return build.Flatten()
    decay["recurrent_regularizer"] = decay["kernel_regularizer"]
    return {"simple_rnn": build.SimpleRNN, "lstm": build.LSTM}[kind](spec["units"], unroll=True, **decay)


def optimizer(spec, clip_norm, model):
    spec = {key.replace("beta", "beta_"): value for key, value in spec.items()}
    all = keras.optimizers
    kinds = {"sgd": all.SGD, "rmsprop": all.RMSprop, "adam": all.Adam, "adamw": all.AdamW}
    made = kinds[spec.pop("type")](**spec, global_clipnorm=clip_norm)
    if made.weight_decay:
        made.exclude_from_weight_decay([v for v in model.trainable_variables if v.ndim < 2])
    return made


def apart(case):
    """The largest relative differences: of losses, of evaluation, of the tensors' sums of squares."""
    model = keras.Sequential([keras.Input(case["input"]), *(layer(spec, case.get("l2", 0.0)) for spec in case["layers"])])
    tensors, _, outputs = make_traces.plan(case["layers"], case["input"])
    losses, smoothing = keras.losses, case.get("label_smoothing", 0.0)
    if case["loss"] == "mean_squared_error":
        loss = losses.MeanSquaredError()
    elif outputs == 1:
        loss = losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    else:
        loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    model.compile(optimizer(case["optimizer"], case.get("clip_norm"), model), loss)
    for number, (variable, (_, shape, center, limit)) in enumerate(zip(model.trainable_variables, tensors)):
        variable.assign(make_traces.values(number, int(np.prod(shape)), center, limit).reshape(shape))
    x, labels = make_traces.samples(case["samples"], case["input"], max(2, outputs))
    x = x.astype(np.float64)
    labels = labels[:, None].astype(np.float64) if outputs == 1 else np.eye(outputs)[labels]

    trace, batch = [], case["batch"]
    for step in range(case["steps"]):
        picks = (step * batch + np.arange(batch)) % case["samples"]
        trace.append(model.train_on_batch(x[picks], labels[picks]))
        model.reset_metrics()  # otherwise the loss returned is the mean of all steps so far
    evaluation = model.test_on_batch(x[:batch], labels[:batch])

    worst = max(abs(a - b) / b for a, b in zip(trace, case["losses"]))
    evaluated = abs(evaluation - case["evaluation"]["loss"]) / case["evaluation"]["loss"]
    ours = [tensor["sum_of_squares"] for tensor in case["parameters"] + case["states"]]
    variables = model.trainable_variables + model.non_trainable_variables
    variables = [v for v in variables if v.dtype == "float64"]  # not the seeds of generators
    squares = [float((np.asarray(v, np.float64) ** 2).sum()) for v in variables]
    assert len(ours) == len(squares)
    return worst, evaluated, max(abs(a - b) / b for a, b in zip(squares, ours))


def main():
    traces = json.loads(pathlib.Path(__file__).with_name("traces.json").read_text(encoding="utf-8"))
    print(f"Keras {keras.__version__}")
    failed = False
    for case in traces["cases"]:
        figures = apart(case)
        failed |= max(figures) > LIMIT
        print(f"{case['id']:21} losses {figures[0]:.1e}, evaluation {figures[1]:.1e}, squares {figures[2]:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
