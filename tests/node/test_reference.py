"""Pages and files that are written from tables are what the tables say."""

import pytest

from node.reference import ROOT, render_files


@pytest.mark.parametrize("path", render_files(), ids=lambda path: path.name)
def test_nothing_written_from_a_table_is_stale(path):
    """A changed method or setting needs ``python -m node.reference``, so that the change is seen in review."""
    assert path.read_text(encoding="utf-8") == render_files()[path], f"{path.relative_to(ROOT)} is stale"
