"""Whose chain a new node under work takes a state of: not one that a single liar tells it of."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from chain.ids import AccountId, Hash, Height, Millis
from node.core import witnesses
from node.core.chain import Chain
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig
from node.core.recovery import rebuild_tree
from node.core.witnesses import PATIENCE_MS, Witnesses, Word
from node.notices import RoleNotice
from p2p.events import PeerInfo
from tests.node.core.chains import executed, make_chain, make_holder
from tests.node.core.lonely import INFO, Lonely
from tests.node.core.mint import Mint
from tests.node.core.quiet import QuietNetwork
from tests.node.core.test_importer import grow
from tests.node.core.test_statesync import LENGTH, NEWCOMER, SYNCED, is_there, make_town
from tests.node.core.town import key_of, make_world

AT = Height(100)
CHAIN = make_chain(LENGTH)


class Crowd(QuietNetwork):
    """Peers that a test names."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd: list[PeerInfo] = []

    def peers(self) -> tuple[PeerInfo, ...]:
        return tuple(self.crowd)

    def add(self, host: str, head: Hash, *, outbound: bool = True) -> None:
        account = AccountId(len(self.crowd).to_bytes(2, "big") * 16)
        self.crowd.append(changed(INFO, peer=account, address=f"{host}:7000", head=head, outbound=outbound))


def ask(crowd: Crowd, config: CoreConfig, *times: int) -> tuple[list[Word], int]:
    """What is said at these moments, and how many networks bear the chain out at the last."""
    world = make_holder(LENGTH, 30)
    asked = Witnesses(config, Chain(world, rebuild_tree(world)), crowd)
    return [asked.ask(AT, Millis(moment)) for moment in times], asked.count


THREE = CoreConfig(state_networks=3)


def test_three_networks_that_this_node_dialled_are_enough() -> None:
    """Two hosts of one network are one; who called is no witness, and who is below the block knows nothing of it."""
    crowd = Crowd()
    for host in ("1.2.3.4", "1.2.200.1", "5.6.7.8"):
        crowd.add(host, CHAIN[-1].id)
    crowd.add("9.9.9.9", CHAIN[-1].id, outbound=False)
    crowd.add("11.11.11.11", CHAIN[AT - 2].id)
    assert ask(crowd, THREE, 0) == ([Word.WAIT], 2)
    crowd.add("12.12.12.12", CHAIN[AT - 1].id)
    assert ask(crowd, THREE, 0) == ([Word.ENOUGH], 3)


def test_after_a_while_all_who_are_connected_are_enough_if_none_tells_another_chain() -> None:
    """A small network can sync; where somebody doubts, every block is executed."""
    crowd = Crowd()
    crowd.add("1.2.3.4", CHAIN[-1].id)
    assert ask(crowd, THREE, 0, PATIENCE_MS - 1, PATIENCE_MS) == ([Word.WAIT, Word.WAIT, Word.ENOUGH], 1)
    crowd.add("5.6.7.8", Hash(b"\x07" * 32))
    assert ask(crowd, THREE, 0, PATIENCE_MS) == ([Word.WAIT, Word.DOUBTED], 1)
    assert ask(Crowd(), THREE, 0, PATIENCE_MS) == ([Word.WAIT, Word.DOUBTED], 0), "nobody bears nothing out"


@pytest.mark.parametrize(
    "config",
    [
        CoreConfig(state_networks=0),
        replace(THREE, minimum_work=1),
        replace(THREE, checkpoint=Checkpoint(AT, CHAIN[AT - 1].id)),
    ],
)
def test_who_was_told_which_chain_it_is_asks_nobody(config: CoreConfig) -> None:
    """A checkpoint, or the work that the chain has cost at least."""
    assert ask(Crowd(), config, 0) == ([Word.ENOUGH], 0)


def test_a_newcomer_waits_for_witnesses_and_says_whom_it_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three peers bear the chain out: its state is taken. One alone: not before the time is over."""
    monkeypatch.setattr(witnesses, "PATIENCE_MS", 20_000)
    config = replace(NEWCOMER, state_networks=3)
    town = make_town(3)
    late = town.add(make_world(town.genesis, key_of(50)), config, connect=[0, 1, 2])
    assert town.run(lambda: is_there(town), 15)
    assert late.core.world.store.base() == SYNCED
    assert "as peers of 3 networks (of 3 asked for) tell it" in late.core.trust().sentence()
    town = make_town(1)
    late = town.add(make_world(town.genesis, key_of(50)), config, connect=[0])
    assert not town.run(lambda: late.core.chain.height > 0, 15)
    assert "as peers of 1 networks (of 3 asked for) tell it" in late.core.trust().sentence()
    assert town.run(lambda: is_there(town), 60)
    assert late.core.world.store.base() == SYNCED


def test_a_newcomer_to_whom_peers_tell_two_chains_executes_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heaviest is told by one alone, another one by another: no state is believed."""
    monkeypatch.setattr(witnesses, "PATIENCE_MS", 5_000)
    town = make_town(1)
    mint, doubter = Mint(town.genesis), Lonely(town.genesis, make_world(town.genesis, key_of(40)))
    doubter.give(*grow(mint, mint.root, 40, key_of(3)))
    town.add(doubter.world, CoreConfig())
    assert town.houses[1].core.chain.height == 40
    late = town.add(make_world(town.genesis, key_of(50)), replace(NEWCOMER, state_networks=3), connect=[0, 1])
    assert town.run(lambda: is_there(town), 120)
    assert late.core.world.store.base() == 0
    assert executed(late.core.world, CHAIN) == [block.id for block in CHAIN]
    said = [notice.text for notice in late.notices if isinstance(notice, RoleNotice)]
    assert any("every block is executed" in text for text in said)
