"""The event log is written beside the event loop, whole and in order, or not at all."""

import threading
from pathlib import Path

import pytest

from chain.ids import Hash, Millis
from node.effects import Effect, Wake
from node.eventlog import EventRecorder, LogHeader, read_log, step_of
from node.events import Tick
from tests.node.service.houses import RICH

HEADER = LogHeader("1", Hash(bytes(32)), RICH.account, bytes(32))


def steps(count: int) -> list[tuple[Millis, list[Effect]]]:
    return [(Millis(now), [Wake(Millis(now + 1))]) for now in range(count)]


def test_who_records_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk stands still steps are taken; when it goes on all of them are there, in order."""
    recorder, is_well = EventRecorder(tmp_path / "log", HEADER), threading.Event()
    write = recorder._put

    def put_later(record: object) -> None:
        assert is_well.wait(10)
        write(record)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder, "_put", put_later)
    for now, effects in steps(100):
        recorder.record(Tick(), now, effects)
    is_well.set()
    recorder.close()
    assert list(read_log(tmp_path / "log").steps()) == [step_of(Tick(), now, effects) for now, effects in steps(100)]


def test_a_log_that_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an error where the next step is recorded, and at the end; nothing is written after the gap."""
    recorder, tried = EventRecorder(tmp_path / "log", HEADER), threading.Event()

    def fail(record: object) -> None:
        tried.set()
        raise OSError("No space left on device")

    monkeypatch.setattr(recorder, "_put", fail)
    recorder.record(Tick(), Millis(1), [])
    assert tried.wait(10)
    with pytest.raises(OSError, match="No space"):
        recorder.close()
    assert list(read_log(tmp_path / "log").steps()) == []
