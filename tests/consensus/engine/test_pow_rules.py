"""The rules of proof of work that need a chain: time, difficulty in headers, stale siblings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.codec import decode, encode
from chain.ids import Hash, Height, Millis
from consensus.engine import Verdict
from consensus.headertree import HeaderTree, Outcome
from consensus.pow.fields import MAX_SIBLING_AGE, MAX_SIBLINGS, PowFields, encode_target
from consensus.pow.schedule import compute_interval
from tests.consensus.engine.networks import BLOCK_MS, START, Network, pow_genesis


@pytest.fixture
def network() -> Network:
    return Network.of(pow_genesis())


def fields_of(header: Header) -> PowFields:
    return decode(header.engine, PowFields)


def with_fields(network: Network, header: Header, **change) -> Header:
    """The header with other engine fields, sealed again."""
    return network.sealed(replace(header, engine=encode(replace(fields_of(header), **change))))


def judge(network: Network, header: Header):
    return network.engine.check_header(network.tree, header, header.time_ms)


def test_a_time_must_pass_the_median_of_eleven(network):
    """The median itself is refused, one millisecond later is taken, though the parent's time is later."""
    tip = network.extend(network.root, 20)[-1]
    median = network.tree.ancestor(tip, Height(15)).time_ms
    header = network.draft(tip, START)
    assert header.time_ms == median + 1
    assert judge(network, network.sealed(header)).is_valid
    late = network.sealed(replace(header, time_ms=Millis(median)))
    assert "median" in judge(network, late).reason


@pytest.mark.parametrize("name", ["target", "due_ms", "stale"])
def test_every_field_is_what_the_rules_give(network, name):
    """A target, due time or stale count that the headers before don't give is invalid, however small the difference."""
    tip = network.extend(network.root, 5)[-1]
    honest = network.mine(tip, START + 6 * BLOCK_MS)
    assert judge(network, honest).is_valid
    value = getattr(fields_of(honest), name)
    other = encode_target(int.from_bytes(value, "big") - 1) if isinstance(value, bytes) else value + 1
    assert "the rules give" in judge(network, with_fields(network, honest, **{name: other})).reason


def test_work_below_its_own_claim_is_invalid():
    """A header whose id is above the target it claims is condemned before anything is looked up."""
    network = Network.of(pow_genesis(hashes_per_block=1 << 20))
    header = replace(network.draft(network.root, START + BLOCK_MS), seal=bytes(8))
    assert "above the target" in judge(network, header).reason
    assert "above the target" in judge(network, replace(header, parent=Hash(b"?" * 32))).reason
    assert "7 bytes" in judge(network, replace(header, seal=bytes(7))).reason


def test_blocks_too_fast_make_the_next_ones_harder(network):
    """A chain whose blocks come twice as fast as scheduled has ever smaller targets, a late one greater."""
    fast = Network.of(pow_genesis(hashes_per_block=16, half_life_ms=10 * BLOCK_MS))
    ids = fast.extend(fast.root, 12, interval=BLOCK_MS // 2)
    targets = [fields_of(fast.header(id)).target_number for id in ids]
    assert targets == sorted(targets, reverse=True)
    assert targets[-1] < targets[0]
    late = fast.mine(ids[-1], fast.header(ids[-1]).time_ms + 20 * BLOCK_MS)
    fast.add(late)
    after = fast.mine(block_id(late), late.time_ms + BLOCK_MS)
    assert fields_of(after).target_number > targets[-1]


def test_what_lies_deeper_than_the_limit_is_final():
    """So many blocks as genesis says may be taken back, not one more; what the tree makes of that, its tests say."""
    network = Network.of(pow_genesis(max_reorg=5))
    ids = [network.root, *network.extend(network.root, 12)]
    final = [network.engine.finalized(network.tree, id) for id in ids]
    assert final == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]


# Stale siblings


def fork(network: Network, length: int = 6) -> tuple[list[Hash], Hash]:
    """A chain, and a block beside its third one."""
    ids = network.extend(network.root, length)
    return ids, network.extend(ids[1], 1, salt=1)[0]


def child(network: Network, parent: Hash, *siblings: Hash) -> Header:
    """A block on ``parent`` that refers to these siblings, its fields otherwise by the rules, sealed."""
    header = network.draft(parent, network.header(parent).time_ms + BLOCK_MS)
    before = fields_of(network.header(parent)) if network.header(parent).height else PowFields(b"", 0, 0)
    return with_fields(network, header, siblings=tuple(siblings), stale=before.stale + len(siblings))


def test_the_next_block_refers_to_a_stale_sibling_once(network):
    """prepare names it, the count grows by one, and the block after does not name it again."""
    ids, stale = fork(network)
    header = network.mine(ids[-1], START + 7 * BLOCK_MS)
    assert (fields_of(header).siblings, fields_of(header).stale) == ((stale,), 1)
    assert network.engine.references(header) == (stale,)
    network.add(header)
    after = network.mine(block_id(header), START + 8 * BLOCK_MS)
    assert (fields_of(after).siblings, fields_of(after).stale) == ((), 1)
    again = child(network, block_id(header), stale)
    assert "referred to before" in judge(network, again).reason


def test_an_unknown_sibling_makes_an_orphan(network):
    """The verdict names it; headers_after sends it along, so that a new node is never left without."""
    ids, stale = fork(network)
    header = network.mine(ids[-1], START + 7 * BLOCK_MS)
    network.add(header)
    fresh = Network.of(network.genesis)
    for id in ids:
        fresh.add(network.header(id))
    verdict = judge(fresh, header)
    assert (verdict.verdict, verdict.missing) == (Verdict.ORPHAN, (stale,))
    assert fresh.add(header).outcome is Outcome.ORPHAN
    offered = fresh.tree.accept(network.header(stale), header.time_ms)
    assert [result.outcome for result in offered] == [Outcome.ADDED, Outcome.ADDED]
    assert fresh.tree.best() == block_id(header)


