"""Local updates on their way: checked before they are passed on, kept while they may still be right."""

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.ids import Hash, Millis
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.update import Attestation, AttestedUpdate, LocalUpdate, Release
from node.core import updates
from node.core.awaited import is_awaited
from node.core.messages import HeadChanged, UpdateReleased
from node.core.turn import Turn
from node.core.updates import UpdateDesk
from node.events import Tick
from node.jobs.specs import VerifyUpdates
from node.notices import UpdateRefused, UpdateSeen
from node.updatepool import Stage
from p2p.events import Kind, PayloadArrived, UpdateArrived, Verdict
from storage.own import JournalEntry
from tests.consensus.harness import make_data, make_plan
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.plans import is_over, make_town, submit
from tests.node.core.test_device import GENESIS, ONE, TWO, make_device, make_forks, released
from tests.node.core.town import MINER, PLAIN, Rows, key_of, make_world

STRANGER = key_of(90)


def make_release(key: KeyPair = ONE) -> tuple[Block, Block, JournalEntry]:
    """Two blocks that open a task, and what a device released for it."""
    _, first, left, _, _ = make_forks()
    device = make_device(make_world(GENESIS, key, data=Rows(make_data(key))))
    device.give(first, left)
    (entry,) = released(device)
    return first, left, entry


def arrive(lonely: Lonely, update: LocalUpdate, *attestations: Attestation) -> None:
    lonely.hear(UpdateArrived(PEER, AttestedUpdate(update, attestations)))


def pay_in(lonely: Lonely, ref: PayloadRef, payload: bytes) -> None:
    lonely.network.wanted.pop(ref.id)
    lonely.hear(PayloadArrived(PEER, ref, payload))
    lonely.settle()


def last_verdict(lonely: Lonely) -> Verdict:
    return lonely.network.verdicts[-1][1]


def test_an_update_is_passed_on_only_after_its_payload_was_checked() -> None:
    """It is fetched from whoever sent it, verified by a job, then announced."""
    first, left, entry = make_release()
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    arrive(lonely, entry.update)
    want = lonely.network.wanted[entry.update.release.payload.id]
    assert (Kind.PAYLOAD, entry.update.release.payload.size, (PEER,)) == (want.kind, want.size, want.sources)
    assert lonely.network.updates == []
    pay_in(lonely, entry.update.release.payload, entry.payload)
    assert [entry.update.id] == lonely.network.updates
    assert lonely.notices(UpdateSeen)


def test_payloads_of_updates_that_came_together_are_asked_for_together() -> None:
    """Asked for one by one they come one by one, and a peer has room for so few answers that it puts off the rest."""
    first, left, entry = make_release()
    _, _, other = make_release(TWO)
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    asked: list[list[Hash]] = []
    want = lonely.network.want
    lonely.network.want = lambda wants, now: asked.append([each.id for each in wants]) or want(wants, now)  # type: ignore[func-returns-value,method-assign]
    lonely.network.outbox.append(UpdateArrived(PEER, AttestedUpdate(entry.update, ())))
    arrive(lonely, other.update)
    assert asked == [[entry.update.release.payload.id, other.update.release.payload.id]]


def test_an_update_that_breaks_its_plan_is_refused_by_name() -> None:
    """A payload that is no vector is found out, told with the rule it breaks, and never passed on."""
    first, left, entry = make_release()
    bad = b"not a vector of numbers"
    release: Release = replace(entry.update.release, payload=PayloadRef.of(bad))
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    arrive(lonely, release.sign(ONE))
    pay_in(lonely, release.payload, bad)
    (notice,) = lonely.notices(UpdateRefused)
    assert isinstance(notice, UpdateRefused)
    assert notice.rule == "update.payload"
    assert lonely.network.updates == []
    assert len(lonely.core.updates) == 0


@pytest.mark.parametrize("is_miner", [False, True])
def test_what_its_own_device_released_leaves_at_once(is_miner: bool) -> None:
    """Peers need not wait for a check that each of them makes itself; who builds no blocks makes its own later."""
    first, left, entry = make_release()
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    lonely.core._update_desk._config = MINER if is_miner else PLAIN  # a miner's jobs never end
    id = entry.update.id
    lonely.world.payloads.put(entry.payload)
    lonely.hear(UpdateReleased(AttestedUpdate(entry.update, ())))  # type: ignore[arg-type]
    assert lonely.network.updates == [id]
    waiting = [spec for spec in lonely.jobs.values() if isinstance(spec, VerifyUpdates)]
    assert bool(waiting) == is_miner
    if is_miner:
        return
    lonely.now = Millis(lonely.now + updates.OWN_MS)
    lonely.send(Tick())
    lonely.settle()
    pooled = lonely.core.updates.get(id)
    assert pooled is not None
    assert pooled.stage is Stage.VERIFIED


