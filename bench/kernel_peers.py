"""Whom ``bench.bench_kernels`` is compared with: fits from zero, same rows and objective, no intercept, one thread.

An epoch's seconds are a difference of two fits, so that checking, setting up and reporting are left out. They are the
processor's: other work on the machine takes turns with ours and does not count. Cyanure lives
in an environment of its own (``make bench-kernels`` makes it) and is asked through pipes: ``bench.cyanure_side``.
"""

import json
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from chain.fixedpoint import Float64Vector
from fl.dataset import Dataset, DenseData, Float64Matrix, rows

EPOCHS: Final = 5
"""Epochs of the longer of two fits."""
PYTHON: Final = Path("build/env/kernels/bin/python")
SIDE: Final = Path(__file__).with_name("cyanure_side.py")


class Peer(Protocol):
    """A method that fits from zero."""

    def fit(self, epochs: int) -> Float64Vector:
        """Return the weights after so many epochs, in our layout (feature by feature)."""

    def epoch_seconds(self) -> float:
        """Return the seconds of one epoch: what ``EPOCHS`` − 1 more of them cost, divided."""


class Saga:
    """scikit-learn's SAGA, in this process."""

    def __init__(self, data: Dataset, l2: float) -> None:
        self._matrix = as_matrix(data)
        self._y = data.y
        self._inverse_l2 = 1.0 / (l2 * rows(data))

    def fit(self, epochs: int) -> Float64Vector:
        """Return the weights after so many epochs from zero, in our layout (feature by feature)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator = LogisticRegression(
                solver="saga", C=self._inverse_l2, max_iter=epochs, tol=0.0, fit_intercept=False, random_state=0
            ).fit(self._matrix, self._y)
        return np.ascontiguousarray(estimator.coef_.T).ravel()

    def epoch_seconds(self) -> float:
        """Return the seconds of one epoch."""
        start = time.process_time()
        self.fit(1)
        middle = time.process_time()
        self.fit(EPOCHS)
        end = time.process_time()
        return ((end - middle) - (middle - start)) / (EPOCHS - 1)


class Cyanure:
    """One solver of a running ``bench.cyanure_side`` that has read its rows."""

    def __init__(self, side: "Side", solver: Literal["svrg", "miso"], l2: float) -> None:
        self._side, self._solver, self._l2 = side, solver, l2

    def fit(self, epochs: int) -> Float64Vector:
        """Return the weights after so many epochs from zero, in our layout (feature by feature)."""
        return np.array(self._ask(epochs)["weights"])

    def epoch_seconds(self) -> float:
        """Return the seconds of one epoch, as the other side took them."""
        short, long = (self._ask(epochs)["seconds"] for epochs in (1, EPOCHS))
        assert isinstance(short, float)
        assert isinstance(long, float)
        return (long - short) / (EPOCHS - 1)

    def _ask(self, epochs: int) -> dict[str, object]:
        return self._side.ask({"solver": self._solver, "epochs": epochs, "l2": self._l2})


class Side:
    """A process that answers lines of JSON; ``version`` is the peer's."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.version = ""

    def ask(self, request: dict[str, object]) -> dict[str, object]:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"cyanure ended with {self._process.wait()}; what it wrote stands above")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


@contextmanager
def started(data: Dataset, python: Path = PYTHON) -> Iterator[Side]:
    """Run the other side over these rows; they go by files, which are gone when it has them."""
    process = subprocess.Popen([python, SIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        side = Side(process)
        with TemporaryDirectory() as directory:
            side.version = str(side.ask(_written(data, Path(directory)))["version"])
        yield side
    finally:
        process.kill()
        process.communicate()


def _written(data: Dataset, directory: Path) -> dict[str, object]:
    """Write the rows; return the request that names them."""
    if isinstance(data, DenseData):
        arrays: dict[str, NDArray[np.generic]] = {"x": data.x, "y": data.y}
    else:
        arrays = {"starts": data.indptr, "indices": data.indices, "values": data.values, "y": data.y}
    request: dict[str, object] = {}
    for name, array in arrays.items():
        np.save(directory / name, array)
        request[name] = str(directory / f"{name}.npy")
    return request if isinstance(data, DenseData) else request | {"columns": data.columns}


def as_matrix(data: Dataset) -> Float64Matrix | csr_matrix:
    """Return the rows as scikit-learn takes them."""
    if isinstance(data, DenseData):
        return data.x
    return csr_matrix((data.values, data.indices, data.indptr), shape=(rows(data), data.columns))
