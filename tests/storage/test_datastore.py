"""The device's own store: rows that grow, sealed at rest, never lost once acknowledged, gone when their time is up."""

import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.ids import AccountId, Hash
from storage.datakey import Keyring, Password, read_key, write_key
from storage.datasegment import FORMAT
from storage.datastate import StoreLimits
from storage.datastore import MIN_BYTES, DataStore, make_limits
from storage.errors import (
    BoundError,
    CapacityError,
    DamagedError,
    KeystoreError,
    LockedError,
    UseError,
    WrongPasswordError,
)
from storage.sealing import seal, unseal

SECRET = Password("secret", 16)
ALICE, BOB = AccountId(b"a" * 32), AccountId(b"b" * 32)
PLAN, OTHER = Hash(b"p" * 32), Hash(b"q" * 32)
ROOMY = StoreLimits(10**9, "refuse", 0, 10**6)
SMALL = StoreLimits(10**9, "refuse", 100, 600)
"""Segments of a few batches, and rows that live for 100 ms."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


def make(place: Path, limits: StoreLimits = ROOMY) -> DataStore:
    return DataStore.create(place, SECRET, b"schema", limits)


def rows_in(store: DataStore, end: int | None = None) -> list[tuple[int, int, bytes]]:
    return [row for batch in store.read(end) for row in zip(batch.numbers, batch.times, batch.rows, strict=True)]


def fill(store: DataStore, times: range) -> None:
    """Append a row for each time, two at once; the row says the time."""
    for start in times[::2]:
        pair = [time for time in (start, start + 1) if time in times]
        store.append([b"row of %d " % time + os.urandom(40) for time in pair], pair)


def test_rows_come_back_in_their_order_after_a_restart(place):
    """Numbers rise by one; times and bytes are what was given; a bound leaves out what came later."""
    with_first = make(place)
    assert with_first.append([b"one", b""], [5, 3]) == 0
    with_first.close()
    store = DataStore(place, SECRET)
    assert store.append([b"three"], [9]) == 2
    assert rows_in(store) == [(0, 5, b"one"), (1, 3, b""), (2, 9, b"three")]
    assert rows_in(store, 2) == [(0, 5, b"one"), (1, 3, b"")]
    assert rows_in(store, 0) == []
    assert store.extent() == (3, 3)


def test_one_import_runs_at_a_time_while_rows_come_and_go(place):
    """A second one is told to wait, in this process or another; it may begin when the first is over."""
    store = make(place)
    other = DataStore(place, SECRET)
    with store.importing():
        with pytest.raises(LockedError, match=r"another import .* is under way"), other.importing():
            pytest.fail("two at a time")
        other.append([b"one"], [1])
        assert rows_in(store) == [(0, 1, b"one")]
    with other.importing():
        assert rows_in(other) == rows_in(store)


def test_nothing_in_the_directory_shows_a_row_or_the_schema(place):
    """A thief of the disk finds neither rows, nor the schema, nor the password."""
    store = make(place)
    store.append([b"the diagnosis of a patient" * 5], [1])
    store.hold(PLAN, ALICE, 1, 1)
    found = b"".join(path.read_bytes() for path in place.iterdir())
    assert not any(word in found for word in (b"diagnosis", b"schema", b"secret", ALICE, PLAN))
    assert place.stat().st_mode & 0o777 == 0o700


def test_the_same_rows_are_never_sealed_twice_in_the_same_way(place, tmp_path):
    """Two copies of a store that go on apart, as after a backup was restored, use no key and nonce twice."""
    store = make(place)
    store.append([b"row"], [1])
    before, tail = (place / "000000000000.seg").read_bytes(), (place / "tail").read_bytes()
    ends = []
    for content in (b"left", b"left", b"rite"):
        store.append([content], [2])
        ends.append((place / "000000000000.seg").read_bytes()[len(before) :])
        (place / "000000000000.seg").write_bytes(before)
        (place / "tail").write_bytes(tail)
    salts = {end[40 + 76 : 40 + 76 + 32] for end in ends}
    assert len(salts) == len(ends)
    assert unseal(b"k" * 32, b"a", seal(b"k" * 32, b"a", b"data", b"bound"), b"bound") == b"data"
    assert unseal(b"k" * 32, b"b", seal(b"k" * 32, b"a", b"data", b"bound"), b"bound") is None


# --- the key -------------------------------------------------------------------------------------


def test_the_password_can_be_changed_and_the_old_one_opens_nothing(place):
    """Only the small key file is written again."""
    store = make(place)
    store.append([b"row"], [1])
    store.change_opener(Password("other", 16))
    with pytest.raises(WrongPasswordError, match="wrong password"):
        DataStore(place, SECRET)
    assert rows_in(DataStore(place, Password("other", 16))) == [(0, 1, b"row")]
    with pytest.raises(KeystoreError, match="empty password"):
        store.change_opener(Password("", 16))


class Keeper:
    """A keyring in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get(self, service: str, user: str) -> str | None:
        return self.kept.get((service, user))

    def set(self, service: str, user: str, secret: str) -> None:
        self.kept[service, user] = secret


