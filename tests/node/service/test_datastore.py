"""A data store as a device's data: each plan on the rows as of its join, and no plaintext on the disk."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from chain.ids import AccountId, Hash
from fl.dataset import Dataset, rows, to_dense
from fl.errors import DataError
from node.jobs.specs import TrainTask
from node.light.rehearsal import PretendedRows
from node.notices import RoleNotice
from node.service.datastore import OpenedStore, StoreSource, create_store, open_data_store
from node.service.service import _expire
from storage.datakey import Password
from storage.datastate import StoreLimits
from storage.datastore import DataStore
from storage.errors import BoundError, DamagedError
from storage.seenstores import SeenStores
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_device import GENESIS, NAME, ONE, PLAN, founding, make_forks, released, trainings
from tests.node.core.town import DEVICE, key_of, make_world
from tests.node.service.houses import until

SECRET = Password("secret", 16)
ROLE = PLAN.roles[0]
OTHER = Hash(b"q" * 32)


class Clock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.ms = 1000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenedStore]:
    """A store in which rows live for 500 ms, in small segments; 20 rows of time 1000 are in it."""
    create_store(tmp_path / "store", SECRET, ROLE, StoreLimits(10**8, "refuse", 500, 400)).close()
    with OpenedStore(tmp_path / "store", SECRET) as store:
        put(store, 20, 1000)
        yield store


def put(store: OpenedStore, count: int, time: int) -> None:
    """Add rows, each other than all before it."""
    begin = store.store.extent()[0]
    cells = [(f"0.{begin + place:03d}", f"-0.{time}", str(place % 2)) for place in range(count)]
    store.append(cells, [time] * count)


def source_of(opened: OpenedStore, clock: Clock) -> StoreSource:
    return StoreSource(DataStore(opened.store.path, SECRET), clock)


def same(left: Dataset, right: Dataset) -> bool:
    return np.array_equal(to_dense(left).x, to_dense(right).x) and np.array_equal(left.y, right.y)


def test_a_plan_is_trained_on_the_rows_as_of_its_join(opened, clock):
    """Rows that come or grow old later change nothing of it, after a restart either; other plans have what there is."""
    source = source_of(opened, clock)
    joined = source.load_for(NAME, ROLE)
    put(opened, 5, 1300)
    assert source.hold(NAME, ONE.account)
    put(opened, 5, 1400)
    clock.ms = 1600
    assert source.expire().held == 20
    for one in (source, source_of(opened, clock)):
        assert same(one.load_for(NAME, ROLE), joined)
        assert rows(one.load_for(OTHER, ROLE)) == 30
        assert one.held() == {NAME}
    source.release(NAME)
    assert rows(source.load_for(NAME, ROLE)) == rows(source.load(ROLE)) == 10


def test_rows_that_went_since_they_were_read_are_read_again(opened, clock):
    """A join counts on rows that are there."""
    source = source_of(opened, clock)
    assert not source.hold(NAME, ONE.account)
    source.load_for(NAME, ROLE)
    put(opened, 3, 1400)
    clock.ms = 1600
    source.expire()
    assert not source.hold(NAME, ONE.account)
    assert rows(source.load_for(NAME, ROLE)) == 3
    assert source.hold(NAME, ONE.account)


def test_the_data_serve_one_device(opened, clock):
    """Another key is refused at the node's start, and when it would join, with the first one's name."""
    source = source_of(opened, clock)
    source.load_for(NAME, ROLE)
    source.hold(NAME, ONE.account)
    source.load_for(OTHER, ROLE)
    with pytest.raises(DataError, match=f"serves the device {ONE.account.hex()}"):
        source.hold(OTHER, AccountId(b"b" * 32))
    with pytest.raises(BoundError, match=ONE.account.hex()):
        open_data_store(opened.store.path, SECRET, AccountId(b"b" * 32))
    assert open_data_store(opened.store.path, SECRET, ONE.account).held() == {NAME}


def test_a_rehearsal_holds_and_releases_nothing(opened, clock):
    """A light node tries what its device would do; the store must not notice."""
    source = source_of(opened, clock)
    source.load_for(NAME, ROLE)
    pretended = PretendedRows(source)
    assert pretended.hold(NAME, ONE.account)
    assert source.held() == frozenset()
    assert source.hold(NAME, ONE.account)
    pretended.release(NAME)
    assert pretended.held() == source.held() == {NAME}


def make_device(opened: OpenedStore, clock: Clock, lonely: Lonely | None = None) -> Lonely:
    """A device on this store; with the journal of an earlier one."""
    data = source_of(opened, clock)
    return Lonely(GENESIS, make_world(GENESIS, ONE, data=data), DEVICE)


def test_a_device_trains_on_what_it_joined_with_while_rows_come_and_go(opened, clock, tmp_path):
    """The rows are held, durably, before its join leaves; its update counts 20 rows though there are others by then."""
    _, first, left, _, _ = make_forks()
    lonely = make_device(opened, clock)
    lonely.give(first)
    hold = opened.store.held(NAME)
    assert hold is not None
    assert (hold.rows, opened.store.bound_device()) == (20, ONE.account)
    put(opened, 30, 1400)
    clock.ms = 1600
    lonely.give(left)
    (entry,) = released(lonely)
    assert entry.update.release.samples == 20
    plain = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"0.007" not in plain
    assert b"-0.1400" not in plain


def test_a_device_whose_rows_were_taken_away_says_so_and_releases_nothing(opened, clock):
    """The holder may insist on the rows' age: then the plan has to do without the device."""
    _, first, left, _, _ = make_forks()
    lonely = make_device(opened, clock)
    lonely.give(first)
    opened.store.expire(1600, even_held=True)
    put(opened, 7, 1600)
    lonely.give(left)
    assert released(lonely) == []
    told = [notice.text for notice in lonely.notices(RoleNotice) if isinstance(notice, RoleNotice)]
    assert any("were let go although it holds them" in text for text in told)


