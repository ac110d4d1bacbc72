"""A trained model's file: predicts by itself, and a damaged one says what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl.errors import ModelFileError
from fl.model_file import load_model, save_model
from fl.models import initial_model
from fl.plan.schema import Plan
from tests.fl.problems import make_plan, make_problem, random_data

PLAN = make_plan(3, "softmax", classes=3, hidden=[(4, "tanh")])


def saved(path: Path, plan: Plan = PLAN) -> Path:
    save_model(path, plan, initial_model(plan))
    return path


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """Plan, parameters, digest; the same model gives the same file."""
    found = load_model(saved(tmp_path / "a.npz"))
    assert found.plan == PLAN
    assert found.fixed.tobytes() == initial_model(PLAN).tobytes()
    assert (tmp_path / "a.npz").read_bytes() == saved(tmp_path / "b.npz").read_bytes()
    assert found.weights.dtype == np.float64


def test_predictions_are_named_as_in_the_plan(tmp_path: Path) -> None:
    """Probabilities sum to 1, the likeliest class is named; evaluation is that of the outputs."""
    found = load_model(saved(tmp_path / "model.npz"))
    data = random_data(make_problem(3, "softmax", classes=3, hidden=[(4, "tanh")]), 20, 1)
    chances = found.probabilities(data)
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert found.predict(data) == [str(index) for index in chances.argmax(axis=1)]
    assert found.evaluate(data).rows == 20


def test_a_regression_predicts_in_the_labels_own_unit(tmp_path: Path) -> None:
    """Scaled outputs go back through the label's bounds."""
    plan = make_plan(2, "linear")
    save_model(tmp_path / "m.npz", plan, np.array([0, 0, 2 ** (plan.fraction_bits - 1)]))
    found = load_model(tmp_path / "m.npz")
    assert found.predict(random_data(make_problem(2, "linear"), 2, 1)) == [0.5, 0.5]


def test_a_logistic_model_gives_both_classes_chances(tmp_path: Path) -> None:
    """Log-odds 0: one half each."""
    found = load_model(saved(tmp_path / "m.npz", make_plan(2)))
    assert found.probabilities(random_data(make_problem(2), 3, 1)).tolist() == [[0.5, 0.5]] * 3


def test_a_model_of_the_wrong_length_is_not_saved(tmp_path: Path) -> None:
    """The plan says how many parameters there are."""
    with pytest.raises(ModelFileError, match=r"shape \(4,\); its plan needs"):
        save_model(tmp_path / "m.npz", PLAN, np.zeros(4, np.int64))


def test_files_that_are_no_models_say_so(tmp_path: Path) -> None:
    """Missing, empty, text, a single array, an archive of something else, another format, another digest."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with np.load(saved(tmp_path / "m.npz")) as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "future.npz", **{**arrays, "format": np.int64(2)})
    np.savez(tmp_path / "altered.npz", **{**arrays, "model": arrays["model"] + 1})
    np.savez(tmp_path / "plan.npz", **{**arrays, "plan": np.frombuffer(b"title = 3", np.uint8)})
    np.savez(tmp_path / "objects.npz", **{**arrays, "digest": np.array([None])})
    reasons = {
        "missing": "not an NPZ",
        "empty": "not an NPZ",
        "text": "not an NPZ",
        "array.npy": "not an NPZ",
        "other.npz": "format, plan, model, digest is missing",
        "future.npz": "format 2",
        "altered.npz": "digest does not match",
        "plan.npz": "its plan cannot be read",
        "objects.npz": "digest says it has shape",
    }
    for name, reason in reasons.items():
        with pytest.raises(ModelFileError, match=reason):
            load_model(tmp_path / name)


def test_a_member_that_would_unpack_too_long_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of a few bytes can say that it holds gigabytes."""
    monkeypatch.setattr("fl.model_file._MAX_MEMBER_BYTES", 500)
    with pytest.raises(ModelFileError, match=r"plan has [0-9]+ bytes; at most 500"):
        load_model(saved(tmp_path / "m.npz"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_with_a_changed_byte_is_the_same_model_or_an_error(tmp_path: Path, choice: st.DataObject) -> None:
    """Never another model, never another exception."""
    path = tmp_path / "m.npz"
    whole = bytearray(saved(path).read_bytes())
    whole[choice.draw(st.integers(0, len(whole) - 1))] ^= choice.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        found = load_model(path)
    except ModelFileError:
        return
    assert found.plan == PLAN
    assert found.fixed.tobytes() == initial_model(PLAN).tobytes()