def test_the_keyring_opens_a_store_of_its_user_alone(place):
    """It holds a key that locks the store's key, never that key itself; another user's keyring is told apart."""
    keeper, stranger = Keeper(), Keeper()
    store = DataStore.create(place, Keyring(keeper), b"", ROOMY)
    store.append([b"row"], [1])
    assert rows_in(DataStore(place, Keyring(keeper))) == [(0, 1, b"row")]
    assert store.is_in_keyring
    (kept,) = keeper.kept.values()
    assert bytes.fromhex(kept) != read_key(place / "key.json", Keyring(keeper)).key
    with pytest.raises(KeystoreError, match="another user or on another machine"):
        DataStore(place, Keyring(stranger))
    stranger.kept = dict.fromkeys(keeper.kept, "00" * 32)
    with pytest.raises(WrongPasswordError, match="does not open it"):
        DataStore(place, Keyring(stranger))
    with pytest.raises(WrongPasswordError, match="use --keyring"):
        DataStore(place, SECRET)
    store.change_opener(SECRET)
    with pytest.raises(WrongPasswordError, match="give the password"):
        DataStore(place, Keyring(keeper))


def test_a_key_file_of_another_store_opens_nothing(place, tmp_path):
    """A key belongs to its store's id, and the id is authenticated."""
    make(place)
    other = make(tmp_path / "other")
    file = place / "key.json"
    file.write_text(file.read_text().replace(read_key(file, SECRET).store.hex(), other.id.hex()))
    with pytest.raises(WrongPasswordError):
        DataStore(place, SECRET)
    write_key(file, read_key(tmp_path / "other" / "key.json", SECRET), SECRET, replace=True)
    with pytest.raises(DamagedError, match=r"state .*not what was sealed under this store's key"):
        DataStore(place, SECRET)


