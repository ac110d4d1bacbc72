"""FL tasks: what one phase of one round asks of its devices (docs/ledger.md).

Every release is bound to a task digest, so the same task gives the same bytes for ever and another task is
another release.
"""

from chain.codec import Record, encode
from chain.hashing import DOMAIN_DRAW, DOMAIN_TASK, digest
from chain.ids import AccountId, Hash, HashField, Natural


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
        """SHA-256 of the canonical bytes under the task domain."""
        return digest(DOMAIN_TASK, encode(self))


def draw(beacon: Hash, *labels: bytes) -> bytes:
    """Return 32 pseudorandom bytes for these labels from a public beacon."""
    return digest(DOMAIN_DRAW, beacon, *labels)


def device_seed(task: Hash, device: AccountId) -> bytes:
    """Return the 32 bytes that seed a device's permutation for a task: nobody can choose them."""
    return digest(DOMAIN_DRAW, task, b"permutation", device)
