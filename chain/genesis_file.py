"""``genesis.json``: the genesis document as people read and edit it.

The document mirrors the records of ``chain.genesis`` field by field: accounts as addresses with the network's
own prefix, other bytes as hex, a record that has a tag as an object whose ``kind`` is the tag. Reading collects
every problem, of form and of sense, before it gives up. Writing then reading gives the same genesis.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from msgspec import inspect

from chain.address import DEFAULT_PREFIX, format_account, parse_account
from chain.codec import Record
from chain.errors import AddressError, GenesisError
from chain.genesis import Allocation, EngineParameters, Genesis, PosParameters, PowParameters, Rules
from chain.genesis_check import (
    check_allocations,
    check_engine,
    check_names,
    check_schedule,
    check_supply,
    check_versions,
    validate_genesis,
)
from chain.ids import AccountId

MAX_GENESIS_CHARACTERS: Final = 8 * 1024 * 1024
_KIND: Final = "kind"
_ACCOUNTS: Final = ("account", "registrars")
"""A field of bytes with such a name holds an account, which people write as an address."""
_UNREADABLE: Final = object()


def write_genesis(genesis: Genesis) -> str:
    """Return the JSON document of a genesis. ``GenesisError`` names every problem of one that contradicts itself."""
    founding = genesis.founding
    problems = validate_genesis(founding)
    if problems:
        raise GenesisError(*problems)
    return json.dumps(_to_json(founding, "", founding.prefix), indent=2, ensure_ascii=False) + "\n"


def read_genesis(text: str) -> Genesis:
    """Return the genesis that a JSON document describes.

    ``GenesisError`` lists every problem: what is not JSON, missing, unknown or twice there, of the wrong type or out
    of range, and what contradicts something else.
    """
    document = _parse(text)
    prefix = document.get("prefix")
    reader = _Reader(prefix if isinstance(prefix, str) and re.fullmatch("[a-z]{1,16}", prefix) else DEFAULT_PREFIX)
    kind = cast(inspect.StructType, inspect.type_info(Genesis))
    fields = reader.read_fields(kind, document, "")
    problems = reader.problems + _check_fields(fields)
    if problems:
        raise GenesisError(*problems)
    return cast(Genesis, kind.cls(**fields))


def _check_fields(fields: Mapping[str, object]) -> list[str]:
    """Return what contradicts itself in the fields that could be read."""
    problems: list[str] = []
    chain_id, engine = fields.get("chain_id"), fields.get("engine")
    allocations = cast(tuple[Allocation, ...] | None, fields.get("allocations"))
    schedule = cast(tuple[Rules, ...] | None, fields.get("schedule"))
    if isinstance(chain_id, str):
        problems += check_names(chain_id)
    if allocations is not None:
        problems += check_allocations(allocations)
    if schedule is not None:
        problems += check_schedule(schedule)
    if isinstance(engine, PowParameters | PosParameters):
        problems += check_engine(engine)
        if schedule is not None:
            problems += check_versions(schedule, engine)
    if allocations is not None and schedule is not None:
        problems += check_supply(allocations, schedule, cast(EngineParameters | None, engine))
    return problems


def _to_json(value: object, name: str, prefix: str) -> object:
    if isinstance(value, Record):
        tag = value.__struct_config__.tag
        shown: dict[str, object] = {} if tag is None else {_KIND: tag}
        return shown | {field: _to_json(getattr(value, field), field, prefix) for field in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_to_json(item, name, prefix) for item in value]
    if isinstance(value, bytes):
        return format_account(AccountId(value), prefix) if name in _ACCOUNTS else value.hex()
    return value


def _parse(text: str) -> dict[str, object]:
    if len(text) > MAX_GENESIS_CHARACTERS:
        raise GenesisError(f"genesis of {len(text)} characters: must be at most {MAX_GENESIS_CHARACTERS}")
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise GenesisError(f"genesis: not JSON at line {error.lineno} column {error.colno}: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of thousands of digits
        raise GenesisError(f"genesis: cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise GenesisError(f"genesis = {_show(document)}: must be an object")
    return document


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a field that stands twice: readers differ on which one counts."""
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise GenesisError(f"{name}: stands twice in one object")
        fields[name] = value
    return fields


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "…"


