"""What proof of stake asks of a header beyond what every engine does."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.codec import decode, encode
from chain.ids import Hash, Height, Millis
from consensus.engine import Verdict
from consensus.engines import make_agreement, make_engine
from consensus.headertree import HeaderTree, Outcome
from consensus.pos import vrf
from consensus.pos.engine import PosEngine
from consensus.pos.fields import PosFields, compute_first_mix, compute_mix, read_fields, turn_input
from consensus.pos.sets import genesis_set
from consensus.pos.validators import ValidatorSet
from tests.consensus.engine.networks import pow_genesis
from tests.consensus.pos.people import (
    BLOCK_MS,
    KEY_OF,
    KEYS,
    START,
    KeySigner,
    first_set,
    genesis_header,
    pos_genesis,
    seal_header,
)

GENESIS = pos_genesis((1, 2, 3), epoch_blocks=3)
SET = genesis_set(GENESIS)
ROOT = genesis_header(GENESIS)


def new_tree() -> tuple[PosEngine, HeaderTree]:
    engine = PosEngine(GENESIS)
    return engine, HeaderTree(engine, ROOT)


def make_block(set: ValidatorSet, parent: Header, view: int, parent_view: int, mix: Hash, /, **changes) -> Header:
    """A valid header of a view's leader on ``parent``, then changed, then sealed."""
    leader = KEY_OF[set.leader(view)]
    proof = vrf.prove(leader.seed, turn_input(set.seed, set.epoch, view))
    fields = PosFields(set.epoch, view, parent_view, proof, compute_mix(mix, vrf.compute_output(proof)))
    header = replace(
        ROOT,
        height=Height(parent.height + 1),
        parent=block_id(parent),
        time_ms=Millis(parent.time_ms + BLOCK_MS),
        producer=leader.account,
        engine=encode(replace(fields, **{key: value for key, value in changes.items() if hasattr(fields, key)})),
    )
    header = replace(header, **{key: value for key, value in changes.items() if not hasattr(fields, key)})
    return seal_header(set, header)


def first_block(**changes) -> Header:
    return make_block(SET, ROOT, 1, 0, compute_first_mix(GENESIS), **changes)


def judge(header: Header, now: int = START + 10_000):
    engine, tree = new_tree()
    return engine.check_header(tree, header, Millis(now))


def test_the_leaders_block_is_valid():
    """As the rules make it, and no other test here fails for another reason than its own."""
    assert judge(first_block()).is_valid


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"producer": KEYS[9].account}, "led by"),
        ({"view": 0}, "view 0"),
        ({"epoch": 1}, "epoch 1"),
        ({"parent_view": 1}, "view 1 on view 1"),
        ({"mix": Hash(bytes(32))}, "mix"),
        ({"proof": bytes(80)}, "VRF"),
        ({"time_ms": Millis(START + BLOCK_MS - 1)}, "after its parent"),
        ({"height": Height(2)}, "height"),
    ],
)
def test_each_rule_condemns_by_itself(changes, word):
    """Sealed by its producer all the same, the header is invalid, and the reason names the rule."""
    verdict = judge(first_block(**changes))
    assert verdict.verdict is Verdict.INVALID
    assert word in verdict.reason


def test_a_seal_must_be_the_leaders():
    """No seal, a seal of other bytes, another validator's: invalid."""
    header = first_block()
    other = next(key for key in KEYS[:3] if key.account != header.producer)
    for seal in (b"", bytes(64), bytes(63), other.sign(b"x")):
        verdict = judge(replace(header, seal=seal))
        assert (verdict.verdict, "seal" in verdict.reason) == (Verdict.INVALID, True)


def test_another_views_vrf_proof_is_refused():
    """The proof is for this view of this epoch: a leader can't choose among its own."""
    leader = SET.leader(1)
    later = next(view for view in range(2, 100) if SET.leader(view) == leader)
    proof = vrf.prove(KEY_OF[leader].seed, turn_input(SET.seed, 0, later))
    mix = compute_mix(compute_first_mix(GENESIS), vrf.compute_output(proof))
    assert judge(first_block(proof=proof, mix=mix)).verdict is Verdict.INVALID


def grow(engine: PosEngine, tree: HeaderTree, views: list[int], set: ValidatorSet, parent: Header) -> Header:
    """Add blocks of these views, each on the one before."""
    before = 0
    for view in views:
        header = make_block(set, parent, view, before, engine.mix(parent))
        assert tree.accept(header, header.time_ms)[0].outcome is Outcome.ADDED
        parent, before = header, view
    return parent


def test_a_chain_weighs_as_much_as_its_last_view():
    """Views skipped are weighed: of two branches the one that reached the higher view is the heavier."""
    engine, tree = new_tree()
    first = grow(engine, tree, [1], SET, ROOT)
    tip = make_block(SET, first, 5, 1, engine.mix(first))
    tree.accept(tip, tip.time_ms)
    side = make_block(SET, ROOT, 4, 0, engine.mix(ROOT))
    tree.accept(side, side.time_ms)
    assert [tree.weight(block_id(header)) for header in (ROOT, first, tip, side)] == [0, 1, 5, 4]
    assert tree.best() == block_id(tip)