def test_only_bad_signatures_condemn_a_peer() -> None:
    """An update or an attestation that its signer did not sign is the peer's fault; a foreign task is not."""
    first, left, entry = make_release()
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    release = entry.update.release
    arrive(lonely, LocalUpdate(release, TWO.sign(release.id)))
    assert last_verdict(lonely) is Verdict.REJECT
    arrive(lonely, entry.update, Attestation(STRANGER.account, ONE.sign(Attestation.message(entry.update.id))))
    assert last_verdict(lonely) is Verdict.REJECT
    foreign: Release = replace(release, task=release.plan)
    arrive(lonely, foreign.sign(ONE))
    assert last_verdict(lonely) is Verdict.IGNORE
    uninvited: Release = replace(release, device=STRANGER.account)
    arrive(lonely, uninvited.sign(STRANGER))
    assert last_verdict(lonely) is Verdict.IGNORE
    assert len(lonely.core.updates) == 0


def test_an_update_that_comes_before_its_task_waits_for_it() -> None:
    """A node that lags a block behind takes the update up when the block is there."""
    first, left, entry = make_release()
    lonely = Lonely(GENESIS)
    lonely.give(first)
    arrive(lonely, entry.update)
    assert len(lonely.core.updates) == 0
    lonely.give(left)
    assert entry.update.id in lonely.core.updates
    assert entry.update.release.payload.id in lonely.network.wanted


def test_attestations_of_strangers_are_left_out() -> None:
    """Only registered miners' attestations are kept and passed on."""
    first, left, entry = make_release()
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    arrive(lonely, entry.update, Attestation.of(entry.update.id, STRANGER))
    pooled = lonely.core.updates.get(entry.update.id)
    assert pooled is not None
    assert pooled.attestations == {}


def test_a_reorganisation_brings_an_included_update_back() -> None:
    """An update whose block is taken back waits again, verified anew, because its task is still open."""
    mint, first, left, right, _ = make_forks()
    device = make_device()
    device.give(first, left)
    (entry,) = released(device)
    ref = entry.update.release.payload
    mint.payloads[ref.id] = entry.payload
    carrying = mint.block(left.id, updates=[AttestedUpdate(entry.update, ())], producer=ONE)
    rivals = [mint.block(left.id, producer=TWO)]
    rivals.append(mint.block(rivals[0].id, producer=TWO))
    lonely = Lonely(GENESIS)
    lonely.headers(first, left, right)
    lonely.give(first, left, carrying)
    pay_in(lonely, ref, entry.payload)
    assert carrying.id == lonely.head
    assert len(lonely.core.updates) == 0
    lonely.give(*rivals)
    assert rivals[1].id == lonely.head
    pooled = lonely.core.updates.get(entry.update.id)
    assert pooled is not None
    assert pooled.stage is Stage.VERIFIED


def test_a_payload_nobody_has_is_not_asked_for_for_ever() -> None:
    """When its task has closed, an update that waits for its payload is dropped and the fetching called off."""
    mint, first, left, right, on_right = make_forks()
    device = make_device()
    device.give(first, left)
    (entry,) = released(device)
    lonely = Lonely(GENESIS)
    lonely.headers(first, left, right)
    lonely.give(first, left)
    arrive(lonely, entry.update)
    wanted = entry.update.release.payload.id
    assert wanted in lonely.network.wanted
    parent = left
    for _ in range(20):  # past the deadlines of the attempt and of its retry
        parent = mint.block(parent.id, producer=ONE)
        lonely.give(parent)
    assert parent.id == lonely.head
    assert on_right.id != lonely.head
    assert wanted not in lonely.network.wanted
    assert len(lonely.core.updates) == 0


def test_a_payload_that_was_lost_is_fetched_again() -> None:
    """If the payload has left the store before the check, the update waits for it anew and is verified in the end."""
    first, left, entry = make_release()
    ref = entry.update.release.payload
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    arrive(lonely, entry.update)
    lonely.network.wanted.pop(ref.id)
    lonely.hear(PayloadArrived(PEER, ref, entry.payload))
    lonely.world.payloads.delete(ref.id)
    lonely.settle()
    assert ref.id in lonely.network.wanted
    pay_in(lonely, ref, entry.payload)
    assert [entry.update.id] == lonely.network.updates