def test_what_is_not_a_stale_sibling_is_refused(network):
    """Ancestors, nephews, cousins from another branch, the too old, too many, in another order: each by name."""
    ids, stale = fork(network, 8)
    second = network.extend(ids[2], 1, salt=2)[0]  # refers to stale
    third = network.extend(ids[3], 1, salt=3)[0]  # refers to second
    nephew = network.extend(stale, 1, salt=4)[0]
    old = network.extend(network.root, 1, salt=5)[0]
    tip = ids[-1]
    pair = sorted([stale, second])
    cases = [
        ((ids[4],), "is an ancestor"),
        ((tip,), "is an ancestor"),
        ((nephew,), "parent on this chain"),
        ((old,), f"is {9 - 1} lower"),
        (tuple(pair[::-1]), "ascending"),
        ((stale, stale), "ascending"),
        ((second,), "which this chain does not"),
        ((third,), "which this chain does not"),
    ]
    for siblings, message in cases:
        verdict = judge(network, child(network, tip, *siblings))
        assert (verdict.verdict, message in verdict.reason) == (Verdict.INVALID, True), verdict
    assert judge(network, child(network, tip, *pair)).is_valid
    crowd = encode(fields_of(network.draft(tip, START)))[:-1] + encode(tuple(sorted([stale, second, third])))
    verdict = judge(network, network_sealed_raw(network, tip, crowd))
    assert verdict.verdict is Verdict.INVALID


def network_sealed_raw(network: Network, parent: Hash, engine: bytes) -> Header:
    """A header with engine bytes that no record allows, and a seal of the right size."""
    return replace(network.draft(parent, START), engine=engine, seal=bytes(8))


def test_a_siblings_siblings_come_along(network):
    """A block that refers to what this chain does not know of can only be taken together with it."""
    ids = network.extend(network.root, 4)
    inner = network.extend(ids[0], 1, salt=1)[0]  # beside ids[1]
    outer_header = network.mine(ids[2], network.header(ids[3]).time_ms, salt=2)  # beside ids[3], refers to inner
    network.add(outer_header)
    outer = block_id(outer_header)
    assert fields_of(outer_header).siblings == (inner,)
    alone = child(network, ids[3], outer)
    assert "which this chain does not" in judge(network, alone).reason
    together = network.mine(ids[3], START + 5 * BLOCK_MS)
    assert fields_of(together).siblings == tuple(sorted([inner, outer]))
    assert judge(network, together).is_valid
    network.add(together)
    make_all_complete(network.tree)
    network.tree.set_head(block_id(together))
    sent = [block_id(header) for header in network.tree.headers_after((ids[3],), 10)]
    assert sent == [inner, outer, block_id(together)]


def make_all_complete(tree: HeaderTree) -> None:
    node = [tree.head]
    while node:
        id = node.pop()
        tree.mark_complete(id)
        node += tree.children(id)


def test_stale_siblings_slow_the_schedule(network):
    """Once the stale share in the window is above the aim, the next block is due later than block_ms after the last."""
    tip = network.root
    for number in range(40):
        parent = tip
        tip = network.extend(parent, 1)[0]
        network.extend(parent, 1, salt=number + 1)
    last = fields_of(network.header(tip))
    assert last.stale >= 38
    after = fields_of(network.mine(tip, network.header(tip).time_ms + BLOCK_MS))
    assert after.due_ms - last.due_ms == compute_interval(BLOCK_MS, last.stale) > BLOCK_MS


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-5, 40)), min_size=1, max_size=40))
def test_honest_blocks_are_valid_on_any_tree(steps):
    """Whatever forks there are and whatever the clocks say, what prepare and seal make is judged valid.

    And a new node that gets the head's chain by headers_after, a few at a time, ends with the same chain.
    """
    network = Network.of(pow_genesis())
    ids = [network.root]
    for salt, (back, seconds) in enumerate(steps):
        parent = ids[max(0, len(ids) - 1 - back)]
        header = network.mine(parent, network.header(parent).time_ms + 1000 * seconds, salt)
        assert len(fields_of(header).siblings) <= MAX_SIBLINGS
        offered = network.add(header, 2**61)
        assert offered.outcome is Outcome.ADDED, offered
        ids.append(offered.id)
    make_all_complete(network.tree)
    network.tree.set_head(network.tree.best_complete())

    fresh = Network.of(network.genesis)
    for _ in range(len(ids)):
        for header in network.tree.headers_after(fresh.tree.locator(), 3):
            assert fresh.add(header, 2**61).outcome in (Outcome.ADDED, Outcome.KNOWN)
    assert network.tree.head in fresh.tree
    assert fresh.tree.weight(fresh.tree.best()) == network.tree.weight(network.tree.head)


def test_the_oldest_sibling_is_taken_first(network):
    """Of more stale blocks than fit, those that would soon be too old go first; the others follow in the next block."""
    ids = network.extend(network.root, 4)
    stale = [network.extend(ids[number], 1, salt=number + 1)[0] for number in (2, 0, 1)]
    first = network.mine(ids[-1], START + 5 * BLOCK_MS)
    assert set(fields_of(first).siblings) == {stale[1], stale[2]}
    network.add(first)
    second = network.mine(block_id(first), START + 6 * BLOCK_MS)
    assert fields_of(second).siblings == (stale[0],)
    assert MAX_SIBLING_AGE >= 4
