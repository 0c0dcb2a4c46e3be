"""Trains a recipe in PyTorch. A variant is a list of words joined by "+":
eager or compiled (forward, backward and update as one graph), and optionally channels-last (images as NHWC
in memory), mask (dropout by random bytes, all of a step's in one draw), many (a call runs 8 steps) and bf16
(forward and backward under autocast)."""

import math
import os

import protocol
from recipes import (BETA1, BETA2, EPSILON, LEAKY_SLOPE, RECIPES, Conv, Dense, Dropout, Flatten, Lstm,
                     SIDE, Norm, Pool)
from samples import load, parameters

args = protocol.arguments("torch")
words = args.variant.split("+")
MANY = 8 if "many" in words else 0
COMPILED, CHANNELS_LAST, MASK, BF16 = (w in words for w in ("compiled", "channels-last", "mask", "bf16"))
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(args.threads)
torch.set_flush_denormal(True)
torch._dynamo.config.trace_autograd_ops = True
torch.manual_seed(args.seed)

ACTIVATIONS = {"linear": lambda z: z, "relu": F.relu, "sigmoid": torch.sigmoid,
               "leaky": lambda z: F.leaky_relu(z, LEAKY_SLOPE)}


def dropout(rate, x, noise):
    """`noise` are random bytes, or none: the framework's own dropout."""
    if noise is None:
        return F.dropout(x, rate, training=True)
    drop = round(rate * 256)
    keep = noise[:x.numel()].view(x.shape) if not (x.dim() == 4 and CHANNELS_LAST) else \
        noise[:x.numel()].view(x.shape[0], x.shape[2], x.shape[3], x.shape[1]).permute(0, 3, 1, 2)
    return x * ((keep >= drop) * (256 / (256 - drop)))


def lstm(layer, p, x):
    if not COMPILED:
        zero = x.new_zeros(1, x.shape[0], layer.units)
        weights = [p["w"], p["u"], p["b"], torch.zeros_like(p["b"])]
        return torch._VF.lstm(x, (zero, zero), weights, True, 1, 0.0, True, False, True)[1][0]
    zx = F.linear(x, p["w"], p["b"]).unbind(1)
    h = c = x.new_zeros(x.shape[0], layer.units)
    for z in zx:
        i, f, g, o = (z + F.linear(h, p["u"])).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def forward(recipe, params, moving, x, training, noise=None):
    for layer, p, m in zip(recipe.layers, params, moving):
        match layer:
            case Dense():
                x = ACTIVATIONS[layer.activation](F.linear(x, p["w"], p["b"]))
            case Conv():
                x = F.conv2d(x, p["w"], p["b"], padding=1 if layer.padding == "same" else 0)
                x = ACTIVATIONS[layer.activation](x)
            case Pool():
                x = F.max_pool2d(x, 2)
            case Flatten():
                x = x.flatten(1)
            case Dropout(rate) if training:
                x = dropout(rate, x, noise)
                noise = noise[x.numel():] if noise is not None else None
            case Norm(momentum, epsilon):
                x = F.batch_norm(x, m["mean"], m["var"], p["gamma"], p["beta"], training, 1 - momentum,
                                 epsilon)
            case Lstm():
                x = lstm(layer, p, x)
                x = x[0] if x.dim() == 3 else x
    return x


def loss(recipe, logits, y):
    if recipe.loss == "binary":
        return F.binary_cross_entropy_with_logits(logits[:, 0], y.float())
    return F.cross_entropy(logits, y, label_smoothing=recipe.smoothing)


def mask_bytes(recipe):
    """Random bytes that one sample's dropouts take."""
    total, shape = 0, recipe.shape
    for layer in recipe.layers:
        match layer:
            case Conv(filters, padding):
                trim = 0 if padding == "same" else 2
                shape = (shape[0] - trim, shape[1] - trim, filters)
            case Pool():
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case Dense(units):
                shape = (units,)
            case Dropout():
                total += math.prod(shape)
    return total


def torch_parameters(recipe, seed):
    """In PyTorch's layouts: [out, in], [out, in, 3, 3]. The first dense layer after a flattening sees
    channels first; its weights are random, so their order does not matter."""
    out = []
    for layer, p in zip(recipe.layers, parameters(recipe, np.random.default_rng(seed))):
        p = {name: torch.from_numpy(value) for name, value in p.items()}
        for name in p.keys() & {"w", "u"}:
            p[name] = p[name].permute(3, 2, 0, 1) if isinstance(layer, Conv) else p[name].T
            p[name] = p[name].contiguous(memory_format=torch.channels_last if isinstance(layer, Conv)
                                         and CHANNELS_LAST else torch.contiguous_format)
        out.append({name: value.requires_grad_() for name, value in p.items()})
    return out


