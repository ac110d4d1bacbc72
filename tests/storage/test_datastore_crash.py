"""A data store whose process dies at any write, flush, renaming or deletion: nothing that it acknowledged is lost.

The calls that change files are counted; a run dies at one of them, before it happens or, where it writes, half way
through. What is left is opened as it lies there.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.ids import AccountId, Hash
from storage import datasegment
from storage.datakey import Password
from storage.datasegment import Source
from storage.datastate import StoreLimits
from storage.datastore import DataStore

SECRET = Password("secret", 16)
DEVICE, PLAN = AccountId(b"a" * 32), Hash(b"p" * 32)
LIMITS = StoreLimits(4000, "drop-oldest", 100, 700)
CALLS = ("write", "fsync", "rename", "unlink", "ftruncate", "link")


class Crash(BaseException):
    """The process dies here."""


class Death:
    """Lets so many calls that change files happen, then none any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.seen: list[str] = []
        self.half = False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._dying(name, getattr(os, name)))

    def _dying(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            self.seen.append(name)
            if self.left is not None:
                self.left -= 1
            if self.left is None or self.left >= 0:
                return None if name == "fsync" else real(*given, **named)  # nobody pulls the plug here
            if self.left == -1 and name == "write" and self.half:
                data = bytes(given[1])  # type: ignore[call-overload]
                real(given[0], data[: len(data) // 2])
            raise Crash

        return call


def rows_in(store: DataStore) -> list[tuple[int, int, bytes]]:
    return [row for batch in store.read() for row in zip(batch.numbers, batch.times, batch.rows, strict=True)]


def content(text: str, length: int) -> bytes:
    """Return bytes that can't be compressed, the same for the same text."""
    return b"".join(sha256(f"{text} {part}".encode()).digest() for part in range(length // 32))


STEPS: tuple[tuple[str, Callable[[DataStore], object]], ...] = (
    ("append", lambda store: store.append([content("a", 320), content("b", 320)], [10, 20])),
    ("append", lambda store: store.append([content("c", 640)], [30])),
    ("bind", lambda store: store.bind_device(DEVICE)),
    ("append", lambda store: store.append([content("d", 320), content("e", 320)], [40, 50])),
    ("expire", lambda store: store.expire(125)),
    ("hold", lambda store: store.hold(PLAN, DEVICE, *store.extent())),
    ("append", lambda store: store.append([content("f", 960)], [60])),
    ("expire", lambda store: store.expire(200)),
    ("release", lambda store: store.release(PLAN)),
    ("append", lambda store: store.append([content("g", 960), content("h", 960)], [70, 80])),
    ("append", lambda store: store.append([content("i", 960)], [90])),
    ("expire", lambda store: store.expire(175)),
)


Told = tuple[list[tuple[int, int, bytes]], object, object, int, int]


def told(store: DataStore) -> Told:
    """Return everything that a store says which doesn't depend on where its files are cut."""
    facts = store.facts()
    return rows_in(store), facts.device, facts.holds, facts.end, facts.removed


def is_between(after: Told, before: Told, done: Told) -> bool:
    """Is this how a store may be found: as before a step, as after it, or with room made and nothing in it yet?"""
    gone = after[4] - before[4]
    made_room = (before[0][gone:], *before[1:4], before[4] + gone)
    return after in (before, done) or (0 < gone == done[4] - before[4] and after == made_room)


def test_whenever_it_dies_it_has_what_it_acknowledged_and_goes_on(tmp_path, monkeypatch):
    """After each step it is as before or as after it, and with the remaining steps ends like one that never crashed."""
    death = Death(monkeypatch)
    path = tmp_path / "whole"
    store = DataStore.create(path, SECRET, b"schema", LIMITS)
    states, calls = [told(store)], []
    for place, (_, step) in enumerate(STEPS):
        shutil.copytree(path, tmp_path / f"before {place}")
        death.seen.clear()
        step(store)
        calls.append(tuple(death.seen))
        states.append(told(store))
    assert states[-1][4] > 3  # rows went
    crashes = 0
    for place, names in enumerate(calls):
        for call, name in enumerate(names):
            for half in (False, True)[: 1 + (name == "write")]:
                shutil.copytree(tmp_path / f"before {place}", tmp_path / "torn")
                crashes += crash_once(tmp_path / "torn", death, place, call, half, states)
                shutil.rmtree(tmp_path / "torn")
    assert crashes >= sum(map(len, calls)) > 80
    assert {name for names in calls for name in names} >= {"write", "fsync", "rename", "unlink"}


def crash_once(path: Path, death: Death, place: int, call: int, half: bool, states: list[Told]) -> int:
    """Die at one call of one step, then go on for three; return the number of crashes, which must be one."""
    store = DataStore(path, SECRET)
    death.left, death.half, crashed = call, half, 0
    try:
        STEPS[place][1](store)
    except Crash:
        crashed = 1
    death.left = None
    store.close()
    store = DataStore(path, SECRET)
    after = told(store)
    assert is_between(after, states[place], states[place + 1]), f"step {place} ({STEPS[place][0]}), call {call}"
    last = min(place + 3, len(STEPS))
    for _, step in STEPS[place + (after == states[place + 1]) : last]:
        step(store)
    assert told(store) == states[last]
    assert not [file for file in path.iterdir() if file.suffix in (".new", ".tmp")]
    store.close()
    return crashed


FILE, ROWS = b"digest of the file", [content(f"row {number}", 128) for number in range(10)]
AGELESS = StoreLimits(10**6, "refuse", 0, 700)


def import_rows(store: DataStore) -> None:
    """Take the rows of a file, some at a time, from where the last import of it ended."""
    before = store.taken(FILE)
    for start in range(0, len(ROWS), 4):
        first, end = max(start, before), min(start + 4, len(ROWS))
        if first < end:
            store.append(ROWS[first:end], [1 + number % 2 * 100 for number in range(first, end)], Source(FILE, first))


def test_an_import_that_dies_anywhere_and_is_run_again_has_each_row_once(tmp_path, monkeypatch):
    """Somebody else may append in between; what was half written is not counted, what is there is not added again."""
    monkeypatch.setattr(datasegment, "MAX_BATCH_ROWS", 2)
    death, path = Death(monkeypatch), tmp_path / "store"
    whole = DataStore.create(path, SECRET, b"schema", AGELESS)
    shutil.copytree(path, tmp_path / "new")
    death.seen.clear()
    import_rows(whole)
    calls = tuple(death.seen)
    assert [row for _, _, row in rows_in(whole)] == ROWS
    crashes = 0
    for call, name in enumerate(calls):
        for half in (False, True)[: 1 + (name == "write")]:
            shutil.copytree(tmp_path / "new", tmp_path / "torn")
            store = DataStore(tmp_path / "torn", SECRET)
            death.left, death.half = call, half
            with pytest.raises(Crash):
                import_rows(store)
            death.left, crashes = None, crashes + 1
            store.close()
            store = DataStore(tmp_path / "torn", SECRET)
            store.append([b"of somebody else"], [5])
            for _ in range(2):
                import_rows(store)
            assert [row for _, _, row in rows_in(store) if row in ROWS] == ROWS
            assert store.taken(FILE) == len(ROWS)
            shutil.rmtree(tmp_path / "torn")
    assert crashes > 30
    whole.set_limits(replace(AGELESS, max_age_ms=100))
    assert whole.expire(150).rows == len(ROWS) / 2
    assert whole.taken(FILE) == len(ROWS), "rows that went by their age are not taken again"


WRITER = """
import sys
from hashlib import sha256
from pathlib import Path
from storage.datakey import Password
from storage.datastate import StoreLimits
from storage.datastore import DataStore

store = DataStore(Path(sys.argv[1]), Password("secret", 16))
count = 0
while True:
    rows = [f"{sys.argv[2]} {count + place} ".encode() * 20 for place in range(3)]
    first = store.append(rows, [count] * 3)
    print(first, count, flush=True)
    count += 3
    if count % 10 == 0:
        store.expire(count)
"""


@pytest.mark.processes
def test_two_killed_writers_lose_nothing_they_acknowledged(tmp_path):
    """Two processes append to one store and are killed; every row that either was told of is there, in one order."""
    path = tmp_path / "store"
    DataStore.create(path, SECRET, b"", StoreLimits(10**8, "refuse", 60, 3000)).close()
    acknowledged: dict[int, bytes] = {}
    for _ in range(2):
        names = {name: [sys.executable, "-c", WRITER, str(path), name] for name in ("left", "right")}
        writers = {name: subprocess.Popen(told, stdout=subprocess.PIPE, text=True) for name, told in names.items()}
        for name, writer in writers.items():
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(6)]
            os.kill(writer.pid, signal.SIGKILL)
            lines += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
            assert writer.wait() == -signal.SIGKILL
            writer.stdout.close()
            for first, count in (map(int, line.split()) for line in lines):
                acknowledged |= {first + place: f"{name} {count + place} ".encode() * 20 for place in range(3)}
        store = DataStore(path, SECRET)
        found = {number: row for number, _, row in rows_in(store)}
        assert list(found) == sorted(found)
        assert max(acknowledged) < store.extent()[0]
        assert len(found) == store.extent()[1] > 0
        kept = acknowledged.keys() & found.keys()
        assert {number: found[number] for number in kept} == {number: acknowledged[number] for number in kept}
        assert len(kept) >= len(found) - 12  # what was not acknowledged is at most one append of each writer's
        store.close()
