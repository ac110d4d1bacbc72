"""Everything a plan can say, as a table: what ``fedchain plan options`` prints.

Derived from the schema's types and the notes of ``fl.plan.fields``, so that it can't fall behind them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import inspect

from chain.codec import Record
from chain.number import Number
from fl.plan.fields import NOTES, POLICY_KINDS, REQUIRED, TAG_KEYS, Derived
from fl.plan.read import allowed_by, fields_of
from fl.plan.schema import HorizontalPlan, StatisticsPlan, Verification

_SHARED: Final = frozenset(fields_of(HorizontalPlan))
"""Parts that plans of every kind have."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a plan: its path in TOML, what is allowed, the default ("" = required), and what it means."""

    field: str
    allowed: str
    default: str
    meaning: str


def plan_options() -> tuple[Option, ...]:
    """Return every field of every form, in the order of the schema.

    Where a part comes in several forms, the path names the form: ``algorithm(fedsvrg).step``. Of plans of kind
    ``statistics`` the parts that others do not have come last.
    """
    kinds = "horizontal: devices with the same columns learn a model; statistics: they count a column's values"
    return (
        Option("kind", '"horizontal" or "statistics"', '"horizontal"', kinds),
        *_options(HorizontalPlan, ""),
        *(each for each in _options(StatisticsPlan, "") if re.split(r"[.(]", each.field)[0] not in _SHARED),
    )


def algorithm_names() -> tuple[str, ...]:
    """Return the names a plan's algorithm may have."""
    kind = fields_of(HorizontalPlan)["algorithm"]
    assert isinstance(kind, inspect.UnionType)
    return tuple(str(one.tag) for one in kind.types if isinstance(one, inspect.StructType))


def policy_names() -> tuple[str, ...]:
    """Return the names of the verification policies, in their order."""
    return tuple(POLICY_KINDS)


def _options(kind: type[Record], path: str) -> Iterator[Option]:
    for name, of_type in fields_of(kind).items():
        note = NOTES[kind][name]
        inner = f"{path}.{name}" if path else name
        if kind is Verification and name == "policies":
            for tag, policy in POLICY_KINDS.items():
                yield from _options(policy, f"{path}.{tag}")
            continue
        yield Option(inner, allowed_by(of_type), _default(note.default), note.meaning)
        yield from _inside(of_type, inner)


def _inside(of_type: inspect.Type, path: str) -> Iterator[Option]:
    match of_type:
        case inspect.VarTupleType(item_type=item):
            yield from _inside(item, f"{path}[]")
        case inspect.UnionType(types=types):
            key = TAG_KEYS.get(path, "type")
            for one in types:
                assert isinstance(one, inspect.StructType)
                yield Option(f"{path}({one.tag}).{key}", f'"{one.tag}"', "", (one.cls.__doc__ or "").split("\n")[0])
                yield from _members(one, f"{path}({one.tag})")
        case inspect.StructType(cls=cls) if cls is not Number:
            yield from _members(of_type, path)
        case _:
            return


def _members(struct: inspect.StructType, path: str) -> Iterator[Option]:
    assert issubclass(struct.cls, Record)
    yield from _options(struct.cls, path)


def _default(value: object) -> str:
    if value is REQUIRED:
        return ""
    if isinstance(value, Derived):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_default(inner)}" for key, inner in value.items()) or "its defaults"
    return str(value)
