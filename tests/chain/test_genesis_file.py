"""``genesis.json``: what is written is read back, and whatever is wrong is named, all of it."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.address import format_account
from chain.errors import GenesisError
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.genesis_file import MAX_GENESIS_CHARACTERS, read_genesis, write_genesis
from tests.strategies import KEYS, genesis_documents

ACCOUNT = KEYS[0].account
DOCUMENT: dict[str, Any] = json.loads(
    write_genesis(default_genesis("test", {ACCOUNT: 5}, time_ms=1, block_ms=500, prefix="net"))
)


@given(genesis_documents())
def test_a_genesis_is_read_back_as_it_was_written(genesis: Genesis) -> None:
    """Also when people lay out the JSON another way."""
    text = write_genesis(genesis)
    assert read_genesis(text) == genesis
    assert read_genesis(json.dumps(json.loads(text), sort_keys=True)) == genesis


def test_the_document_shows_addresses_and_hex() -> None:
    """Accounts carry the network's prefix, the target is 64 hex digits, the engine says its kind."""
    assert DOCUMENT["allocations"] == [{"account": format_account(ACCOUNT, "net"), "amount": 5}]
    assert DOCUMENT["engine"]["kind"] == "pow"
    assert DOCUMENT["engine"]["initial_target"] == "00000" + "f" * 59


def test_a_genesis_that_contradicts_itself_is_not_written() -> None:
    """No file is made that could not be read."""
    genesis = default_genesis("test", {}, time_ms=1, block_ms=500)
    with pytest.raises(GenesisError, match="chain_id"):
        write_genesis(Genesis("", *[getattr(genesis, name) for name in Genesis.__struct_fields__[1:]]))


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return json.dumps(document)


def put(path: str, value: object) -> str:
    """Return the document with the value at a dotted path replaced."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]

    def change(document: Any) -> None:
        for parent in parents:
            document = document[parent]
        document[last] = value

    return changed(change)


WRONG = [
    (put("chain_id", 5), "chain_id = 5: must be a text"),
    (put("chain_id", "\ud800"), "chain_id"),
    (put("chain_id", "two words"), "chain_id = 'two words'"),
    (put("time_ms", -1), "time_ms = -1: must be a whole number from 0 to 9223372036854775807"),
    (put("time_ms", 1.0), "time_ms = 1.0"),
    (put("time_ms", True), "time_ms = true"),
    (put("time_ms", None), "time_ms = null"),
    (put("time_ms", 2**63), "time_ms = 9223372036854775808"),
    (put("allocations", {}), "allocations = {}: must be a list"),
    (put("allocations.0", 3), "allocations[0] = 3: must be an object"),
    (put("allocations.0.amount", "5"), 'allocations[0].amount = "5"'),
    (put("allocations.0.account", format_account(ACCOUNT)), "must start with net1"),
    (put("allocations.0.account", format_account(ACCOUNT, "net")[:-1] + "!"), "outside"),
    (put("allocations.0.account", 7), "allocations[0].account = 7: must be text"),
    (put("allocations.0.note", "x"), "allocations[0].note: no such field; there are account, amount"),
    (put("schedule", []), "schedule = []: must be a list that is not empty"),
    (put("schedule.0.stamp_bits", 65), "schedule[0].stamp_bits = 65: must be a whole number from 0 to 64"),
    (put("schedule.0.algorithms", "fedavg"), 'schedule[0].algorithms = "fedavg": must be a list'),
    (put("schedule.0.algorithms.1", None), "schedule[0].algorithms[1] = null"),
    (put("schedule.0.height", 3), "schedule[0].height = 3: must be 0"),
    (put("engine.kind", "poa"), 'engine.kind = "poa": must be "pow" or "pos"'),
    (put("engine.initial_target", "00ff"), 'engine.initial_target = "00ff": must be 32 bytes in hex'),
    (put("engine.initial_target", "0x" + "f" * 64), "hex digits"),
    (put("engine.initial_target", "f" * 63 + "g"), "hex digits"),
    (put("engine.block_ms", 0), "engine.block_ms = 0: must be at least 1"),
    (put("engine", []), "engine = []: must be an object"),
    (changed(lambda document: document.pop("engine")), "engine: missing"),
    (changed(lambda document: document["engine"].pop("kind")), "engine.kind = null"),
    (changed(lambda document: document["schedule"][0].pop("subsidy")), "schedule[0].subsidy: missing"),
    (put("comment", "hello"), "comment: no such field"),
    ("", "not JSON at line 1 column 1"),
    ("{", "not JSON"),
    ("[]", "genesis = []: must be an object"),
    ("[" * 100_000, "cannot be read"),
    ('{"time_ms": ' + "9" * 5000 + "}", "cannot be read"),
    ('{"chain_id": "a", "chain_id": "b"}', "chain_id: stands twice"),
    (" " * (MAX_GENESIS_CHARACTERS + 1), "at most"),
]


@pytest.mark.parametrize(
    ("text", "reason"), WRONG, ids=lambda value: str(value)[:40] if len(str(value)) < 80 else "text"
)
def test_each_mistake_is_named(text: str, reason: str) -> None:
    """The error names the field, what stands there and what is allowed, and nothing that is right."""
    with pytest.raises(GenesisError) as caught:
        read_genesis(text)
    if text.startswith('{"chain_id": "test"') or '"schedule"' in text:
        assert len(caught.value.problems) == 1
    assert reason in str(caught.value)


def test_a_prefix_nobody_can_use_is_named() -> None:
    """Accounts of the document can't be read under it either."""
    with pytest.raises(GenesisError) as caught:
        read_genesis(put("prefix", "NET1"))
    assert caught.value.problems[0] == 'prefix = "NET1": must be a text like ^[a-z]+\\Z'


def test_all_mistakes_are_told_at_once() -> None:
    """Mistakes of form and of sense, in different places, come in one error."""

    def spoil(document: dict[str, Any]) -> None:
        document["chain_id"] = ""
        document["extra"] = 1
        del document["time_ms"]
        document["allocations"] *= 2
        document["schedule"][0]["version"] = 7
        document["engine"]["block_ms"] = "soon"

    with pytest.raises(GenesisError) as caught:
        read_genesis(changed(spoil))
    starts = sorted(problem.split(" = ")[0].split(":")[0] for problem in caught.value.problems)
    assert starts == [
        "allocations[1].account",
        "chain_id",
        "engine.block_ms",
        "extra",
        "schedule[0].version",
        "time_ms",
    ]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), JSON_VALUES)
def test_any_value_in_any_place_is_read_or_refused(data: st.DataObject, value: object) -> None:
    """Whatever stands where, only ``GenesisError`` is raised; what is read is a consistent genesis."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    try:
        genesis = read_genesis(json.dumps(document))
    except GenesisError:
        return
    assert read_genesis(write_genesis(genesis)) == genesis


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    """A text that is no genesis raises ``GenesisError`` and nothing else."""
    with pytest.raises(GenesisError):
        read_genesis(text)
