"""The devices of one sum: which task, who is in it under which number, and how many it takes to open it.

Why more than two thirds: what is posted for a device opens its key if it dropped out, its own mask if it revealed;
both together would open its update. A network that shows one half of the devices one chain and the others another
could ask for both. With n devices of which c work together, the honest ones give n - c shares in all and the c give
two each, n + c; two secrets need 2t. So 2t > n + c holds for any c < n/3 with t > 2n/3, and then n - t devices may
also drop out. Where the chain's view is known to be one (final blocks alone), t > n/2 is enough for privacy
against any t - 1.

Rules of this file: pure; sizes are checked here once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chain.hashing import digest
from chain.ids import AccountId, Hash
from fl.errors import MaskError

MAX_COHORT: Final = 128
"""Most devices of one sum: each shares with each, so messages and checks grow with the square (docs/privacy.md)."""
_DOMAIN: Final = b"fedchain/mask-group"


@dataclass(frozen=True, slots=True)
class Group:
    """One sum's devices.

    task        the task's digest
    devices     those that were drawn, 2 … ``MAX_COHORT``, each once; a device's number is its place here, from 1
    threshold   how many answers open the sum: above half of the devices, at most all
    """

    task: Hash
    devices: tuple[AccountId, ...]
    threshold: int
    name: Hash = field(init=False)
    """The digest of all this: messages are bound to it."""

    def __post_init__(self) -> None:
        count = len(self.devices)
        if not 2 <= count <= MAX_COHORT:
            raise MaskError(f"{count} devices: masks are for 2 to {MAX_COHORT}; let the plan draw fewer")
        if len(set(self.devices)) != count:
            raise MaskError("a device is in the group twice")
        if not count // 2 < self.threshold <= count:
            raise MaskError(f"threshold {self.threshold} of {count} devices: {count // 2 + 1} to {count} are allowed")
        named = digest(_DOMAIN, self.task, self.threshold.to_bytes(2, "big"), *self.devices)
        object.__setattr__(self, "name", named)

    def number_of(self, device: AccountId) -> int | None:
        """Return a device's number, 1 … n; None if it is not in the group."""
        return self.devices.index(device) + 1 if device in self.devices else None

    @classmethod
    def of(cls, task: Hash, devices: Sequence[AccountId], threshold: int | None = None) -> "Group":
        """Return the group with this threshold, or with the safe one. ``MaskError`` says what is not allowed."""
        return cls(task, tuple(devices), safe_threshold(len(devices)) if threshold is None else threshold)


def safe_threshold(count: int) -> int:
    """Return the least number above two thirds of ``count`` devices."""
    return 2 * count // 3 + 1
