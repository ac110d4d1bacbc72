"""The validators of one epoch: who they are, what each weighs, what a quorum is, who leads a view.

A set is written into the state by the epoch's boundary block and never changes while the epoch lasts. All of this file
is pure; the draw of a leader costs one hash and one bisection.
"""

from bisect import bisect_right
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record
from chain.hashing import digest
from chain.ids import INT_MAX, AccountField, AccountId, Hash, HashField, Natural

MAX_MEMBERS: Final = 256
"""Validators of one epoch at most: bounds certificates (17 KiB) and the work of checking one (256 signatures)."""
SHARES: Final = 10**6
"""What ``ValidatorSet.share`` counts in."""
DOMAIN_LEADER: Final = b"fedchain/pos-leader"


class Member(Record):
    """A validator and its stake in coins, which is its share of the votes and of the views it leads."""

    account: AccountField
    power: Annotated[int, Meta(ge=1, le=INT_MAX)]


class ValidatorSet(Record, dict=True, gc=True):
    """Who votes in an epoch. ``members`` ascend by account; ``seed`` is the beacon's at the epoch's start.

    The seed descends from the genesis document's id, so that it names one epoch of one network: it is part of
    everything that is signed in the epoch, and no signature counts in another epoch or network.
    """

    epoch: Natural
    seed: HashField
    members: Annotated[tuple[Member, ...], Meta(min_length=1, max_length=MAX_MEMBERS)]

    @cached_property
    def total(self) -> int:
        """The power of all members together."""
        return sum(member.power for member in self.members)

    @cached_property
    def _positions(self) -> dict[AccountId, int]:
        return {member.account: position for position, member in enumerate(self.members)}

    @cached_property
    def _sums(self) -> tuple[int, ...]:
        return tuple(accumulate(member.power for member in self.members))

    def find_fault(self) -> str | None:
        """Return what is wrong with a set that a stranger sent, or None: accounts must ascend, each once."""
        if any(first.account >= second.account for first, second in pairwise(self.members)):
            return "members must be in ascending order of account, each once"
        return None

    def __contains__(self, account: object) -> bool:
        return account in self._positions

    def position(self, account: AccountId) -> int | None:
        """Return a member's place in ``members``, which is its bit in a certificate; None for others."""
        return self._positions.get(account)

    def power(self, account: AccountId) -> int:
        """Return a member's power; 0 for others."""
        position = self._positions.get(account)
        return 0 if position is None else self.members[position].power

    def share(self, account: AccountId) -> int:
        """Return a member's part of all power, in millionths and at least one; 0 for others."""
        power = self.power(account)
        return max(1, power * SHARES // self.total) if power else 0

    def is_quorum(self, power: int) -> bool:
        """Is this strictly more than two thirds of all power? Two such groups share more than a third."""
        return power * 3 > self.total * 2

    def leader(self, view: int) -> AccountId:
        """Return the one member that may propose in ``view``, drawn with a chance proportional to power.

        The draw is a 256-bit number modulo the total, which is below 2**71: its bias is under 2**-185.
        """
        ticket = _draw(self.seed, self.epoch, view) % self.total
        return self.members[bisect_right(self._sums, ticket)].account


@lru_cache(maxsize=1024)
def _draw(seed: Hash, epoch: int, view: int) -> int:
    """Return the draw of a view: it is asked for with every header and proposal, and with each look at the time."""
    drawn = digest(DOMAIN_LEADER, seed, epoch.to_bytes(8, "big"), view.to_bytes(8, "big"))
    return int.from_bytes(drawn, "big")


def epoch_of(height: int, epoch_blocks: int) -> int:
    """Return the epoch of a block above genesis: epoch e covers heights e·E + 1 … (e + 1)·E."""
    if height < 1:
        raise ValueError("genesis stands before the first epoch")
    return (height - 1) // epoch_blocks


def boundary_height(epoch: int, epoch_blocks: int) -> int:
    """Return the height of an epoch's last block, from whose state the next epoch's set is read."""
    return (epoch + 1) * epoch_blocks


def is_boundary(height: int, epoch_blocks: int) -> bool:
    """Does an epoch end with the block at this height? Genesis ends the time before epoch 0."""
    return height % epoch_blocks == 0
