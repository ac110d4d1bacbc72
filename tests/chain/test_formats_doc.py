"""docs/formats.md tells the truth: its tables are the records' fields, and its examples run."""

import doctest
import re
from pathlib import Path

import pytest
from msgspec import inspect

from chain import block, codec, genesis, hashing, number, payload, transaction, update
from chain.codec import Record
from chain.genesis_default import default_rules

DOC = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
MODULES = (number, payload, transaction, update, block, genesis)
KINDS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == module.__name__
]


def title(kind: type[Record]) -> str:
    """Return the heading under which a record stands: the two bodies share a class name."""
    return "Body" if kind is block.Body else kind.__name__


def power(value: int) -> str:
    """Return a limit as people write it."""
    for bits in range(16, 65):
        if abs(value) in (2**bits, 2**bits - 1):
            sign, rest = "−" if value < 0 else "", "−1" if abs(value) == 2**bits - 1 else ""
            return f"{sign}2^{bits}{rest}"
    return str(value).replace("-", "−")


def wire_type(kind: inspect.Type) -> str:
    """Return the type of a field as the tables show it."""
    match kind:
        case inspect.IntType(ge=int() as least, le=int() as most):
            return f"int {power(least)} … {power(most)}"
        case inspect.BytesType(min_length=least, max_length=most):
            return f"bytes {most}" if least == most else f"bytes {least or 0} … {most}"
        case inspect.StrType(min_length=least, max_length=most):
            return f"text {least or 0} … {most}"
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            limits = f" {least or 0} … {most}" if most else f" {least} …" if least else ""
            return f"list{limits} of {wire_type(item)}"
        case inspect.StructType(cls=cls):
            return str(cls.__name__)
        case inspect.BoolType():
            return "bool"
        case inspect.UnionType(types=types) if len(types) == 2:
            return " or ".join(wire_type(each) for each in types)
        case inspect.UnionType():
            return "a transaction body"
    raise AssertionError(f"no name for {kind}")


def table_under(heading: str) -> list[tuple[str, str]]:
    """Return the first two columns of the table under a heading."""
    match = re.search(rf"^### {heading}(?: · [^\n]*)?$(.*?)(?=^#|\Z)", DOC, re.MULTILINE | re.DOTALL)
    assert match, f"docs/formats.md has no heading {heading}"
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", match.group(1), re.MULTILINE)
    return [(name, kind.strip()) for name, kind in rows]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_has_its_table(kind: type[Record]) -> None:
    """Fields in their order with their types and limits, the tag in the heading."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    assert table_under(title(kind)) == [(field.name, wire_type(field.type)) for field in described.fields]
    if described.tag is not None:
        assert f"{title(kind)} · `{described.tag}`" in DOC


def test_every_domain_is_listed() -> None:
    """A digest that the reference does not mention is a digest nobody else can make."""
    domains = [value.decode() for name, value in vars(hashing).items() if name.startswith("DOMAIN_")]
    assert [domain for domain in domains if f"| `{domain}` |" not in DOC] == []


def test_the_limits_and_defaults_are_the_codes() -> None:
    """Numbers in the text are those of the code."""
    assert f"`MAX_OBJECT_BYTES` = {codec.MAX_OBJECT_BYTES // 2**20} MiB" in DOC
    assert f"`MAX_DEPTH` = {codec.MAX_DEPTH}" in DOC
    rules = default_rules()
    shown = dict(
        re.findall(r"^\| `(\w+)` \| .*\| ([^|]+) \|$", DOC.split("### Rules")[1].split("###")[0], re.MULTILINE)
    )
    for name in genesis.Rules.__struct_fields__:
        value = getattr(rules, name)
        expected = ", ".join(value) if isinstance(value, tuple) else f"{value:,}"
        assert shown[name].strip() == expected, name


def test_the_examples_run() -> None:
    """Every ``>>>`` of the page gives what the page shows; there are some."""
    blocks = re.findall(r"^```pycon\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "docs/formats.md", None, 0)
    output: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert results.attempted >= 15
    assert results.failed == 0, "".join(output)
