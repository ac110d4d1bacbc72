"""Rows of a data store: what passes its door trains like the file it came from, and nothing else passes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.data.delimited import read_delimited
from fl.data.encode import encode_table
from fl.data.formats import read_table
from fl.data.rows import (
    LineReader,
    check_rows,
    column_names,
    decode_row,
    encode_row,
    encode_stored,
    rows_of_table,
)
from fl.dataset import to_dense
from fl.errors import DataError
from fl.plan.schema import CategoricalFeature, ClassLabel, NumericFeature, Role, VectorFeature

AGE = NumericFeature("age", Number.of(0), Number.of(120), "refuse", "indicator", Number.of(50))
TOWN = CategoricalFeature("town", ("Bern", "Ulm", "3"), "allow")
ROLE = Role("clinic", (AGE, TOWN), ClassLabel("ill", ("no", "yes")))
PIXELS = Role("camera", (VectorFeature("x", 4, Number.of(0), Number.of(255)),), ClassLabel("digit", ("0", "1")))

CELLS = st.tuples(
    st.integers(0, 120).map(str) | st.floats(0, 120).map(repr) | st.sampled_from(["", "?", "1e2", " 7 "]),
    st.sampled_from(["Bern", "Ulm", "3", "3.0", "", "NA"]),
    st.sampled_from(["no", "yes"]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=30), st.integers(1, 7))
def test_stored_rows_encode_like_the_file_they_came_from(tmp_path_factory, rows, chunk):
    """Bit for bit, in whatever portions they are stored, numbers, words and missing values alike."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    file.write_text("ill,note,age,town\n" + "".join(f"{ill},x,{age},{town}\n" for age, town, ill in rows))
    table = read_delimited(file)
    stored = [encode_row(row) for _, some in rows_of_table(table, ROLE) for row in some]
    batches = [stored[start : start + chunk] for start in range(0, len(stored), chunk)]
    there, here = encode_table(table, ROLE), encode_stored(ROLE, ROLE, batches, "store")
    assert np.array_equal(to_dense(there).x, to_dense(here).x)
    assert np.array_equal(there.y, here.y)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rows_of_unnamed_numbers_are_stored_as_well(tmp_path: Path, kind):
    """An NPZ of pixels, or LIBSVM lines, whose zeros are written out."""
    if kind == "dense":
        x = np.array([[0, 255, 0.5, 1e-7], [3, 0, 0, 0]])
        np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 1]))
    else:
        (tmp_path / "d.npz").write_text("0 2:255 3:0.5 4:1e-7\n1 1:3\n")
    table = read_table(tmp_path / "d.npz")
    stored = [[encode_row(row) for row in rows] for _, rows in rows_of_table(table, PIXELS)]
    there, here = to_dense(encode_table(table, PIXELS)), to_dense(encode_stored(PIXELS, PIXELS, stored, "store"))
    assert np.array_equal(there.x, here.x)
    assert np.array_equal(there.y, here.y)


def test_a_store_may_have_more_columns_than_a_plan_asks_for():
    """A plan is served if its columns are among the store's; else the missing one is named."""
    only_age = Role("other", (AGE,), ROLE.label)
    rows = [[encode_row(("30", "Ulm", "yes")), encode_row(("", "Bern", "no"))]]
    assert to_dense(encode_stored(ROLE, only_age, rows, "store")).x.shape == (2, 2)
    with pytest.raises(DataError, match="store: has no column 'town'"):
        encode_stored(only_age, ROLE, [[encode_row(("30", "yes"))]], "store")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("130", "Ulm", "no"), r"line 8, column 'age': 130 must lie within 0 … 120"),
        (("old", "Ulm", "no"), r"line 8, column 'age': 'old' is text"),
        (("30", "Rome", "no"), r"line 8, column 'town': 'Rome' must be one of"),
        (("30", "Ulm", ""), r"line 8, column 'ill': missing must not be missing"),
        (("30", "Ulm"), r"line 8: has 2 cells; a row of role 'clinic' has 3"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_name(row, said):
    """Line, column, value, and what is allowed."""
    with pytest.raises(DataError, match=said):
        check_rows(ROLE, [("30", "Ulm", "no"), row], "sensor", [7, 8])
    check_rows(ROLE, [("30", "Ulm", "no")], "sensor", [7])


def test_a_first_line_says_the_order_and_what_else_there_is_stays_outside():
    """Lines may come one by one; without such a line they have the store's cells in the store's order."""
    reader = LineReader(ROLE, "sensor", time_column="at")
    assert reader.read(["at,name,town,ill,age\n", "\n"]) == ([], [], [])
    assert reader.read(['5,"Doe, J",Ulm, yes ,30\n']) == ([3], [["30", "Ulm", "yes"]], ["5"])
    with pytest.raises(DataError, match="line 4: has 2 cells, not 5"):
        reader.read(["1,2\n"])
    plain = LineReader(ROLE, "sensor", delimiter=";")
    assert plain.read(["30;Ulm;yes"]) == ([1], [["30", "Ulm", "yes"]], [""])
    with pytest.raises(DataError, match="line 1: has 2 cells and does not name the columns age, town, ill"):
        LineReader(ROLE, "sensor").read(["30,Ulm"])
    with pytest.raises(DataError, match="no column 'at'"):
        LineReader(ROLE, "sensor", time_column="at").read(["age,town,ill"])


def test_rows_that_are_too_wide_or_no_rows_are_refused():
    """Bags of words stay files; bytes of something else are told."""
    wide = Role("words", (VectorFeature("x", 20_000, Number.of(0), Number.of(1)),), ROLE.label)
    with pytest.raises(DataError, match="at most 8192"):
        column_names(wide)
    with pytest.raises(DataError, match="no row"):
        decode_row(b"\x01")
    with pytest.raises(DataError, match="has no rows yet"):
        encode_stored(ROLE, ROLE, [], "store")
