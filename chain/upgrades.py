"""``upgrades.json``: rules that a running network takes on at a height, beside the genesis that it began with.

A network is known by its genesis, which never changes. Rules that switch on later stand in a document of their own,
which the operators agree on and put beside ``genesis.json``; every header says which version of the rules it follows.

    {"genesis": "a4e1…",
     "upgrades": [{"height": 5000, "version": 2, "release": "0.3", "rules": {"min_fee_per_byte": 2}}]}

``rules`` names what changes; the rest stays as it was. Of a version that this software does not know, height, version
and release are read and no more: what the rules of a later day are called is not for an old program to judge. Such a
program follows the chain up to the height before, says so from its start on, and stops there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from msgspec.structs import fields as fields_of
from msgspec.structs import replace

from chain.codec import Record, decode, encode
from chain.errors import CodecError, GenesisError
from chain.genesis import Genesis, Rules
from chain.genesis_check import KNOWN_VERSIONS, check_schedule, check_supply
from chain.ids import Hash, Height, HeightField, Natural, ShortText

MAX_UPGRADES_CHARACTERS: Final = 1024 * 1024
_NUMBERS: Final = tuple(field.name for field in fields_of(Rules) if field.name not in ("height", "version"))


class Unknown(Record):
    """Where the knowledge of this software ends: rules of this version begin at ``height``, with this release."""

    height: HeightField
    version: Natural
    release: ShortText


class UpgradedGenesis(Genesis):
    """A genesis with the upgrades its network has taken on. Its id, block and document are those of the genesis."""

    upgrades: tuple[Rules, ...]
    unknown: tuple[Unknown, ...]

    @property
    def founding(self) -> Genesis:
        """The genesis as the network began with it."""
        return Genesis(**{name: getattr(self, name) for name in Genesis.__struct_fields__})

    @property
    def id(self) -> Hash:
        """The founding genesis' id."""
        return self.founding.id

    @property
    def all_rules(self) -> tuple[Rules, ...]:
        """The schedule of the genesis, then the upgrades."""
        return (*self.schedule, *self.upgrades)


def find_unknown(genesis: Genesis) -> Unknown | None:
    """Return the first rules that this software does not know; None if it knows all. Asked for every header."""
    first = None
    for rules in genesis.all_rules:
        if rules.version not in KNOWN_VERSIONS:
            first = Unknown(rules.height, rules.version, "")
            break
    if isinstance(genesis, UpgradedGenesis):
        for each in genesis.unknown:
            if first is None or each.height < first.height:
                first = each
    return first


def read_upgrades(text: str, genesis: Genesis) -> Genesis:
    """Return a genesis with the upgrades of a document. ``GenesisError`` names every problem in it."""
    document = _parse(text)
    problems = [f"{name}: unknown; allowed are genesis and upgrades" for name in document if name not in _TOP]
    named = document.get("genesis")
    if named != genesis.id.hex():
        problems.append(f"genesis = {named!r}: must be the id of this network's genesis, {genesis.id.hex()}")
    entries = document.get("upgrades")
    if not isinstance(entries, list) or not entries:
        raise GenesisError(*problems, "upgrades: must be a list that is not empty")
    upgrades, unknown, more = _read_entries(entries, genesis.founding.schedule[-1])
    problems += more
    if not problems:
        problems = _check(genesis.founding, upgrades, unknown)
    if problems:
        raise GenesisError(*problems)
    shared = {name: getattr(genesis, name) for name in Genesis.__struct_fields__}
    return UpgradedGenesis(**shared, upgrades=tuple(upgrades), unknown=tuple(unknown))


def write_upgrades(genesis: Genesis, entries: Sequence[Mapping[str, object]]) -> str:
    """Return the document of these upgrades of a network. ``GenesisError`` names what is wrong with them."""
    text = json.dumps({"genesis": genesis.id.hex(), "upgrades": list(entries)}, indent=2) + "\n"
    read_upgrades(text, genesis)
    return text


