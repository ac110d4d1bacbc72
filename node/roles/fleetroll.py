"""Who of a fleet is where on the chain: read once by a job, then followed block by block.

Ten thousand devices can't each be looked up at each head. What the blocks' events say is enough while the chain only
grows; after a reorganisation, and for a plan or a half-answered task not seen before, the roll is called again.

Rules of this file: bookkeeping without I/O; it never decides what a device does.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chain.ids import AccountId, Hash
from consensus.events import DeviceJoined, DeviceRegistered, UpdateCommitted, UpdateRevealed
from node.core.messages import ConnectedBlock, HeadChanged
from node.jobs.results import PlanRoll, RollCalled


@dataclass(slots=True)
class Standing:
    """How the fleet stands to a plan.

    ``enrolled`` has by place the samples a device joined with, 0 for who has not. ``due`` are the places whose update
    the open ``task`` still lacks, ``committed`` those that have committed to theirs.
    """

    enrolled: list[int]
    task: Hash | None = None
    due: set[int] = field(default_factory=set)
    committed: set[int] = field(default_factory=set)


class Roll:
    """Follows the chain for a fleet. ``place_of`` finds a device's place; None for accounts of others."""

    def __init__(self, size: int, place_of: Callable[[AccountId], int | None]) -> None:
        self._size = size
        self._place_of = place_of
        self._head: Hash | None = None
        self._since: list[ConnectedBlock] = []
        self.registered = bytearray(size)
        self.plans: dict[Hash, Standing] = {}
        self.is_known = False

    @property
    def registrations(self) -> int:
        """How many devices are registered."""
        return sum(self.registered)

    def call(self, head: Hash) -> None:
        """Begin to gather what happens after this head, while a job reads its state."""
        self._head, self._since = head, []

    def answer(self, found: RollCalled) -> None:
        """Take what the job read, and the blocks since. If blocks were taken back meanwhile it is out of date."""
        if self._head is None:
            return
        self.registered = bytearray(found.registered)
        for plan in found.plans:
            self.plans[Hash(plan.plan)] = _standing(plan)
        self.is_known = True
        self._head, since = None, self._since
        for block in since:
            self._take(block)

    def follow(self, changed: HeadChanged) -> None:
        """Take in a new head; if blocks were taken back or are not here, all that was known is doubtful."""
        if changed.disconnected or not changed.connected:
            self.forget()
            return
        for block in changed.connected:
            if self._head is not None:
                self._since.append(block)
            self._take(block)

    def forget(self) -> None:
        """Know nothing any more."""
        self._head, self._since, self.is_known = None, [], False
        self.plans.clear()

    def open(self, plan: Hash, task: Hash, selected: Sequence[AccountId]) -> None:
        """Take note of a task that has just opened: nobody has answered it yet."""
        standing = self.plans[plan]
        places = [self._place_of(account) for account in selected]
        standing.task, standing.due = task, {place for place in places if place is not None}
        standing.committed = set()

    def _take(self, block: ConnectedBlock) -> None:
        for event in block.events:
            match event:
                case UpdateRevealed():
                    standing, place = self.plans.get(Hash(event.plan)), self._place_of(AccountId(event.device))
                    if standing is not None and place is not None and standing.task == event.task:
                        standing.due.discard(place)
                case UpdateCommitted():
                    standing, place = self.plans.get(Hash(event.plan)), self._place_of(AccountId(event.device))
                    if standing is not None and place is not None and standing.task == event.task:
                        standing.committed.add(place)
                case DeviceRegistered():
                    place = self._place_of(AccountId(event.device))
                    if place is not None:
                        self.registered[place] = 1
                case DeviceJoined():
                    standing, place = self.plans.get(Hash(event.plan)), self._place_of(AccountId(event.device))
                    if standing is not None and place is not None:
                        standing.enrolled[place] = event.samples
                case _:
                    pass


def _standing(found: PlanRoll) -> Standing:
    task = None if found.task is None else Hash(found.task)
    return Standing(list(found.samples), task, set(found.due), set(found.committed))


class Errands:
    """What is to be sent for devices, a few at a time, and what was sent and has not come into a block.

    ``patience`` blocks after it was sent it may be sent again.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._rows: deque[int] = deque()
        self._queued: set[int] = set()
        self._sent: dict[int, int] = {}

    @property
    def waiting(self) -> int:
        """How many were sent and have not come into a block."""
        return len(self._sent)

    def clear(self) -> None:
        """Nobody lacks it any more."""
        self._rows.clear()
        self._queued.clear()
        self._sent.clear()

    def want(self, places: Sequence[int], height: int) -> None:
        """These devices still lack it: queue who was not sent for, or too long ago; whoever else was sent is done."""
        wanted = set(places)
        self._sent = {place: at for place, at in self._sent.items() if place in wanted}
        for place in places:
            at = self._sent.get(place)
            if place not in self._queued and (at is None or height - at >= self._patience):
                self._rows.append(place)
                self._queued.add(place)

    def take(self, most: int, height: int) -> list[int]:
        """Return the next few to send for, and note that they are sent now."""
        taken: list[int] = []
        while self._rows and len(taken) < most:
            place = self._rows.popleft()
            self._queued.discard(place)
            self._sent[place] = height
            taken.append(place)
        return taken
