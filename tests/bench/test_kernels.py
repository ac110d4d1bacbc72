"""The kernel benchmark at toy size: both sides do the same work, and a side that does not is found out."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import bench_kernels, kernel_peers
from bench.bench_kernels import Case, WrongFigureError, check, generated, measure, measure_batch, objective
from bench.data import SCHEMAS, MissingDataError, find_set
from bench.kernel_peers import EPOCHS, Cyanure, Saga, started
from fl.data.sources import load_dataset
from fl.dataset import DenseData, features, to_sparse

DENSE = generated(400, 12)


def three_classes() -> Case:
    """A small softmax case."""
    random = np.random.default_rng(3)
    x = random.standard_normal((300, 6))
    y = np.argmax(x @ random.standard_normal((6, 3)), axis=1).astype(np.float64)
    return Case("dense toy", DenseData(x, y), 3)


def sparse() -> Case:
    """The dense case with most values zero, in compressed form."""
    assert isinstance(DENSE.data, DenseData)
    x = np.where(np.abs(DENSE.data.x) > 1.0, DENSE.data.x, 0.0)
    x[7] = 0.0
    return Case("sparse toy", to_sparse(DenseData(x, DENSE.data.y)), 1)


@pytest.mark.parametrize("case", [DENSE, sparse(), three_classes()], ids=lambda case: case.name)
def test_a_case_is_measured(case: Case):
    """Gradient and objectives agree with numpy's and scikit-learn's; every row has its figures."""
    found = measure(case, repeats=1, python=Path("nowhere"))
    by_name = {entry["measure"]: entry for entry in found}
    assert set(by_name["epoch: gradient + pass"]["peers"]) == {"sklearn-saga", "read-once"}
    assert set(by_name["epoch, rows in order of blocks"]["peers"]) == {"sklearn-saga", "read-once"}
    assert by_name[f"objective after {EPOCHS} epochs"]["ours"] > 0
    assert all(entry["case"] == case.name and entry["ours"] > 0 for entry in found)
    assert ("nonzeros, pass" in by_name) == (case.name == "sparse toy")


def test_a_wrong_gradient_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """If our gradient is off by a millionth nothing is published."""
    wrong = bench_kernels.Learner.gradient
    monkeypatch.setattr(bench_kernels.Learner, "gradient", lambda self: wrong(self) * (1 + 1e-6))
    with pytest.raises(WrongFigureError, match="numpy"):
        check(DENSE, {})


def test_a_peer_with_another_objective_is_found_out():
    """If the peer minimises something else nothing is published."""
    assert isinstance(DENSE.data, DenseData)
    other = DenseData(DENSE.data.x, 1.0 - DENSE.data.y)
    with pytest.raises(WrongFigureError, match="sklearn-saga"):
        check(DENSE, {"sklearn-saga": Saga(other, DENSE.model.l2)})


CYANURE = """
import numpy as np

class Classifier:
    def __init__(self, **said):
        self.said = said

    def fit(self, x, y):
        print("chatter that is no answer")
        ones = np.ones((1 if y.dtype == np.float64 else 1 + y.max(), x.shape[1]))
        self.coef_ = (self.said["max_iter"] + self.said["lambda_1"] + x.sum()) * ones
        assert set(np.unique(y)) == ({-1.0, 1.0} if y.dtype == np.float64 else {0, 1, 2})
"""


@pytest.mark.parametrize(("case", "classes"), [(DENSE, 1), (sparse(), 1), (three_classes(), 3)])
def test_cyanure_is_asked_in_an_environment_of_its_own(
    case: Case, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rows, labels and penalty arrive, one iteration is added to the epochs, seconds and weights come back."""
    (tmp_path / "cyanure").mkdir()
    (tmp_path / "cyanure" / "__init__.py").touch()
    (tmp_path / "cyanure" / "estimators.py").write_text(CYANURE)
    (tmp_path / "cyanure-9.9.dist-info").mkdir()
    (tmp_path / "cyanure-9.9.dist-info" / "METADATA").write_text("Name: cyanure\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with started(case.data, Path(sys.executable)) as side:
        peer = Cyanure(side, "svrg", 0.25)
        assert side.version == "9.9"
        total = float(np.asarray(kernel_peers.as_matrix(case.data).sum()))
        assert peer.fit(5) == pytest.approx(np.full(features(case.data) * classes, 6.25 + total))
        assert isinstance(peer.epoch_seconds(), float)


def test_two_threads_make_and_judge_the_same_batch():
    """Rows of both; the run stops if a thread more changed a bit."""
    found = measure_batch(DENSE, repeats=1)
    assert [entry["measure"] for entry in found] == ["8 updates made, 2 threads", "8 updates judged, 2 threads"]
    assert all(set(entry["peers"]) == {"1 thread"} for entry in found)


def test_the_peer_reaches_the_optimum_of_our_objective():
    """After many epochs scikit-learn's weights have no gradient left under our definition."""
    value, gradient = objective(DENSE, Saga(DENSE.data, DENSE.model.l2).fit(300))
    assert value < objective(DENSE, np.zeros(12))[0]
    assert float(np.abs(gradient).max()) < 1e-4


def test_absent_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without data the error says how to get them; with a directory that lacks them it says so."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDataError, match="fedchain data fetch a9a --out build/a9a"):
        find_set("a9a", {})
    with pytest.raises(MissingDataError, match="FEDCHAIN_DATA"):
        find_set("a9a", {"FEDCHAIN_DATA": str(tmp_path)})
    with pytest.raises(MissingDataError, match="no directory"):
        find_set("a9a", {"FEDCHAIN_DATA": str(tmp_path / "none")})


def test_data_that_were_fetched_are_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``build/NAME`` is where the examples put them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build" / "a9a").mkdir(parents=True)
    for name in ("a9a.libsvm", "a9a.test.libsvm"):
        (tmp_path / "build" / "a9a" / name).write_text("-1 3:1 123:1\n+1 1:1\n")
    directory = find_set("a9a", {})
    data = load_dataset(directory / SCHEMAS["a9a"].file, SCHEMAS["a9a"].role)
    assert data.y.tolist() == [0.0, 1.0]
