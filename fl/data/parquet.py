"""Reading Parquet through pyarrow, which is loaded only when such a file is opened.

Rules of this file: numbers and booleans become numbers, texts are read like a CSV's cells, nulls are missing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl.data.arrays import text_column
from fl.data.files import explained
from fl.data.table import MAX_CELLS, Column, ColumnTable
from fl.errors import DataError

if TYPE_CHECKING:
    from pyarrow import ChunkedArray


def read_parquet(path: Path) -> ColumnTable:
    """Return the table of a Parquet file. ``DataError`` names the column at fault."""
    import pyarrow as arrow
    from pyarrow import parquet

    with explained(path):
        try:
            file = parquet.ParquetFile(path)
            cells = file.metadata.num_rows * file.metadata.num_columns
            if cells > MAX_CELLS:
                raise DataError(f"{path.name}: has {cells} cells; at most {MAX_CELLS} are read")
            table = file.read()
        except arrow.ArrowException as error:
            raise DataError(f"{path.name}: is no Parquet file that can be read ({str(error)[:200]})") from None
    if table.num_rows == 0:
        raise DataError(f"{path.name}: has no rows")
    names = table.column_names
    if len(set(names)) != len(names):
        raise DataError(f"{path.name}: has two columns of one name")
    columns = tuple(_column(name, table.column(name), path.name) for name in names)
    return ColumnTable(path.name, columns, table.num_rows)


def _column(name: str, values: "ChunkedArray", file: str) -> Column:
    """Return one column of the table."""
    import pyarrow as arrow
    from pyarrow import types

    kind = values.type
    if types.is_dictionary(kind):
        return _column(name, values.cast(kind.value_type), file)
    if types.is_boolean(kind):
        values = values.cast(arrow.uint8())
    elif types.is_string(kind) or types.is_large_string(kind):
        return text_column(name, ["" if text is None else text for text in values.to_pylist()])
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)):
        raise DataError(f"{file}: column {name!r} has type {kind}; numbers, booleans and texts can be read")
    return Column(name, np.asarray(values.cast(arrow.float64(), safe=False).to_numpy(), dtype=np.float64))
