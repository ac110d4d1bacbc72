"""Weak subjectivity: who was away too long, or is new to an old network of stake, asks for a checkpoint first."""

import pytest

from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import Hash, Height, Millis
from node.core.checkpoint import Checkpoint
from node.errors import StartupError
from node.service.trusted import check_trust
from tests.node.core.town import START, key_of, make_genesis, make_world

VALIDATOR = key_of(1)
SPAN = 1000 * 2000
"""Milliseconds after which stake can be gone."""


def stake_genesis(permissioned: bool = False) -> Genesis:
    account = VALIDATOR.account
    return default_stake_genesis(
        "town", {account: 10**9}, {account: 10**9}, time_ms=START, block_ms=2000, unbonding_blocks=1000,
        permissioned=permissioned,
    )  # fmt: skip


def does_start(genesis: Genesis, now: int) -> bool:
    """Does a node with nothing but the genesis block start at this time, without a checkpoint?"""
    try:
        check_trust(make_world(genesis, VALIDATOR), None, Millis(now))
    except StartupError:
        return False
    return True


def test_a_young_network_needs_no_checkpoint() -> None:
    """Within the unbonding time whoever signs another past loses its stake."""
    assert does_start(stake_genesis(), START + SPAN)
    assert not does_start(stake_genesis(), START + SPAN + 1)


def test_an_old_one_needs_one_and_says_how_to_get_it() -> None:
    """One millisecond later the node does not start without; with one at or above its height it does."""
    world = make_world(stake_genesis(), VALIDATOR)
    now = Millis(START + SPAN + 1)
    with pytest.raises(StartupError, match="node checkpoint"):
        check_trust(world, None, now)
    check_trust(world, Checkpoint(Height(0), world.store.tip()), now)
    check_trust(world, Checkpoint(Height(70), Hash(bytes(32))), now)


def test_work_and_closed_circles_need_none() -> None:
    """The past of work costs what it cost; a consortium's validators never leave."""
    assert does_start(make_genesis([VALIDATOR]), START + 1000 * SPAN)
    assert does_start(stake_genesis(permissioned=True), START + 1000 * SPAN)
    assert not does_start(stake_genesis(), START + 1000 * SPAN)


def test_a_directory_whose_chain_contradicts_the_checkpoint_does_not_start() -> None:
    """The error names both blocks."""
    world = make_world(make_genesis([VALIDATOR]), VALIDATOR)
    wrong = Checkpoint(Height(0), Hash(b"\x07" * 32))
    with pytest.raises(StartupError, match=world.store.tip().hex()):
        check_trust(world, wrong, START)


@pytest.mark.parametrize("text", ["", "5", "5:", "x:" + "0" * 64, "5:" + "0" * 63, "-1:" + "0" * 64, "5:" + "g" * 64])
def test_what_is_no_checkpoint_is_said_to_be_none(text: str) -> None:
    """HEIGHT:HASH, nothing else; what is one reads back as it was written."""
    with pytest.raises(ValueError, match="HEIGHT:HASH"):
        Checkpoint.parse(text)
    good = f"5:{'0a' * 32}"
    assert str(Checkpoint.parse(good)) == good
