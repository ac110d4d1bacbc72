"""The holdout set: committed, opened chunk by chunk, and read without trust."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import content_id
from chain.ids import ZERO_HASH, Hash
from fl.dataset import Dataset, DenseData, SparseData, to_dense
from fl.errors import DataError, PayloadError
from fl.holdout import HoldoutSet, check_opening, chunk_of, commit_holdout, decode_chunk, encode_chunk
from fl.plan.schema import Holdout
from fl.problem import Problem
from tests.fl.problems import ONE, make_problem, random_data


def committed(sparse: bool, rows: int = 17, chunks: int = 5) -> tuple[Problem, Holdout, Dataset, HoldoutSet]:
    plain = make_problem(4, "softmax", classes=3)
    data = random_data(plain, rows, 1, density=0.6, sparse=sparse)
    held = commit_holdout(data, chunks, b"owner")
    spec = Holdout(held.root, chunks, held.rows, ONE)
    return make_problem(4, "softmax", classes=3, policies=(spec,)), spec, data, held


@pytest.mark.parametrize("sparse", [False, True])
def test_every_chunk_opens_and_holds_rows_of_the_set(sparse: bool) -> None:
    """Equal chunks, no row twice, a remainder left out; proofs fit their own chunk alone."""
    problem, spec, data, held = committed(sparse)
    assert held.rows == 3
    seen = []
    for chunk in range(5):
        opening = (held.salts[chunk], held.proofs[chunk], held.payloads[chunk])
        assert check_opening(spec, chunk, *opening)
        assert not check_opening(spec, (chunk + 1) % 5, *opening)
        assert not check_opening(spec, chunk, b"\0" * 32, *opening[1:])
        assert not check_opening(spec, chunk, *opening[:2], opening[2] + b"\0")
        part = decode_chunk(problem, held.payloads[chunk])
        assert type(part) is type(data)
        seen += [(*row, label) for row, label in zip(to_dense(part).x.tolist(), part.y.tolist(), strict=True)]
    whole = [(*row, label) for row, label in zip(to_dense(data).x.tolist(), data.y.tolist(), strict=True)]
    assert len(set(seen)) == 15
    assert set(seen) <= set(whole)


def test_the_owner_can_make_the_commitment_again_and_nobody_else() -> None:
    """Salts and order follow from the secret."""
    _, _, data, held = committed(False)
    assert commit_holdout(data, 5, b"owner") == held
    other = commit_holdout(data, 5, b"other")
    assert other.root != held.root
    assert not set(other.salts) & set(held.salts)


def test_more_chunks_than_rows_are_refused() -> None:
    """Every chunk needs a row."""
    with pytest.raises(DataError, match="3 holdout rows in 4 chunks"):
        commit_holdout(random_data(make_problem(2), 3, 0), 4, b"")


def test_the_beacon_picks_the_chunk() -> None:
    """Within range, different from round to round and beacon to beacon, every chunk some time."""
    spec = Holdout(ZERO_HASH, 7, 1, ONE)
    picks = [chunk_of(spec, number, Hash(content_id(b"beacon"))) for number in range(100)]
    assert set(picks) == set(range(7))
    assert picks != [chunk_of(spec, number, Hash(content_id(b"another"))) for number in range(100)]


@settings(max_examples=100)
@given(st.booleans(), st.data())
def test_a_damaged_chunk_is_rows_of_the_plan_or_a_payload_error(sparse: bool, choice: st.DataObject) -> None:
    """One byte changed, bytes cut or added: whatever is read has the plan's shape and can be evaluated."""
    problem, _, _, held = committed(sparse)
    payload = bytearray(held.payloads[0])
    at = choice.draw(st.integers(0, len(payload) - 1))
    kind = choice.draw(st.sampled_from(["change", "cut", "add"]))
    if kind == "change":
        payload[at] ^= choice.draw(st.integers(1, 255))
    elif kind == "cut":
        del payload[at:]
    else:
        payload += bytes(at + 1)
    try:
        part = decode_chunk(problem, bytes(payload))
    except PayloadError:
        return
    assert kind == "change"
    loss = problem.model.loss_sum(np.ones(problem.dimension), part)
    assert np.isfinite(loss)


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(payload: bytes) -> None:
    """Random bytes are never a chunk of this plan."""
    problem, *_ = committed(False)
    with pytest.raises(PayloadError):
        decode_chunk(problem, payload)


@pytest.mark.parametrize(
    "rows",
    [
        DenseData(np.array([[np.nan, 0, 0, 0]] * 3), np.zeros(3)),
        DenseData(np.zeros((3, 4)), np.array([0.0, 3.0, 0.0])),
        DenseData(np.zeros((3, 4)), np.array([0.0, 0.5, 0.0])),
        DenseData(np.zeros((2, 4)), np.zeros(2)),
        DenseData(np.zeros((3, 5)), np.zeros(3)),
        SparseData(np.array([0, 2, 1, 2]), np.array([0, 1], np.int32), np.ones(2), 4, np.zeros(3)),
        SparseData(np.array([0, 2**63 - 1, -2, 2]), np.array([0, 1], np.int32), np.ones(2), 4, np.zeros(3)),
        SparseData(np.array([0, 2, 2, 2]), np.array([1, 0], np.int32), np.ones(2), 4, np.zeros(3)),
        SparseData(np.array([0, 2, 2, 2]), np.array([1, 1], np.int32), np.ones(2), 4, np.zeros(3)),
        SparseData(np.array([0, 2, 2, 2]), np.array([1, 4], np.int32), np.ones(2), 4, np.zeros(3)),
        SparseData(np.array([0, 2, 2, 2]), np.array([-1, 1], np.int32), np.ones(2), 4, np.zeros(3)),
    ],
    ids=["nan", "class", "fraction", "rows", "width", "starts", "wrapping", "falling", "twice", "beyond", "negative"],
)
def test_rows_that_are_not_the_plans_are_refused(rows: Dataset) -> None:
    """NaN, labels that are no class, wrong counts, broken sparse structure."""
    problem, *_ = committed(False)
    with pytest.raises(PayloadError):
        decode_chunk(problem, encode_chunk(rows))


def test_rows_may_start_anywhere_and_be_empty() -> None:
    """The rising rule is per row: a new row may start lower, rows without entries are fine."""
    problem, *_ = committed(True)
    rows = SparseData(np.array([0, 2, 2, 4]), np.array([1, 3, 0, 2], np.int32), np.ones(4), 4, np.zeros(3))
    found = decode_chunk(problem, encode_chunk(rows))
    assert isinstance(found, SparseData)
    assert found.indices.tolist() == [1, 3, 0, 2]
