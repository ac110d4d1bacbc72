"""The importer: whatever the order of arrival one head, whatever is wrong named, and bugs never a verdict."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Block, Body
from chain.ids import ZERO_HASH, Hash
from chain.keys import KeyPair
from chain.transaction import SubmitPlan
from consensus.headertree import HeaderTree
from consensus.queries import get_account, get_plan
from fl.plan.schema import encode_plan, plan_id
from node.core.config import CoreConfig, DeviceConfig, MinerConfig
from node.core.importer import Importer
from node.core.messages import HeadChanged
from node.core.turn import JobTable, Turn
from node.effects import Publish, StartJob
from node.errors import CoreHalted
from node.events import JobFailed, SubmitBody, Tick
from node.jobs import blocks as blocks_job
from node.jobs.specs import ExecuteBranch
from node.notices import BlockRefused, HeadMoved
from p2p.events import Verdict
from tests.consensus.harness import make_data, make_plan
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import Rows, Town, key_of, make_genesis, make_world

ALICE, BOB, CAROL = key_of(1), key_of(2), key_of(3)
GENESIS = make_genesis([ALICE])


def grow(mint: Mint, parent: Hash, length: int, producer: KeyPair) -> list[Block]:
    """A chain of blocks, one on the other."""
    blocks: list[Block] = []
    for _ in range(length):
        blocks.append(mint.block(parent, producer=producer))
        parent = blocks[-1].id
    return blocks


def make_forest() -> tuple[Mint, list[Block]]:
    """A tree with four tips of different heights, transfers on two of its branches."""
    mint = Mint(GENESIS)
    pay = [mint.transfer(ALICE, BOB.account, 100 + nonce, nonce) for nonce in range(3)]
    trunk = [mint.block(mint.root, pay[:1], producer=ALICE)]
    trunk.append(mint.block(trunk[0].id, pay[1:], producer=ALICE))
    trunk += grow(mint, trunk[1].id, 2, ALICE)
    side = [mint.block(trunk[0].id, pay[1:2], producer=BOB)]
    side += grow(mint, side[0].id, 3, BOB)
    low = grow(mint, mint.root, 3, CAROL)
    return mint, [*trunk, *side, *low, *grow(mint, low[1].id, 1, ALICE)]


MINT, FOREST = make_forest()


def test_a_node_that_is_behind_what_is_final_comes_there_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks too full to be executed together: each is committed, though one far above is final already."""
    monkeypatch.setattr(blocks_job, "_MOST_ITEMS", 1)
    mint, parent, chain = Mint(GENESIS), MINT.root, []
    for nonce in range(6):
        pay = mint.transfer(ALICE, BOB.account, 100, nonce)
        chain.append(mint.block(parent if chain else mint.root, [pay], producer=ALICE))
        parent = chain[-1].id
    lonely = Lonely(GENESIS)
    lonely.headers(*chain)
    lonely.core.chain.tree.finalize(chain[4].id)
    for block in chain:
        lonely.body(block)
    lonely.settle()
    assert lonely.head == chain[-1].id
    assert not lonely.halts()


def reference_head(blocks: list[Block]) -> Hash:
    """The head of whoever has all of these blocks."""
    tree = HeaderTree(MINT.engine, MINT.blocks[MINT.root].header)
    for block in blocks:
        tree.accept(block.header, block.header.time_ms)
        tree.mark_complete(block.id)
    return tree.best_complete()


def check_state(lonely: Lonely, expected: dict[bytes, bytes]) -> None:
    """Is the core's state, key for key, the one after its head?"""
    view = lonely.core.chain.view
    assert all(view.get(key) == value for key, value in expected.items())
    assert view.tip == lonely.head


@given(st.permutations(FOREST), st.integers(1, 4), st.integers(0, 2**32))
def test_any_order_of_arrival_gives_one_head(order: list[Block], batch: int, seed: int) -> None:
    """Headers in any order, bodies and ends of jobs at any moment: the head and its state are the same."""
    lonely = Lonely(GENESIS, config=CoreConfig(batch_blocks=batch))
    waiting, random = list(order), Random(seed)
    while waiting or lonely.jobs or lonely.network.wanted:
        step = random.randrange(3)
        if step == 0 and waiting:
            lonely.headers(waiting.pop())
        elif step == 1:
            lonely.give_wanted(MINT.blocks, {}, random.randrange(100))
        elif lonely.jobs:
            lonely.end_job()
    assert reference_head(FOREST) == lonely.head
    check_state(lonely, MINT.states[lonely.head])
    assert not lonely.notices(BlockRefused)


