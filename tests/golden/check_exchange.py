"""Runs the programs that threadcount exported in the real PyTorch and Keras, and compares what they make of the
samples with what threadcount made of them: within 1e-5, or it exits with 1.

    export THREADCOUNT_EXCHANGE=/tmp/exchange && mkdir -p $THREADCOUNT_EXCHANGE
    cargo test --test training exchange -- --ignored
    KERAS_BACKEND=torch python tests/golden/check_exchange.py
"""

import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

worst, programs = {}, sorted(pathlib.Path(os.environ["THREADCOUNT_EXCHANGE"]).glob("*.py"))
for program in programs:
    names = {}
    exec(compile(program.read_text(), program, "exec"), names)
    read = lambda ending: np.fromfile(program.with_suffix(ending), np.float32)
    expected = read(".predictions").reshape(30, -1)
    found = np.asarray(names["predict"](read(".samples").reshape(30, -1)))
    apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    framework = program.suffixes[0]
    worst[framework] = max(worst.get(framework, 0.0), apart)
    print(f"{program.stem:40} {apart:.1e}{'' if apart < 1e-5 else '  TOO FAR'}")
print(f"{len(programs)} programs; furthest:", ", ".join(f"{k[1:]} {v:.1e}" for k, v in worst.items()))
sys.exit(0 if programs and all(v < 1e-5 for v in worst.values()) else 1)
