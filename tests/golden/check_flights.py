#!/usr/bin/env python3
"""Fits scikit-learn's linear models to the training rows of a comparison, in float64, and compares predictions.

    threadcount data flights --out flights.csv
    threadcount regress flights.csv --target price --out models
    venv/bin/python check_flights.py flights.csv models        # needs 13 GB of memory for 300,153 rows
    venv/bin/python check_flights.py flights.csv models --forest

Prints for each model the largest distance of a prediction relative to the largest price, and how far mean
squared errors are apart. `--forest` also grows scikit-learn's forest, on the sparse encoded columns, and prints
its figures and time: on the whole table with all its trees that takes hours, so give `--trees` too.
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def encoded(table, train):
    blocks = []
    for name in table.columns[1:-1]:
        column = table[[name]]
        if column.dtypes.iloc[0].kind in "if":
            blocks.append(StandardScaler().fit(column[train].values).transform(column.values))
        else:
            words = column.values.astype(object)
            hot = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
            blocks.append(hot.fit(words[train]).transform(words))
    return np.hstack(blocks)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("models")
    parser.add_argument("--forest", action="store_true")
    parser.add_argument("--trees", type=int, default=100)
    args = parser.parse_args()
    table = pd.read_csv(args.table)
    tested = pd.read_csv(f"{args.models}/test.csv")
    train = np.ones(len(table), dtype=bool)
    train[tested["row"]] = False
    y = table.iloc[:, -1].values.astype(float)
    assert np.array_equal(y[tested["row"]], tested["true"])
    everything = encoded(table, train)
    x_test, y_test = everything[tested["row"]], tested["true"].values
    x, y = everything[train], y[train]
    del everything
    print(f"{x.shape[1]} encoded columns, {len(x)} training rows")
    models = {"linear": LinearRegression(), "ridge": Ridge(alpha=1.0)}
    for name, model in models.items():
        began = time.time()
        predicted = model.fit(x, y).predict(x_test)
        off = np.abs(predicted - tested[name]).max() / np.abs(y_test).max()
        ours, theirs = (mean_squared_error(y_test, p) for p in (tested[name], predicted))
        print(f"{name}: {off:.1e} apart; MSE {ours:.2f}, scikit-learn's {theirs:.2f}; {time.time() - began:.1f} s")
    if args.forest:
        forest = RandomForestRegressor(n_estimators=args.trees, n_jobs=-1, random_state=0)
        began = time.time()
        predicted = forest.fit(csr_matrix(x), y).predict(csr_matrix(x_test))
        ours, theirs = (mean_squared_error(y_test, p) for p in (tested["forest"], predicted))
        print(
            f"forest: MSE {ours:.0f}, scikit-learn's {theirs:.0f}, R2 {r2_score(y_test, predicted):.4f};"
            f" {time.time() - began:.1f} s"
        )


if __name__ == "__main__":
    main()
