"""kill −9 at any instant: what was acknowledged is there, what is there is whole, and nothing needs repair."""

import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import plyvel
import pytest

from storage.check import check_stores
from storage.errors import DiskError
from storage.journal import FileReleaseJournal
from storage.lock import DirectoryLock
from storage.opening import open_chain_store
from storage.payloads import PayloadFiles
from tests.storage.chains import make_genesis, make_release

WRITER = """
import sys
from pathlib import Path
from storage.journal import FileReleaseJournal
from storage.opening import open_chain_store
from storage.lock import DirectoryLock
from storage.payloads import PayloadFiles
from tests.storage.chains import batch, make_block, make_genesis, make_release

path = Path(sys.argv[1])
lock = DirectoryLock(path / ".lock")
store = open_chain_store(path / "chain", lock, make_genesis())
payloads = PayloadFiles(path / "payloads")
journal = FileReleaseJournal(path / "releases.log")
import resource, signal
if len(sys.argv) > 2:  # a disk on which no file grows beyond so many bytes
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
while True:
    height = store.height() + 1
    payload = b"payload %d " % height * 200
    payloads.put(payload, sync=True)
    journal.record(make_release(b"%d" % height, payload=payload, loss=1, total=height))
    journal.record_all([make_release(b"%d" % height, device=device, payload=b"%d" % device) for device in range(1, 5)])
    block = make_block(store.header(store.tip()), transactions=(2 * height, 2 * height + 1), payloads=(payload,))
    store.put_headers([block.header])
    store.put_body(block.id, block.body)
    store.commit(batch([block], [(b"s/height", b"%d" % height), (b"s/%d" % height, payload)]))
    print(height, flush=True)
"""
KILLS = 6


@pytest.mark.processes
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path):
    """A process that writes as fast as it can is killed again and again; each time all it said is found, and sound."""
    draw = random.Random(7)
    (tmp_path / "payloads").mkdir()
    acknowledged = killed = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, write_until_killed(tmp_path, draw.uniform(0.0, 0.15)))
        killed += 1
        height = inspect(tmp_path)
        assert height in (acknowledged, acknowledged + 1)
        acknowledged = height
    assert killed == KILLS
    assert acknowledged > KILLS


def write_until_killed(path, seconds: float) -> int:
    """Return the last height the writer acknowledged before it was killed."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(seconds)
    os.kill(writer.pid, signal.SIGKILL)
    lines = [line for line in (first + writer.stdout.read()).splitlines(keepends=True) if line.endswith("\n")]
    assert writer.wait() == -signal.SIGKILL, "the writer was to be killed, not to end"
    writer.stdout.close()
    return int(lines[-1])


@pytest.mark.processes
@pytest.mark.parametrize("room", [30_000, 110_001])
def test_a_full_disk_stops_the_writer_and_loses_nothing_it_acknowledged(tmp_path, room):
    """It ends loudly in the write that found no room; with room again everything is there, and it goes on."""
    (tmp_path / "payloads").mkdir()
    writer = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), str(room)], capture_output=True, text=True, timeout=60
    )
    assert writer.returncode == 1
    assert "DiskError" in writer.stderr or "File too large" in writer.stderr
    said = int(writer.stdout.splitlines()[-1])
    assert said > 3
    height = inspect(tmp_path)
    assert height in (said, said + 1)
    assert write_until_killed(tmp_path, 0.05) > height
    assert inspect(tmp_path) > height


def test_the_error_of_a_full_disk_says_how_to_go_on(tmp_path, lock, monkeypatch):
    """Cause and remedy, and the store is as it was."""
    store = open_chain_store(tmp_path / "chain", lock, make_genesis())

    def fail(**_options):
        raise plyvel.IOError(b"IO error: chain/000003.log: No space left on device")

    database = store.database
    real, database._db = database._db, SimpleNamespace(write_batch=fail)
    with pytest.raises(DiskError, match=r"No space left on device; make room .*db compact"):
        database.write(lambda writer: None, sync=True)
    database._db = real
    assert store.height() == 0
    store.close()


def inspect(path) -> int:
    """Return the height found, everything having been checked; no repair is asked for."""
    with DirectoryLock(path / ".lock") as lock, FileReleaseJournal(path / "releases.log") as journal:
        store, payloads = open_chain_store(path / "chain", lock, make_genesis()), PayloadFiles(path / "payloads")
        report = check_stores(store, payloads, journal)
        assert report.problems == ()
        assert report.payloads_missing == 0
        height = store.height()
        with store.view() as view:
            assert view.get(b"s/height") == b"%d" % height
            assert view.get(b"s/%d" % height) is not None
            assert view.get(b"s/%d" % (height + 1)) is None
        for number in range(1, height + 1):
            expected = make_release(b"%d" % number, payload=b"payload %d " % number * 200, loss=1, total=number)
            assert journal.lookup(expected.task, expected.device) == expected
        assert journal.total(expected.device) in (height, height + 1)
        for number in range(1, height + 1):  # batches too
            batch = [make_release(b"%d" % number, device=device, payload=b"%d" % device) for device in range(1, 5)]
            assert all(journal.lookup(each.task, each.device) == each for each in batch)
        store.close()
    return height
