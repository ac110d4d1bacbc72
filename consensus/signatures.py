"""A memory of what was found good, so that gossip, mining and import check each signature and each payload only once.

Verifying is pure: remembering its result cannot change a verdict. Only what is good is kept.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import Final

from chain.keys import verify
from fl.algorithms.base import PhaseOutcome
from fl.secure.base import Gathered

_OUTCOMES: Final = 4
_LARGEST_OUTCOME: Final = 8 * 2**20
"""Bytes: four of them take no more than a large model does anyway."""


class GoodContents:
    """A bounded memory of payloads that passed their plan's checks, the oldest first out; threads may share it.

    A key says everything that such a check depends on: the payload by its digest, the plan by its.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._good: dict[tuple[object, ...], None] = {}
        self._lock = Lock()

    def __contains__(self, key: tuple[object, ...]) -> bool:
        return key in self._good

    def add(self, key: tuple[object, ...]) -> None:
        """Remember that these contents are good."""
        with self._lock:
            self._good[key] = None
            if len(self._good) > self._size:
                del self._good[next(iter(self._good))]


class KnownOutcomes:
    """What settling a phase with just these updates gave, for the phases settled last; threads may share it.

    A node settles a phase when it builds a block that closes it, and again when such a block comes, from whomever: with
    the same updates it gives the same. A key names the task and the updates that were accepted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[bytes, PhaseOutcome] = {}
        self._lock = Lock()

    def get(self, key: bytes) -> PhaseOutcome | None:
        """Return what came of it, if that is remembered."""
        return self._known.get(key)

    def keep(self, key: bytes, outcome: PhaseOutcome) -> None:
        """Remember what came of it, unless it is large."""
        size = len(outcome.carry) + (0 if outcome.model is None else outcome.model.nbytes)
        if not self._most or size > _LARGEST_OUTCOME:
            return
        if outcome.model is not None:
            outcome.model.flags.writeable = False
        with self._lock:
            self._known[key] = outcome
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]


class KnownGatherings:
    """The sums under encryption that were made last, by what was gathered for them; threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[bytes, Gathered] = {}
        self._lock = Lock()

    def get(self, name: bytes) -> Gathered | None:
        """Return what was gathered under this name, if that is remembered."""
        return self._known.get(name)

    def keep(self, name: bytes, gathered: Gathered) -> None:
        """Remember it, the oldest first out."""
        if not self._most:
            return
        with self._lock:
            self._known[name] = gathered
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]


class SignatureCache:
    """A bounded memory of good signatures, least recently used first out; threads may share it.

    ``contents`` remembers half as many payloads, ``outcomes`` a few phases, ``gathered`` a few sums.
    With size 0 nothing is remembered.
    """

    def __init__(self, size: int = 65536) -> None:
        self._size = size
        self.contents = GoodContents(size // 2)
        self.outcomes = KnownOutcomes(_OUTCOMES if size else 0)
        self.gathered = KnownGatherings(_OUTCOMES if size else 0)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def is_signed(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Is this a good signature? As ``chain.keys.verify``, which is asked once."""
        if len(public_key) != 32 or len(signature) != 64:  # else the key below could be cut into parts elsewhere
            return False
        if not self._size:
            return verify(public_key, signature, message)
        key = sha256(public_key + signature + message).digest()
        with self._lock:
            if key in self._good:
                self._good.move_to_end(key)
                return True
        if not verify(public_key, signature, message):
            return False
        self._keep(key)
        return True

    def note_made(self, public_key: bytes, signature: bytes, message: bytes) -> None:
        """Remember a signature that this process has just made with a key of its own: it is good."""
        if self._size:
            self._keep(sha256(public_key + signature + message).digest())

    def _keep(self, key: bytes) -> None:
        with self._lock:
            self._good[key] = None
            if len(self._good) > self._size:
                self._good.popitem(last=False)
