"""From TOML's values to records, by the schema's own types; every misfit becomes a ``Problem`` with its path.

A field that cannot be read gives ``BAD``, and so does the record around it; reading goes on, so that one pass finds
everything. Ranges, lengths and choices come from the schema's annotations, so they are said in one place.

Rules of this file: shapes, types and ranges; nothing of what a plan means.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Final

from msgspec import Struct, inspect

from chain.codec import Record
from chain.errors import CodecError
from chain.number import Number
from fl.errors import Problem
from fl.plan.fields import NOTES, REQUIRED, TAG_HINTS, TAG_KEYS, Derived


class Bad:
    """The mark of a value that could not be read; its problem has been noted."""


BAD: Final = Bad()
_SHOWN: Final = 60

Hook = Callable[["Reader", object, str], object]


@cache
def fields_of(kind: type[Record]) -> Mapping[str, inspect.Type]:
    """Return the types of a record's fields, in order."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.name: field.type for field in info.fields}


def shown(value: object) -> str:
    """Return a TOML value as a message shows it: on one line, cut to a readable length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        text = f"an array of {len(value)}"
    elif isinstance(value, str):
        text = repr(value[: 2 * _SHOWN])
    elif isinstance(value, int) and value.bit_length() > 256:
        text = f"a whole number of {value.bit_length()} bits"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean x?" for the known word nearest to a mistyped one, or nothing."""
    near = get_close_matches(word[:_SHOWN], known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def allowed_by(kind: inspect.Type) -> str:
    """Return what a type allows, in words."""
    match kind:
        case inspect.IntType(ge=low, le=high):
            if low is None or high is None:
                return "a whole number"
            return f"a whole number {low} … {high}" if low != high else f"the number {low}"
        case inspect.StrType(max_length=most):
            return "a text" if most is None else f"a text of at most {most} characters"
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in sorted(map(str, values)))
        case inspect.BoolType():
            return "true or false"
        case inspect.BytesType(min_length=least, max_length=most):
            return f"{'' if least else 'at most '}{2 * (most or 0)} hex digits"
        case inspect.VarTupleType(item_type=item):
            return f"an array of {_plural(allowed_by(item))}"
        case inspect.StructType(cls=cls) if cls is Number:
            return "a number of at most 15 digits"
        case inspect.UnionType(types=types):
            tags = [str(one.tag) for one in types if isinstance(one, inspect.StructType)]
            return "a table of kind " + " or ".join(f'"{tag}"' for tag in tags)
        case inspect.StructType(tag=tag) if tag is not None:
            return f'a table of kind "{tag}"'
        case _:
            return "a table"


def _plural(text: str) -> str:
    head, _, tail = text.partition(" of ")
    noun = head.removeprefix("a ")
    noun += "" if noun.endswith("s") else "s"
    return f"{noun} of {tail}" if tail else noun


