"""The lines between machines: ordered streams of bytes that take their time, stall, break and fall silent.

A connection has two ends, and an end belongs to one run of a machine's process. What one end sends arrives at the
other in order, cut anywhere. A lost packet is what TCP makes of it: a pause, and everything after it waits. Between
machines that a partition separates nothing arrives; what was sent waits, and when the partition heals it comes or the
connection is reset. A process that dies tells its peers at once, or (the power failed) leaves them to find out.

Rules of this file: it knows bytes and machines by number, nothing of what they say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import log
from random import Random
from typing import Final

from node.events import Closed, Connected, DialFailed, Event, Received, Sent
from node.simulator.schedule import Schedule, source

PORT: Final = 9470
_CUT_ODDS: Final = 1 / 16
"""How often a piece of a stream arrives in two parts."""
_SEGMENT: Final = 64 * 1024
_STALL_MS: Final = (200, 1_500)
"""Until a lost packet has been sent again."""
_SILENCE_MS: Final = (5_000, 40_000)
"""Until a machine notices that another one's power failed."""
_DIAL_TIMEOUT_MS: Final = 4_000
_REPORT_MS: Final = 250
"""What was sent within so long is reported together,"""
_REPORT_LITTLE_MS: Final = 20_000
_LITTLE: Final = 64 * 1024
"""… and within this if it is so little that no window closes over it."""
_TOGETHER_MS: Final = 3
"""What would arrive within so long of what is under way before it comes with that."""


@dataclass(slots=True)
class Quality:
    """A line between two machines: one-way latency and the mean of what comes on top of it (ms), bytes a ms."""

    latency_ms: int
    jitter_ms: int
    bytes_per_ms: int


@dataclass(slots=True)
class End:
    """One end of a connection, of one run of a machine's process, which knows of it from ``Connected`` on.

    ``coming`` is what it sent last and is under way, ``held`` what waits for a partition to heal (None: the end).
    """

    number: int
    machine: int
    run: int
    line: Quality
    other: "End" = field(init=False)
    is_open: bool = True
    is_known: bool = False
    free_at: int = 0
    clear_at: int = 0
    unreported: int = 0
    coming: list[bytes] = field(default_factory=list)
    report_at: int | None = None
    held: list[bytes | None] = field(default_factory=list)


@dataclass(slots=True)
class Traffic:
    """What went over the lines."""

    messages: int = 0
    bytes: int = 0
    connections: int = 0
    failed_dials: int = 0


def host_of(machine: int) -> str:
    """Return a machine's address: neighbours in number are in other networks."""
    return f"10.{machine & 255}.{machine >> 8 & 255}.{machine >> 16 & 255}"


def address_of(machine: int) -> str:
    """Return where a machine listens."""
    return f"{host_of(machine)}:{PORT}"


def machine_of(address: str) -> int:
    """Return the machine whose host an address names."""
    _, low, middle, high = address.rpartition(":")[0].split(".")
    return int(high) << 16 | int(middle) << 8 | int(low)


