"""Upgrades: later rules beside a genesis that stays what it was, and where an old program's knowledge ends."""

import json

import pytest

from chain.errors import GenesisError
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.genesis_file import read_genesis, write_genesis
from chain.upgrades import find_unknown, read_upgrades, show_upgrades, write_upgrades

GENESIS = default_genesis("net", {}, time_ms=1, block_ms=1000)


def document(*entries: object, **changes: object) -> str:
    return json.dumps({"genesis": GENESIS.id.hex(), "upgrades": list(entries)} | changes)


def test_an_upgrade_changes_what_it_names_from_its_height_on():
    """The rest stays as it was; so do the network's id and its genesis document."""
    upgraded = read_upgrades(document({"height": 50, "version": 2, "rules": {"min_fee_per_byte": 3}}), GENESIS)
    assert upgraded.rules_at(49) == GENESIS.rules_at(49)
    after = upgraded.rules_at(50)
    assert (after.version, after.min_fee_per_byte, after.subsidy) == (2, 3, GENESIS.schedule[0].subsidy)
    assert upgraded.id == GENESIS.id
    assert read_genesis(write_genesis(upgraded)) == GENESIS
    assert find_unknown(upgraded) is None
    assert read_upgrades(show_upgrades(upgraded), GENESIS) == upgraded
    assert show_upgrades(GENESIS) == ""


def test_of_an_unknown_version_nothing_but_its_height_is_read():
    """Rules of a later day have names that an old program doesn't know; it knows where it has to stop."""
    entry = {"height": 70, "version": 9, "release": "fedchain 4", "rules": {"moon_phase": "full"}, "more": 1}
    upgraded = read_upgrades(document({"height": 50, "version": 2}, entry), GENESIS)
    unknown = find_unknown(upgraded)
    assert unknown is not None
    assert (unknown.height, unknown.version, unknown.release) == (70, 9, "fedchain 4")
    assert upgraded.rules_at(80).version == 2


def test_a_genesis_may_plan_rules_of_a_later_day():
    """A version this software does not know can stand above height 0; it is where it stops."""
    document = json.loads(write_genesis(GENESIS))
    document["schedule"].append(document["schedule"][0] | {"height": 9, "version": 7})
    unknown = find_unknown(read_genesis(json.dumps(document)))
    assert unknown is not None
    assert (unknown.height, unknown.version) == (9, 7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        (document(), "upgrades: must be a list that is not empty"),
        (document({"height": 5, "version": 2}, genesis="00"), "genesis = '00'"),
        (document({"height": 5, "version": 2}, note=1), "note: unknown"),
        (document({"height": 0, "version": 2}), r"upgrades\[0\]: must have a height"),
        (document({"height": 5, "version": 2, "rules": {"fee": 1}}), r"upgrades\[0\]\.rules\.fee: unknown"),
        (document({"height": 5, "version": 2, "rules": {"max_miners": "x"}}), r"upgrades\[0\]\.rules: "),
        (document({"height": 5, "version": 2, "rules": {"max_miners": 0}}), r"upgrades\[0\]\.max_miners = 0"),
        (document({"height": 5, "version": 2}, {"height": 5, "version": 2}), r"upgrades\[1\]\.height = 5"),
        (document({"height": 5, "version": 2}, {"height": 9, "version": 1}), r"upgrades\[1\]\.version = 1"),
        (document({"height": 5, "version": 9}, {"height": 9, "version": 2}), "version 9 begins at height 5"),
    ],
)
def test_each_problem_is_named(text: str, reason: str):
    """A document that can't be meant is refused by the field that is wrong."""
    with pytest.raises(GenesisError, match=reason):
        read_upgrades(text, GENESIS)


def test_a_document_is_written_only_if_it_can_be_read():
    """What an operator is handed has been checked."""
    text = write_upgrades(GENESIS, [{"height": 5, "version": 2}])
    assert isinstance(read_upgrades(text, GENESIS), Genesis)
    with pytest.raises(GenesisError):
        write_upgrades(GENESIS, [{"height": 5, "version": 2, "rules": {"fee": 1}}])
