#!/usr/bin/env python3
"""Makes tables.json and tables/*.csv: what scikit-learn measures, fits and predicts on small tables.

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.0
    venv/bin/python make_tables.py

Every row trains. Numbers are standardised (StandardScaler), text is one-hot with all its categories
(OneHotEncoder), column by column in the order of the file; so some tables have more encoded columns than rows,
or columns that follow from others: LinearRegression then gives the weights with the smallest norm.
"""

import json
import math
import pathlib

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = pathlib.Path(__file__).parent


def table(name, rows, draw):
    """Rows of (cells, target), as strings exactly as they are written."""
    rng = np.random.default_rng(sum(map(ord, name)))
    return [draw(rng, i) for i in range(rows)]


def mixed(rng, i):
    a, b = rng.normal(50, 12), rng.normal(0, 1e-3)
    word, letter = "red green blue".split()[rng.integers(3)], "uvwxyz"[rng.integers(6)]
    y = 3 * a + 4000 * b + 10 * len(word) - 2 * ord(letter) + rng.normal(0, 2)
    return {"a": f"{a:.3f}", "word": word, "b": f"{b:.6f}", "letter": letter}, f"{y:.4f}"


def nested(rng, i):
    flight = rng.integers(9)
    airline = "ABC"[flight // 3]
    days = rng.integers(1, 50)
    y = 5000 + 300 * flight + 50 * max(0, 15 - days) + rng.normal(0, 40)
    return {"airline": airline, "flight": f"{airline}-{flight}", "days": str(days)}, f"{y:.2f}"


def repeated(rng, i):
    """b follows from a, up to the rounding of its decimals: it has none."""
    a = int(rng.integers(0, 100))
    c = rng.normal(0, 5)
    y = 2 * a - c + rng.normal()
    return {"a": str(a), "b": str(3 * a + 7), "c": f"{c:.4f}"}, f"{y:.4f}"


def large(rng, i):
    a = rng.uniform(1e9, 1e9 + 1000)
    word = "yes no".split()[rng.integers(2)]
    y = 1e7 + (a - 1e9) * 1000 + (5e5 if word == "yes" else 0) + rng.normal(0, 1e5)
    return {"a": f"{a:.2f}", "word": word}, f"{y:.1f}"


TABLES = {
    "mixed": (60, mixed),
    "nested": (80, nested),
    "repeated": (30, repeated),
    "large": (50, large),
    "wide": (7, mixed),
}


def encoded(rows):
    columns = []
    for name in rows[0][0]:
        cells = [cells[name] for cells, _ in rows]
        try:
            numbers = np.array([[float(cell)] for cell in cells])
            columns.append(StandardScaler().fit_transform(numbers))
        except ValueError:
            words = np.array([[cell] for cell in cells], dtype=object)
            columns.append(OneHotEncoder(sparse_output=False).fit_transform(words))
    return np.hstack(columns)


def measures(y, predicted):
    mse = mean_squared_error(y, predicted)
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": mean_absolute_error(y, predicted),
        "r2": r2_score(y, predicted),
    }


def fitted(model, x, y):
    model.fit(x, y)
    return {
        "intercept": float(model.intercept_),
        "weights": model.coef_.tolist(),
        "predictions": model.predict(x).tolist(),
        **measures(y, model.predict(x)),
    }


def main():
    cases = {}
    for name, (count, draw) in TABLES.items():
        rows = table(name, count, draw)
        lines = [",".join([*rows[0][0], "y"])]
        lines += [",".join([*cells.values(), y]) for cells, y in rows]
        (HERE / "tables").mkdir(exist_ok=True)
        (HERE / "tables" / f"{name}.csv").write_text("\n".join(lines) + "\n")
        x, y = encoded(rows), np.array([float(y) for _, y in rows])
        cases[name] = {
            "linear": fitted(LinearRegression(), x, y),
            "ridge": fitted(Ridge(alpha=1.0), x, y),
        }
    rng = np.random.default_rng(1)
    metrics = []
    for scale, noise in [(1, 0.1), (1, 5), (20_000, 4_000), (1e-3, 1e-3)]:
        y = rng.normal(scale, scale, 25)
        predicted = y + rng.normal(0, noise, 25)
        metrics.append({"targets": y.tolist(), "predictions": predicted.tolist(), **measures(y, predicted)})
    text = json.dumps({"tables": cases, "measures": metrics}, indent=1)
    (HERE / "tables.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
