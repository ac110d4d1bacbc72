"""The made-up authors have the published figures, and a fleet's file holds what was put in and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from fl.data.authors import Figures, authors_plan, figures_of, make_authors, make_fleet, measured, name_of
from fl.data.fleetfile import load_fleet, save_fleet
from fl.dataset import SparseData
from fl.errors import DataError
from fl.plan.parse import parse_plan
from fl.plan.render import render_plan
from fl.plan.validate import check_plan
from fl.problem import compile_problem
from fl.train import train_federated


def test_the_figures_of_the_whole_are_the_published_ones() -> None:
    """10,000 devices with 75 … 9,000 of 2,166,693 rows; 88 % of 20,002 features on fewer than 1,000."""
    whole = figures_of(10_000)
    assert whole == Figures(10_000, 2_166_693, 75, 9_000, 20_002, 1_000, 17_602)
    assert round(whole.rare_share, 4) == 0.88
    with pytest.raises(DataError, match="20 … 10000"):
        figures_of(10)


@pytest.mark.parametrize(("devices", "seed"), [(20, 7), (100, 1)])
def test_a_small_federation_has_its_figures_exactly(tmp_path: Path, devices: int, seed: int) -> None:
    """Devices, rows, least, largest, features and the rare among them; about 12 nonzeros a row; both labels."""
    fleet, figures = make_fleet(tmp_path / "a.fleet.npz", devices, seed)
    assert figures == figures_of(devices) == measured(fleet)
    assert figures.rare_share == pytest.approx(0.88, abs=1e-4)
    assert fleet.data.values.size / figures.rows == pytest.approx(12.0, abs=0.2)
    assert set(fleet.data.values) == {1.0}
    shares = [float(part.y.mean()) for part in fleet.values()]
    assert min(shares) < 0.35 < 0.65 < max(shares)


def test_the_same_seed_gives_the_same_rows() -> None:
    """And another seed others."""
    one, same, other = ([part.indices.tobytes() for part in make_authors(20, seed)] for seed in (3, 3, 4))
    assert one == same != other


def test_what_is_read_is_what_was_made(tmp_path: Path) -> None:
    """Rows, names and labels of each device, from the file alone, under the plan made for it."""
    made, _ = make_fleet(tmp_path / "a.fleet.npz", 20, 2)
    plan = parse_plan(render_plan(authors_plan(20)))
    assert check_plan(plan) == ()
    found = load_fleet(tmp_path / "a.fleet.npz", plan.roles[0])
    assert list(found) == [name_of(place) for place in range(20)]
    for name, part in made.items():
        assert found[name].indices.tolist() == part.indices.tolist()
        assert found[name].indptr.tolist() == part.indptr.tolist()
        assert found[name].y.tolist() == part.y.tolist()


def test_there_is_something_to_learn(tmp_path: Path) -> None:
    """Two rounds of the plan take a fifth off the loss."""
    fleet, _ = make_fleet(tmp_path / "a.fleet.npz", 20, 2)
    plan = authors_plan(20)
    run = train_federated(compile_problem(plan), dict(fleet))
    assert run.history[2].loss < 0.8 * run.history[0].loss


def test_the_example_is_the_plan_of_the_whole() -> None:
    """examples/authors/plan.toml says what ``data make authors`` writes."""
    assert parse_plan(Path("examples/authors/plan.toml").read_text()) == authors_plan()


PART = SparseData(
    np.array([0, 2, 3]), np.array([0, 3, 1], np.int32), np.array([0.5, -1.0, 1.0]), 4, np.array([1.0, 0.0])
)


def test_values_are_kept_where_they_are_not_one(tmp_path: Path) -> None:
    """A device with values beside one without."""
    ones = SparseData(PART.indptr, PART.indices, np.ones(3), 4, PART.y)
    save_fleet(tmp_path / "f.fleet.npz", [("a", PART), ("b", ones)])
    found = load_fleet(tmp_path / "f.fleet.npz")
    assert found["a"].values.tolist() == [0.5, -1.0, 1.0]
    assert found["b"].values.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": np.array(["b", "a"])}, "names must rise"),
        ({"names": np.array([1, 2])}, "array names"),
        ({"offsets": np.array([0, 3, 2])}, "offsets do not rise"),
        ({"offsets": np.array([0, 1])}, "offsets do not rise"),
        ({"indptr": np.array([0, 2, 1, 3, 6])}, "indptr do not rise"),
        ({"indices": np.array([0, 4, 1, 0, 3, 1])}, "not below columns"),
        ({"indices": np.array([3, 0, 1, 0, 3, 1])}, "do not rise"),
        ({"y": np.array([0.0, np.nan, 1.0, 1.0])}, "no finite numbers"),
        ({"y": np.array(["a", "b", "c", "d"])}, "array y"),
        ({"values": np.ones(5)}, "values or labels are missing"),
        ({"columns": np.array([4])}, "array columns"),
        ({"columns": None}, "has no array columns"),
        ({"names": np.array([None, {}], object)}, "no fleet file"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """Each array is checked before it is believed; pickles are not read at all."""
    path = tmp_path / "f.fleet.npz"
    save_fleet(path, [("a", PART), ("b", PART)])
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive} | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message):
        load_fleet(path)


def test_a_file_that_is_no_archive_or_not_the_plans_is_refused(tmp_path: Path) -> None:
    """Other bytes, another number of features, labels of no class, values that are not encoded."""
    (tmp_path / "x.fleet.npz").write_bytes(b"PK but not")
    with pytest.raises(DataError, match="no fleet file"):
        load_fleet(tmp_path / "x.fleet.npz")
    role = authors_plan(20).roles[0]
    save_fleet(tmp_path / "f.fleet.npz", [("a", PART)])
    with pytest.raises(DataError, match="one vector feature"):
        load_fleet(tmp_path / "f.fleet.npz", role)
    for values, labels, message in [(2.0, 1.0, "beyond"), (1.0, 2.0, "no class numbers"), (1.0, 0.5, "no class")]:
        wide = SparseData(PART.indptr, PART.indices, np.full(3, values), 20_001, np.array([0.0, labels]))
        save_fleet(tmp_path / "f.fleet.npz", [("a", wide)])
        with pytest.raises(DataError, match=message):
            load_fleet(tmp_path / "f.fleet.npz", role)