def test_what_is_no_store_is_told_and_what_is_one_is_not_made_again(place, tmp_path):
    """Errors say what to do."""
    with pytest.raises(KeystoreError, match="fedchain data store init"):
        DataStore(place, SECRET)
    make(place)
    with pytest.raises(UseError, match="already is a data store"):
        make(place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letters.txt").touch()
    with pytest.raises(UseError, match=r"not empty \(letters.txt\)"):
        make(tmp_path / "full")


# --- damage --------------------------------------------------------------------------------------


def segments(place: Path) -> list[Path]:
    return sorted(place.glob("*.seg"))


def records(path: Path) -> list[bytes]:
    """Return the records of a segment as they stand in the file."""
    data, found = path.read_bytes(), []
    position = len(FORMAT.magic)
    while position < len(data):
        end = position + 40 + int.from_bytes(data[position : position + 4], "big")
        found.append(data[position:end])
        position = end
    return found


def drop_from_the_middle(place: Path, other: Path) -> None:
    first, _, *rest = records(segments(place)[-1])
    segments(place)[-1].write_bytes(FORMAT.magic + first + b"".join(rest))


def exchange_two(place: Path, other: Path) -> None:
    first, second, *rest = records(segments(place)[-1])
    segments(place)[-1].write_bytes(FORMAT.magic + second + first + b"".join(rest))


def repeat_one(place: Path, other: Path) -> None:
    found = records(segments(place)[-1])
    segments(place)[-1].write_bytes(FORMAT.magic + b"".join(found) + found[-1])


def bring_from_another_store(place: Path, other: Path) -> None:
    segments(place)[-1].write_bytes(segments(other)[-1].read_bytes())


def bring_another_segment(place: Path, other: Path) -> None:
    segments(place)[-1].write_bytes(segments(place)[0].read_bytes())


def exchange_closed_segments(place: Path, other: Path) -> None:
    first, second = segments(place)[:2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def drop_a_closed_segment(place: Path, other: Path) -> None:
    segments(place)[0].unlink()


def cut_a_closed_segment(place: Path, other: Path) -> None:
    first = segments(place)[0]
    first.write_bytes(FORMAT.magic + b"".join(records(first)[:-1]))


def tear_a_closed_segment(place: Path, other: Path) -> None:
    first = segments(place)[0]
    first.write_bytes(first.read_bytes()[:-3])


def flip_a_bit(place: Path, other: Path) -> None:
    first = segments(place)[0]
    data = bytearray(first.read_bytes())
    data[-20] ^= 1
    first.write_bytes(data)


def cut_the_open_segment(place: Path, other: Path) -> None:
    last = segments(place)[-1]
    last.write_bytes(FORMAT.magic + b"".join(records(last)[:-1]))


def empty_the_open_segment(place: Path, other: Path) -> None:
    segments(place)[-1].unlink()


def remove_the_tail(place: Path, other: Path) -> None:
    (place / "tail").unlink()


def take_the_tail_of_another(place: Path, other: Path) -> None:
    (place / "tail").write_bytes((other / "tail").read_bytes())


def restore_an_old_state(place: Path, other: Path) -> None:
    (place / "state").write_bytes((other.parent / "old state").read_bytes())


def take_the_state_of_another(place: Path, other: Path) -> None:
    (place / "state").write_bytes((other / "state").read_bytes())


FAULTS: dict[Callable[[Path, Path], None], str] = {
    drop_from_the_middle: "is entry 2 of segment",
    exchange_two: "is entry 1 of segment",
    repeat_one: "is entry 2 of segment",
    bring_from_another_store: "belongs to the data store",
    bring_another_segment: "of segment 0",
    exchange_closed_segments: "of segment 1",
    drop_a_closed_segment: "is missing",
    cut_a_closed_segment: "does not end as it did",
    tear_a_closed_segment: "cut short",
    flip_a_bit: "not what was sealed",
    cut_the_open_segment: "has 2 entries, and not all 3 that were acknowledged",
    empty_the_open_segment: "has 0 entries, and not all 3 that were acknowledged",
    remove_the_tail: "tail .* is missing",
    take_the_tail_of_another: "tail .* not what was sealed",
    restore_an_old_state: "newer than its state",
    take_the_state_of_another: "not what was sealed",
}


def test_two_copies_that_went_on_apart_can_not_be_mixed(place, tmp_path):
    """An entry follows the very one that it was written behind, though all of both copies is this store's own."""
    store = make(place)
    fill(store, range(2))
    store.close()
    shutil.copytree(place, tmp_path / "copy")
    for where in (place, tmp_path / "copy"):
        store = DataStore(where, SECRET)
        fill(store, range(2, 6))
        store.close()
    (here,), (there,) = segments(place), segments(tmp_path / "copy")
    here.write_bytes(FORMAT.magic + b"".join([*records(here)[:2], records(there)[2]]))
    with pytest.raises(DamagedError, match="entry 2 does not follow what stands before it"):
        DataStore(place, SECRET)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_was_moved_dropped_repeated_or_changed_is_refused_by_name(place, tmp_path, fault):
    """An entry opens at its own place of its own segment of its own store alone; of a closed segment all are there."""
    other = tmp_path / "other"
    for where in (place, other):
        store = make(where, StoreLimits(10**9, "refuse", 0, 900))
        if where == place:
            (tmp_path / "old state").write_bytes((place / "state").read_bytes())
        fill(store, range(22))
        store.close()
    assert len(segments(place)) == 3
    assert len(records(segments(place)[-1])) == 3
    fault(place, other)
    with pytest.raises(DamagedError, match=FAULTS[fault]):
        rows_in(DataStore(place, SECRET))


def test_a_state_that_alone_is_old_is_refused_by_name(place):
    """A hold, or whom the store serves, can't be taken back by putting an old state beside newer rows, or none."""
    store = make(place)
    store.append([b"row"], [1])
    before = (place / "state").read_bytes()
    store.hold(PLAN, ALICE, *store.extent())
    (place / "state").write_bytes(before)
    with pytest.raises(DamagedError, match="its state is older than what was acknowledged last"):
        store.bound_device()


def test_every_change_counts_and_an_older_copy_says_less(place, tmp_path):
    """Rows, limits, the device, holds and expiry; what changes nothing counts for nothing."""
    store = make(place, SMALL)
    counted = [store.facts().changes]
    for change in (
        lambda: store.append([b"row"], [1]),
        lambda: store.set_limits(SMALL),
        lambda: store.bind_device(ALICE),
        lambda: store.hold(PLAN, ALICE, *store.extent()),
        lambda: store.release(PLAN),
        lambda: store.expire(1_000),
    ):
        shutil.copytree(place, tmp_path / f"copy {len(counted)}")
        change()
        counted.append(store.facts().changes)
        assert DataStore(tmp_path / f"copy {len(counted) - 1}", SECRET).facts().changes == counted[-2]
    assert all(before < after for before, after in pairwise(counted))
    for nothing in (lambda: store.bind_device(ALICE), lambda: store.release(PLAN), lambda: store.append([], [])):
        nothing()
        assert store.facts().changes == counted[-1]


def test_damage_is_not_written_over_by_expiry(place):
    """Rows of a segment that is not what it was are not packed anew, as if they were all there were."""
    store = make(place, StoreLimits(10**9, "refuse", 100, 900))
    fill(store, range(22))
    cut_a_closed_segment(place, place)
    with pytest.raises(DamagedError, match="does not end as it did"):
        store.expire(103)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 4000), junk=st.booleans())
