"""Write the tables of ``docs/benchmarks.md`` from ``build/bench/*.json``: ``python -m bench.tables``.

What stands between the two marks is replaced whole; every figure comes from the documents that a run wrote.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import COLUMNS, LEFT_COLUMNS, OUT, table_lines

PAGE = Path("docs/benchmarks.md")
BEGIN = "<!-- tables: written by python -m bench.tables -->"
END = "<!-- end of tables -->"
Document = Mapping[str, Any]


class TablesError(Exception):
    """The page has no place for the tables, or there are no results; the text says which."""


def read_documents(directory: Path = OUT) -> list[Document]:
    """Return the results of all benchmarks that have run, by name."""
    documents = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    if not documents:
        raise TablesError(f"{directory} holds no results: run `make bench` first")
    return documents


def render(documents: Sequence[Document]) -> str:
    """Return the tables as Markdown."""
    return "\n".join(_section(document) for document in documents)


def _section(document: Document) -> str:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"### `make bench-{document['name']}`",
        "",
        _row(COLUMNS),
        _row(["---" if column in LEFT_COLUMNS else "---:" for column in COLUMNS]),
        *[_row(line) for line in table_lines(document["rows"])],
        "",
    ]
    if document["note"]:
        lines += [document["note"], ""]
    lines += [f"Not measured: {skipped['case']} ({skipped['reason']}).\n" for skipped in document["skipped"]]
    lines += [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}; "
        f"{versions}. "
        f"Load average when it started: {machine['load']}{_warning(machine)}; it took {document['seconds']:.0f} s.",
        "",
    ]
    return "\n".join(lines)


def _warning(machine: Mapping[str, Any]) -> str:
    """Say so if other work had the machine."""
    return " (busy with other work: read these figures loosely)" if machine["load"] > machine["cores"] / 2 else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def replace_tables(page: str, tables: str) -> str:
    """Return a page with these tables between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TablesError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{begin}\n\n{tables}\n{end}{after}"


def main() -> None:
    """Rewrite the page."""
    try:
        PAGE.write_text(replace_tables(PAGE.read_text(), render(read_documents())))
    except TablesError as error:
        sys.exit(f"bench.tables: {error}")


if __name__ == "__main__":
    main()
