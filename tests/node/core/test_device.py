"""The device: what it releases it journals first, and one task gets the same bytes for ever, on whatever fork."""

from collections.abc import Sequence
from dataclasses import replace as replace_field

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.ids import ZERO_HASH, Amount, Hash, Millis
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from consensus.fees import get_required_escrow
from consensus.stamps import find_stamp
from fl.errors import DataError
from fl.plan.schema import Plan, Role, encode_plan, plan_id
from node.core.config import CoreConfig, DeviceConfig
from node.effects import Accepted, CancelJob, Refused, StartJob
from node.errors import CoreHalted
from node.events import JoinOrder, Tick
from node.jobs.specs import InspectData, TrainTask
from node.notices import RoleNotice
from node.world import World
from p2p.events import PeerUp
from storage.own import JournalEntry
from tests.consensus.harness import make_data, make_plan
from tests.node.core.lonely import INFO, PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import DEVICE, Rows, key_of, make_genesis, make_world

ALICE, BOB, ONE, TWO = key_of(1), key_of(2), key_of(11), key_of(12)
GENESIS = make_genesis([ALICE])
PLAN = make_plan(devices=(2, 2, 2), rounds=1, blocks=(8, 8, 4))
NAME = plan_id(PLAN)


def sign(key_number: int, nonce: int, body: Body, fee: int = 0) -> SignedTransaction:
    key = key_of(key_number)
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


def founding(*plans: Plan) -> list[SignedTransaction]:
    """Plans (one, if none are named), and the registration of their two devices."""
    wanted = plans or (PLAN,)
    escrows = [get_required_escrow(plan, GENESIS.rules_at(1)) or 0 for plan in wanted]
    bodies = [SubmitPlan(encode_plan(plan), Amount(escrow)) for plan, escrow in zip(wanted, escrows, strict=True)]
    submitted = [sign(1, nonce, body, 10_000) for nonce, body in enumerate(bodies)]
    stamps = {number: find_stamp(GENESIS.chain_id, key_of(number).account, 0) or 0 for number in (11, 12)}
    return [*submitted, *[sign(number, 0, RegisterDevice(0, stamp)) for number, stamp in stamps.items()]]


def joining(plan: Hash = NAME, nonce: int = 1) -> list[SignedTransaction]:
    """Both devices join a plan."""
    return [sign(number, nonce, JoinPlan(plan, "clinic", 20, ZERO_HASH)) for number in (11, 12)]


def make_forks() -> tuple[Mint, Block, Block, Block, Block]:
    """A first block, then two rivals that open the same task, and one more block on the second."""
    mint = Mint(GENESIS)
    first = mint.block(mint.root, founding(), producer=ALICE)
    left = mint.block(first.id, joining(), producer=ALICE)
    right = mint.block(first.id, joining(), producer=BOB)
    return mint, first, left, right, mint.block(right.id, producer=BOB)


def make_device(world: World | None = None) -> Lonely:
    return Lonely(GENESIS, world or make_world(GENESIS, ONE, data=Rows(make_data(ONE))), DEVICE)


def trainings(lonely: Lonely) -> list[TrainTask]:
    """The trainings it started."""
    started = [effect.spec for effect in lonely.effects if isinstance(effect, StartJob)]
    return [spec for spec in started if isinstance(spec, TrainTask)]


def released(lonely: Lonely) -> list[JournalEntry]:
    return list(lonely.world.journal.entries())


def test_two_forks_that_ask_for_one_task_get_the_same_bytes() -> None:
    """A device that released on one fork, restarted on another with its journal, sends that very update again."""
    _, first, left, right, _ = make_forks()
    here = make_device()
    here.give(first, left)
    (entry,) = released(here)
    assert len(trainings(here)) == 1
    fresh = make_world(GENESIS, ONE, data=Rows(make_data(ONE)))
    there = make_device(replace_field(fresh, journal=here.world.journal))
    there.give(first, right)
    assert right.id == there.head
    assert trainings(there) == []
    pooled = there.core.updates.of_device(entry.task, ONE.account)
    assert pooled is not None
    assert entry.update == pooled.update
    assert entry.payload == there.world.payloads.get(entry.update.release.payload.id)
    assert [entry] == released(here)


