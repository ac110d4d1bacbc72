"""The transition as a whole: it takes or refuses blocks, leaves no trace of what it refuses, and blames no block for
a fault of the machine it runs on.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Block, Body, Header, transactions_root
from chain.codec import decode, encode
from chain.errors import CodecError, GenesisError
from chain.genesis import Allocation
from chain.ids import INT_MAX, ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.transaction import JoinPlan, RegisterDevice, Transfer
from consensus.branch import run_branch
from consensus.context import BlockContext
from consensus.errors import BodyMismatch, ConsensusError, Invalid, MissingPayload, StateMismatch
from consensus.queries import get_plan, get_supply
from consensus.records import Account
from consensus.statekeys import account_key
from consensus.transition import apply, execute, fill, genesis_block, genesis_execution, make_header
from consensus.tree import EMPTY_ROOT, get_root, prove, verify_state_proof
from consensus.treeupdate import update
from consensus.undo import make_undo
from consensus.view import EmptyView, Overlay
from tests.consensus.harness import DEVICES, OTHER, OWNER, WEALTH, Chain, make_genesis, make_plan, make_rules
from tests.consensus.strategies import bodies_about, spoilt_updates

PAIR = DEVICES[:2]


def busy() -> tuple[Chain, Block, BlockContext]:
    """A chain whose next block has a transfer, two updates and a phase to settle."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 2)), PAIR)
    chain.send(OWNER, Transfer(OTHER.account, Amount(9)))
    chain.reveal(plan, *PAIR)
    context = chain.context()
    filling = fill(chain, context, chain.transactions, chain.updates, chain)
    assert len(filling.body.updates) == 2
    header = make_header(context, chain.blocks[-1].id, filling.body, filling.execution, b"")
    return chain, Block(header, filling.body), context


# --- genesis --------------------------------------------------------------------------------------


def test_genesis_commits_to_its_document():
    """Any other document has another first block, even if only its rules differ."""
    first = genesis_block(make_genesis())
    assert first == genesis_block(make_genesis())
    assert first.id != genesis_block(make_genesis(make_rules(max_miners=3))).id
    assert (first.header.height, first.header.parent, first.header.seal, first.body.updates) == (0, ZERO_HASH, b"", ())


def test_genesis_counts_its_coins():
    """Allocations are the first supply; one account twice, or more coins than can exist, is refused."""
    genesis = make_genesis()
    chain = Chain()
    assert get_supply(chain).minted == get_supply(chain).circulating == 5 * WEALTH
    double = replace(genesis, allocations=genesis.allocations[:1] * 2)
    with pytest.raises(GenesisError):
        genesis_execution(double)
    huge = tuple(Allocation(AccountId(bytes([n]) * 32), Amount(INT_MAX)) for n in (1, 2))
    with pytest.raises(GenesisError):
        genesis_execution(replace(genesis, allocations=huge))


def test_no_more_coins_are_created_than_can_exist():
    """At the largest supply the subsidy is cut."""
    chain = Chain()
    genesis = replace(chain.genesis, allocations=(Allocation(OWNER.account, Amount(INT_MAX - 300)),))
    chain.genesis, chain.state = genesis, {}
    chain._write(genesis_execution(genesis).delta)
    chain.mine(2)
    assert get_supply(chain).minted == INT_MAX
    assert chain.audit().is_conserved


# --- blocks ---------------------------------------------------------------------------------------


def test_the_state_root_is_the_trees():
    """The header's root is that of a tree built afresh from the whole state, after any block and any undo."""
    chain, _, _ = busy()
    for _ in range(3):
        chain.mine()
        fresh = Overlay(EmptyView())
        values = {key: value for key, value in chain.state.items() if key.startswith(b"s/")}
        assert update(fresh, values) == get_root(chain) == chain.root
        nodes = {key: value for key, value in chain.state.items() if key.startswith(b"t/")}
        assert {change.key: change.new for change in fresh.changes()} == nodes


