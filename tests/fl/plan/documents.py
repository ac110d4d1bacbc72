"""Plans as TOML documents that tests can change field by field."""

import tomllib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from fl.plan.render import toml_text

Document = dict[str, Any]
Path = tuple[str | int, ...]

SMALL = """
title = "A small plan"
[[roles]]
name = "device"
label = { name = "ill", classes = ["0", "1"] }
features = [
  { name = "age", lower = 0, upper = 100 },
  { name = "dose", lower = 0.5, upper = 1.5, missing = "indicator" },
  { name = "site", categories = ["north", "south"], missing = "zeros" },
]
[model]
type = "logistic"
l2 = 0.001
[algorithm]
name = "fedsvrg"
step = 0.5
[participation]
min_devices = 2
max_devices = 4
max_samples = 1000
[deadlines]
confirmations = 2
[verification.bounds]
sample_clip = 4
update_clip = 10
[verification.timing]
samples_per_second = 1000
[stopping]
rounds = 10
"""


def small() -> Document:
    """Return the small plan as a document."""
    return loads(SMALL)


def loads(text: str) -> Document:
    """Return a TOML text's document, floats exact."""
    return tomllib.loads(text, parse_float=Decimal)


def dumps(document: Document) -> str:
    """Return the document as TOML, every value on one line."""
    return "\n".join(f"{toml_text(key)} = {_value(value)}" for key, value in document.items())


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return toml_text(value)
        case dict():
            return "{ " + ", ".join(f"{toml_text(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case Decimal():
            text = str(value).lower()
            return text if any(char in text for char in ".en") else text + ".0"
        case date():
            return value.isoformat()
        case _:
            return str(value)


def paths(document: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all values but the items of arrays of texts."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        if isinstance(key, str) or isinstance(value, dict):
            yield (*path, key)
            yield from paths(value, (*path, key))


def replaced(document: Any, path: Path, value: Any) -> Any:
    """Return the document with the value at a path replaced."""
    head, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[head] = replaced(document[head], tuple(rest), value) if rest else value
    return copy


def removed(document: Any, path: Path) -> Any:
    """Return the document without the value at a path."""
    head, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    if rest:
        copy[head] = removed(document[head], tuple(rest))
    else:
        del copy[head]
    return copy
