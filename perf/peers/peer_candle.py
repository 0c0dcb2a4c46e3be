"""Trains a recipe with candle: writes its samples where the Rust program in candle/ reads them, and
runs that. `cargo build --release` in candle/ comes first. Its variants: own, candle's dropout; mask,
dropout by random bytes."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import protocol
from recipes import RECIPES
from samples import load

HERE = Path(__file__).parent / "candle"


def main():
    args = protocol.arguments("candle")
    recipe = RECIPES[args.recipe]
    samples = load(recipe, args.data, args.seed)
    program = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")) / "release/peer-candle"
    if not program.exists():
        sys.exit(f"{program} is missing: cargo build --release --manifest-path {HERE}/Cargo.toml")
    run = asdict(recipe) | {
        "layers": [{"kind": type(layer).__name__} | asdict(layer) for layer in recipe.layers],
        "epochs": args.epochs or (recipe.epochs if args.check else 0),
        "seconds": args.seconds, "seed": args.seed, "mask": args.variant == "own+mask",
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "recipe.json").write_text(json.dumps(run))
        for name in ("x", "y", "x_test", "y_test"):
            getattr(samples, name).astype("uint8").tofile(folder / name)
        for name in ("factor", "offset"):
            getattr(samples, name).tofile(folder / name)
        # The affinity mask is inherited; the malloc options of protocol.py are not.
        keep = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 << 20),
                "MALLOC_MMAP_MAX_": "0", "RAYON_NUM_THREADS": str(args.threads)}
        done = subprocess.run([program, folder], env=os.environ | keep, stdout=subprocess.PIPE, check=True)
    lock = (HERE / "Cargo.lock").read_text()
    version = lock.split('name = "candle-core"\nversion = "')[1].split('"')[0]
    protocol.report(args, "candle", version, **json.loads(done.stdout))


main()