def test_updates_that_come_together_are_checked_and_announced_together() -> None:
    """One job for the updates of one event; the good ones are put to the credit of who brought them."""
    first, left, one = make_release()
    other = make_device(make_world(GENESIS, TWO, data=Rows(make_data(TWO))))
    other.give(first, left)
    (two,) = released(other)
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    lonely.network.outbox = [UpdateArrived(PEER, AttestedUpdate(entry.update, ())) for entry in (one, two)]
    lonely.send(Tick())
    assert set(lonely.network.wanted) == {entry.update.release.payload.id for entry in (one, two)}
    lonely.network.outbox = [PayloadArrived(PEER, each.update.release.payload, each.payload) for each in (one, two)]
    lonely.send(Tick())
    (job,) = [spec for spec in lonely.jobs.values() if isinstance(spec, VerifyUpdates)]
    assert job.updates == (one.update, two.update)
    assert lonely.network.awaited == {}
    lonely.settle()
    assert lonely.network.updates == [one.update.id, two.update.id]
    assert lonely.network.awaited == {PEER: 2}


def test_small_updates_wait_for_a_job_and_large_ones_are_checked_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one job runs, a few small updates gather for the next; what is large has a job of its own at once."""
    first, left, one = make_release()
    other = make_device(make_world(GENESIS, TWO, data=Rows(make_data(TWO))))
    other.give(first, left)
    (two,) = released(other)
    for is_large in (False, True):
        if is_large:
            monkeypatch.setattr(updates, "_BATCH_BYTES", one.update.release.payload.size)
            monkeypatch.setattr(updates, "_WORTH_BYTES", one.update.release.payload.size)
        lonely = Lonely(GENESIS)
        lonely.give(first, left)
        for entry in (one, two):
            arrive(lonely, entry.update)
            lonely.hear(PayloadArrived(PEER, entry.update.release.payload, entry.payload))
        assert sum(isinstance(spec, VerifyUpdates) for spec in lonely.jobs.values()) == 1 + is_large
        lonely.settle()
        assert lonely.network.updates == [one.update.id, two.update.id]


def test_updates_that_are_no_good_are_nobody_s_credit() -> None:
    """Who brings what breaks its plan pays for having it checked."""
    first, left, entry = make_release()
    bad = b"not a vector of numbers"
    release: Release = replace(entry.update.release, payload=PayloadRef.of(bad))
    lonely = Lonely(GENESIS)
    lonely.give(first, left)
    arrive(lonely, release.sign(ONE))
    pay_in(lonely, release.payload, bad)
    assert lonely.network.awaited == {}


def test_what_a_block_carries_leaves_the_pool_while_its_task_goes_on() -> None:
    """The update itself, and another one of its device; those of other devices stay."""
    mint, first, left, right, _ = make_forks()
    devices = {key: make_device(make_world(GENESIS, key, data=Rows(make_data(key)))) for key in (ONE, TWO)}
    for device in devices.values():
        device.give(first, left)
    one, two = (released(device)[0] for device in devices.values())
    mint.payloads[one.update.release.payload.id] = one.payload
    carrying = mint.block(left.id, updates=[AttestedUpdate(one.update, ())], producer=ONE)
    twin: Release = replace(one.update.release, computation_us=1)
    for mine in (one.update, twin.sign(ONE)):
        lonely = Lonely(GENESIS)
        lonely.headers(first, left, right)
        lonely.give(first, left)
        for update, payload in ((mine, one.payload), (two.update, two.payload)):
            arrive(lonely, update)
            pay_in(lonely, update.release.payload, payload)
        assert {entry.id for entry in lonely.core.updates.entries()} == {mine.id, two.update.id}
        lonely.give(carrying)
        assert lonely.head == carrying.id
        assert [entry.id for entry in lonely.core.updates.entries()] == [two.update.id]


def test_after_every_head_the_pool_holds_what_a_block_can_take_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is compared with what the blocks carry alone; that comes to the same as looking at all of it."""
    follow, heads = UpdateDesk.on_head, list[int]()

    def watch(desk: UpdateDesk, changed: HeadChanged, turn: Turn) -> None:
        before = [entry.update for entry in desk._pool.entries()]
        follow(desk, changed, turn)
        view, held = desk._chain.view, {entry.id for entry in desk._pool.entries()}
        assert {update.id for update in before if is_awaited(view, update)} <= held
        assert all(is_awaited(view, entry.update) for entry in desk._pool.entries())
        heads.append(len(before))

    monkeypatch.setattr(UpdateDesk, "on_head", watch)
    town = make_town(miners=2, devices=3)
    plan = submit(town, make_plan(devices=(2, 3, 3), rounds=2, blocks=(8, 8, 4)))
    assert town.run(lambda: is_over(town, plan), 200)
    assert sum(heads) > 10
