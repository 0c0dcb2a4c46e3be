"""What every peer program does alike: its arguments, its clock, the line of JSON that it ends with."""

import argparse
import ctypes
import json
import math
import os
import statistics
import sys
import time

import numpy as np

from recipes import RECIPES, variants


def arguments(peer):
    """Parses the command line, and confines the process to as many cores as it may have threads: the
    thread pools of all frameworks are as large as the affinity mask, whatever else they are told."""
    parser = argparse.ArgumentParser(description=f"Trains a recipe with {peer} and reports its speed.")
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--variant", help="see recipes.py")
    parser.add_argument("--seconds", type=float, default=4.0, help="timed, after compilation and warm-up")
    parser.add_argument("--epochs", type=int, help="train so many epochs and report the test accuracy")
    parser.add_argument("--check", action="store_true", help="the same with the recipe's epochs")
    parser.add_argument("--data", default="data/fashion-mnist")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ways = variants(peer, RECIPES[args.recipe])
    if not ways:
        parser.error(f"{args.recipe} is not trained with {peer}")
    args.variant = args.variant or ways[0]
    if args.variant not in ways:
        parser.error(f"no such variant; {args.recipe} has {', '.join(ways)}")
    cores = sorted(os.sched_getaffinity(0))
    if args.threads > len(cores):
        sys.exit(f"{args.threads} threads, but only {len(cores)} cores")
    os.sched_setaffinity(0, cores[-args.threads:])
    keep_freed_memory()
    return args


def keep_freed_memory():
    """Fresh activations cost page faults unless malloc keeps what is freed, neither trimming it nor
    mapping large blocks one by one (1.7x on convolutional recipes)."""
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    libc = ctypes.CDLL(None)
    for option, value in ((m_trim_threshold, 2**31 - 1), (m_top_pad, 64 << 20), (m_mmap_max, 0)):
        libc.mallopt(option, value)


class Clock:
    """Rates of the pieces of a training run, from when it is warm until the time is over."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.rates = []
        self.wall = self.cpu = 0.0
        self.pieces, self.warm_at, self.last = 0, None, (time.perf_counter(), time.process_time())

    def start(self):
        """Leaves out what has passed since the last piece."""
        self.last = time.perf_counter(), time.process_time()

    def lap(self, images):
        """Counts a finished piece; whether enough has been seen."""
        now = time.perf_counter(), time.process_time()
        wall, cpu = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now
        self.pieces += 1
        if self.pieces == 1:  # it has compiled
            self.compiled = now[0]
        elif self.warm_at is None:  # a second of warm-up, at least one piece
            if now[0] - self.compiled > min(1.0, self.seconds / 4):
                self.warm_at = now[0]
        else:
            self.rates.append(images / wall)
            self.wall, self.cpu = self.wall + wall, self.cpu + cpu
        return len(self.rates) >= 3 and now[0] - self.warm_at > self.seconds

    def result(self):
        return {"images_per_second": statistics.median(self.rates), "pieces": len(self.rates),
                "cores_used": self.cpu / self.wall}


def run(args, recipe, count, train, accuracy, peer, version):
    """Trains, for as long as the arguments say, and prints. `train(picks)` takes sample numbers
    [batches, batch] and returns when all of these steps are done; `accuracy()` is of the test samples."""
    rng = np.random.default_rng(args.seed + 1)
    epochs = args.epochs or (recipe.epochs if args.check else None)
    if epochs:
        began = time.perf_counter()
        for _ in range(epochs):
            for picks in pieces(recipe, count, rng):
                train(picks)
        seconds = time.perf_counter() - began
        report(args, peer, version, epochs=epochs, train_seconds=seconds, test_accuracy=accuracy())
        return
    clock = Clock(args.seconds)
    done, shape = False, None
    while not done:
        for picks in pieces(recipe, count, rng):
            shape = shape or picks.shape
            if picks.shape != shape:
                continue  # the rest of an epoch, which would have to be compiled apart
            clock.start()
            train(picks)
            done = clock.lap(picks.size)
            if done:
                break
    report(args, peer, version, **clock.result())


def rate(recipe, count, step):
    """The learning rate of a step, counted from 0: that of the last step after the recipe's epochs."""
    if not recipe.one_cycle:
        return recipe.rate
    rise, first, last = recipe.one_cycle
    steps = recipe.epochs * -(-count // recipe.batch)
    top, done = rise * steps, min(step, steps - 1)
    begin, end, share = (first, 1, done / top) if done < top else (1, last, (done - top) / (steps - top))
    return recipe.rate * (end + (begin - end) * (1 + math.cos(math.pi * share)) / 2)


def pieces(recipe, count, rng):
    """An epoch as pieces of whole batches [batches, batch], then its partial last batch [1, rest]. A piece
    is the epoch, or 50 batches of a convolutional recipe, so that it takes about a second at most."""
    order = (rng.permutation(count) if recipe.shuffle else np.arange(count)).astype(np.int32)
    whole, rest = divmod(count, recipe.batch)
    size = 50 if recipe.input == "image" else whole
    for first in range(0, whole, size):
        batches = order[first * recipe.batch:min(whole, first + size) * recipe.batch]
        yield batches.reshape(-1, recipe.batch)
    if rest:
        yield order[whole * recipe.batch:].reshape(1, rest)


def report(args, peer, version, **results):
    line = {"recipe": args.recipe, "peer": peer, "variant": args.variant, "threads": args.threads}
    print(json.dumps(line | results | {"version": version}), flush=True)
