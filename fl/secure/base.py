"""What a way to encrypt updates is to the round machine: who shares, who decrypts, and what everybody can check.

    share?    the selected devices put what their masks are made of on the chain, sealed for each other
    reveal    updates, each protected: its numbers can't be read, and it is bound to its device and task
    decrypt   helpers (members of a committee, or the devices themselves) each give their part for the *sum*
    open      everybody makes the sum of the parts, exactly

Rules of this file and of every scheme: pure; what strangers send gives a fault in words, never an exception; sizes are
compared before any big number is touched; every node gets the same answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.errors import Problem as Fault
from fl.objective import Objective

_DOMAIN_CONTEXT = b"fedchain/protected"
_DOMAIN_SHARED = b"fedchain/shared-masks"


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Who takes part in a sum.

    task      the task's digest
    devices   the selected devices, in draw order
    shares    what those said who have shared, where the scheme has a step for it; empty elsewhere
    """

    task: Hash
    devices: tuple[AccountId, ...]
    shares: Mapping[AccountId, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What is to be decrypted: the cohort, who of it revealed (in draw order), and their protected updates together."""

    cohort: Cohort
    revealed: tuple[AccountId, ...]
    total: bytes


def get_context(task: Hash, device: AccountId) -> Hash:
    """Return what a protected update is bound to: nobody else's, for no other task, is the same bytes."""
    return digest(_DOMAIN_CONTEXT, task, device)


def get_shared_name(shared: Iterable[tuple[AccountId, Hash]]) -> Hash:
    """Return the digest of all that devices have shared for a task, given in draw order by their content ids."""
    return digest(_DOMAIN_SHARED, *[device + id for device, id in shared])


class Sharing(Protocol):
    """The step before the reveals, under schemes that have one."""

    def share(self, problem: Objective, cohort: Cohort, key: KeyPair) -> bytes:
        """Return what a device shares for a task: the same bytes whenever it is asked."""

    def check_share(self, problem: Objective, cohort: Cohort, device: AccountId, message: bytes) -> str | None:
        """Return what is wrong with what a device shares, None if nothing is."""


class Scheme(Protocol):
    """A way to encrypt updates: ``fl.secure.registry`` has one object of each."""

    @property
    def name(self) -> str:
        """The name plans use."""

    @property
    def sharing(self) -> Sharing | None:
        """What devices share before they reveal; None under schemes where they share nothing."""

    def find_faults(self, problem: Objective) -> Sequence[Fault]:
        """Return what is wrong with the plan's choice, beyond the records' own ranges."""

    def most_bytes(self, problem: Objective) -> int:
        """Return the size of a protected update, at most."""

    def most_message_bytes(self, problem: Objective) -> int:
        """Return the size of any other message of the scheme, at most."""

    def protect(self, problem: Objective, cohort: Cohort, key: KeyPair, values: Int64Vector) -> bytes:
        """Return a device's protected update of the values that ``fl.secure.quantise`` gave."""

    def check_protected(
        self, problem: Objective, task: Hash, device: AccountId, shared: bytes, body: bytes
    ) -> str | None:
        """Return what is wrong with a protected update, None if nothing is that anybody could see.

        ``shared``: ``get_shared_name`` of the chain that is to carry it.
        """

    def combine(self, problem: Objective, bodies: Sequence[bytes]) -> bytes:
        """Return protected updates added up, each of which passed ``check_protected``; their order does not matter."""

    def helpers(self, problem: Objective, cohort: Cohort, revealed: Sequence[AccountId]) -> tuple[AccountId, ...]:
        """Return who can help to decrypt the sum, each under its number: its place here."""

    def threshold(self, problem: Objective, selected: int) -> int:
        """Return how many helpers it takes."""

    def opens_last(self, problem: Objective) -> bool:
        """Does it save everybody work if a helper goes last, and shows with its part what all parts come to?"""

    def decrypt(
        self, problem: Objective, gathered: Gathered, key: KeyPair, parts: Mapping[AccountId, bytes]
    ) -> bytes | None:
        """Return a helper's part; None if this key can't make one. ``parts``: what others have given for it already."""

    def check_part(self, problem: Objective, gathered: Gathered, helper: AccountId, part: bytes) -> str | None:
        """Return what is wrong with a helper's part, None if nothing is."""

    def open(self, problem: Objective, gathered: Gathered, parts: Mapping[AccountId, bytes]) -> list[int] | None:
        """Return the sum, a coordinate each, of parts that passed ``check_part``; None if there is no sum to be had."""


def sharing_of(scheme: Scheme) -> Sharing:
    """Return what devices share under a scheme that has a step for it; ``LookupError`` under others."""
    if scheme.sharing is None:
        raise LookupError(f"under {scheme.name} devices share nothing before they reveal")
    return scheme.sharing
