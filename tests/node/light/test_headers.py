"""Whom a light node follows: the heaviest chain of several, and nothing that too few validators signed."""

from chain.block import block_id
from chain.codec import encode
from chain.ids import Hash, Millis
from consensus.pos.engine import PosEngine
from consensus.pos.votes import Certificate, VoteKind, make_certificate, vote_message
from node.core.turn import JobTable, Turn
from node.light.finalheaders import FinalHeaders
from node.light.liars import Liars
from p2p.events import EngineArrived, Verdict
from tests.node.core.plans import OWNER
from tests.node.core.town import MINER, key_of, make_genesis, make_world
from tests.node.light.towns import VALIDATORS, LightTown, device_world, stake_town


def test_the_heavier_of_two_chains_is_followed() -> None:
    """A node that stands still on a lighter chain of its own is no liar, and nobody follows it."""
    town = LightTown(make_genesis([OWNER]))
    for number in range(2):
        town.add(make_world(town.genesis, key_of(1 + number)), MINER)
    light = town.add_light(device_world(town, 0), connect=[1])
    weak, strong = town.houses[1].core, town.houses[0].core
    assert town.run(lambda: weak.chain.height >= 4 and light.core.chain.height >= 4, 60)
    assert light.core.chain.head_id in {weak.chain.tree.ancestor_id(weak.chain.head_id, light.core.chain.height)}
    weak._miner.is_paused = True  # type: ignore[union-attr]
    both = town.add_light(device_world(town, 1), connect=[0, 1])
    town.stop(town.houses.index(light))
    assert town.run(lambda: both.core.chain.height >= weak.chain.height + 8, 200)
    here = both.core.chain
    assert strong.chain.tree.ancestor_id(strong.chain.head_id, here.height) == here.head_id
    assert both.core.liars() == ()
    assert {each.peer for each in both.core.peers()} == {weak.world.key.account, strong.world.key.account}


class Judge:
    """A network that notes verdicts."""

    def __init__(self) -> None:
        self.rejected: list[str] = []

    def verdict(self, peer: bytes, verdict: Verdict, reason: str, now: Millis) -> list[object]:
        self.rejected.append(reason)
        return []

    def has_engine_message(self, peer: bytes, key: Hash, now: Millis) -> None:
        pass

    def want_epochs(self, first: int | None, now: Millis) -> list[object]:
        return []


def test_a_certificate_of_too_few_or_false_signatures_makes_nothing_final() -> None:
    """Two of four, or four of which one is false, are rejected; three are enough, and need no other witness."""
    town = stake_town(0, 0)
    assert town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    chain = town.houses[0].core.chain
    header = chain.tree.ancestor(chain.head_id, type(chain.height)(1))
    assert header is not None
    world = make_world(town.genesis, key_of(60))
    engine = world.engine
    assert isinstance(engine, PosEngine)
    source, judge = FinalHeaders(world, engine, None, liars := Liars()), Judge()
    source.network = judge  # type: ignore[assignment]
    turn = Turn(town.now, JobTable())
    source._heard[block_id(header)] = header
    set = engine.sets.newest
    block = block_id(header)

    def certify(signers: int, *, false: bool = False) -> bytes:
        message = vote_message(set.seed, 0, 1, VoteKind.FINALIZE, block)
        keys = {key.account: key for key in VALIDATORS}
        votes = [(place, keys[set.members[place].account].sign(message)) for place in range(signers)]
        certificate: Certificate = make_certificate(set, 1, VoteKind.FINALIZE, block, votes)
        if false:
            signatures = (*certificate.signatures[:-1], bytes(64))
            return encode(Certificate(0, 1, VoteKind.FINALIZE, block, certificate.signers, signatures))
        return encode(certificate)

    for data in (certify(2), certify(4, false=True), b"\xc1garbage"):
        source.on_engine(EngineArrived(key_of(2).account, data, False), turn)
        assert source.best.height == 0
    assert len(judge.rejected) == 3
    assert [liar.peer for liar in liars.seen] == [key_of(2).account] * 3
    assert all(liar.at_ms == town.now and liar.reason for liar in liars.seen)
    source.on_engine(EngineArrived(key_of(2).account, certify(3), False), turn)
    assert source.best == header
    assert len(judge.rejected) == 3
