"""Write the tables of ``docs/benchmarks.md`` from ``build/bench/*.json``: ``python -m bench.tables``.

Between the two marks each benchmark has a section. That of a benchmark with a document is written anew, every figure
from what the run wrote; the others stay as they are, each with the machine that it names.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import COLUMNS, LEFT_COLUMNS, OUT, table_lines

PAGE = Path("docs/benchmarks.md")
BEGIN = "<!-- tables: written by python -m bench.tables -->"
END = "<!-- end of tables -->"
HEADING = re.compile(r"^### `make bench-(\w+)`$", re.MULTILINE)
Document = Mapping[str, Any]


class TablesError(Exception):
    """The page has no place for the tables, or there are no results; the text says which."""


def read_documents(directory: Path = OUT) -> list[Document]:
    """Return the results of all benchmarks that have run, by name."""
    documents = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    if not documents:
        raise TablesError(f"{directory} holds no results: run `make bench` first")
    return documents


def render(documents: Sequence[Document], before: str = "") -> str:
    """Return the tables as Markdown, by name: of these documents, and what stood ``before`` of other benchmarks."""
    sections = dict(_split(before))
    sections |= {document["name"]: _section(document) for document in documents}
    return "\n".join(sections[name] for name in sorted(sections))


def _split(tables: str) -> Iterator[tuple[str, str]]:
    """Yield each section's name and text."""
    found = list(HEADING.finditer(tables))
    ends = [heading.start() for heading in found[1:]] + [len(tables)]
    for heading, end in zip(found, ends, strict=False):
        yield heading[1], tables[heading.start() : end].rstrip() + "\n"


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


def replace_tables(page: str, documents: Sequence[Document]) -> str:
    """Return a page whose tables, between its marks, are those of these documents and what it had of others."""
    before, begin, rest = page.partition(BEGIN)
    tables, end, after = rest.partition(END)
    if not begin or not end:
        raise TablesError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{begin}\n\n{render(documents, tables)}\n{end}{after}"


def main() -> None:
    """Rewrite the page."""
    try:
        PAGE.write_text(replace_tables(PAGE.read_text(), read_documents()))
    except TablesError as error:
        sys.exit(f"bench.tables: {error}")


if __name__ == "__main__":
    main()
