#!/usr/bin/env python3
"""Makes classical.json: small cases of the classical models and of scores, as scikit-learn computes them.

    python3 make_classical.py > classical.json

Made with Python 3.11, scikit-learn 1.9.1. `../classical/classical_golden.rs` reads it.
"""

import json

import numpy as np
import sklearn.metrics as metrics
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

draws = np.random.default_rng(17)


def blobs(n, inputs, classes):
    """Bytes about a centre for each class, and the classes."""
    labels = draws.integers(0, classes, n)
    labels[:classes] = range(classes)
    centres = draws.integers(60, 200, (classes, inputs))
    x = np.clip(centres[labels] + draws.normal(0, 50, (n, inputs)), 0, 255).astype(np.uint8)
    return x, labels


def score(n, classes, dtype):
    """Scores of random probabilities, some of which are 0 and 1."""
    labels = draws.integers(0, classes, n)
    labels[:classes] = range(classes)
    p = draws.dirichlet(np.full(classes, 0.5), n).astype(dtype)
    p[1] = np.eye(classes)[labels[1]]
    p[2] = np.eye(classes)[(labels[2] + 1) % classes]
    predicted = p.argmax(axis=1)
    return {
        "classes": classes,
        "type": np.dtype(dtype).name,
        "labels": labels.tolist(),
        "probabilities": [float(x) for x in p.ravel()],
        "predicted": predicted.tolist(),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
        "log_loss": metrics.log_loss(labels, y_proba=p, labels=range(classes)),
    }


def logistic(n, inputs, classes, c):
    """The optimum, and the probabilities of the training samples."""
    x, labels = blobs(n, inputs, classes)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000).fit(x / 255.0, labels)
    return {
        "classes": classes,
        "c": c,
        "labels": labels.tolist(),
        "x": x.tolist(),
        "coefficients": model.coef_.tolist(),
        "probabilities": model.predict_proba(x / 255.0).tolist(),
    }


def neighbours(n, inputs, classes, k):
    """Votes of the nearest neighbours, none of which is as near as another."""
    x, labels = blobs(n, inputs, classes)
    queries, _ = blobs(20, inputs, classes)
    model = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(x.astype(float), labels)
    distances, _ = model.kneighbors(queries.astype(float), n_neighbors=n)
    assert (np.diff(distances[:, : k + 1]) > 1e-6).all()
    return {
        "classes": classes,
        "k": k,
        "labels": labels.tolist(),
        "x": x.tolist(),
        "queries": queries.tolist(),
        "probabilities": model.predict_proba(queries.astype(float)).tolist(),
        "predicted": model.predict(queries.astype(float)).tolist(),
    }


def rounded(value):
    """Ten significant digits are enough."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


cases = {
    "scores": [score(12, 3, np.float64), score(30, 5, np.float64), score(12, 3, np.float32)],
    "logistic": [
        logistic(40, 4, 2, 1.0),
        logistic(40, 4, 2, 0.05),
        logistic(60, 5, 3, 1.0),
        logistic(80, 6, 4, 10.0),
    ],
    "neighbours": [neighbours(50, 6, 3, 5), neighbours(40, 8, 4, 4), neighbours(30, 5, 2, 1)],
}
print("{")
for i, (name, of_name) in enumerate(cases.items()):
    print(f'"{name}": [')
    print(",\n".join(json.dumps(rounded(case)) for case in of_name))
    print("]," if i + 1 < len(cases) else "]")
print("}")
