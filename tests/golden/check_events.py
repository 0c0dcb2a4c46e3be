#!/usr/bin/env python3
"""Reads the event files of a run with TensorBoard's own package, and compares them with the run's history.

    cargo run --features tensorboard -- train biu-relu --epochs 5 --tensorboard --out run
    venv/bin/pip install tensorboard
    venv/bin/python check_events.py run

Exits with 1 unless every epoch of `history.csv` has all four figures, equal to float32's last digit.
"""

import csv
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
}


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main():
    folder = sys.argv[1]
    events = EventAccumulator(folder)
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(TAGS.values()), events.Tags()
    with open(f"{folder}/history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    for column, tag in TAGS.items():
        scalars = [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
        expected = [(int(row["epoch"]), float32(float(row[column]))) for row in history]
        assert scalars == expected, (tag, scalars, expected)
    print(f"{len(history)} epochs, {len(TAGS)} figures each: as in history.csv")


if __name__ == "__main__":
    main()
