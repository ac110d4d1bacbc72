"""The other side of ``bench.kernel_peers``: cyanure, run by the Python of its own environment, where fedchain is not.

A request is a line of JSON on standard input, an answer a line on standard output:

    {"x": FILE, "y": FILE}                                       a dense matrix, labels 0, 1, …
    {"starts": FILE, "indices": FILE, "values": FILE, "columns": P, "y": FILE}      sparse rows
        → {"version": …}
    {"solver": NAME, "epochs": N, "l2": L2}    fit from zero, no intercept
        → {"seconds": …, "weights": [feature by feature]}

Cyanure's first iteration only looks at the start: N epochs are N + 1 of its iterations. The check of the duality gap is
put off to the end.
"""

import json
import sys
import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from cyanure.estimators import Classifier
from scipy.sparse import csr_matrix

NEVER = 10**6
"""Iterations between two checks of the duality gap."""


def load(request: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return rows and labels as cyanure takes them."""
    labels = np.load(request["y"])
    y = labels.astype(np.int64) if labels.max() > 1 else np.where(labels > 0, 1.0, -1.0)
    if "x" in request:
        return np.load(request["x"]), y
    parts = [np.load(request[name]) for name in ("values", "indices", "starts")]
    return csr_matrix(tuple(parts), shape=(y.size, request["columns"])), y


def fit(x: Any, y: Any, solver: str, epochs: int, l2: float) -> dict[str, object]:
    """Return the processor's seconds a fit took, and its weights."""
    estimator = Classifier(
        loss="logistic",
        penalty="l2",
        lambda_1=l2,
        solver=solver,
        max_iter=epochs + 1,
        tol=1e-300,
        duality_gap_interval=NEVER,
        fit_intercept=False,
        random_state=0,
        n_threads=1,
        verbose=False,
    )
    start = time.process_time()
    estimator.fit(x, y)
    seconds = time.process_time() - start
    coefficients = np.atleast_2d(np.squeeze(estimator.coef_))
    table = coefficients if coefficients.shape[1] == x.shape[1] else coefficients.T
    return {"seconds": seconds, "weights": np.ascontiguousarray(table.T, dtype=np.float64).ravel().tolist()}


def main() -> None:
    """Answer until the input ends; whatever else is printed goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    x = y = None
    for line in sys.stdin:
        request = json.loads(line)
        if "solver" in request:
            answer = fit(x, y, request["solver"], request["epochs"], request["l2"])
        else:
            x, y = load(request)
            answer = {"version": version("cyanure")}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
