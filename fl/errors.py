"""What can be wrong with a plan, with data, or with what a device sends.

    FLError
    ├── PlanError         a plan that is malformed or contradicts itself; carries all its problems
    ├── DataError         a data file or table that does not fit the plan's schema
    ├── PayloadError      bytes of an update or of a holdout chunk that do not fit the plan
    ├── DivergenceError   local training that left the range of numbers
    ├── ModelFileError    a trained model's file that cannot be read
    ├── ExecutorError     devices cannot be trained where they were to be
    ├── ShareError        shares of a secret that are too few, wrong or of another sharing; names whose
    └── MaskError         a sum under masks that can't be made or opened: says who or what is missing

Each message says what was wrong, where, and what is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class FLError(Exception):
    """Base of every error this room raises."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a plan: the field's path, the value found there, and what is allowed."""

    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.allowed}" if self.value else f"{self.field}: {self.allowed}"


class PlanError(FLError):
    """A plan cannot be used. ``problems`` has every reason; the text has one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class DataError(FLError):
    """Data cannot be read or does not fit the plan: names file, row, column, value and what is allowed."""


class PayloadError(FLError):
    """An update's or a holdout chunk's bytes have the wrong shape, range or encoding."""


class DivergenceError(FLError):
    """Local training left the range of numbers: the plan's step is too large for this data."""


class ModelFileError(FLError):
    """A trained model's file is malformed or belongs to something else."""


class ExecutorError(FLError):
    """What was to train the devices is not there, or failed: says which, and what to do."""


class ShareError(FLError):
    """Shares of a secret are too few, wrong, or belong to another sharing; the text names whose."""


class MaskError(FLError):
    """A sum under masks can't be made or opened; the text says who or what is missing."""
