"""The update pool: one update a task and device, attestations merged in order, only verified ones handed out."""

from hypothesis import given
from hypothesis import strategies as st

from chain.ids import ZERO_HASH, Hash, Height
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.update import Attestation, AttestedUpdate, LocalUpdate, PrivacyCharge, Release
from node.core.config import PoolLimits
from node.updatepool import Intake, Stage, UpdatePool
from tests.node.core.town import key_of

MINERS = [key_of(number) for number in range(50, 55)]
HEIGHT = Height(3)


def update(device: KeyPair, payload: bytes = b"payload", task: bytes = bytes(32)) -> LocalUpdate:
    ref = PayloadRef.of(payload)
    charge = PrivacyCharge("none", 0, 0)
    return Release("town", ZERO_HASH, 0, 0, Hash(task), device.account, 5, 9, charge, ref).sign(device)


def attested(local: LocalUpdate, *miners: KeyPair) -> AttestedUpdate:
    return AttestedUpdate(local, tuple([Attestation.of(local.id, miner) for miner in miners]))


@given(st.lists(st.lists(st.sampled_from(MINERS), unique_by=lambda key: key.account), max_size=6))
def test_attestations_from_anywhere_are_merged_in_the_order_of_their_miners(arrivals: list[list[KeyPair]]) -> None:
    """Whatever came in whatever pieces, the update carries each miner once, sorted; news are told from repeats."""
    pool, local = UpdatePool(PoolLimits()), update(key_of(1))
    seen: set[bytes] = set()
    for number, miners in enumerate(arrivals):
        new = {miner.account for miner in miners} - seen
        expected = Intake.NEW if number == 0 else Intake.MERGED if new else Intake.KNOWN
        assert expected == pool.add(attested(local, *miners), HEIGHT)
        seen |= new
    if arrivals:
        entry = pool.get(local.id)
        assert entry is not None
        assert sorted(seen) == [attestation.miner for attestation in entry.attested().attestations]


def test_a_second_update_for_one_task_is_refused() -> None:
    """A device that says two things about one task is heard once; about another task it is heard again."""
    pool, device = UpdatePool(PoolLimits()), key_of(1)
    assert pool.add(attested(update(device)), HEIGHT) is Intake.NEW
    assert pool.add(attested(update(device, b"another payload")), HEIGHT) is Intake.CONFLICT
    assert pool.add(attested(update(device, task=bytes([1]) * 32)), HEIGHT) is Intake.NEW
    assert len(pool) == 2


def test_caps_hold_by_count_and_by_bytes() -> None:
    """The pool takes no more than it may hold, and has room again when something left."""
    pool = UpdatePool(PoolLimits(updates=2, update_bytes=20))
    first, second = update(key_of(1), bytes(10)), update(key_of(2), bytes(10))
    assert pool.add(attested(first), HEIGHT) is Intake.NEW
    assert pool.add(attested(update(key_of(3), bytes(11))), HEIGHT) is Intake.FULL
    assert pool.add(attested(second), HEIGHT) is Intake.NEW
    assert pool.add(attested(update(key_of(4), b"")), HEIGHT) is Intake.FULL
    pool.drop([first.id])
    assert pool.size_bytes == 10
    assert pool.add(attested(update(key_of(4), b"")), HEIGHT) is Intake.NEW


def test_only_verified_updates_are_selected_in_the_order_they_came() -> None:
    """Builders get what was verified, with all its attestations."""
    pool = UpdatePool(PoolLimits())
    locals_ = [update(key_of(number)) for number in (1, 2, 3)]
    for local in locals_:
        pool.add(attested(local, MINERS[0]), HEIGHT)
    for local in (locals_[2], locals_[0]):
        entry = pool.get(local.id)
        assert entry is not None
        entry.stage = Stage.VERIFIED
    assert (attested(locals_[0], MINERS[0]), attested(locals_[2], MINERS[0])) == pool.verified()


def test_a_new_head_leaves_what_is_still_awaited() -> None:
    """What nobody awaits any more goes, is named, and frees its device's place."""
    pool = UpdatePool(PoolLimits())
    stays, goes = update(key_of(1)), update(key_of(2))
    for local in (stays, goes):
        pool.add(attested(local), HEIGHT)
    assert [goes.id] == [entry.id for entry in pool.settle(lambda local: local == stays)]
    assert stays.id in pool
    assert pool.of_device(goes.release.task, goes.release.device) is None


def test_a_payload_wakes_only_those_who_wait_for_it() -> None:
    """Updates that share a payload are all found by it; those already checked are not."""
    pool = UpdatePool(PoolLimits())
    one, two, other = update(key_of(1)), update(key_of(2)), update(key_of(3), b"other")
    for local in (one, two, other):
        pool.add(attested(local), HEIGHT)
    entry = pool.get(two.id)
    assert entry is not None
    entry.stage = Stage.CHECKING
    assert [one.id] == [entry.id for entry in pool.waiting_for(one.release.payload.id)]