def test_the_next_epoch_waits_for_its_set():
    """Until the set after the boundary block is told its headers are orphans that miss no header; then they are judged
    by it, views count from 1 again, and the old set's leaders mean nothing."""
    engine, tree = new_tree()
    boundary = grow(engine, tree, [1, 2, 4], SET, ROOT)
    mix = engine.mix(boundary)
    assert mix == read_fields(boundary).mix
    next_set = ValidatorSet(1, mix, SET.members[:2])
    header = make_block(next_set, boundary, 1, 0, mix)
    verdict = engine.check_header(tree, header, header.time_ms)
    assert (verdict.verdict, verdict.missing, verdict.retry_ms) == (Verdict.ORPHAN, (), None)
    engine.sets.put(next_set)
    assert engine.check_header(tree, header, header.time_ms).is_valid
    assert engine.fork_weight(header) == 1
    wrong = make_block(next_set, boundary, 5, 4, mix)
    assert "parent is of view 0" in engine.check_header(tree, wrong, wrong.time_ms).reason


def test_an_orphan_of_an_unknown_epoch_asks_for_its_parent_first():
    """Missing both, it names the header: the set comes with the chain."""
    header = make_block(replace(SET, epoch=5), replace(ROOT, height=Height(15)), 1, 0, Hash(bytes(32)))
    verdict = judge(header)
    assert (verdict.verdict, verdict.missing) == (Verdict.ORPHAN, (header.parent,))
    misplaced = replace(header, height=Height(13))
    assert judge(misplaced).verdict is Verdict.INVALID, "its height is of another epoch, whoever votes in it"


def test_the_beacon_follows_from_the_chain_alone():
    """Any producer of a view gives one value; the mix moves on from the parent's; genesis has the document's."""
    engine, tree = new_tree()
    one, other = first_block(), first_block(state_root=Hash(b"\1" * 32), time_ms=Millis(START + 5000))
    assert engine.beacon(one) == engine.beacon(other)
    assert block_id(one) != block_id(other)
    second = grow(engine, tree, [1, 2], SET, ROOT)
    assert len({engine.beacon(header) for header in (ROOT, one, second)}) == 3


def test_prepare_serves_the_signer_alone():
    """It takes the signer's next view, refuses another's, and has nothing for who is no validator or has no key."""
    engine = PosEngine(GENESIS, KeySigner(KEYS[0]))
    tree = HeaderTree(engine, ROOT)
    root = block_id(ROOT)
    mine = next(view for view in range(1, 100) if SET.leader(view) == KEYS[0].account)
    prepared = engine.prepare(tree, root, Millis(START))
    assert decode(prepared.engine, PosFields).view == mine
    assert prepared == engine.prepare_view(tree, root, mine, Millis(START))
    assert prepared.time_ms == START + BLOCK_MS
    assert engine.prepare(tree, root, Millis(START + 9999)).time_ms == START + 9999
    other = next(view for view in range(1, 100) if SET.leader(view) != KEYS[0].account)
    with pytest.raises(ValueError, match="is led by"):
        engine.prepare_view(tree, root, other, Millis(START))
    with pytest.raises(ValueError, match="leads no view"):
        PosEngine(GENESIS, KeySigner(KEYS[9])).prepare(tree, root, Millis(START))
    with pytest.raises(ValueError, match="without a signer"):
        PosEngine(GENESIS).prepare(tree, root, Millis(START))
    assert PosEngine(GENESIS).seal(first_block(), lambda: False) is None


def test_each_network_gets_its_engine():
    """Stake has an agreement beside it, work has none; neither engine takes the other's genesis."""
    assert make_engine(GENESIS).name == "pos"
    assert make_engine(pow_genesis()).name == "pow"
    assert make_agreement(pow_genesis()) is None
    assert make_agreement(GENESIS) is not None
    with pytest.raises(ValueError, match="proof of work"):
        PosEngine(pow_genesis())


def test_a_validators_header_under_newer_rules_is_heard():
    """A node that was not upgraded must not condemn what its validators seal, nor listen to what they don't."""
    header = first_block(version=3)
    assert judge(header).verdict is Verdict.NEWER_RULES
    assert judge(replace(header, seal=bytes(64))).verdict is Verdict.INVALID
    assert first_set((1, 2, 3)).seed != SET.seed, "another genesis, another seed"


def test_a_strangers_header_under_newer_rules_is_not():
    """However well it is sealed; and while an epoch's validators are not known, nobody's is bad."""
    assert judge(first_block(version=3, producer=KEYS[9].account)).verdict is Verdict.INVALID
    engine, tree = new_tree()
    ahead = replace(ROOT, height=Height(3))
    other = replace(first_block(version=3), height=Height(4), parent=block_id(ahead))
    verdict = engine.check_header(View(tree, ahead), other, Millis(START + 10_000))
    assert (verdict.verdict, verdict.reason) == (Verdict.ORPHAN, "the validators of epoch 1 are not known yet")


@dataclass
class View:
    """The tree's headers, and one more."""

    tree: HeaderTree
    more: Header

    def header(self, id: Hash) -> Header | None:
        return self.more if id == block_id(self.more) else self.tree.header(id)