def test_a_light_device_checks_its_balance_against_a_header():
    """A proof from the state verifies against the root, for what is there and for what is not."""
    chain, _, _ = busy()
    chain.mine()
    key, absent = account_key(OTHER.account), account_key(AccountId(bytes([3]) * 32))
    value = encode(Account(Amount(WEALTH + 9), 0))
    assert verify_state_proof(chain.root, key, value, prove(chain, key))
    assert verify_state_proof(chain.root, absent, None, prove(chain, absent))
    assert not verify_state_proof(chain.root, key, encode(Account(Amount(WEALTH), 0)), prove(chain, key))
    assert chain.root != EMPTY_ROOT


def test_new_models_share_a_block_with_payloads():
    """A plan of a kilobyte can make a model of megabytes: a block creates no more bytes than it may refer to."""
    rules = make_rules(max_payload_bytes=40, max_block_payload_bytes=47)
    chain = Chain(rules)
    both = [chain.submit(make_plan(nonce=nonce)) for nonce in range(2)]
    waiting = tuple(chain.transactions)
    with pytest.raises(Invalid, match="payloads and new models of 48 bytes"):
        execute(chain, chain.context(), Body(waiting, ()), chain)
    chain.mine()
    assert chain.rejected == {}
    assert [get_plan(chain, plan) is not None for plan in both] == [True, False]
    chain.transactions = list(waiting[1:])
    chain.mine()
    assert get_plan(chain, both[1]) is not None


@settings(max_examples=150)
@given(st.data())
def test_a_block_with_any_one_byte_changed_is_refused(data):
    """It does not decode, its body is not its header's, a rule refuses it, or its id is another and the seal void."""
    chain, block, context = SEALED
    encoded = bytearray(encode(block))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(encoded), Block)
    except CodecError:
        return
    assert changed != block
    if changed.header == block.header:
        with pytest.raises(BodyMismatch):
            apply(chain, changed, context, chain)
        return
    assert changed.id != block.id
    untold = replace(changed.header, parent=block.header.parent, engine=b"", seal=b"")
    if untold != block.header:  # what the engine does not check, the transition does
        with pytest.raises((Invalid, BodyMismatch)):
            apply(chain, changed, context, chain)


def test_a_body_that_is_not_the_headers_condemns_nobody():
    """BodyMismatch is no verdict on the block."""
    chain, block, context = busy()
    with pytest.raises(BodyMismatch):
        apply(chain, Block(block.header, Body((), ())), context, chain)


SPOILT: dict[str, Callable[[Header], Header]] = {
    "block.version": lambda header: replace(header, version=2),
    "block.chain": lambda header: replace(header, chain_id="another"),
    "block.height": lambda header: replace(header, height=Height(9)),
    "block.time": lambda header: replace(header, time_ms=Millis(1)),
    "block.producer": lambda header: replace(header, producer=OTHER.account),
    "block.extension": lambda header: replace(header, extension=Hash(bytes([1]) * 32)),
    "block.state_root": lambda header: replace(header, state_root=ZERO_HASH),
}


@pytest.mark.parametrize("rule", SPOILT)
def test_a_header_that_lies_is_refused_by_name(rule):
    """What a header says must be what is due and what executing the body gives."""
    chain, block, context = busy()
    with pytest.raises(Invalid) as caught:
        apply(chain, replace(block, header=SPOILT[rule](block.header)), context, chain)
    assert caught.value.rule == rule


@pytest.mark.parametrize(("limit", "rule"), [("max_block_bytes", "size"), ("max_block_payload_bytes", "payloads")])
def test_a_block_over_a_limit_is_refused_and_never_filled(limit, rule):
    """Body bytes and payload bytes are bounded; filling keeps to the bounds to the byte."""
    chain, block, context = busy()
    full = len(encode(block.body)) if rule == "size" else sum(u.update.release.payload.size for u in block.body.updates)
    slack = 11 if rule == "size" else 0  # a body's frame may take up to 11 bytes
    for allowed, fits in ((full + slack, True), (full - 1, False)):
        tight = replace(context, rules=replace(context.rules, **{limit: allowed}))
        filling = fill(chain, tight, chain.transactions, chain.updates, chain)
        assert (len(filling.body.updates) == 2) == fits
        assert filling.rejected == {}
        execute(chain, tight, filling.body, chain)
    with pytest.raises(Invalid) as caught:
        execute(chain, tight, block.body, chain)
    assert caught.value.rule == f"block.{rule}"