def test_a_torn_end_costs_only_what_was_not_acknowledged(tmp_path_factory, cut, junk):
    """However an append is cut off, with or without zeros behind it, the rows before it are there and more can come."""
    place = tmp_path_factory.mktemp("torn") / "store"
    store = make(place)
    store.append([b"kept"], [1])
    (file,) = segments(place)
    whole, tail = file.read_bytes(), (place / "tail").read_bytes()
    store.append([os.urandom(3000)], [2])
    (place / "tail").write_bytes(tail)  # it died before the row was acknowledged
    torn = file.read_bytes()[: max(len(whole), file.stat().st_size - cut)]
    if junk and len(torn) < len(whole) + 40:
        torn = whole + bytes(100)
    file.write_bytes(torn)
    store = DataStore(place, SECRET)
    assert rows_in(store) == [(0, 1, b"kept")]
    assert store.append([b"next"], [3]) == 1
    assert rows_in(DataStore(place, SECRET)) == [(0, 1, b"kept"), (1, 3, b"next")]


# --- limits and age ------------------------------------------------------------------------------


def test_a_full_store_refuses_rows_and_keeps_those_it_has(place):
    """None of the refused rows is in, and the error says what to do."""
    store = make(place, StoreLimits(3000, "refuse", 0, 600))
    store.append([os.urandom(1000)], [1])
    with pytest.raises(CapacityError, match=r"is full \(3000 bytes\).*data store limits"):
        store.append([os.urandom(900), os.urandom(1500)], [2, 3])
    assert [row[0] for row in rows_in(store)] == [0]
    with pytest.raises(CapacityError, match="a row of 300000 bytes"):
        store.append([bytes(300_000)], [1])
    with pytest.raises(CapacityError, match="at least"):
        make_limits(MIN_BYTES - 1)


def test_a_full_store_lets_the_oldest_rows_go_if_that_is_wanted(place):
    """Whole segments, the oldest first; never those that a plan trains on."""
    store = make(place, StoreLimits(5000, "drop-oldest", 0, 600))
    for number in range(12):
        store.append([os.urandom(500)], [number])
        assert store.facts().bytes <= 5000
    kept = [row[0] for row in rows_in(store)]
    assert kept == list(range(kept[0], 12))
    assert kept[0] > 0
    assert store.facts().removed == kept[0]
    store.hold(PLAN, ALICE, 12, len(kept))
    with pytest.raises(CapacityError, match="plan 7070707070707070 trains on its oldest rows"):
        store.append([os.urandom(500)] * 9, range(9))
    store.release(PLAN)
    store.append([os.urandom(500)], [30])


def test_old_rows_go_and_no_row_before_its_time(place):
    """Whole segments are deleted, the one in which the limit lies is written again; numbers stay what they were."""
    store = make(place, SMALL)
    fill(store, range(20))
    assert store.expire(100).rows == 0
    assert store.expire(107).rows == 7
    assert [(number, time) for number, time, _ in rows_in(store)] == [(n, n) for n in range(7, 20)]
    fill(store, range(20, 30))
    assert DataStore(place, SECRET).expire(125).rows == 18
    assert [row[0] for row in rows_in(store)] == list(range(25, 30))
    assert store.expire(1000).rows == 5
    assert rows_in(store) == []
    assert store.append([b"new"], [950]) == 30
    on_disk = {path.name for path in place.iterdir()}
    assert on_disk <= {"key.json", "state", "tail", ".lock", *(path.name for path in segments(place)[-2:])}