def main():
    recipe = RECIPES[args.recipe]
    samples = load(recipe, args.data, args.seed)
    images = torch.from_numpy(samples.x.reshape(len(samples.x), -1).copy())
    labels = torch.from_numpy(samples.y).long()
    factor, offset = torch.from_numpy(samples.factor), torch.from_numpy(samples.offset)
    shape = (1, 28, 28) if recipe.input == "image" else recipe.shape

    def inputs(bytes, training=False):
        x = bytes * factor + offset if recipe.standardise else bytes * (1 / 255)
        x = x.view(-1, *shape)
        if training and recipe.flip:
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last) if CHANNELS_LAST else x

    params = torch_parameters(recipe, args.seed)
    moving = [{"mean": torch.zeros_like(p["beta"]).detach(), "var": torch.ones_like(p["gamma"]).detach()}
              if "gamma" in p else None for p in params]
    flat = [p for layer in params for p in layer.values()]
    decays = [name in ("w", "u") for layer in params for name in layer]
    # A rate that changes is a tensor, so that a compiled step does not depend on it.
    rate = torch.tensor(recipe.rate) if recipe.one_cycle else recipe.rate
    step_number = 0
    per_sample = mask_bytes(recipe)

    def objective(picks, noise):
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            logits = forward(recipe, params, moving, inputs(images[picks], True), True, noise)
        return loss(recipe, logits.float(), labels[picks])

    if COMPILED:
        means = [torch.zeros_like(p).detach() for p in flat]
        squares = [torch.zeros_like(p).detach() for p in flat]
        t = torch.zeros((), dtype=torch.float32)

        def one(picks, noise):
            grads = torch.autograd.grad(objective(picks, noise), flat)
            with torch.no_grad():
                if recipe.optimizer == "sgd":
                    for p, g in zip(flat, grads):
                        p.sub_(g, alpha=recipe.rate)
                    return
                t.add_(1)
                corrected = rate * torch.sqrt(1 - BETA2 ** t) / (1 - BETA1 ** t)
                for p, g, m, v, decays_too in zip(flat, grads, means, squares, decays):
                    if decays_too and recipe.decay:
                        p.mul_(1 - rate * recipe.decay)
                    m.lerp_(g, 1 - BETA1)
                    v.lerp_(g * g, 1 - BETA2)
                    p.sub_(corrected * m / (v.sqrt() + EPSILON))

        def several(batches):
            for batch in batches.unbind():
                one(batch, None)

        step = torch.compile(one, fullgraph=True, dynamic=False)
        several = torch.compile(several, fullgraph=True, dynamic=False)
    else:
        if recipe.optimizer == "sgd":
            optimizer = torch.optim.SGD(flat, lr=recipe.rate, fused=True)
        else:
            kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
            # One group where nothing decays: each group is a call of the fused kernel.
            groups = [{"params": flat}] if not recipe.decay else \
                [{"params": [p for p, d in zip(flat, decays) if d == which],
                  "weight_decay": recipe.decay if which else 0.0} for which in (True, False)]
            optimizer = kind(groups, lr=rate, betas=(BETA1, BETA2), eps=EPSILON, fused=True)

        def step(picks, noise):
            optimizer.zero_grad(set_to_none=True)
            objective(picks, noise).backward()
            optimizer.step()

    def train(picks):
        picks = torch.from_numpy(picks).long()
        if MANY:
            whole = len(picks) // MANY * MANY
            for batches in picks[:whole].split(MANY):
                several(batches)
            picks = picks[whole:]
        nonlocal step_number
        for batch in picks:
            if recipe.one_cycle:
                rate.fill_(protocol.rate(recipe, len(images), step_number))
                step_number += 1
            step(batch, noise_for(batch))

    def noise_for(batch):
        if not MASK:
            return None
        # As 64-bit numbers: eight bytes for the price of one.
        numbers = torch.empty(-(-per_sample * len(batch) // 8), dtype=torch.int64)
        return numbers.random_(-2**63, None).view(torch.uint8)

    @torch.no_grad()
    def accuracy():
        x = torch.from_numpy(samples.x_test.reshape(len(samples.x_test), -1).copy())
        y = torch.from_numpy(samples.y_test)
        hits = 0
        for x, y in zip(x.split(500), y.split(500)):
            logits = forward(recipe, params, moving, inputs(x), False)
            if recipe.test_flip:
                mirrored = x.view(-1, SIDE, SIDE).flip(2).reshape(x.shape)
                logits = (logits + forward(recipe, params, moving, inputs(mirrored), False)) / 2
            predicted = logits[:, 0] > 0 if recipe.loss == "binary" else logits.argmax(1)
            hits += int((predicted == y).sum())
        return hits / len(samples.y_test)

    protocol.run(args, recipe, len(images), train, accuracy, "torch", torch.__version__)


main()