def test_a_restarted_device_goes_on_with_the_rows_it_joined_with(opened, clock):
    """What it holds is in the store, not in its memory."""
    _, first, left, _, _ = make_forks()
    make_device(opened, clock).give(first)
    put(opened, 30, 1400)
    again = make_device(opened, clock)
    again.give(first, left)
    (spec,) = trainings(again)
    assert isinstance(spec, TrainTask)
    assert [entry.update.release.samples for entry in released(again)] == [20]


def test_data_that_do_not_suffice_yet_are_looked_at_again(tmp_path, clock):
    """A plan that takes its time to begin waits for a store to fill."""
    create_store(tmp_path / "store", SECRET, ROLE, StoreLimits(10**8, "refuse", 0, 400)).close()
    with OpenedStore(tmp_path / "store", SECRET) as store:
        lonely = make_device(store, clock)
        mint = Mint(GENESIS)
        blocks = [mint.block(mint.root, founding(PLAN), producer=key_of(1))]
        lonely.give(blocks[0])
        assert "has no rows yet" in str(lonely.notices(RoleNotice)[0])
        put(store, 20, 1000)
        assert store.store.held(NAME) is None
        device = lonely.core._device
        assert device is not None
        standing = device._standings[NAME]
        assert standing.again == 11


# --- old copies -----------------------------------------------------------------------------------


def test_an_old_copy_of_a_store_is_told_as_long_as_it_is_one(opened, clock, tmp_path):
    """The node remembers how often the store was changed; another store, or a newer one, is no old copy."""
    seen, path = SeenStores(tmp_path / "stores.json"), opened.store.path
    shutil.copytree(path, tmp_path / "old")
    put(opened, 2, 1000)
    source = StoreSource(DataStore(path, SECRET), clock, seen)
    assert source.older_by == 0
    old = StoreSource(DataStore(tmp_path / "old", SECRET), clock, seen)
    missing = opened.store.changes() - old.store.changes()
    assert old.older_by == missing > 0
    assert StoreSource(DataStore(tmp_path / "old", SECRET), clock, seen).older_by == missing, "until somebody saw to it"
    put(opened, 2, 1000)
    source.load(ROLE)
    old.expire()
    assert old.older_by > missing
    other = create_store(tmp_path / "other", SECRET, ROLE, StoreLimits(10**8, "refuse", 500, 400))
    assert StoreSource(other, clock, seen).older_by == 0


async def test_a_node_warns_of_an_old_copy(opened, clock, tmp_path):
    """Once, with what to do."""
    seen = SeenStores(tmp_path / "stores.json")
    assert seen.note(opened.store.id, 100) == 0
    source = StoreSource(DataStore(opened.store.path, SECRET), clock, seen)
    with capture_logs() as logs:
        watching = asyncio.create_task(_expire(source, structlog.get_logger()))
        await until(lambda: logs)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert line["event"] == "the data store is an old copy of itself"
    assert line["changes_missing"] == 100 - opened.store.changes()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"aa": "many"}', b" " * (1 << 21)])
def test_a_memory_that_is_damaged_is_told_by_name(tmp_path, content):
    """Nothing is guessed: it says what removing it means."""
    (tmp_path / "stores.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"stores\.json.*remove the file"):
        SeenStores(tmp_path / "stores.json").note(b"store", 1)
