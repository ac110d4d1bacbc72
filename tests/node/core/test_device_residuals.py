"""A device of a plan with top-k updates: what it keeps follows the chain, through restarts, losses and forks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from pathlib import Path

from msgspec.structs import replace

from chain.block import Block
from chain.fixedpoint import from_bytes
from chain.ids import AccountId, Amount, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.payload import PayloadRef
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from chain.update import AttestedUpdate, LocalUpdate, PrivacyCharge, Release
from consensus.fees import get_required_escrow
from consensus.queries import OpenTask, get_model, get_open_task
from consensus.stamps import find_stamp
from consensus.state import get_plan, get_settled_task
from fl.envelope import train_update
from fl.models import initial_model
from fl.plan.schema import FedAvg, TopK, encode_plan
from fl.problem import compile_problem
from fl.task import device_seed
from node.notices import RoleNotice
from node.world import World
from storage.own import JournalEntry
from storage.residuals import FileResiduals
from tests.consensus.harness import make_data, make_plan, make_rules
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import DEVICE, Rows, key_of, make_genesis, make_world

ALICE, BOB, ONE, TWO = key_of(1), key_of(2), key_of(11), key_of(12)
GENESIS = replace(make_genesis([ALICE]), schedule=(make_rules(version=3),))
COMPRESSION = TopK(Number.of("0.4"), Number.of("0.5"), 1, Number.of(0), 16)
PROBLEM = compile_problem(
    replace(
        make_plan(algorithm=FedAvg(Number.of("0.2"), 1, 4), devices=(1, 2, 2), rounds=5, retries=2, blocks=(8, 3, 4)),
        version=2,
        compression=COMPRESSION,
    )
)
NAME = PROBLEM.plan_id
Kept = Mapping[KeyPair, bytes]


def sign(key: KeyPair, nonce: int, body: Body, fee: int = 0) -> SignedTransaction:
    """Return a signed transaction."""
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


def trained(task: OpenTask, key: KeyPair, kept: bytes) -> tuple[bytes, bytes]:
    """Return what ``fedchain train`` would make of this task: the payload, and what is kept if it settles."""
    model, seed = from_bytes(task.model, PROBLEM.dimension), device_seed(task.task.digest, key.account)
    return train_update(PROBLEM, task.task, model, task.carry, make_data(key), seed, kept)


@dataclass(slots=True)
class Story:
    """A chain that a lonely device follows, told block by block; the other device is played by the test."""

    lonely: Lonely
    mint: Mint = field(default_factory=lambda: Mint(GENESIS))

    def begin(self) -> Block:
        """Submit the plan, register, join: the first round is open."""
        escrow = get_required_escrow(PROBLEM.plan, GENESIS.rules_at(1)) or 0
        stamps = {key: find_stamp(GENESIS.chain_id, key.account, 0) or 0 for key in (ONE, TWO)}
        founding = [sign(ALICE, 0, SubmitPlan(encode_plan(PROBLEM.plan), Amount(escrow)), 10_000)]
        founding += [sign(key, 0, RegisterDevice(0, stamp)) for key, stamp in stamps.items()]
        joining = [sign(key, 1, JoinPlan(NAME, "clinic", 20, Hash(bytes(32)))) for key in (ONE, TWO)]
        first = self.mint.block(self.mint.root, founding, producer=ALICE)
        return self.give(self.mint.block(first.id, joining, producer=ALICE), first)

    def give(self, block: Block, *before: Block) -> Block:
        """Give blocks to the device."""
        self.lonely.give(*before, block)
        return block

    def task(self, block: Block) -> OpenTask:
        """Return the task that is open after a block."""
        task = get_open_task(self.mint.states[block.id], NAME)
        assert task is not None
        return task

    def own(self, block: Block) -> JournalEntry:
        """Return what the device released for the task that is open after a block."""
        entry = self.lonely.world.journal.lookup(self.task(block).task.digest, ONE.account)
        assert entry is not None
        self._keep(entry.payload)
        return entry

    def _keep(self, payload: bytes) -> PayloadRef:
        ref = PayloadRef.of(payload)
        self.mint.payloads[ref.id] = payload
        self.lonely.world.payloads.put(payload)
        return ref

    def others(self, block: Block, kept: bytes) -> tuple[LocalUpdate, bytes]:
        """Return the other device's honest update for the open task, and what it keeps if that settles."""
        task = self.task(block)
        payload, after = trained(task, TWO, kept)
        release = Release(
            chain_id=GENESIS.chain_id,
            plan=NAME,
            round=task.task.round,
            phase=0,
            task=task.task.digest,
            device=TWO.account,
            samples=20,
            computation_us=1,
            privacy=PrivacyCharge("none", 0, 0),
            payload=self._keep(payload),
        )
        return release.sign(TWO), after

    def block(self, parent: Block, *updates: LocalUpdate, producer: KeyPair = ALICE) -> Block:
        """Return a block with these updates, which nobody has been given."""
        attested = [AttestedUpdate(update, ()) for update in updates]
        return self.mint.block(parent.id, producer=producer, updates=attested)

    def settled(self, block: Block, device: AccountId = ONE.account) -> Hash | None:
        """Return what the state after a block says of the device's last release that settled."""
        return get_settled_task(self.mint.states[block.id], NAME, device)


def a_world() -> World:
    """Return the world of the device."""
    return make_world(GENESIS, ONE, data=Rows(make_data(ONE)))


