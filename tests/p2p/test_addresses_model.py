"""The address book against a model: whatever happens, what must hold of it holds, and nothing but dice decides."""

from itertools import islice
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chain.ids import Millis
from p2p.addressbook import AddressBook
from p2p.endpoints import Endpoint, group_of
from p2p.limits import (
    BUCKET_SIZE,
    BUCKETS_PER_SOURCE,
    LOST_MS,
    MAX_CONTESTS,
    MAX_FAILURES,
    NEW_BUCKETS,
    STALE_MS,
    TRIED_BUCKETS,
    TRIED_BUCKETS_PER_GROUP,
)
from p2p.saved import SavedPeers, read_saved, write_saved

NUMBERS = st.integers(0, 700)
SOURCES = st.integers(0, 3)
START = 10 * STALE_MS


def place(number: int) -> Endpoint:
    """Few groups, so that buckets fill; a few private addresses among them."""
    return Endpoint(f"8.{number % 3}.0.{number // 3}" if number < 600 else f"10.0.0.{number - 600}", 7000)


class BookMachine(RuleBasedStateMachine):
    """The model is what may be known, what worked, and how often each failed since; the book may know less."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Millis(START)
        self.book, self.twin = AddressBook(Random(1)), AddressBook(Random(1))
        self.told: dict[Endpoint, None] = {}
        self.worked: dict[Endpoint, int] = {}
        self.failures: dict[Endpoint, int] = {}
        self.kept: dict[Endpoint, None] = {}  # in tried places, as of the last step
        self.contested: list[Endpoint] = []
        self.vain: dict[Endpoint, int] = {}  # dialled in vain since then

    def both(self, action: str, *arguments: object) -> None:
        """Do it to the book and to its twin, which has the same dice."""
        for book in (self.book, self.twin):
            getattr(book, action)(*arguments)

    @initialize(count=st.sampled_from((0, 450)))
    def begins(self, count: int) -> None:
        """With nothing, or with tried buckets that are full."""
        self.is_told(0, count, 0)
        self.works(0, count)
        if count:
            assert len(list(self.book.contested())) == MAX_CONTESTS

    @rule(first=NUMBERS, count=st.integers(1, 150), source=SOURCES)
    def is_told(self, first: int, count: int, source: int) -> None:
        """A source tells of many addresses."""
        for number in range(first, min(700, first + count)):
            self.both("add", place(number), f"9.{source}.0.1", self.now)
            self.told[place(number)] = None

    @rule(first=NUMBERS, count=st.integers(1, 80))
    def works(self, first: int, count: int) -> None:
        """Nodes answer there."""
        for number in range(first, min(700, first + count)):
            self.both("worked", place(number), self.now)
            self.told[place(number)] = None
            self.worked[place(number)] = self.now
            self.failures.pop(place(number), None)

    @rule(number=NUMBERS, times=st.sampled_from((1, MAX_FAILURES, 4 * MAX_FAILURES)))
    def fails(self, number: int, times: int) -> None:
        """Nobody answers there, again and again."""
        for _ in range(times):
            self.both("failed", place(number), self.now)
        self._note_failures(place(number), times)

    def _note_failures(self, endpoint: Endpoint, times: int) -> None:
        self.failures[endpoint] = self.failures.get(endpoint, 0) + times
        self.vain[endpoint] = self.failures[endpoint]

    @rule(number=NUMBERS)
    def fails_once_and_works_again(self, number: int) -> None:
        """A failure is forgotten with the next success."""
        self.fails(number, 1)
        self.works(number, 1)
        assert all(saved.failures == 0 for saved in self.book.save() if saved.address == str(place(number)))

    @precondition(lambda self: list(self.book.contested()))
    @rule(answers=st.booleans())
    def is_tested(self, answers: bool) -> None:
        """The holder of a contested place is dialled: it keeps the place exactly if it answers."""
        holder = next(self.book.contested())
        newcomer = next(each for each, held in self.book._contests.items() if held == holder)
        self.both("worked" if answers else "failed", holder, self.now)
        if answers:
            self.worked[holder] = self.now
            self.failures.pop(holder, None)
        else:
            self._note_failures(holder, 1)
        assert self.book.is_tried(holder) == answers
        assert self.book.is_tried(newcomer) != answers
        assert holder not in self.book.contested()

    @rule(days=st.sampled_from((1, 8, 40)))
    def time_passes(self, days: int) -> None:
        """Long enough to be lost, or stale."""
        self.now = Millis(self.now + days * 24 * 3_600_000)

    @rule()
    def is_restarted(self) -> None:
        """What is written and read back is in the same places; only contests are forgotten."""
        saved = read_saved(write_saved(SavedPeers(self.book.secret, self.book.save(), (), ())))
        before = {each: self.book.is_tried(each) for each in [*self.book._new, *self.book._tried]}
        fresh, twin = AddressBook(Random(2), saved.secret), AddressBook(Random(2), saved.secret)
        for book in (fresh, twin):
            for address in saved.addresses:
                book.restore(address)
        self.book, self.twin = fresh, twin
        assert {each: fresh.is_tried(each) for each in [*fresh._new, *fresh._tried]} == before
        assert fresh.save() == saved.addresses

    @invariant()
    def is_bounded(self) -> None:
        """No bucket over its size, each endpoint once, contests few and of those that are there."""
        book = self.book
        listed = [*book._new, *book._tried]
        assert len(listed) == len(set(listed)) == len(book) <= (NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE
        for table in (book._new, book._tried):
            assert all(0 < len(bucket) <= BUCKET_SIZE for bucket in table._buckets.values())
        assert len(book._contests) <= MAX_CONTESTS
        assert all(not book.is_tried(new) and book.is_tried(old) for new, old in book._contests.items())
        assert all(new in book for new in book._contests)

    @invariant()
    def knows_no_more_than_it_was_told(self) -> None:
        """Nothing appears; only what worked is tried; one group reaches its share of buckets."""
        assert all(each in self.told for each in [*self.book._new, *self.book._tried])
        assert all(each in self.worked for each in self.book._tried)
        assert all(entry.failures <= self.failures.get(each, 0) for each, entry in self.book._entries.items())
        buckets: dict[tuple[bytes, bool], set[int]] = {}
        for endpoint, entry in self.book._entries.items():
            if not endpoint.host.startswith("10."):
                group = group_of(endpoint.host) if entry.is_tried else group_of(entry.source)
                buckets.setdefault((group, entry.is_tried), set()).add(entry.bucket)
        for (_, is_tried), reached in buckets.items():
            assert len(reached) <= (TRIED_BUCKETS_PER_GROUP if is_tried else BUCKETS_PER_SOURCE)

    @invariant()
    def loses_no_tried_place_without_a_test(self) -> None:
        """Who held a tried place holds it still, unless it was dialled in vain; who is lost failed long and often."""
        for endpoint in self.kept:
            if not self.book.is_tried(endpoint):
                assert self.vain.get(endpoint, 0) >= 1
                was_contested = endpoint in self.contested
                is_lost = self.now - self.worked[endpoint] >= LOST_MS and self.vain[endpoint] >= 4 * MAX_FAILURES
                assert was_contested or is_lost
        self.kept = dict.fromkeys(self.book._tried)
        self.contested = list(self.book.contested())
        self.vain.clear()

    @invariant()
    def is_decided_by_dice_alone(self) -> None:
        """The twin with the same dice holds the same in the same places, and would dial in the same order."""
        assert self.book.save() == self.twin.save()
        assert list(self.book.contested()) == list(self.twin.contested())
        assert list(islice(self.book.candidates(), 5)) == list(islice(self.twin.candidates(), 5))


TestAddressBook = BookMachine.TestCase
TestAddressBook.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