class _Reader:
    """Turns JSON values into the types of the records' fields, noting what can't be turned."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.problems: list[str] = []

    def read_fields(self, kind: inspect.StructType, document: Mapping[str, object], path: str) -> dict[str, object]:
        """Return the fields that could be read, without the others."""
        known = {field.name: field.type for field in kind.fields}
        allowed = [*known] if kind.tag is None else [_KIND, *known]
        for name in document:
            if name not in allowed:
                self.problems.append(f"{path}{name}: no such field; there are {', '.join(allowed)}")
        fields = {}
        for name, expected in known.items():
            if name not in document:
                self.problems.append(f"{path}{name}: missing")
            elif (value := self._read(expected, document[name], path + name, name)) is not _UNREADABLE:
                fields[name] = value
        return fields

    def _read(self, kind: inspect.Type, value: object, path: str, name: str) -> object:
        match kind:
            case inspect.StructType():
                return self._read_record(kind, value, path)
            case inspect.VarTupleType():
                return self._read_list(kind, value, path, name)
            case inspect.UnionType():
                return self._read_union(kind, value, path)
            case inspect.BoolType():
                return value if isinstance(value, bool) else self._refuse(path, value, "true or false")
            case inspect.IntType(ge=least, le=most):
                fits = isinstance(value, int) and not isinstance(value, bool)
                if fits and (least is None or least <= cast(int, value)) and (most is None or cast(int, value) <= most):
                    return value
                return self._refuse(path, value, f"a whole number from {least} to {most}")
            case inspect.StrType():
                return self._read_text(kind, value, path)
            case inspect.BytesType():
                return self._read_bytes(kind, value, path, name)
        raise TypeError(f"{path}: no reader for fields of {kind}")

    def _read_record(self, kind: inspect.StructType, value: object, path: str) -> object:
        if not isinstance(value, dict):
            return self._refuse(path, value, "an object")
        if kind.tag is not None and value.get(_KIND) != kind.tag:
            return self._refuse(f"{path}.{_KIND}", value.get(_KIND), f'"{kind.tag}"')
        fields = self.read_fields(kind, value, path + ".")
        return kind.cls(**fields) if len(fields) == len(kind.fields) else _UNREADABLE

    def _read_union(self, kind: inspect.UnionType, value: object, path: str) -> object:
        if not isinstance(value, dict):
            return self._refuse(path, value, "an object")
        kinds = {each.tag: each for each in kind.types if isinstance(each, inspect.StructType)}
        tag = value.get(_KIND)
        if not isinstance(tag, str) or tag not in kinds:
            return self._refuse(f"{path}.{_KIND}", tag, " or ".join(f'"{each}"' for each in kinds))
        return self._read_record(kinds[tag], value, path)

    def _read_list(self, kind: inspect.VarTupleType, value: object, path: str, name: str) -> object:
        if not isinstance(value, list) or len(value) < (kind.min_length or 0):
            return self._refuse(path, value, "a list" + (" that is not empty" if kind.min_length else ""))
        items = [self._read(kind.item_type, item, f"{path}[{index}]", name) for index, item in enumerate(value)]
        return _UNREADABLE if any(item is _UNREADABLE for item in items) else tuple(items)

    def _read_text(self, kind: inspect.StrType, value: object, path: str) -> object:
        least, most = kind.min_length or 0, kind.max_length or MAX_GENESIS_CHARACTERS
        if not isinstance(value, str) or not least <= len(value) <= most or not _is_utf8(value):
            return self._refuse(path, value, f"a text of {least} to {most} characters")
        if kind.pattern is not None and re.search(kind.pattern, value) is None:
            return self._refuse(path, value, f"a text like {kind.pattern}")
        return value

    def _read_bytes(self, kind: inspect.BytesType, value: object, path: str, name: str) -> object:
        if name in _ACCOUNTS:
            try:
                return (
                    parse_account(value, self.prefix) if isinstance(value, str) else self._refuse(path, value, "text")
                )
            except AddressError as error:
                self.problems.append(f"{path}: {error}")
                return _UNREADABLE
        least, most = kind.min_length or 0, kind.max_length or MAX_GENESIS_CHARACTERS
        if not isinstance(value, str) or not re.fullmatch("(?:[0-9a-fA-F]{2})*", value):
            return self._refuse(path, value, "hex digits, two a byte")
        if not least <= len(value) // 2 <= most:
            return self._refuse(
                path, value, f"{least} bytes in hex" if least == most else f"{least} to {most} bytes in hex"
            )
        return bytes.fromhex(value)

    def _refuse(self, path: str, value: object, allowed: str) -> object:
        self.problems.append(f"{path} = {_show(value)}: must be {allowed}")
        return _UNREADABLE


def _is_utf8(text: str) -> bool:
    """Can the text be encoded? JSON can spell half a surrogate pair, which no encoding can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
