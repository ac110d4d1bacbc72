"""Warming up: what a device's training calls another process compiles, which ends; its own only loads it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl.dataset import DenseData
from fl.kernels.compiled import NotCompiledError
from fl.models import warm
from tests.fl.problems import make_problem

ROOT = Path(__file__).resolve().parents[2]
COLD = """
import sys
import numpy as np
from chain.fixedpoint import to_fixed
from chain.ids import ZERO_HASH
from chain.number import Number
from fl.dataset import DenseData, to_sparse
from fl.kernels import dense, losses, network, shuffle, sparse
from fl.models.warm import warm_up_lightly
from fl.plan.schema import FedAvg, FedSvrg
from fl.task import Task
from tests.fl.problems import make_problem, random_data
from tests.fl.test_algorithms import after_phase, with_algorithm

def count(what):
    rooms = (dense, losses, network, shuffle, sparse)
    kernels = {id(one): one for room in rooms for one in vars(room).values() if hasattr(one, "stats")}
    return sum(sum(getattr(kernel.stats, what).values()) for kernel in kernels.values())

svrg = make_problem(6, "logistic", algorithm=FedSvrg(Number.of("0.7"), True, True))
average = make_problem(5, "softmax", classes=3, algorithm=FedAvg(Number.of("0.1"), 2, 4))
for problem, kind in ((svrg, None), (average, to_sparse)):
    rows = random_data(problem, 12, 1)
    data = rows if kind is None else kind(rows)
    warm_up_lightly(problem, data, lambda: False)
    assert count("cache_hits") > 0, "nothing was loaded"
    model = to_fixed(np.zeros(problem.dimension), problem.fraction_bits)
    carry = b""
    for phase in range(len(problem.algorithm.phases)):
        settled = after_phase(problem, phase, model, carry, [data])
        carry = problem.algorithm.settle(problem, phase, model, carry, settled).carry
    assert count("cache_misses") == 0, "something was compiled here"
compiler = [name for name in ("numba.np.linalg", "numba.np.arraymath", "numba.cpython.listobj") if name in sys.modules]
assert not compiler, f"the compiler was made ready: {compiler}"
"""


def test_on_a_machine_without_kernels_training_compiles_none_in_the_device_s_own_process(tmp_path: Path) -> None:
    """With an empty cache a device loads every kernel of a whole round from what another process left there.

    Nor does it make the compiler ready for nothing, 35 MB.
    """
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", COLD], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(tmp_path.rglob("*.nbc"))


def refuse(*_: object) -> None:
    raise NotCompiledError("a kernel")


def test_a_cancelled_device_does_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that compiles is ended at once, and nothing is compiled here instead."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr(warm, "warm_up", refuse)
    monkeypatch.setattr(subprocess, "Popen", start)
    problem, data = make_problem(3, "linear"), DenseData(np.ones((2, 3)), np.zeros(2))
    began = time.monotonic()
    warm.warm_up_lightly(problem, data, lambda: time.monotonic() > began + 0.3)
    assert time.monotonic() - began < 40
    assert [process.returncode for process in started] == [-9]


@pytest.mark.parametrize("fails", ["at once", "to start"])
def test_where_no_process_can_compile_the_device_does(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lets no second process live still trains: memory is a promise, training is the purpose."""
    calls: list[bool] = []

    def count(*_: object) -> None:
        calls.append(True)
        if len(calls) == 1:
            raise NotCompiledError("a kernel")

    def fail(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        if fails == "to start":
            raise OSError("no more processes")
        return real([sys.executable, "-c", "raise SystemExit(1)"], **options)

    real = subprocess.Popen
    monkeypatch.setattr(warm, "warm_up", count)
    monkeypatch.setattr(subprocess, "Popen", fail)
    warm.warm_up_lightly(make_problem(3, "linear"), DenseData(np.ones((2, 3)), np.zeros(2)), lambda: False)
    assert len(calls) == 2
