"""The engine protocol: who may make a block, what a chain weighs, when it is final.

Rules of this file: types and Protocols alone, no arithmetic and no engine. An engine reads headers through
``HeaderView``, performs no I/O and has no clock: ``now`` is an argument. It judges headers; whether a body
follows the ledger's rules is ``consensus.transition``'s to say. An engine whose blocks become final by votes has an
*agreement* beside it (``consensus.engines.make_agreement``) and takes no messages itself (docs/adr/0003).
``consensus.engines.make_engine`` picks the engine that a genesis names, and ``tests/consensus/engine`` holds what
every engine must pass.

An engine's verdict on a header is one of six. Only ``INVALID`` condemns it, for ever and with all its
descendants; the others say what has to happen before it can be judged again. One under other rules than this node
has for its height waits for another program (``consensus.otherrules``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from chain.block import Header
from chain.ids import Hash, Height, Millis


class HeaderView(Protocol):
    """The headers an engine may read: those that it found valid before, each with all its ancestors."""

    def header(self, id: Hash) -> Header | None:
        """Return the header with this block id, or None if it is not known."""
        ...

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return the ancestor of ``id`` (itself included) at ``height``; None if ``id`` is unknown or lower."""
        ...

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return the ids of the known headers whose parent is ``id``, in ascending order of id."""
        ...

    def decided_height(self, id: Hash) -> Height:
        """Return the height up to which certificates made the chain that ends in known ``id`` final; 0 without any."""
        ...


class Verdict(StrEnum):
    """What an engine says about a header."""

    VALID = "valid"
    FUTURE = "future"
    ORPHAN = "orphan"
    NEWER_RULES = "newer rules"
    OLDER_RULES = "older rules"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class HeaderVerdict:
    """A verdict and, unless it is ``VALID``, why.

    missing   ids of the headers to fetch before an ``ORPHAN`` can be judged (its parent, or what it refers to)
    retry_ms  time from which a ``FUTURE`` header is acceptable
    weight    what a header under other rules has proved to have cost
    """

    verdict: Verdict
    reason: str = ""
    missing: tuple[Hash, ...] = ()
    retry_ms: Millis | None = None
    weight: int = 0

    @property
    def is_valid(self) -> bool:
        """May blocks be built on this header?"""
        return self.verdict is Verdict.VALID


VALID_HEADER = HeaderVerdict(Verdict.VALID)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine wants in a candidate header: its own canonical fields and the earliest fitting time."""

    engine: bytes
    time_ms: Millis


@dataclass(frozen=True, slots=True)
class SealLimits:
    """How much of a search one call of ``seal`` may do.

    start   first attempt to make (an engine that does not search ignores all three)
    count   attempts to make at most; None = until sealed or cancelled
    chunk   attempts between two questions whether to stop; None = the engine's own choice, at most 20 ms of work
    """

    start: int = 0
    count: int | None = None
    chunk: int | None = None


UNLIMITED = SealLimits()


@runtime_checkable
class Engine(Protocol):
    """What the node asks of a consensus engine. Every method is pure."""

    @property
    def name(self) -> str:
        """The engine's name in genesis, CLI and metrics."""
        ...

    def check_header(self, chain: HeaderView, header: Header, now: Millis) -> HeaderVerdict:
        """Judge a header by the headers before it and, for its time alone, by ``now``."""
        ...

    def prepare(self, chain: HeaderView, parent: Hash, now: Millis) -> Prepared:
        """Return what a candidate on ``parent`` must carry. ``parent`` must be in ``chain``."""
        ...

    def seal(self, header: Header, cancel: Callable[[], bool], limits: SealLimits = UNLIMITED) -> bytes | None:
        """Return a seal for this header (whatever seal it carries is ignored).

        None if ``cancel`` said stop or the limits were reached. ``cancel`` is asked every 20 ms or sooner.
        """
        ...

    def fork_weight(self, header: Header) -> int:
        """Return what this header alone adds to the weight of its chain: a whole number above 0 (0 for genesis)."""
        ...

    def finalized(self, chain: HeaderView, tip: Hash) -> Height:
        """Return the height up to which the chain that ends in ``tip`` is final for a node whose head that is."""
        ...

    def references(self, header: Header) -> tuple[Hash, ...]:
        """Return the ids of headers other than its parent that must be known before this one can be judged."""
        ...

    def beacon(self, header: Header) -> Hash:
        """Return the randomness this header gives: it draws devices, miners and holdout chunks after it."""
        ...
