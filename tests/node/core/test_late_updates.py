"""Updates that come late or are lost are nobody's fault, cost no privacy and stop nothing. (Found by simulation.)"""

from chain.block import Block
from chain.ids import ZERO_HASH, Amount
from chain.number import Number
from chain.transaction import JoinPlan, RegisterDevice, SubmitPlan
from chain.update import AttestedUpdate
from consensus.fees import get_required_escrow
from consensus.queries import get_open_task
from consensus.stamps import find_stamp
from fl.holdout import commit_holdout
from fl.plan.schema import FedAvg, Holdout, encode_plan, plan_id
from node.events import JobDone
from node.jobs.results import BrokenRule, UpdatesVerified
from node.jobs.specs import VerifyUpdates
from node.notices import UpdateRefused, UpdateSeen
from p2p.events import PayloadArrived, UpdateArrived
from storage.own import JournalEntry
from tests.consensus.harness import make_data, make_plan
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_device import ALICE, GENESIS, make_device, make_forks, released, sign, trainings
from tests.node.core.town import DEVICE, Rows, key_of, make_world

NUMBERS = (11, 12, 13)
SET = commit_holdout(make_data(key_of(60), 8), 1, b"a secret of the owner's")
PLAN = make_plan(
    devices=(2, 2, 3),
    over_select=150,
    rounds=1,
    blocks=(8, 8, 4),
    algorithm=FedAvg(Number.of("0.5"), 1, 8),
    policies=(Holdout(SET.root, 1, SET.rows, Number.of(2)),),
)
NAME = plan_id(PLAN)


def test_a_verdict_on_another_branch_condemns_nobody() -> None:
    """A check that read a state which is not the head's any more is done again, not believed."""
    _, first, left, right, on_right = make_forks()
    device = make_device()
    device.give(first, left)
    (entry,) = released(device)
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    lonely.hear(UpdateArrived(PEER, AttestedUpdate(entry.update, ())))
    lonely.hear(PayloadArrived(PEER, entry.update.release.payload, entry.payload))
    (job,) = [job for job, spec in lonely.jobs.items() if isinstance(spec, VerifyUpdates)]
    del lonely.jobs[job]
    lonely.give(right, on_right)
    assert on_right.id == lonely.head
    broken = BrokenRule(entry.update.id, "update.step", "said of the other branch", False)
    lonely.send(JobDone(job, UpdatesVerified((), (broken,))))
    lonely.settle()
    assert lonely.notices(UpdateRefused) == []
    assert len(lonely.notices(UpdateSeen)) == 1


def make_late() -> tuple[Mint, list[Block], list[JournalEntry]]:
    """Blocks up to a task's open step, which began when two of three devices had answered; all releases."""
    mint = Mint(GENESIS)
    escrow = get_required_escrow(PLAN, GENESIS.rules_at(1))
    assert escrow is not None
    transactions = [sign(1, 0, SubmitPlan(encode_plan(PLAN), Amount(escrow)), 10_000)]
    for number in NUMBERS:
        stamp = find_stamp(GENESIS.chain_id, key_of(number).account, 0) or 0
        transactions.append(sign(number, 0, RegisterDevice(0, stamp)))
    blocks = [mint.block(mint.root, transactions, producer=ALICE)]
    joins = [sign(number, 1, JoinPlan(NAME, "clinic", 20, ZERO_HASH)) for number in NUMBERS]
    blocks.append(mint.block(blocks[-1].id, joins, producer=ALICE))
    devices = [
        Lonely(GENESIS, make_world(GENESIS, key_of(n), data=Rows(make_data(key_of(n)))), DEVICE) for n in NUMBERS
    ]
    for device in devices:
        device.give(*blocks)
    entries = [released(device)[-1] for device in devices]
    mint.payloads |= {entry.update.release.payload.id: entry.payload for entry in entries}
    updates = [AttestedUpdate(entry.update, ()) for entry in entries[:2]]
    blocks.append(mint.block(blocks[-1].id, updates=updates, producer=ALICE))
    return mint, blocks, entries


def test_an_update_after_the_reveal_step_is_left_alone() -> None:
    """It is not taken in and nobody calls it refused; a device asked that late does not train for nothing."""
    mint, blocks, entries = make_late()
    late = entries[-1]
    lonely = Lonely(GENESIS)
    lonely.world.payloads.put(late.payload)
    for payload in mint.payloads.values():
        lonely.world.payloads.put(payload)
    lonely.give(*blocks)
    task = get_open_task(lonely.core.chain.view, NAME)
    assert task is not None
    assert (task.step, task.task.digest) == ("open", late.task)
    lonely.hear(UpdateArrived(PEER, AttestedUpdate(late.update, ())))
    lonely.settle()
    assert lonely.notices(UpdateRefused) == []
    assert len(lonely.core.updates) == 0
    world = make_world(GENESIS, key_of(13), data=Rows(make_data(key_of(13))))
    for payload in mint.payloads.values():
        world.payloads.put(payload)
    device = Lonely(GENESIS, world, DEVICE)
    device.headers(*blocks)
    device.give(*blocks)
    assert all(spec.task.digest != late.task for spec in trainings(device))


def test_a_payload_lost_after_its_block_is_fetched_again() -> None:
    """A power cut may take a payload that an open task will settle with: a node that starts without it asks for it."""
    mint, blocks, entries = make_late()
    world = make_world(GENESIS, key_of(77))
    for payload in mint.payloads.values():
        world.payloads.put(payload)
    before = Lonely(GENESIS, world)
    before.give(*blocks)
    assert before.head == blocks[-1].id
    ref = entries[0].update.release.payload
    world.payloads.delete(ref.id)
    after = Lonely(GENESIS, world)
    assert list(after.network.wanted) == [ref.id]
    after.network.wanted.clear()
    after.hear(PayloadArrived(PEER, ref, entries[0].payload))
    after.give(mint.block(blocks[-1].id, producer=ALICE))
    assert after.network.wanted == {}
