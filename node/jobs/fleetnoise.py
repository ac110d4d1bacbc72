"""The noise of a fleet's updates: drawn for each device by itself, as it would be in a node of its own.

Rules of this file: what training gave goes in, what may leave comes out; nothing else does between the two.
"""

from collections.abc import Sequence

from fl.errors import FLError
from fl.privacy.charges import NOT_COUNTED, is_private, update_charge
from fl.privacy.noise import add_noise
from fl.privacy.randomness import RandomSource
from fl.problem import Problem


def add_noise_to_each(
    problem: Problem, phase: int, counts: Sequence[int], trained: Sequence[bytes | FLError], source: RandomSource
) -> tuple[str, list[bytes | FLError]]:
    """Return the mechanism that was used, and the payloads: each of its own draw. ``counts``: each device's samples.

    What stands in the place of a payload that could not be made stays.
    """
    if not is_private(problem.plan):
        return NOT_COUNTED.mechanism, list(trained)
    return update_charge(problem.plan).mechanism, [
        add_noise(problem, phase, count, payload, source) if isinstance(payload, bytes) else payload
        for count, payload in zip(counts, trained, strict=True)
    ]