@settings(max_examples=100)
@given(st.data())
def test_whatever_strangers_send_is_refused_or_taken(data):
    """Any well-formed transactions and updates get a verdict; none of them is a fault of the node.

    Most are signed for this chain, with a fair fee and the right nonce, so that the rules of their kinds decide.
    """
    chain, block, context = SEALED
    plan, task = block.body.updates[0].update.release.plan, block.body.updates[0].update.release.task
    transactions = []
    for body in data.draw(st.lists(bodies_about(plan), max_size=4)):
        key = data.draw(st.sampled_from([OWNER, OTHER, *DEVICES]))
        fee = 0 if isinstance(body, RegisterDevice | JoinPlan) else 10**7
        transactions.append(chain.sign(key, body, fee))
    updates = []
    for attested, device, size in data.draw(st.lists(spoilt_updates(plan, task), max_size=3)):
        payload = chain.keep(bytes(range(size)))
        release = replace(attested.update.release, device=DEVICES[device].account, payload=payload)
        updates.append(replace(attested, update=release.sign(DEVICES[device])))
    filling = fill(chain, context, transactions, updates, chain)
    taken = {each.id for each in filling.body.transactions} | {each.id for each in filling.body.updates}
    assert taken | set(filling.rejected) <= {each.id for each in [*transactions, *updates]}
    assert execute(chain, context, filling.body, chain) == filling.execution


# --- invalid leaves no trace ----------------------------------------------------------------------


def test_an_invalid_block_leaves_no_trace():
    """The last of many transactions fails: nothing of the others is anywhere."""
    chain, block, context = busy()
    bad = chain.sign(OWNER, Transfer(OTHER.account, Amount(10**18)))
    body = replace(block.body, transactions=(*block.body.transactions, bad))
    header = replace(block.header, tx_root=transactions_root(body.transactions))
    state, store = dict(chain.state), dict(chain.store)
    with pytest.raises(Invalid):
        apply(chain, Block(header, body), context, chain)
    assert (chain.state, chain.store) == (state, store)
    assert apply(chain, block, context, chain).state_root == block.header.state_root


def test_filling_leaves_no_trace_of_what_it_refuses():
    """A body filled from good and bad gives the very state of one filled from the good alone."""
    chain, block, context = busy()
    bad = [chain.sign(OTHER, Transfer(OWNER.account, Amount(amount))) for amount in (WEALTH * 2, 0)]
    mixed = fill(chain, context, [bad[0], *chain.transactions, bad[1]], chain.updates, chain)
    assert set(mixed.rejected) == {each.id for each in bad}
    assert mixed.body == block.body
    assert mixed.execution.state_root == block.header.state_root


# --- foreign exceptions ---------------------------------------------------------------------------


class Faulty:
    """A chain's views that fail like a disk or a full memory at the n-th reading."""

    def __init__(self, chain: Chain, after: int, error: type[Exception]) -> None:
        self._chain, self._left, self._error = chain, after, error
        self.failed = False

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.failed = True
            raise self._error("not the block's fault")

    def get(self, key: bytes, /) -> bytes | None:
        self._count()
        return self._chain.get(key)

    def payload(self, id: Hash, /) -> bytes | None:
        self._count()
        return self._chain.payload(id)