def show_upgrades(genesis: Genesis) -> str:
    """Return the document that gives the founding genesis these upgrades; empty if it has none."""
    if not isinstance(genesis, UpgradedGenesis):
        return ""
    known: list[dict[str, object]] = [
        {
            "height": rules.height,
            "version": rules.version,
            "rules": {name: _plain(getattr(rules, name)) for name in _NUMBERS},
        }
        for rules in genesis.upgrades
    ]
    unknown = [{"height": each.height, "version": each.version, "release": each.release} for each in genesis.unknown]
    return write_upgrades(genesis.founding, [*known, *unknown])


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


_TOP: Final = ("genesis", "upgrades")
_ENTRY: Final = ("height", "version", "release", "rules")


def _parse(text: str) -> dict[str, object]:
    if len(text) > MAX_UPGRADES_CHARACTERS:
        raise GenesisError(f"upgrades of {len(text)} characters: must be at most {MAX_UPGRADES_CHARACTERS}")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenesisError(f"upgrades: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise GenesisError("upgrades: must be an object with genesis and upgrades")
    return document


def _read_entries(entries: Sequence[object], last: Rules) -> tuple[list[Rules], list[Unknown], list[str]]:
    upgrades: list[Rules] = []
    unknown: list[Unknown] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        where = f"upgrades[{index}]"
        if not isinstance(entry, dict):
            problems.append(f"{where}: must be an object")
            continue
        height, version, release = entry.get("height"), entry.get("version"), entry.get("release", "")
        if not _is_natural(height) or not _is_natural(version) or not isinstance(release, str) or len(release) > 64:
            problems.append(f"{where}: must have a height, a version and, if any, a release of at most 64 characters")
        elif version not in KNOWN_VERSIONS:
            unknown.append(Unknown(Height(cast(int, height)), cast(int, version), release))
        else:
            problems += [
                f"{where}.{name}: unknown; allowed are {', '.join(_ENTRY)}" for name in entry if name not in _ENTRY
            ]
            rules = _read_rules(entry.get("rules", {}), upgrades[-1] if upgrades else last, where, problems)
            upgrades.append(replace(rules, height=Height(cast(int, height)), version=cast(int, version)))
    return upgrades, unknown, problems


def _read_rules(changes: object, before: Rules, where: str, problems: list[str]) -> Rules:
    """Return the rules before with what changes, and say what can't be."""
    if not isinstance(changes, dict):
        problems.append(f"{where}.rules: must be an object")
        return before
    strange = [name for name in changes if name not in _NUMBERS]
    problems += [f"{where}.rules.{name}: unknown; allowed are {', '.join(_NUMBERS)}" for name in strange]
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    changed = replace(before, **{name: value for name, value in known.items() if name in _NUMBERS})
    try:
        return decode(encode(changed), Rules)
    except (CodecError, TypeError, OverflowError) as error:
        problems.append(f"{where}.rules: {error}")
        return before


def _check(genesis: Genesis, upgrades: Sequence[Rules], unknown: Sequence[Unknown]) -> list[str]:
    """Return what contradicts itself in upgrades that could be read."""
    problems = [
        problem.replace(f"schedule[{index + len(genesis.schedule)}]", f"upgrades[{index}]")
        for index in range(len(upgrades))
        for problem in check_schedule((*genesis.schedule, *upgrades))
        if f"schedule[{index + len(genesis.schedule)}]" in problem
    ]
    problems += check_supply(genesis.allocations, (*genesis.schedule, *upgrades), genesis.engine)
    last = upgrades[-1].height if upgrades else genesis.schedule[-1].height
    for each in unknown:
        if each.height <= last:
            problems.append(
                f"version {each.version} begins at height {each.height}, which is not above {last}; this software "
                f"knows versions {', '.join(map(str, KNOWN_VERSIONS))}"
            )
    return problems


def _is_natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53
