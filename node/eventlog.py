"""The event log: every event a process gave its core, so that any run can be repeated exactly.

    file    8 bytes "fedlog01", then frames: 4-byte big-endian length, canonical record
    first   LogHeader
    then    one LoggedStep an event: the time it was given at, the event, and what the core answered, as a digest

Replayed through a core over an equal world (the same genesis, key, settings and stored chain, and ``Random``
seeded with the header's seed), every answer must be the same. The log holds everything the node heard, among
it what peers sent and the results of its jobs, but no key.

Rules of this file: pure but for reading and writing the one file it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self, TypeVar

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import AccountField, HashField, Millis, MillisField, ShortText
from node.effects import Effect
from node.errors import EventLogError
from node.events import Event

_MAGIC: Final = b"fedlog01"
_LENGTH_BYTES: Final = 4
_MAX_FRAME: Final = 2**31
_MOST_WAITING: Final = 4096
"""Steps that may wait for the disk."""

R = TypeVar("R", bound=Record)


class LogHeader(Record):
    """Where a log comes from. ``seed`` seeded the ``Random`` of the node's world."""

    version: ShortText
    genesis: HashField
    account: AccountField
    seed: bytes


class LoggedStep(Record):
    """One event and the core's answer: the effects' kinds in order, and SHA-256 of their canonical bytes."""

    now: MillisField
    event: Event
    kinds: tuple[ShortText, ...]
    digest: HashField


class Handler(Protocol):
    """What a log is replayed through; a ``NodeCore`` is one."""

    def handle(self, event: Event, now: Millis) -> list[Effect]:
        """Return what this event leads to."""
        ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first step of a replay whose effects differ from the logged ones."""

    step: int
    logged: LoggedStep
    effects: tuple[Effect, ...]

    def __str__(self) -> str:
        kind = self.logged.event.__struct_config__.tag
        was, now = ", ".join(self.logged.kinds) or "nothing", ", ".join(kinds_of(self.effects)) or "nothing"
        return f"step {self.step} ({kind} at {self.logged.now}): logged effects {was}; replayed {now}"


def kinds_of(effects: tuple[Effect, ...]) -> tuple[str, ...]:
    """Return the effects' tags."""
    return tuple(str(effect.__struct_config__.tag) for effect in effects)


def step_of(event: Event, now: Millis, effects: list[Effect]) -> LoggedStep:
    """Return the step that a log holds for an event and the core's answer."""
    given = tuple(effects)
    return LoggedStep(now, event, kinds_of(given), sha256(encode(given)).digest())  # type: ignore[arg-type]


class EventRecorder:
    """An open event log. Close it, or leave its ``with`` block, so that its end is on disk.

    A thread of its own encodes and writes: whoever records waits only if ``_MOST_WAITING`` steps do.
    """

    def __init__(self, path: Path, header: LogHeader) -> None:
        """Begin a new log. ``FileExistsError`` if there is a file already."""
        self._file: BinaryIO = path.open("xb")
        self._file.write(_MAGIC)
        self._put(header)
        self._steps: Queue[tuple[Event, Millis, list[Effect]] | None] = Queue(_MOST_WAITING)
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._write_steps, name="event log", daemon=True)
        self._thread.start()

    def _put(self, record: Record) -> None:
        data = encode(record)
        self._file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    def _write_steps(self) -> None:
        """Write what comes, until None does. After a failure the rest is dropped: a gap could not be replayed."""
        while (step := self._steps.get()) is not None:
            if self._failure is None:
                try:
                    self._put(step_of(*step))
                except BaseException as error:  # raised where the next step is recorded, or at the end
                    self._failure = error

    def record(self, event: Event, now: Millis, effects: list[Effect]) -> None:
        """Write one step, soon; ``effects`` must not change any more. Raises what kept an earlier one from the disk."""
        if self._failure is not None:
            raise self._failure
        self._steps.put((event, now, effects))

    def close(self) -> None:
        """Write what waits, flush and close the file. Raises what kept a step from the disk. Twice does no harm."""
        if self._thread.is_alive():
            self._steps.put(None)
            self._thread.join()
        self._file.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class EventLog:
    """A log to be read: its header, and where its steps begin."""

    path: Path
    header: LogHeader

    def steps(self, *, may_be_cut: bool = False) -> Iterator[LoggedStep]:
        """Iterate over the steps. ``EventLogError`` for one cut short, unless the process may have been killed."""
        with self.path.open("rb") as file:
            file.seek(len(_MAGIC))
            _read_frame(file, LogHeader, self.path)
            while (step := _read_frame(file, LoggedStep, self.path, may_be_cut)) is not None:
                yield step


def read_log(path: Path) -> EventLog:
    """Return the log in a file. ``EventLogError`` if it is none."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise EventLogError(f"{path} is not an event log of this version")
        header = _read_frame(file, LogHeader, path)
    if header is None:
        raise EventLogError(f"{path} ends before its header")
    return EventLog(path, header)


def _read_frame(file: BinaryIO, kind: type[R], path: Path, may_be_cut: bool = False) -> R | None:
    """Return the next record, None at the end."""
    start = file.tell()
    head = file.read(_LENGTH_BYTES)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    data = file.read(length) if len(head) == _LENGTH_BYTES and length <= _MAX_FRAME else b""
    if len(head) < _LENGTH_BYTES or len(data) < length:
        if may_be_cut:
            return None
        raise EventLogError(f"{path} is cut short at byte {start}")
    try:
        return decode(data, kind, _MAX_FRAME)
    except CodecError as error:
        raise EventLogError(f"{path} at byte {start}: {error}") from None


def replay(log: EventLog, core: Handler, *, may_be_cut: bool = False) -> Mismatch | None:
    """Return the first step at which ``core`` answers otherwise than logged; None if it never does.

    The core must be new: its world as the recording one's was before its first event.
    """
    for number, step in enumerate(log.steps(may_be_cut=may_be_cut)):
        effects = core.handle(step.event, step.now)
        if step_of(step.event, step.now, effects) != step:
            return Mismatch(number, step, tuple(effects))
    return None