def test_a_reorganisation_takes_back_what_it_leaves() -> None:
    """On a heavier branch the state is that of a node that never saw the other, and lost transfers wait again."""
    mint = Mint(GENESIS)
    pay = mint.transfer(ALICE, BOB.account, 500, 0)
    short = mint.block(mint.root, [pay], producer=ALICE)
    long = grow(mint, mint.root, 2, CAROL)
    lonely = Lonely(GENESIS)
    lonely.give(short)
    assert get_account(lonely.core.chain.view, BOB.account).balance == 500
    lonely.give(*long)
    assert long[-1].id == lonely.head
    check_state(lonely, mint.states[long[-1].id])
    assert get_account(lonely.core.chain.view, BOB.account).balance == 0
    assert (pay,) == lonely.core.pending_transactions()
    moved = lonely.notices(HeadMoved)[-1]
    assert isinstance(moved, HeadMoved)
    assert (moved.undone, moved.connected) == (1, 2)


def test_a_head_that_is_set_aside_is_taken_back_at_once() -> None:
    """Though there is no other block to go to yet; no job runs for nothing, and the block may come back."""
    mint = Mint(GENESIS)
    chain = grow(mint, mint.root, 2, ALICE)
    rival = mint.block(chain[0].id, producer=BOB)
    lonely = Lonely(GENESIS)
    lonely.give(*chain)
    turn = Turn(lonely.now, JobTable())
    lonely.core._importer.set_aside([chain[1].id], turn)
    assert chain[0].id == lonely.head
    check_state(lonely, mint.states[chain[0].id])
    [moved] = [effect.notice for effect in turn.effects if isinstance(effect, Publish)]
    assert isinstance(moved, HeadMoved)
    assert (moved.height, moved.undone, moved.connected) == (1, 1, 0)
    [changed] = turn.messages
    assert isinstance(changed, HeadChanged)
    assert (changed.head, changed.connected, changed.disconnected) == (chain[0].header, (), (chain[1].body,))
    assert not [effect for effect in turn.effects if isinstance(effect, StartJob)]
    lonely.give(rival)
    assert rival.id == lonely.head


def test_a_long_branch_never_passes_through_a_lighter_head() -> None:
    """Even one block a job, a reorganisation goes at once to where the new branch outweighs the old."""
    mint = Mint(GENESIS)
    old, new = grow(mint, mint.root, 3, ALICE), grow(mint, mint.root, 6, BOB)
    lonely = Lonely(GENESIS, config=CoreConfig(batch_blocks=1))
    lonely.give(*old)
    lonely.give(*new)
    heights = [notice.height for notice in lonely.notices(HeadMoved) if isinstance(notice, HeadMoved)]
    assert heights == [1, 2, 3, 4, 5, 6]
    assert new[-1].id == lonely.head