def test_rows_that_a_plan_trains_on_stay_until_it_ends(place):
    """What was there at the join is there for every round, bit for bit; rows that came later expire as ever."""
    store = make(place, SMALL)
    fill(store, range(10))
    joined = rows_in(store)
    store.hold(PLAN, ALICE, *store.extent())
    fill(store, range(10, 20))
    expired = store.expire(115)
    assert (expired.rows, expired.held) == (5, 10)
    hold = DataStore(place, SECRET).held(PLAN)
    assert hold is not None
    assert rows_in(store, hold.end) == joined
    assert [row[0] for row in rows_in(store)] == [*range(10), *range(15, 20)]
    store.release(PLAN)
    assert store.expire(115).rows == 10
    assert store.held(PLAN) is None


def test_the_holder_may_insist_on_the_age(place):
    """Held rows go if they are told to: the device then has fewer than it joined with, and says so."""
    store = make(place, SMALL)
    fill(store, range(10))
    store.hold(PLAN, ALICE, *store.extent())
    store.hold(OTHER, ALICE, 3, 3)
    assert store.expire(105).rows == 0
    assert store.expire(105, even_held=True).rows == 5
    assert [hold.is_broken for hold in store.holds()] == [True, True]
    fill(store, range(10, 14))
    store.hold(Hash(b"r" * 32), ALICE, *store.extent())
    assert store.expire(111).rows == 0
    assert [hold.is_broken for hold in DataStore(place, SECRET).holds()] == [True, True, False]


def test_rows_that_went_between_reading_and_joining_are_not_held(place):
    """A hold is of rows that are there."""
    store = make(place, SMALL)
    fill(store, range(10))
    end, count = store.extent()
    store.expire(104)
    with pytest.raises(UseError, match="read again"):
        store.hold(PLAN, ALICE, end, count)
    store.hold(PLAN, ALICE, *store.extent())
    assert store.holds()[0].rows == 6


def test_a_reader_is_told_that_rows_went_meanwhile_and_never_gets_others(place):
    """Reading does not keep others from the store."""
    store, second = make(place, SMALL), DataStore(place, SECRET)
    fill(store, range(20))
    reading = store.read()
    next(reading)
    second.expire(109)
    with pytest.raises(UseError, match="went while they were read"):
        list(reading)


# --- one device ----------------------------------------------------------------------------------


def test_a_store_serves_one_device_for_ever(place):
    """Another key is no new budget for the same rows; the first key is named."""
    store = make(place)
    assert store.bound_device() is None
    store.bind_device(ALICE)
    store.bind_device(ALICE)
    assert DataStore(place, SECRET).bound_device() == ALICE
    for attempt in (lambda: store.bind_device(BOB), lambda: store.hold(OTHER, BOB, 0, 0)):
        with pytest.raises(BoundError, match=f"serves the device {ALICE.hex()}"):
            attempt()
    assert store.holds() == ()


# --- all of it, at random ------------------------------------------------------------------------

Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "expire", "hold", "release", "reopen"]), st.integers(0, 9)
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_store_is_a_list_from_which_old_rows_go(tmp_path_factory, steps: list[Step]):
    """Whatever happens in whatever order, it holds what a plain list would, and what is held does not go."""
    place = tmp_path_factory.mktemp("any") / "store"
    store = make(place, StoreLimits(10**9, "refuse", 30, 500))
    model: list[tuple[int, int, bytes]] = []
    count, now, held = 0, 100, 0
    for kind, size in steps:
        if kind == "append":
            rows = [os.urandom(30 * size) for _ in range(size)]
            times = [now - 7 * place for place in range(size)]
            assert store.append(rows, times) == count
            model += zip(range(count, count + size), times, rows, strict=True)
            count, now = count + size, now + 5
        elif kind == "expire":
            now += 5 * size
            store.expire(now)
            model = [row for row in model if row[1] >= now - 30 or row[0] < held]
        elif kind == "hold" and not held:
            held = count
            store.hold(PLAN, ALICE, *store.extent())
        elif kind == "release":
            held = 0
            store.release(PLAN)
        else:
            store.close()
            store = DataStore(place, SECRET)
        assert rows_in(store) == model
    assert store.facts().rows == len(model)
    store.close()
