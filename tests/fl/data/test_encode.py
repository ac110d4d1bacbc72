"""Tables become the same numbers everywhere, or the cell that does not fit is named."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.data.encode import Scaling, encode_table
from fl.data.formats import read_table
from fl.data.sources import load_dataset
from fl.data.table import ColumnTable
from fl.dataset import DenseData, SparseData, to_dense
from fl.errors import DataError
from fl.plan.dimensions import feature_count
from fl.plan.schema import CategoricalFeature, ClassLabel, Feature, NumericFeature, NumericLabel, Role, VectorFeature
from tests.fl.plan.strategies import bounds

ZERO, ONE = Number(0, 0), Number(1, 0)
AGE = NumericFeature("age", ZERO, Number.of(100), "clip", "refuse", ZERO)
DOSE = NumericFeature("dose", Number.of("0.5"), Number.of("1.5"), "clip", "indicator", ONE)
SITE = CategoricalFeature("site", ("north", "south", "3"), "zeros")
ILL = ClassLabel("ill", ("no", "1"))
ROLE = Role("device", (AGE, DOSE, SITE), ILL)
TEXT = "ill,dose,age,site,other\nno,1.5,50,south,?\n1.0,?,0,3.0,x\n1,9,200,?,7\n"


def table(directory: Path, text: str, name: str = "rows.csv") -> ColumnTable:
    """Return the table of a CSV text."""
    path = directory / name
    path.write_text(text)
    read = read_table(path)
    assert isinstance(read, ColumnTable)
    return read


def test_a_table_is_encoded_by_the_schema(tmp_path: Path) -> None:
    """Numbers are scaled and clipped, missing ones flagged, categories one-hot, columns in the plan's order."""
    data = encode_table(table(tmp_path, TEXT), ROLE)
    assert isinstance(data, DenseData)
    assert data.x.tolist() == [
        [0.0, 1.0, 0.0, 0.0, 1.0, 0.0],
        [-1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    ]
    assert data.y.tolist() == [0.0, 1.0, 1.0]


def test_labels_can_be_left_alone(tmp_path: Path) -> None:
    """Rows to predict need no label column."""
    data = encode_table(table(tmp_path, "dose,age,site\n1,2,north\n"), ROLE, labelled=False)
    assert data.y.tolist() == [0.0]


@given(limits=bounds(), share=st.floats(0, 1))
@settings(max_examples=60)
def test_scaling_is_right_to_the_last_bits(limits: tuple[Number, Number], share: float) -> None:
    """The scaled value is within rounding of the exact one, within -1 … 1, and can be undone."""
    lower, upper = limits
    value = float(lower) + share * (float(upper) - float(lower))
    scaling = Scaling.of(lower, upper)
    scaled = float(scaling.apply(np.array([value]))[0])
    low, high = lower.fraction(), upper.fraction()
    exact = (Fraction(value) - (low + high) / 2) / ((high - low) / 2)
    slack = 4 * float(max(abs(low), abs(high)) / (high - low)) * 2**-52 + 2**-50
    assert abs(scaled) <= 1
    assert abs(scaled - float(exact)) <= slack
    assert abs(float(scaling.undo(np.array([scaled]))[0]) - value) <= slack * float(high - low)


def test_many_categories_become_sparse_rows(tmp_path: Path) -> None:
    """A one-hot table of hundreds of coordinates is sparse, with the numbers a dense one would have."""
    words = tuple(f"w{number}" for number in range(300))
    role = Role("device", (AGE, CategoricalFeature("site", words, "zeros"), DOSE), ILL)
    rows = "".join(f"{age},{site},1,{dose}\n" for age, site, dose in [(50, "w7", 1), (9, "?", "?"), (0, "w299", 1.5)])
    data = encode_table(table(tmp_path, "age,site,ill,dose\n" + rows), role)
    assert isinstance(data, SparseData)
    assert data.columns == feature_count(role) == 303
    x = to_dense(data).x
    assert x[0, [0, 8, 301, 302]].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert x[1, 302] == x[2, 300] == x[2, 301] == 1.0
    assert np.count_nonzero(x) == 6
    assert not (data.values == 0).any()


FAULTS = [
    ("dose,site,ill\n1,north,1\n", "has no column 'age'"),
    ("age,dose,site\n1,1,north\n", "has no column 'ill'"),
    (
        "age,dose,site,ill\n1,1,north,1\nten,1,north,1\n",
        "line 3, column 'age': 'ten' is text; must be a number 0 … 100",
    ),
    ("age,dose,site,ill\n?,1,north,1\n", "line 2, column 'age': missing must not be missing"),
    ("age,dose,site,ill\nnan,1,north,1\n", "column 'age': missing must not be missing"),
    ("age,dose,site,ill\ninf,1,north,1\n", "column 'age': 'inf' is text"),
    (
        "age,dose,site,ill\n1,1,west,1\n",
        "column 'site': 'west' must be one of the plan's categories 'north', 'south', '3'",
    ),
    (
        "age,dose,site,ill\n1,1,north,2\n1,1,north,3\n",
        "column 'ill': 2 must be one of the plan's classes 'no', '1' (2 rows",
    ),
    ("age,dose,site,ill\n1,1,north,?\n", "column 'ill': missing must not be missing: it is the label"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    """The error has file, line, column, value and what is allowed."""
    with pytest.raises(DataError, match=r"^rows\.csv") as caught:
        encode_table(table(tmp_path, text), ROLE)
    assert message in str(caught.value)


def test_what_a_plan_refuses_is_named(tmp_path: Path) -> None:
    """A plan that does not clip refuses what is out of bounds, and a missing category it does not allow."""
    strict = NumericFeature("age", ZERO, ONE, "refuse", "refuse", ZERO)
    rows = table(tmp_path, "age,site,ill\n0.5,north,1\n1.5,?,1\n")
    with pytest.raises(DataError, match=r"line 3, column 'age': 1\.5 must lie within 0 … 1"):
        encode_table(rows, Role("device", (strict,), ILL))
    with pytest.raises(DataError, match=r"line 3, column 'site': missing must not be missing"):
        encode_table(rows, Role("device", (CategoricalFeature("site", ("north",), "refuse"),), ILL))


def test_a_numeric_label_is_scaled_and_bounded(tmp_path: Path) -> None:
    """A number to predict is scaled like a feature, and never clipped."""
    rows = table(tmp_path, "age,ill\n1,5\n2,10\n")
    assert encode_table(rows, Role("d", (AGE,), NumericLabel("ill", ZERO, Number.of(10)))).y.tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match=r"column 'ill': 10 must lie within 0 … 9"):
        encode_table(rows, Role("d", (AGE,), NumericLabel("ill", ZERO, Number.of(9))))


# --- vectors -------------------------------------------------------------------------------------

VECTOR = Role("device", (VectorFeature("x", 3, Number(-2, 0), Number(4, 0)),), ClassLabel("y", ("-1", "+1")))


def dense(path: Path) -> Path:
    """Write three rows as NPZ."""
    np.savez(path.with_suffix(".npz"), x=[[4, 0, 0], [0, 2, -9], [9, 0, 1]], y=[-1, 1, 1])
    return path.with_suffix(".npz")


def sparse(path: Path) -> Path:
    """Write the same rows as LIBSVM, an explicit zero among them."""
    path.write_text("-1 1:4 2:0\n+1 2:2 3:-9\n1 1:9 3:1\n")
    return path


def named(path: Path) -> Path:
    """Write the same rows as CSV."""
    path.write_text("p,y,q,r\n4,-1,0,0\n0,1,2,-9\n9,1,0,1\n")
    return path


@pytest.mark.parametrize("write", [dense, sparse, named])
def test_a_vector_is_the_same_in_every_format(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """NPZ, LIBSVM and CSV columns give the same rows: clipped, divided by the larger bound, zeros kept zero."""
    data = load_dataset(write(tmp_path / "rows"), VECTOR)
    assert to_dense(data).x.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.5, -0.5], [1.0, 0.0, 0.25]]
    assert data.y.tolist() == [0.0, 1.0, 1.0]
    assert isinstance(data, DenseData) or data.values.size == 5


def test_vectors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Indices beyond the plan's size, other widths, NaN, and vectors for a plan of named columns are refused."""
    path = tmp_path / "rows"
    path.write_text("1 1:1\n-1 2:1 4:1\n")
    with pytest.raises(DataError, match=r"rows, line 2: has index 4; the plan's vector ends at 3"):
        load_dataset(path, VECTOR)
    with pytest.raises(DataError, match="without names, and the plan asks for the columns age, dose, site"):
        load_dataset(path, ROLE)
    wide = tmp_path / "wide.npz"
    np.savez(wide, x=np.zeros((2, 4)), y=[1, 1])
    with pytest.raises(DataError, match="rows of 4 numbers; the plan's vector has 3"):
        load_dataset(wide, VECTOR)
    np.savez(wide, x=[[0, 0, 0], [0, np.nan, 0]], y=[1, 1])
    with pytest.raises(DataError, match=r"row 2, coordinate 2: is nan; must be a finite number"):
        load_dataset(wide, VECTOR)
    np.savez(wide, x=np.zeros((2, 3)), y=[1, 5])
    with pytest.raises(DataError, match=r"row 2, column 'y': 5 must be one of the plan's classes"):
        load_dataset(wide, VECTOR)
    np.savez(wide, x=np.zeros((2, 3)))
    with pytest.raises(DataError, match="has no labels"):
        load_dataset(wide, VECTOR)
    path.write_text("p,y,q\n1,1,2\n")
    with pytest.raises(DataError, match=r"has 2 columns for the vector 'x', which has 3"):
        load_dataset(path, VECTOR)


@given(data=st.data())
@settings(max_examples=40)
def test_no_cell_crashes_the_encoder(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any cells are encoded within -1 … 1, or refused by name."""
    cell = st.sampled_from(["", "?", "0", "1", "-7", "1e300", "north", "no", "3", '"a,b"', "ä", "nan", "1_0"])
    lines = [",".join(data.draw(cell) for _ in range(4)) for _ in range(data.draw(st.integers(1, 4)))]
    path = tmp_path_factory.mktemp("cells") / "rows.csv"
    path.write_text("age,dose,site,ill\n" + "\n".join(lines))
    features: tuple[Feature, ...] = (AGE, DOSE, SITE)
    try:
        encoded = load_dataset(path, Role("device", features, ILL))
    except DataError as error:
        assert "rows.csv" in str(error)  # noqa: PT017
    else:
        assert np.abs(to_dense(encoded).x).max() <= 1