def test_a_chain_and_a_trial_without_one_give_the_same_bits(tmp_path: Path) -> None:
    """Five rounds on a chain, the device's process ended and begun again in each: every payload, and the model."""
    story = Story(Lonely(GENESIS, replace_field(a_world(), residuals=FileResiduals(tmp_path)), DEVICE))
    head, kept = story.begin(), {ONE: b"", TWO: b""}
    model = initial_model(PROBLEM.plan).tolist()
    for number in range(5):
        task = story.task(head)
        assert (task.task.round, from_bytes(task.model, PROBLEM.dimension).tolist()) == (number, model)
        payload, kept[ONE] = trained(task, ONE, kept[ONE])
        assert story.own(head).payload == payload
        update, kept[TWO] = story.others(head, kept[TWO])
        before = story.lonely.world
        head = story.block(head, story.own(head).update, update)
        story.lonely = Lonely(GENESIS, replace_field(before, residuals=FileResiduals(tmp_path)), DEVICE)
        story.give(head)
        model = from_bytes(get_model(story.mint.states[head.id], NAME), PROBLEM.dimension).tolist()
    assert story.settled(head) == task.task.digest
    entry = get_plan(story.mint.states[head.id], NAME)
    assert entry is not None
    assert entry.status == "finished"


def test_an_update_that_no_block_took_was_never_made() -> None:
    """The round settles without it; in the next the device goes on from what it kept of the one before."""
    story = Story(Lonely(GENESIS, a_world(), DEVICE))
    head = story.begin()
    _, first = trained(story.task(head), ONE, b"")
    update, theirs = story.others(head, b"")
    head = story.give(story.block(head, story.own(head).update, update))
    own_first, lost = story.settled(head), story.own(head)
    update, theirs = story.others(head, theirs)
    head = story.give(story.block(head, update))
    while story.task(head).task.round == 1:
        head = story.give(story.block(head))
    assert story.settled(head) == own_first != story.settled(head, TWO.account)
    payload, _ = trained(story.task(head), ONE, first)
    assert story.own(head).payload == payload != lost.payload
    assert payload != trained(story.task(head), ONE, b"")[0], "the residual matters here"


def test_a_round_that_nobody_answered_is_tried_again_from_the_same_residual() -> None:
    """The retried round is another task with another release; nobody goes on from what its first try left."""
    story = Story(Lonely(GENESIS, a_world(), DEVICE))
    head = story.begin()
    _, first = trained(story.task(head), ONE, b"")
    head = story.give(story.block(head, story.own(head).update, story.others(head, b"")[0]))
    tried = story.task(head).task.digest
    while story.task(head).task.attempt == 0:
        head = story.give(story.block(head))
    task = story.task(head)
    assert task.task.digest != tried
    assert (task.task.round, task.task.attempt) == (1, 1)
    assert story.own(head).payload == trained(task, ONE, first)[0]


def test_each_fork_has_its_own_history() -> None:
    """A device that released on two forks goes on, on either, from the release that settled there."""
    story = Story(Lonely(GENESIS, a_world(), DEVICE))
    root = story.begin()
    _, first = trained(story.task(root), ONE, b"")
    updates = (story.own(root).update, story.others(root, b"")[0])
    left = story.give(story.block(root, *updates))
    gap = story.block(root, producer=BOB)
    right = story.block(gap, *updates, producer=BOB)
    story.give(right, gap)
    assert story.lonely.head == right.id
    kept = {}
    for name, tip in (("left", left), ("right", right)):
        payload, kept[name] = trained(story.task(tip), ONE, first)
        assert story.own(tip).payload == payload
    assert kept["left"] != kept["right"]
    right = story.give(story.block(right, story.own(right).update, story.others(right, b"")[0], producer=BOB))
    assert story.own(right).payload == trained(story.task(right), ONE, kept["right"])[0]
    left = story.block(left, story.own(left).update, story.others(left, b"")[0])
    later = story.block(left)
    last = story.block(later)
    story.give(last, left, later)
    assert story.lonely.head == last.id
    assert story.own(last).payload == trained(story.task(last), ONE, kept["left"])[0]


def test_a_residual_is_on_disk_before_the_journal_has_its_release() -> None:
    """A process that dies in between trains again and gets the same bytes; the other way round it could not go on."""
    lonely = Lonely(GENESIS, a_world(), DEVICE)
    story, seen = Story(lonely), []
    record = lonely.world.journal.record

    def watch(entry: JournalEntry) -> None:
        seen.append(lonely.world.residuals.get(NAME, ONE.account, entry.task) is not None)
        record(entry)

    lonely.world.journal.record = watch  # type: ignore[method-assign]
    head = story.begin()
    story.give(story.block(head, story.own(head).update, story.others(head, b"")[0]))
    assert seen == [True, True]


def test_a_device_whose_residual_is_gone_goes_on_without_and_says_so() -> None:
    """It loses what it had not sent; nobody refuses its update."""
    story = Story(Lonely(GENESIS, a_world(), DEVICE))
    head = story.begin()
    story.lonely.world.residuals.forget(NAME)
    head = story.give(story.block(head, story.own(head).update, story.others(head, b"")[0]))
    assert story.own(head).payload == trained(story.task(head), ONE, b"")[0]
    told = [notice for notice in story.lonely.notices(RoleNotice) if isinstance(notice, RoleNotice)]
    assert ["it goes on without" in notice.text for notice in told].count(True) == 1
    story.give(story.block(head, story.own(head).update))


def test_what_was_kept_for_a_plan_that_ended_goes() -> None:
    """After a hundred blocks, when no fork brings it back."""
    story = Story(Lonely(GENESIS, a_world(), DEVICE))
    head, theirs = story.begin(), b""
    for _ in range(5):
        update, theirs = story.others(head, theirs)
        head = story.give(story.block(head, story.own(head).update, update))
    for number in range(100):
        assert story.lonely.world.residuals.plans() == (NAME,), number
        head = story.give(story.block(head))
    assert story.lonely.world.residuals.plans() == ()
