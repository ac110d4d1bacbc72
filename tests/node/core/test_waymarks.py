"""A new node with a checkpoint under votes: another past, signed by validators of long ago, does not lead it astray."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_field

from chain.block import Header, block_id
from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import AccountId, Amount, Hash, Height, Millis
from chain.transaction import Transfer
from consensus.engines import make_engine
from consensus.first import genesis_block
from consensus.headertree import HeaderTree
from consensus.pos.epochproof import read_epoch_proof
from node.core import waymarks
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig, MinerConfig
from node.core.turn import Turn
from node.core.waymarks import Waymarks
from node.events import DialOrder, SubmitBody
from node.signer import ValidatorSigner
from p2p.access import HeaderTrial
from p2p.events import EngineArrived
from storage.memorystores import MemorySigningJournal
from tests.node.core.town import PLAIN, START, House, Town, key_of, make_world

EPOCH = 4
OLD = key_of(1)
"""Who had all the stake at the beginning, and signs whatever past one likes."""


def make_genesis() -> Genesis:
    return default_stake_genesis(
        "town", {OLD.account: 10**12}, {OLD.account: 10**9}, time_ms=START, block_ms=1000, epoch_blocks=EPOCH,
        unbonding_blocks=50, jail_blocks=10,
    )  # fmt: skip


class Pasts:
    """Two pasts of one network, told by different nodes: houses 0 and 1 tell the true one, 2 and 3 another."""

    def __init__(self) -> None:
        self.town = Town(make_genesis())
        for first in (0, 2):
            signer = ValidatorSigner(OLD, MemorySigningJournal())
            world = replace(make_world(self.town.genesis, OLD), engine=make_engine(self.town.genesis, signer))
            self.town.add(replace(world, signer=signer), CoreConfig(miner=MinerConfig()))
            self.town.add(make_world(self.town.genesis, key_of(60 + first)), PLAIN, connect=[first])
        self.town.send(2, SubmitBody(1, Transfer(key_of(9).account, Amount(1))))
        assert self.town.run(lambda: all(self.height(house) >= 5 * EPOCH + 1 for house in range(4)), 200)
        assert self.block(0, 1) != self.block(2, 1)

    def height(self, house: int) -> int:
        return self.town.houses[house].core.chain.height

    def block(self, house: int, height: int) -> Hash:
        id = self.town.houses[house].core.world.store.block_id_at(Height(height))
        assert id is not None
        return id

    def newcomer(self, point: Checkpoint, connect: int) -> House:
        return self.town.add(make_world(self.town.genesis, key_of(50)), CoreConfig(checkpoint=point), connect=[connect])

    def call(self, caller: int, called: int) -> None:
        self.town.send(caller, DialOrder(1, self.town.houses[called].address))


def is_peer(house: House, other: House) -> bool:
    return other.core.world.key.account in {info.peer for info in house.core.peers()}


def test_a_newcomer_that_hears_another_past_first_ends_on_the_chain_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The liar's ends of epochs are all signed by whoever voted then; nothing of them is kept, and it is let go."""
    monkeypatch.setattr(waymarks, "RUN", 3)
    pasts = Pasts()
    town = pasts.town
    point = Checkpoint(Height(4 * EPOCH), pasts.block(0, 4 * EPOCH))
    new = pasts.newcomer(point, connect=3)
    store = new.core.world.store
    assert town.run(lambda: is_peer(new, town.houses[3]), 10)
    assert town.run(lambda: not is_peer(new, town.houses[3]), 10), "the liar is let go"
    assert (new.core.chain.height, store.certificates.epoch_proof(0), len(new.core.chain.tree)) == (0, None, 1)
    pasts.call(4, 1)
    assert town.run(lambda: new.core.finalized() >= 5 * EPOCH + 1, 60)
    assert store.block_id_at(point.height) == point.block
    assert new.core.chain.head_id == pasts.block(0, new.core.chain.height)
    assert is_peer(new, town.houses[1])
    assert new.core.status(town.now).state == "synced"
    assert new.halted is None
    for epoch in range(5):
        proof = town.houses[1].core.world.store.certificates.epoch_proof(epoch)
        assert store.certificates.epoch_proof(epoch) == proof is not None


