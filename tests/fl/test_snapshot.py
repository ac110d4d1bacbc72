"""What a gradient finds on the way is there for the pass that follows, and for nothing else."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from fl.dataset import Dataset, DenseData, to_sparse
from fl.models import Model, StepRule, compute, snapshot
from fl.permutation import shuffled

MODEL = Model("logistic", (6, 1), (), True, 0.01)


def some_rows(count: int = 40) -> DenseData:
    random = np.random.default_rng(2)
    return DenseData(random.normal(0.0, 1.0, (count, 6)), random.integers(0, 2, count).astype(np.float64))


def a_rule(corrected: bool = True) -> StepRule:
    return StepRule(shuffled(40, b"", 0), 1, corrected, np.full(7, 0.99), np.full(7, 0.1), np.full(7, 0.01))


@pytest.mark.parametrize("data", [some_rows(), to_sparse(some_rows())], ids=["dense", "sparse"])
@pytest.mark.parametrize("corrected", [True, False])
def test_a_pass_after_its_gradient_reads_no_row_for_its_snapshot(
    data: Dataset, corrected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outputs are those that the gradient left; the bits are those of a pass that computes them."""
    weights = np.linspace(-1.0, 1.0, 7)
    alone = MODEL.steps(weights, data, a_rule(corrected))
    MODEL.gradient(weights, data)
    monkeypatch.setattr(compute, "outputs", lambda *_: pytest.fail("the rows were read again"))
    assert MODEL.steps(weights.copy(), data, a_rule(corrected)).tobytes() == alone.tobytes()


def test_other_weights_rows_or_models_have_outputs_of_their_own() -> None:
    """Nothing is mixed up, not even zeros of different signs."""
    data, weights = some_rows(), np.zeros(7)
    MODEL.gradient(weights, data)
    assert snapshot.recall(MODEL, weights, data) is not None
    assert snapshot.recall(MODEL, weights + 1e-9, data) is None
    assert snapshot.recall(MODEL, -weights, data) is None
    assert snapshot.recall(replace(MODEL, loss="linear"), weights, data) is None
    assert snapshot.recall(MODEL, weights, some_rows()) is None


def test_what_is_kept_goes_with_its_rows_and_is_no_larger() -> None:
    """No data set is kept alive, and outputs that outweigh their rows are not kept."""
    data = some_rows()
    MODEL.gradient(np.zeros(7), data)
    assert data in snapshot._LAST
    rows = weakref.ref(data)
    del data
    gc.collect()  # other tests' rows may go with them: only these are asked for
    assert rows() is None

    narrow = DenseData(np.ones((5, 1)), np.zeros(5))
    wide = Model("softmax", (1, 3), (), False, 0.0)
    wide.gradient(np.zeros(3), narrow)
    assert snapshot.recall(wide, np.zeros(3), narrow) is None