def test_a_block_that_breaks_a_rule_is_condemned_and_its_sender_is_not() -> None:
    """A wrong state root is found by executing; the block stays out for ever, the peer stays."""
    mint = Mint(GENESIS)
    bad = mint.block(mint.root, producer=BOB, spoil=lambda header: replace(header, state_root=ZERO_HASH))
    on_bad = mint.block(bad.id, producer=BOB)
    good = mint.block(mint.root, producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.give(bad, on_bad)
    assert [bad.id] == [notice.id for notice in lonely.notices(BlockRefused) if isinstance(notice, BlockRefused)]
    assert lonely.head == mint.root
    assert lonely.network.verdicts == []
    lonely.give(good)
    assert lonely.head == good.id
    again = Lonely(GENESIS, lonely.world)
    assert again.core.chain.tree.invalid_reason(bad.id)
    assert again.head == good.id


def test_the_good_part_of_a_branch_is_kept() -> None:
    """Blocks before the one that breaks a rule are connected if they make a better chain."""
    mint = Mint(GENESIS)
    good = grow(mint, mint.root, 2, ALICE)
    bad = mint.block(good[-1].id, producer=ALICE, spoil=lambda header: replace(header, state_root=ZERO_HASH))
    lonely = Lonely(GENESIS)
    lonely.give(*good, bad)
    assert good[-1].id == lonely.head
    check_state(lonely, mint.states[lonely.head])


def test_a_bad_branch_that_would_undo_the_head_leaves_no_trace() -> None:
    """A heavier branch that breaks a rule before it outweighs the head does not move the head at all."""
    mint = Mint(GENESIS)
    ours = grow(mint, mint.root, 2, ALICE)
    theirs = [mint.block(mint.root, producer=BOB)]
    theirs.append(mint.block(theirs[0].id, producer=BOB, spoil=lambda header: replace(header, state_root=ZERO_HASH)))
    theirs.append(mint.block(theirs[1].id, producer=BOB))
    lonely = Lonely(GENESIS)
    lonely.give(*ours)
    lonely.give(*theirs)
    assert ours[-1].id == lonely.head
    check_state(lonely, mint.states[lonely.head])
    refused = [notice.id for notice in lonely.notices(BlockRefused) if isinstance(notice, BlockRefused)]
    assert [theirs[1].id] == refused
    assert all(notice.undone == 0 for notice in lonely.notices(HeadMoved) if isinstance(notice, HeadMoved))


def test_a_foreign_body_is_its_sender_s_fault() -> None:
    """A body that is not its header's condemns the peer; the block is asked for again and then connected."""
    mint = Mint(GENESIS)
    pay = mint.transfer(ALICE, BOB.account, 5, 0)
    block = mint.block(mint.root, [pay], producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.headers(block)
    lonely.body(block, Body((), ()))
    assert [verdict for _, verdict, _ in lonely.network.verdicts] == [Verdict.REJECT]
    assert block.id in lonely.network.wanted
    lonely.body(block)
    lonely.settle()
    assert block.id == lonely.head


def test_a_header_without_work_is_its_sender_s_fault() -> None:
    """The engine's verdict on a header condemns the peer, and nothing is fetched for it."""
    mint = Mint(GENESIS)
    block = mint.block(mint.root, producer=ALICE)
    forged = Block(replace(block.header, seal=b"short"), block.body)
    lonely = Lonely(GENESIS)
    lonely.headers(forged)
    assert [verdict for _, verdict, _ in lonely.network.verdicts] == [Verdict.REJECT]
    assert not lonely.network.wanted


def test_a_foreign_exception_stops_the_node_and_condemns_nobody() -> None:
    """A job that dies of a bug halts the core: nothing is written, no block marked, no event handled any more."""
    mint = Mint(GENESIS)
    block = mint.block(mint.root, producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.headers(block)
    lonely.body(block)
    (job, spec), *_ = lonely.jobs.items()
    assert isinstance(spec, ExecuteBranch)
    lonely.send(JobFailed(job, "MemoryError()"))
    assert lonely.halts() == ["ExecuteBranch failed: MemoryError()"]
    with pytest.raises(CoreHalted):
        lonely.send(Tick())
    assert lonely.world.store.tip() == mint.root
    again = Lonely(GENESIS, lonely.world)
    again.settle()
    assert again.head == block.id


def run_a_plan() -> tuple[dict[Hash, Block], dict[Hash, bytes], Hash]:
    """The blocks and payloads of a chain on which a plan was trained to its end, by one node with every role."""
    town = Town(GENESIS)
    config = CoreConfig(miner=MinerConfig(), device=DeviceConfig(consent=True, any_plan=True))
    house = town.add(make_world(GENESIS, ALICE, data=Rows(make_data(ALICE))), config, quiet=True)
    plan = make_plan(devices=(1, 1, 1), rounds=1, attestations=1)
    town.run(lambda: house.core.chain.height >= 2, 60)
    town.send(0, SubmitBody(1, SubmitPlan(encode_plan(plan), type(house.core.chain.rules.subsidy)(10**10))))

    def is_finished() -> bool:
        entry = get_plan(house.core.chain.view, plan_id(plan))
        return entry is not None and entry.status == "finished"

    assert town.run(is_finished, 120)
    store, payloads = house.core.world.store, house.core.world.payloads
    blocks: dict[Hash, Block] = {}
    for stored in store.headers():
        body = store.body(stored.id)
        assert body is not None
        blocks[stored.id] = Block(stored.header, body)
    kept = {id: data for id in payloads.ids() if (data := payloads.get(id)) is not None}
    return blocks, kept, house.core.chain.head_id


BLOCKS, PAYLOADS, PLAN_HEAD = run_a_plan()


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_a_block_waits_for_its_payloads(seed: int) -> None:
    """A chain with updates is followed to its end in any order of bodies and payloads; none is called invalid."""
    lonely, random = Lonely(GENESIS, config=CoreConfig(batch_blocks=3, ahead_blocks=4)), Random(seed)
    lonely.headers(*[block for block in BLOCKS.values() if block.header.height])
    while lonely.jobs or lonely.network.wanted:
        if random.random() < 0.5 and lonely.jobs:
            lonely.end_job()
        else:
            lonely.give_wanted(BLOCKS, PAYLOADS, random.randrange(100))
    assert lonely.head == PLAN_HEAD
    assert {id: lonely.world.payloads.get(id) for id in lonely.world.payloads.ids()} == PAYLOADS
    assert not lonely.notices(BlockRefused)


def test_a_block_without_its_payload_is_neither_connected_nor_invalid() -> None:
    """While a payload is missing its block is incomplete: the head stops before it and waits."""
    withheld = next(iter(PAYLOADS))
    lonely = Lonely(GENESIS)
    lonely.headers(*[block for block in BLOCKS.values() if block.header.height])
    while lonely.jobs or set(lonely.network.wanted) - {withheld}:
        if lonely.jobs:
            lonely.end_job()
            continue
        others = [id for id in lonely.network.wanted if id != withheld]
        lonely.give_wanted(BLOCKS, PAYLOADS, list(lonely.network.wanted).index(others[0]))
    assert lonely.head != PLAN_HEAD
    assert withheld in lonely.network.wanted
    assert not lonely.notices(BlockRefused)
    again = Lonely(GENESIS, lonely.world)
    assert not again.jobs
    assert withheld in again.network.wanted
    while again.jobs or again.network.wanted:
        if not again.give_wanted(BLOCKS, PAYLOADS, 0):
            again.end_job()
    assert again.head == PLAN_HEAD


def test_a_branch_left_aside_over_a_restart_is_taken_up_again() -> None:
    """Bodies of a lighter branch that waited for payloads when the node died are not waste: the branch may win."""
    chain = sorted([block for block in BLOCKS.values() if block.header.height], key=lambda each: each.header.height)
    first_use = next(index for index, block in enumerate(chain) if block.body.updates)
    low, mint, lonely = chain[: first_use + 1], Mint(GENESIS), Lonely(GENESIS)
    lonely.headers(*low)
    for block in low:
        lonely.body(block)
    lonely.settle()
    assert lonely.head == low[-2].id, "the last one waits for its payload"
    lonely.give(*grow(mint, mint.root, len(low) + 1, BOB))
    again = Lonely(GENESIS, lonely.world)
    again.headers(*chain[first_use + 1 :])
    for _ in range(4 * len(chain)):
        if again.jobs:
            again.end_job()
        else:
            again.give_wanted(BLOCKS, PAYLOADS, 0)
    assert again.head == PLAN_HEAD


def test_a_chain_whose_bodies_are_withheld_hides_no_other() -> None:
    """Bodies are asked for of every branch that is heavier than the head, not of the heaviest headers alone.

    Regression: a miner who announced headers and kept the bodies back left every honest miner on a chain of its own.
    """
    mint = Mint(GENESIS)
    withheld, honest = grow(mint, mint.root, 40, BOB), grow(mint, mint.root, 2, ALICE)
    lonely = Lonely(GENESIS)
    lonely.headers(*withheld)
    lonely.headers(*honest)
    assert {block.id for block in honest} <= set(lonely.network.wanted)
    for block in honest:
        lonely.body(block)
    lonely.settle()
    assert honest[-1].id == lonely.head


def test_a_node_that_is_behind_goes_on_with_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was to set it going and did not costs a tick, not the chain."""
    mint = Mint(GENESIS)
    block = mint.block(mint.root, producer=ALICE)
    lonely = Lonely(GENESIS)
    monkeypatch.setattr(Importer, "_advance", lambda importer, turn: None)
    lonely.give(block)
    assert lonely.head == mint.root
    monkeypatch.undo()
    lonely.send(Tick())
    lonely.settle()
    assert lonely.head == block.id