class Reader:
    """Reads values by type and gathers problems.

    ``hooks`` read the fields whose TOML form differs from the schema's; ``checked`` is shown each record read.
    """

    def __init__(self, hooks: Mapping[tuple[type[Record], str], Hook], checked: Callable[[Record, str], None]) -> None:
        self.problems: list[Problem] = []
        self._hooks = hooks
        self._checked = checked

    def refuse(self, path: str, value: object, allowed: str) -> Bad:
        """Note a problem and return ``BAD``."""
        self.problems.append(Problem(path, "" if value is REQUIRED else shown(value), allowed))
        return BAD

    def value(self, kind: inspect.Type, value: object, path: str) -> object:
        """Return the value as ``kind`` wants it, or ``BAD``."""
        match kind:
            case inspect.IntType(ge=low, le=high):
                fits = isinstance(value, int) and not isinstance(value, bool)
                if fits and (low is None or low <= value) and (high is None or value <= high):  # type: ignore[operator]
                    return value
            case inspect.StrType(max_length=most):
                if isinstance(value, str) and (most is None or len(value) <= most):
                    return value
            case inspect.LiteralType(values=values):
                if isinstance(value, str) and value in values:
                    return value
                known = sorted(map(str, values))
                hint = suggestion(value, known) if isinstance(value, str) else ""
                return self.refuse(path, value, f"must be {allowed_by(kind)}{hint}")
            case inspect.BoolType():
                if isinstance(value, bool):
                    return value
            case inspect.BytesType(min_length=least, max_length=most):
                is_fitting = isinstance(value, str) and 2 * (least or 0) <= len(value) <= 2 * (most or 0)
                if isinstance(value, str) and is_fitting and len(value) % 2 == 0 and _is_hex(value):
                    return bytes.fromhex(value)
            case inspect.VarTupleType(item_type=item):
                if isinstance(value, list):
                    return self.items(item, value, path)
            case inspect.StructType(cls=cls) if cls is Number:
                return self.number(value, path)
            case inspect.StructType(cls=cls):
                if isinstance(value, Mapping):
                    tag = () if kind.tag is None else (_tag_key(path),)
                    return self.record(cls, value, path, also=tag)
            case inspect.UnionType():
                if isinstance(value, Mapping):
                    return self.union(kind, value, path)
            case _:
                raise TypeError(f"no reader for {kind}")
        return self.refuse(path, value, f"must be {allowed_by(kind)}")

    def items(self, item: inspect.Type, values: list[object], path: str) -> object:
        """Return the tuple of an array's values, or ``BAD`` if one is."""
        read = tuple([self.value(item, value, f"{path}[{place}]") for place, value in enumerate(values)])
        return BAD if any(value is BAD for value in read) else read

    def number(self, value: object, path: str) -> object:
        """Return an exact ``Number``, or ``BAD``."""
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            try:
                if not isinstance(value, int) or value.bit_length() <= 256:
                    return Number.of(value)
            except (CodecError, ValueError):
                pass
        return self.refuse(
            path, value, "must be a number of at most 15 digits, between -10^33 and 10^33, no finer than 10^-18"
        )

    def union(self, kind: inspect.UnionType, table: Mapping[str, object], path: str) -> object:
        """Return the record whose tag the table gives or its keys tell, or ``BAD``."""
        members = {str(one.tag): one.cls for one in kind.types if isinstance(one, inspect.StructType)}
        key = _tag_key(path)
        tag = table.get(key, REQUIRED)
        if tag is REQUIRED:
            hints = {TAG_HINTS[name] for name in TAG_HINTS if name in table} & members.keys()
            if not hints and ("lower" in table or "upper" in table):
                hints = {"number"} & members.keys()
            tag = "vector" if "vector" in hints else next(iter(sorted(hints)), REQUIRED)
        known = " or ".join(f'"{name}"' for name in members)
        if tag is REQUIRED:
            return self.refuse(f"{path}.{key}", REQUIRED, f"is missing; must be {known}")
        if not isinstance(tag, str) or tag not in members:
            hint = suggestion(tag, list(members)) if isinstance(tag, str) else ""
            return self.refuse(f"{path}.{key}", tag, f"must be {known}{hint}")
        return self.record(members[tag], table, path, also=(key,))

    def record(self, kind: type[Struct], table: Mapping[str, object], path: str, also: Sequence[str] = ()) -> object:
        """Return the record of a table, defaults filled in and its own rules checked, or ``BAD``."""
        assert issubclass(kind, Record)
        types = fields_of(kind)
        whole = self.known(table, [*types, *also], path)
        read = {name: self.field(kind, name, table, f"{path}.{name}") for name in types}
        if any(value is BAD for value in read.values()):
            return BAD
        record = kind(**read)
        self._checked(record, path)
        return record if whole else BAD

    def field(self, kind: type[Record], name: str, table: Mapping[str, object], path: str) -> object:
        """Return a field's value from the table or its default, or ``BAD``."""
        of_type = fields_of(kind)[name]
        value = table.get(name, REQUIRED)
        default = NOTES[kind][name].default
        if value is REQUIRED and isinstance(default, Derived):
            noted = len(self.problems)
            read = self.value(of_type, default.compute(table), path)
            del self.problems[noted:]  # what it derives from is at fault, and noted
            return read
        if value is REQUIRED:
            value = default
        hook = self._hooks.get((kind, name))
        if hook is not None:
            return hook(self, value, path)
        if value is REQUIRED:
            return self.refuse(path, REQUIRED, f"is missing; must be {allowed_by(of_type)}")
        return self.value(of_type, value, path)

    def known(self, table: Mapping[str, object], names: Sequence[str], path: str) -> bool:
        """Are all keys of the table among ``names``? Notes a problem for each that is not."""
        strange = [key for key in table if key not in names]
        for key in strange:
            where = f"{path}.{key[:_SHOWN]}" if path else key[:_SHOWN]
            self.refuse(where, table[key], f"is no field here{suggestion(key, names)} (fields: {', '.join(names)})")
        return not strange


def _tag_key(path: str) -> str:
    return TAG_KEYS.get(path, "type")


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)
