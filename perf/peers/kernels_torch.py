"""One process of perf/compare-kernels: the same matrix products and convolutions in PyTorch (MKL, oneDNN).

Reads kernels as `threadcount bench --kernels --json` names them, a JSON list on standard input, and prints
GFLOP/s for each, in each layout that the framework can keep weights or images in."""

import argparse
import json
import os
import re
import statistics
import sys
import time

from protocol import keep_freed_memory


def dense(kernel, shape):
    """A product with weights by input, and by unit as torch.nn.Linear has them; and its multiply-adds. The
    outputs are there before, as ours are."""
    import torch

    if kernel == "gemm":
        m, k, n = map(int, shape.split("x"))
        a, b, c = torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)
        return [lambda: torch.mm(a, b, out=c)], m * n * k
    inputs, units, batch = map(int, re.fullmatch(r"(\d+)x(\d+), batch (\d+)", shape).groups())
    x, dy = torch.rand(batch, inputs), torch.rand(batch, units)
    w = torch.rand(inputs, units)
    wt = w.T.contiguous()
    y, dx, dw, dwt = (torch.empty_like(t) for t in (dy, x, w, wt))
    ways = {
        "dense-forward": [lambda: torch.mm(x, w, out=y), lambda: torch.mm(x, wt.T, out=y)],
        "dense-dw": [lambda: torch.mm(x.T, dy, out=dw), lambda: torch.mm(dy.T, x, out=dwt)],
        "dense-dx": [lambda: torch.mm(dy, w.T, out=dx), lambda: torch.mm(dy, wt, out=dx)],
    }
    return ways[kernel], inputs * units * batch


def conv(kernel, shape):
    """The same for 3x3 convolutions, with images in NCHW and in channels-last."""
    import torch

    pattern = r"(\d+)x(\d+)x(\d+) -> (\d+) (valid|same), batch (\d+).*"
    h, w, c_in, c_out, padding, batch = re.fullmatch(pattern, shape).groups()
    h, w, c_in, c_out, batch = map(int, (h, w, c_in, c_out, batch))
    pad = 1 if padding == "same" else 0
    out_h, out_w = h - 2 + 2 * pad, w - 2 + 2 * pad
    ways = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.rand(batch, c_in, h, w).contiguous(memory_format=layout)
        f = torch.rand(c_out, c_in, 3, 3).contiguous(memory_format=layout)
        b = torch.rand(c_out)
        dy = torch.rand(batch, c_out, out_h, out_w).contiguous(memory_format=layout)

        def backward(wanted, x=x, f=f, dy=dy):
            return torch.ops.aten.convolution_backward(
                dy, x, f, [c_out], [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, wanted)

        ways.append({
            "conv-forward": lambda x=x, f=f, b=b: torch.nn.functional.conv2d(x, f, b, padding=pad),
            "conv-backward-data": lambda backward=backward: backward([True, False, False]),
            "conv-backward-weights": lambda backward=backward: backward([False, True, False]),
        }[kernel])
    return ways, batch * out_h * out_w * c_out * c_in * 9


def seconds(way, samples):
    """Median seconds of a call, over samples of five milliseconds at least."""
    def timed(calls):
        began = time.perf_counter()
        for _ in range(calls):
            way()
        return (time.perf_counter() - began) / calls

    timed(3)
    calls = max(1, int(0.005 / timed(3)))
    return statistics.median(timed(calls) for _ in range(samples))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=9)
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-args.threads:])
    keep_freed_memory()
    import torch

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    results = []
    with torch.inference_mode():
        for wanted in json.load(sys.stdin):
            ways, multiply_adds = (conv if wanted["kernel"].startswith("conv") else dense)(
                wanted["kernel"], wanted["shape"])
            gflops = [2e-9 * multiply_adds / seconds(way, args.samples) for way in ways]
            results.append(wanted | {"gflops": gflops})
    print(json.dumps({"version": torch.__version__, "kernels": results}))


if __name__ == "__main__":
    main()
