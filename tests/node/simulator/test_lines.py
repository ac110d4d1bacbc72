"""Lines: ordered streams that lose nothing but time, unless they break; and both ends hear of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from node.events import Closed, Connected, DialFailed, Event, Received, Sent
from node.simulator.lines import Lines, address_of
from node.simulator.schedule import Schedule


class Pair:
    """Machines that note what they hear."""

    def __init__(self, seed: int = 1, loss: float = 0.0, machines: int = 2) -> None:
        self.schedule = Schedule(1_000)
        self.heard: dict[int, list[Event]] = {number: [] for number in range(machines)}
        self.runs = dict.fromkeys(range(machines), 1)
        self.stalls = 0
        self.lines = Lines(
            self.schedule,
            seed,
            machines,
            lambda number: b"certificate",
            lambda number, event: self.heard[number].append(event),
            lambda number: self.runs[number],
            self._count,
        )
        self.lines.loss_odds = loss

    def _count(self) -> None:
        self.stalls += 1

    def connect(self) -> tuple[int, int]:
        """Connect machine 0 to machine 1; the numbers of both ends."""
        self.lines.dial(0, address_of(1))
        self.wait()
        (near,) = [event for event in self.heard[0] if isinstance(event, Connected)]
        (far,) = [event for event in self.heard[1] if isinstance(event, Connected)]
        assert (near.outbound, far.outbound) == (True, False)
        return near.connection, far.connection

    def wait(self, milliseconds: int = 60_000) -> None:
        self.schedule.run(self.schedule.now + milliseconds)

    def stream(self, machine: int) -> bytes:
        return b"".join(event.data for event in self.heard[machine] if isinstance(event, Received))

    def closed(self, machine: int) -> list[str]:
        return [event.reason for event in self.heard[machine] if isinstance(event, Closed)]


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=200_000), max_size=8), st.integers(0, 99), st.sampled_from([0.0, 0.3]))
def test_what_is_sent_arrives_whole_and_in_order(messages: list[bytes], seed: int, loss: float) -> None:
    """However it is cut, delayed and lost on the way; and all of it is reported as sent."""
    pair = Pair(seed, loss)
    near, _ = pair.connect()
    for message in messages:
        pair.lines.send(near, message)
        pair.wait(7)
    pair.lines.close(near)
    pair.wait(600_000)
    assert b"".join(messages) == pair.stream(1)
    assert pair.closed(1) == ["closed by the other side"]
    assert isinstance(pair.heard[1][-1], Closed)
    assert pair.closed(0) == []


def test_sent_bytes_are_reported_and_losses_counted() -> None:
    """The network's windows live on ``Sent``; a lossy line counts its stalls."""
    pair = Pair(loss=1.0)
    near, _ = pair.connect()
    pair.lines.send(near, bytes(100_000))
    pair.wait()
    assert sum(event.size for event in pair.heard[0] if isinstance(event, Sent)) == 100_000
    assert pair.stalls >= 2


def test_a_partition_holds_everything_up_until_it_heals() -> None:
    """Nothing arrives while it lasts, no dial succeeds; then the bytes come, or the connection is reset for both."""
    outcomes = set()
    for seed in range(12):
        pair = Pair(seed)
        near, _ = pair.connect()
        pair.lines.divide({1: 1})
        pair.lines.send(near, b"hello")
        pair.lines.dial(1, address_of(0))
        pair.wait()
        assert pair.stream(1) == b""
        assert isinstance(pair.heard[1][-1], DialFailed)
        pair.lines.heal()
        pair.wait()
        arrived, closed = pair.stream(1) == b"hello", pair.closed(0) == pair.closed(1) == ["connection reset by peer"]
        assert arrived != closed
        outcomes.add(arrived)
    assert outcomes == {True, False}


def test_a_process_that_ends_is_noticed_at_once_or_late() -> None:
    """A killed process' peers hear soon, those of a machine without power after long; the dead hear nothing."""
    for silently in (False, True):
        pair = Pair()
        pair.connect()
        pair.runs[1] = 0
        pair.lines.drop(1, silently=silently)
        pair.wait(4_000)
        assert pair.closed(0) == ([] if silently else ["connection lost"])
        pair.wait()
        assert pair.closed(0) == ["connection lost"]
        assert pair.closed(1) == []


def test_every_dial_is_answered_with_its_own_text() -> None:
    """Nobody there, nobody listening, or a connection."""
    pair = Pair(machines=3)
    pair.runs[2] = 0
    for address in ("10.9.9.9:1", address_of(2), address_of(1)):
        pair.lines.dial(0, address)
    pair.wait()
    answers = {event.address: type(event) for event in pair.heard[0] if isinstance(event, Connected | DialFailed)}
    assert answers == {"10.9.9.9:1": DialFailed, address_of(2): DialFailed, address_of(1): Connected}
    assert pair.lines.connected() == [(0, 1)]