def test_a_reorganisation_that_keeps_the_task_keeps_the_release() -> None:
    """When the head moves to a rival block with the same task, the update goes on waiting; nothing is retrained."""
    _, first, left, right, on_right = make_forks()
    lonely = make_device()
    lonely.give(first, left)
    (entry,) = released(lonely)
    lonely.give(right, on_right)
    assert on_right.id == lonely.head
    assert len(trainings(lonely)) == 1
    pooled = lonely.core.updates.of_device(entry.task, ONE.account)
    assert pooled is not None
    assert entry.update == pooled.update


def test_a_release_is_journalled_before_it_is_announced() -> None:
    """At the moment the network first hears of an update the journal already holds it."""
    _, first, left, _, _ = make_forks()
    lonely = make_device()
    seen: list[bool] = []
    announce = lonely.network.announce_updates

    def watch(ids: Sequence[Hash], now: object) -> object:
        seen.append(all(any(entry.update.id == id for entry in released(lonely)) for id in ids))
        return announce(ids, lonely.now)

    lonely.network.announce_updates = watch  # type: ignore[method-assign, assignment]
    lonely.give(first, left)
    assert seen == [True]


def test_a_journal_that_cannot_write_lets_nothing_out() -> None:
    """If the release can't be made durable the core stops with that error, and no update was announced."""
    _, first, left, _, _ = make_forks()
    lonely = make_device()

    def fail(entry: JournalEntry) -> None:
        raise OSError("no space left on device")

    lonely.world.journal.record = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space left"):
        lonely.give(first, left)
    assert lonely.network.updates == []
    with pytest.raises(CoreHalted):
        lonely.send(Tick())


def test_training_stops_when_its_task_is_gone() -> None:
    """A reorganisation to a branch without the task cancels the job, and its late end changes nothing."""
    mint, first, left, right, _ = make_forks()
    lonely = make_device()
    lonely.headers(first, left, right)
    lonely.body(first)
    lonely.body(left)
    while not any(isinstance(spec, TrainTask) for spec in lonely.jobs.values()):
        lonely.end_job()
    job = next(job for job, spec in lonely.jobs.items() if isinstance(spec, TrainTask))
    other = [mint.block(first.id, producer=BOB)]
    other.append(mint.block(other[0].id, producer=BOB))
    lonely.headers(*other)
    for block in other:
        lonely.body(block)
    while lonely.head != other[-1].id:
        next_job = next(number for number, spec in lonely.jobs.items() if not isinstance(spec, TrainTask))
        lonely.jobs = {next_job: lonely.jobs[next_job], **lonely.jobs}
        lonely.end_job()
    assert CancelJob(job) in lonely.effects
    assert released(lonely) == []


def test_without_consent_nothing_is_read() -> None:
    """A device whose holder has not consented reads no data, joins nothing, and says so when it is told to."""
    _, first, _, _, _ = make_forks()
    config = CoreConfig(device=DeviceConfig(consent=False, any_plan=True))
    lonely = Lonely(GENESIS, make_world(GENESIS, ONE, data=Rows(make_data(ONE))), config)
    lonely.give(first)
    lonely.send(JoinOrder(7, NAME, ""))
    (reply,) = lonely.replies()
    assert isinstance(reply.outcome, Refused)
    assert "consent" in reply.outcome.reason
    assert not [
        effect for effect in lonely.effects if isinstance(effect, StartJob) and isinstance(effect.spec, InspectData)
    ]


def test_a_device_joins_only_what_it_was_told_to() -> None:
    """Without ``any_plan`` an open plan is left alone until a user orders the device to join it."""
    _, first, _, _, _ = make_forks()
    config = CoreConfig(device=DeviceConfig(consent=True))
    lonely = Lonely(GENESIS, make_world(GENESIS, ONE, data=Rows(make_data(ONE))), config)
    lonely.give(first)
    assert lonely.core.pending_transactions() == ()
    lonely.send(JoinOrder(7, NAME, ""))
    lonely.settle()
    (reply,) = lonely.replies()
    assert Accepted(NAME) == reply.outcome
    (waiting,) = lonely.core.pending_transactions()
    body = waiting.transaction.body
    assert isinstance(body, JoinPlan)
    assert (body.plan, body.role, body.samples) == (NAME, "clinic", 20)


