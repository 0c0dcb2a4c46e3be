"""One classical model of scikit-learn on Fashion-MNIST, whole: trains, predicts, ends with one line of JSON."""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from samples import read_part


def model(args):
    """The model with the defaults of scikit-learn, which are ours as well but for the iterations."""
    match args.model:
        case "logistic":
            return LogisticRegression(max_iter=args.iterations)
        case "neighbours":
            return KNeighborsClassifier(5, n_jobs=args.threads)
        case "forest":
            return RandomForestClassifier(n_estimators=100, n_jobs=args.threads, random_state=args.seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=("logistic", "neighbours", "forest"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1000, help="the most of the logistic regression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default="data/fashion-mnist")
    args = parser.parse_args()
    # That the iterations end before the optimum is asked for.
    warnings.simplefilter("ignore")
    (x, y), (x_test, y_test) = (
        ((images.reshape(len(images), -1) / np.float32(255)), labels)
        for images, labels in (read_part(args.data, "train"), read_part(args.data, "t10k")))
    peer = model(args)
    start = time.perf_counter()
    peer.fit(x, y)
    trained = time.perf_counter()
    predicted = peer.predict(x_test)
    end = time.perf_counter()
    print(json.dumps({"model": args.model, "test_accuracy": float((predicted == y_test).mean()),
                      "train_seconds": trained - start, "predict_seconds": end - trained}))


if __name__ == "__main__":
    main()
