"""FL tasks: what one phase of one round asks of its devices (docs/ledger.md).

Every release is bound to a task digest, so the same task gives the same bytes for ever and another task is
another release.
"""

from chain.codec import Record, encode
from chain.hashing import DOMAIN_DRAW, DOMAIN_TASK, digest
from chain.ids import ZERO_HASH, AccountId, Hash, HashField, Natural


class Task(Record):
    """One phase of one attempt at one round.

    model     SHA-256 content id of the global model's bytes
    carry     content id of what the phase before settled (the global gradient), of no bytes in the first phase
    selected  digest of the selected devices in order
    beacon    the engine's randomness the selection was drawn with
    """

    plan: HashField
    round: Natural
    attempt: Natural
    phase: Natural
    model: HashField
    carry: HashField
    selected: HashField
    beacon: HashField

    @property
    def digest(self) -> Hash:
        """SHA-256 of the canonical bytes under the task domain; that of the task asked last is at hand."""
        global _last
        task, found = _last
        if task is not self:
            found = digest(DOMAIN_TASK, encode(self))
            _last = self, found
        return found


_last: tuple[Task | None, Hash] = None, ZERO_HASH
"""Every update of a block asks for the digest of one task. Threads may share it: a pair is put in place as a whole."""


def draw(beacon: Hash, *labels: bytes) -> bytes:
    """Return 32 pseudorandom bytes for these labels from a public beacon."""
    return digest(DOMAIN_DRAW, beacon, *labels)


def device_seed(task: Hash, device: AccountId) -> bytes:
    """Return the 32 bytes that seed a device's permutation for a task: nobody can choose them."""
    return digest(DOMAIN_DRAW, task, b"permutation", device)