def test_no_vote_below_the_checkpoint_is_believed() -> None:
    """Old validators can sign a certificate for a false block as well, and tell it to whoever is on the way."""
    pasts = Pasts()
    town = pasts.town
    new = pasts.newcomer(Checkpoint(Height(4 * EPOCH), pasts.block(0, 4 * EPOCH)), connect=1)
    assert town.run(lambda: bool(new.core.peers()), 10)
    desk = new.core._agreement
    assert desk is not None
    data = town.houses[2].core.world.store.certificates.epoch_proof(0)
    assert data is not None
    lie = encode(read_epoch_proof(data).certificate)
    assert [desk.epochs.is_below_checkpoint] == [True]
    desk.on_arrived(EngineArrived(key_of(60).account, lie, False), Turn(town.now, new.core._jobs))
    assert desk._finality._pending is None
    assert town.run(lambda: new.core.finalized() >= 5 * EPOCH + 1, 60)
    assert [desk.epochs.is_below_checkpoint] == [False]
    assert new.halted is None


def test_a_checkpoint_in_the_middle_of_an_epoch_leads_there_too() -> None:
    """And a node that was on its way there when it stopped goes on."""
    pasts = Pasts()
    town = pasts.town
    point = Checkpoint(Height(3 * EPOCH + 2), pasts.block(0, 3 * EPOCH + 2))
    new = pasts.newcomer(point, connect=1)
    assert town.run(lambda: new.core.finalized() >= 2 * EPOCH, 60)
    new.core.world = replace(new.core.world, engine=make_engine(town.genesis))
    town.restart(4, new.core.config)
    assert town.run(lambda: new.core.finalized() >= 5 * EPOCH + 1, 60)
    assert new.core.chain.head_id == pasts.block(0, new.core.chain.height)


def test_what_is_kept_of_a_way_is_one_id_a_run_and_what_leads_elsewhere_is_not_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chain in the first pass leaves nothing; in the second one only runs that end as the first did come through."""
    monkeypatch.setattr(waymarks, "RUN", 3)
    genesis = make_genesis()
    first = genesis_block(genesis).header
    now = Millis(START)

    def line(length: int, salt: int) -> list[Header]:
        headers = [first]
        for height in range(1, length + 1):
            root = Hash(bytes([salt]) * 32)
            headers.append(
                replace_field(
                    first,
                    height=Height(height),
                    parent=block_id(headers[-1]),
                    state_root=root,
                    producer=AccountId(bytes(32)),
                )
            )
        return headers[1:]

    true, other = line(10, 1), line(10, 2)
    tree = HeaderTree(make_engine(genesis), first)
    marks = Waymarks(tree, Checkpoint(Height(8), block_id(true[7])))
    liar, honest = marks.trial(), marks.trial()
    assert liar.take(tuple(other[:7]), True, now) == honest.take(tuple(true[:5]), True, now)
    assert "contradicts the trusted checkpoint" in liar.take(tuple(other[7:]), False, now).fault
    assert (marks.is_proven, marks.is_reached) == (False, False)
    assert honest.locator() == (block_id(true[4]), block_id(first))
    step = honest.take(tuple(true[5:]), False, now)
    assert (step.release, step.goes_on, step.fault) == ((), True, "")
    assert (marks.is_proven, marks.is_reached) == (True, False)
    assert honest.locator() == ()
    again: HeaderTrial = marks.trial()
    assert again.take(tuple(true[:7]), True, now).release == tuple(true[:6])
    assert "does not lead to the checkpoint" in again.take(tuple(other), True, now).fault
    assert again.take((*true[:2], *other[2:]), True, now).release == ()
    assert marks.trial().take(tuple(true), False, now).release == tuple(true[:8])
