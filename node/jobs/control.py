"""What the runner lends a running job."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobControl:
    """How a job knows it was cancelled, waits, and measures its own time.

    ``sleep`` takes seconds; ``clock_us`` counts microseconds from any origin and never goes back.
    """

    is_cancelled: Callable[[], bool]
    sleep: Callable[[float], None]
    clock_us: Callable[[], int]