class Unreadable:
    """Data that do not fit any plan."""

    name = "broken.csv"

    def load(self, role: Role) -> object:
        raise DataError("broken.csv, row 3, column 'a': 'x' is no number")


def test_data_that_do_not_fit_are_named_and_the_plan_is_left_alone() -> None:
    """The reason stands in a notice and in the device's status; the node goes on."""
    _, first, _, _, _ = make_forks()
    lonely = make_device(make_world(GENESIS, ONE, data=Unreadable()))  # type: ignore[arg-type]
    lonely.give(first)
    (notice,) = lonely.notices(RoleNotice)
    assert isinstance(notice, RoleNotice)
    assert "row 3, column 'a'" in notice.text
    status = lonely.core.device_status()
    assert status is not None
    assert "row 3, column 'a'" in status.plans[0].declined
    assert lonely.core.pending_transactions() == ()
    assert lonely.halts() == []


def test_too_few_samples_keep_a_device_away() -> None:
    """A device whose sample count the plan does not take stays away and says what is allowed."""
    mint = Mint(GENESIS)
    first = mint.block(mint.root, founding(), producer=ALICE)
    lonely = make_device(make_world(GENESIS, ONE, data=Rows(make_data(ONE, 1001))))
    lonely.give(first)
    (notice,) = lonely.notices(RoleNotice)
    assert isinstance(notice, RoleNotice)
    assert "1001 samples; the plan takes 1 … 1000" in notice.text


def test_a_device_that_comes_back_asks_around_before_it_works() -> None:
    """With a head that may be of last week nothing is trained until peers have been asked what they know."""
    _, first, left, _, _ = make_forks()
    before = Lonely(GENESIS, make_world(GENESIS, ONE, data=Rows(make_data(ONE))), CoreConfig())
    before.give(first, left)
    lonely = Lonely(GENESIS, before.world, DEVICE, addresses=("127.0.0.1:7000",))
    lonely.settle()
    assert trainings(lonely) == []
    lonely.network.asking = True
    lonely.hear(PeerUp(PEER, INFO))
    assert trainings(lonely) == []
    lonely.network.asking = False
    lonely.send(Tick())
    assert len(trainings(lonely)) == 1


def test_a_device_works_only_on_tasks_that_lie_deep_enough() -> None:
    """With three confirmations the training begins when two blocks stand on the one that opened the task."""
    plan = replace(PLAN, deadlines=replace(PLAN.deadlines, confirmations=3))
    mint = Mint(GENESIS)
    first = mint.block(mint.root, founding(plan), producer=ALICE)
    blocks = [first, mint.block(first.id, joining(plan_id(plan)), producer=ALICE)]
    for _ in range(2):
        blocks.append(mint.block(blocks[-1].id, producer=BOB))
    lonely = make_device()
    lonely.give(*blocks[:3])
    assert trainings(lonely) == []
    lonely.give(blocks[3])
    assert len(trainings(lonely)) == 1


def test_data_that_changed_since_enrolment_release_nothing() -> None:
    """A device whose rows are not as many as it enrolled with says so, and goes on without a release."""
    _, first, left, _, _ = make_forks()
    lonely = make_device(make_world(GENESIS, ONE, data=Rows(make_data(ONE, 19))))
    lonely.give(first, left)
    (notice,) = lonely.notices(RoleNotice)
    assert isinstance(notice, RoleNotice)
    assert "19 samples now; this device enrolled with 20" in notice.text
    assert released(lonely) == []
    assert len(trainings(lonely)) == 1


def test_the_plan_served_least_goes_first() -> None:
    """Of two tasks that open at once, the one whose plan had less of the device's time is worked on first."""
    plans = sorted([PLAN, replace(PLAN, nonce=1)], key=plan_id)
    often, seldom = map(plan_id, plans)
    mint = Mint(GENESIS)
    first = mint.block(mint.root, founding(*plans), producer=ALICE)
    second = mint.block(first.id, [*joining(often), *joining(seldom, nonce=2)], producer=ALICE)
    lonely = make_device()
    lonely.give(first)
    device = lonely.core._device
    assert device is not None
    device._shares = device._shares.begin(often, Millis(0)).end(Millis(5))
    lonely.give(second)
    assert [seldom, often] == [spec.task.plan for spec in trainings(lonely)]
