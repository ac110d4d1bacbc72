"""Who works on a task: the beacon draws without replacement, the same on every node (docs/ledger.md)."""

from collections.abc import Sequence

from chain.ids import AccountId, Hash
from chain.merkle import merkle_root
from fl.task import draw


def draw_numbers(beacon: Hash, plan: Hash, place: tuple[int, int, int], enrolled: int, wanted: int) -> list[int]:
    """Return ``wanted`` (<= enrolled) different numbers below ``enrolled``, each ordered choice as likely as any other.

    ``place`` is (round, attempt, phase). A Fisher–Yates shuffle cut after ``wanted`` steps: the cost does not grow with
    the number enrolled. Each step reduces 256 pseudorandom bits, so no choice is favoured by more than 2**-200.
    """
    moved: dict[int, int] = {}
    drawn: list[int] = []
    for step in range(wanted):
        labels = (number.to_bytes(8, "big") for number in (*place, step))
        other = step + int.from_bytes(draw(beacon, b"select", plan, *labels), "big") % (enrolled - step)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(step, step)
    return drawn


def get_selected_digest(devices: Sequence[AccountId], commitments: Sequence[Hash] = ()) -> Hash:
    """Return what a task's ``selected`` holds: the Merkle root of the devices in draw order, so that a device can
    be shown its selection against the task alone.

    Where trainings are repeated each has its commitment behind it: then a task names the data too, and an update that
    is true for a task is true on every fork on which the task opens, whatever its device shares on another.
    """
    return merkle_root([a + b for a, b in zip(devices, commitments, strict=True)] if commitments else devices)