@settings(max_examples=60)
@given(st.integers(0, 80), st.sampled_from([OSError, MemoryError, ValueError, KeyError, RuntimeError]))
def test_a_fault_of_the_machine_never_condemns_a_block(after, error):
    """Whatever fails in reading, and whenever, comes out as itself: no Invalid, no MissingPayload, no rejection."""
    chain, block, context = SEALED
    faulty = Faulty(chain, after, error)
    try:
        outcome = run_branch(faulty, [], [(block, context)], faulty)
    except error:
        assert faulty.failed
    else:
        assert not faulty.failed
        assert outcome.invalid is None
        assert outcome.missing is None
    faulty = Faulty(chain, after, error)
    try:
        filling = fill(faulty, context, block.body.transactions, block.body.updates, faulty)
    except error:
        assert faulty.failed
    else:
        assert filling.body == block.body


def test_faults_were_injected_above():
    """The range of the test above reaches into the block: its first reading fails, and its 80th exists."""
    chain, block, context = SEALED
    for after in (0, 80):
        faulty = Faulty(chain, after, OSError)
        with pytest.raises(OSError, match="not the block"):
            apply(faulty, block, context, faulty)


# --- branches -------------------------------------------------------------------------------------


def test_a_branch_goes_back_and_forward():
    """Undos and blocks over one view: the outcome is what mining the other branch gave."""
    trunk, side = Chain(), Chain()
    for chain in (trunk, side):
        chain.send(OWNER, Transfer(OTHER.account, Amount(1)))
        chain.mine()
    side.send(OTHER, Transfer(OWNER.account, Amount(5)))
    side.mine(3)
    trunk.mine(2)
    undos = [make_undo(execution) for execution in reversed(trunk.executions[1:])]
    blocks = list(zip(side.blocks[2:], side.contexts[1:], strict=True))
    state = dict(trunk.state)
    outcome = run_branch(trunk, undos, blocks, trunk)
    assert trunk.state == state
    assert [execution.state_root for execution in outcome.executions] == [b.header.state_root for b in side.blocks[2:]]
    for _ in undos:
        trunk.undo()
    for execution in outcome.executions:
        trunk._write(execution.delta)
    assert trunk.state == side.state


def test_a_branch_stops_at_the_block_that_is_wrong():
    """The blocks before it stand; the outcome names its index and the rule."""
    chain = Chain()
    chain.mine(3)
    blocks = list(zip(chain.blocks[1:], chain.contexts, strict=True))
    wrong = replace(blocks[1][0], header=replace(blocks[1][0].header, state_root=ZERO_HASH))
    outcome = run_branch(Chain(), [], [blocks[0], (wrong, blocks[1][1]), blocks[2]], chain)
    assert len(outcome.executions) == 1
    assert outcome.invalid is not None
    assert (outcome.invalid[0], outcome.invalid[1].rule) == (1, "block.state_root")


def test_a_branch_stops_at_the_block_that_is_incomplete():
    """Missing payloads are named; the branch can be run again when they are here."""
    chain, block, context = busy()
    fresh = Chain()
    fresh.state = dict(chain.state)
    refs = {each.update.release.payload for each in block.body.updates}
    outcome = run_branch(fresh, [], [(block, context)], fresh)
    assert outcome.missing is not None
    assert outcome.missing[0] == 0
    assert set(outcome.missing[1]) <= refs
    fresh.store = chain.store
    assert run_branch(fresh, [], [(block, context)], fresh).missing is None


def test_an_undo_that_does_not_fit_is_damage_and_no_verdict():
    """A branch over the wrong state stops with StateMismatch."""
    chain = Chain()
    chain.mine(2)
    with pytest.raises(StateMismatch):
        run_branch(chain, [make_undo(chain.executions[0])], [], chain)


def test_the_errors_of_this_room_are_one_tree():
    """Who catches ConsensusError catches what this room says, and nothing else."""
    for error in (Invalid("a", "b"), MissingPayload([]), BodyMismatch(), StateMismatch()):
        assert isinstance(error, ConsensusError)
    assert str(Invalid("rule", "detail")) == "rule: detail"


SEALED = busy()