class Lines:
    """All lines. ``deliver`` gives an event to a machine; ``run_of`` tells which run of its process lives, 0: none."""

    def __init__(
        self,
        schedule: Schedule,
        seed: int,
        machines: int,
        certificate: Callable[[int], bytes],
        deliver: Callable[[int, Event], None],
        run_of: Callable[[int], int],
        count_stall: Callable[[], None],
    ) -> None:
        self.traffic = Traffic()
        self.loss_odds = 0.0
        self.slowness: dict[int, int] = {}
        self.groups: dict[int, int] = {}
        self._schedule = schedule
        self._seed = seed
        self._random: Random = source(seed, "lines")
        self._certificate = certificate
        self._deliver = deliver
        self._run_of = run_of
        self._count_stall = count_stall
        self._by_address = {address_of(machine): machine for machine in range(machines)}
        self._ends: dict[int, End] = {}
        self._qualities: dict[tuple[int, int], Quality] = {}

    # --- what a machine does ----------------------------------------------------------------------

    def dial(self, machine: int, address: str) -> None:
        """Connect; ``Connected`` or ``DialFailed`` follows."""
        target, run = self._by_address.get(address), self._run_of(machine)
        if target is None or self.is_cut(machine, target):
            self._schedule.after(_DIAL_TIMEOUT_MS, partial(self._fail, machine, run, address, "no answer"))
        else:
            self._schedule.after(self._latency(machine, target), partial(self._knock, machine, run, target, address))

    def send(self, connection: int, data: bytes) -> None:
        """Take bytes for a connection; dropped if it is gone."""
        end = self._ends.get(connection)
        if end is None or not end.is_open:
            return
        self.traffic.messages += 1
        self.traffic.bytes += len(data)
        if end.held or (self.groups and self.is_cut(end.machine, end.other.machine)):
            end.held.append(data)
        else:
            self._transmit(end, data)

    def close(self, connection: int) -> None:
        """Close a connection after what was sent on it."""
        end = self._ends.get(connection)
        if end is None or not end.is_open:
            return
        self._forget(end)
        if end.held or self.is_cut(end.machine, end.other.machine):
            end.held.append(None)
        else:
            self._end_stream(end)

    # --- what happens to machines and lines -------------------------------------------------------

    def drop(self, machine: int, *, silently: bool) -> None:
        """End a process' connections; silently: its peers take long to notice."""
        for end in [each for each in self._ends.values() if each.machine == machine]:
            self._forget(end)
            end.held.clear()
            delay = self._random.randint(*_SILENCE_MS) if silently else self._latency(machine, end.other.machine)
            self._schedule.after(delay, partial(self._hang_up, end.other, "connection lost"))

    def reset(self) -> bool:
        """Reset a connection that stands; False if there is none."""
        ends = list(self._ends.values())
        if not ends:
            return False
        self._reset(self._random.choice(ends))
        return True

    def divide(self, groups: dict[int, int]) -> None:
        """Let only machines of one group hear each other (those not named are in group 0)."""
        self.groups = groups
        for end in self._all_held():
            if not self.is_cut(end.machine, end.other.machine):
                self._schedule.after(self._random.randint(*_STALL_MS), partial(self._flush, end))

    def heal(self) -> None:
        """End the partition."""
        self.divide({})

    def connected(self) -> list[tuple[int, int]]:
        """Return the pairs of machines that are connected, the smaller number first, each once, in order."""
        return sorted({(e.machine, e.other.machine) for e in self._ends.values() if e.machine < e.other.machine})

    def is_cut(self, one: int, other: int) -> bool:
        """Does the partition separate these machines?"""
        return bool(self.groups) and self.groups.get(one, 0) != self.groups.get(other, 0)

    # --- how bytes travel -------------------------------------------------------------------------

    def quality(self, one: int, other: int) -> Quality:
        """Return the line between two machines: most are good, some are far or thin."""
        pair = (one, other) if one < other else (other, one)
        found = self._qualities.get(pair)
        if found is None:
            random = source(self._seed, "line", *pair)
            latency = int(min(400, max(1, random.lognormvariate(3.4, 0.8))))
            found = Quality(latency, max(1, latency // 4), int(min(50_000, max(60, random.lognormvariate(8, 1.2)))))
            self._qualities[pair] = found
        return found

    def _slowness(self, one: int, other: int) -> int:
        return max(self.slowness.get(one, 1), self.slowness.get(other, 1)) if self.slowness else 1

    def _latency(self, one: int, other: int) -> int:
        return self._draw_latency(self.quality(one, other), self._slowness(one, other))

    def _draw_latency(self, line: Quality, slowness: int) -> int:
        late = -log(1.0 - self._random.random()) / (1 / line.jitter_ms)  # as ``Random.expovariate``
        return (line.latency_ms + int(late)) * slowness

    def _transmit(self, end: End, data: bytes) -> None:
        """Put bytes on the line."""
        now, random = self._schedule.now, self._random
        line = end.line
        slowness = self._slowness(end.machine, end.other.machine) if self.slowness else 1
        rate = max(1, line.bytes_per_ms // slowness)
        while data:
            piece, data = self._cut(data)
            size = len(piece)
            end.free_at = (now if now > end.free_at else end.free_at) + size // rate
            arrival = end.free_at + self._draw_latency(line, slowness)
            if self.loss_odds and random.random() < self.loss_odds:
                arrival += random.randint(*_STALL_MS)
                self._count_stall()
            self._under_way(end, piece, arrival)
            end.unreported += size
        report_at = now + (_REPORT_LITTLE_MS if end.unreported < _LITTLE else _REPORT_MS)
        if end.report_at is None or report_at < end.report_at:
            self._plan_report(end, report_at)

    def _plan_report(self, end: End, at: int) -> None:
        """Report at this time what has gone, if that is not planned for an earlier one."""
        if end.report_at is None or at < end.report_at:
            end.report_at = max(at, end.free_at)
            self._schedule.at(end.report_at, partial(self._report, end, end.report_at))

    def _under_way(self, end: End, data: bytes, arrival: int) -> None:
        """Let bytes arrive, in order, with those before them if these are not there yet."""
        if end.coming and arrival <= end.clear_at + _TOGETHER_MS:
            end.coming.append(data)
            return
        end.clear_at = max(end.clear_at, arrival)
        end.coming = [data]
        self._schedule.at(end.clear_at, partial(self._arrive, end, end.coming))

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        if len(data) > _SEGMENT:
            return data[:_SEGMENT], data[_SEGMENT:]
        if len(data) > 1 and self._random.random() < _CUT_ODDS:
            at = self._random.randrange(1, len(data))
            return data[:at], data[at:]
        return data, b""

    def _report(self, end: End, at: int) -> None:
        if not end.is_open or end.report_at != at:
            return
        end.report_at = None
        if end.free_at > self._schedule.now:
            self._plan_report(end, end.free_at)
            return
        size, end.unreported = end.unreported, 0
        self._deliver(end.machine, Sent(end.number, size))

    def _arrive(self, end: End, pieces: list[bytes]) -> None:
        """Give the other end what has come."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        other = end.other
        if other.is_open:
            self._deliver(other.machine, Received(other.number, data))

    def _end_stream(self, end: End) -> None:
        arrival = max(end.clear_at, self._schedule.now + self._latency(end.machine, end.other.machine))
        self._schedule.at(arrival, partial(self._hang_up, end.other, "closed by the other side"))

    def _all_held(self) -> list[End]:
        ends = list(self._ends.values())
        gone = [end.other for end in ends if end.other.held and not end.other.is_open]
        return [*(end for end in ends if end.held), *gone]

    def _flush(self, end: End) -> None:
        """Send what a partition held up, or break the connection."""
        if not end.held or self.is_cut(end.machine, end.other.machine):
            return
        if end.is_open and end.other.is_open and self._random.random() < 0.5:
            self._reset(end)
            return
        held, end.held = end.held, []
        for data in held:
            if data is None:
                self._end_stream(end)
            else:
                self._transmit(end, data)

    # --- how connections begin and end ------------------------------------------------------------

    def _fail(self, machine: int, run: int, address: str, reason: str) -> None:
        self.traffic.failed_dials += 1
        if self._run_of(machine) == run:
            self._deliver(machine, DialFailed(address, reason))

    def _knock(self, machine: int, run: int, target: int, address: str) -> None:
        """The first packet has arrived: somebody answers, or nobody does."""
        back, their_run = self._latency(machine, target), self._run_of(target)
        if not their_run or self.is_cut(machine, target):
            self._schedule.after(back, partial(self._fail, machine, run, address, "connection refused"))
            return
        if self._run_of(machine) != run:
            return
        self.traffic.connections += 1
        line = self.quality(machine, target)
        near = End(2 * self.traffic.connections, machine, run, line)
        far = End(2 * self.traffic.connections + 1, target, their_run, line)
        near.other, far.other = far, near
        self._ends[near.number], self._ends[far.number] = near, far
        far.clear_at = self._schedule.now + back
        far.is_known = True
        certificate = self._certificate(target)
        connected = Connected(near.number, True, address, certificate)
        self._schedule.at(far.clear_at, partial(self._answer, near, connected))
        caller = f"{host_of(machine)}:{50_000 + near.number % 10_000}"
        self._deliver(target, Connected(far.number, False, caller, certificate))

    def _answer(self, near: End, connected: Connected) -> None:
        if near.is_open:
            near.is_known = True
            self._deliver(near.machine, connected)
        else:
            self._fail(near.machine, near.run, connected.address, "connection reset")

    def _forget(self, end: End) -> None:
        end.is_open = False
        self._ends.pop(end.number, None)

    def _reset(self, end: End) -> None:
        for each in (end, end.other):
            if each.is_open:
                self._forget(each)
                self._schedule.after(1, partial(self._tell_closed, each, "connection reset by peer"))

    def _hang_up(self, end: End, reason: str) -> None:
        """Tell an end that the stream is over, once the partition lets it know."""
        if not end.is_open:
            return
        if self.is_cut(end.machine, end.other.machine):
            self._schedule.after(1_000, partial(self._hang_up, end, reason))
            return
        self._forget(end)
        self._tell_closed(end, reason)

    def _tell_closed(self, end: End, reason: str) -> None:
        if end.is_known and self._run_of(end.machine) == end.run:
            self._deliver(end.machine, Closed(end.number, reason))
