"""What a plan of kind ``statistics`` says besides what every plan says: which column is counted, and how.

Rules of this file: shapes only, as in ``fl.plan.schema``; what makes sense is ``fl.plan.checks_statistics``'.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from chain.codec import Record
from chain.ids import Natural, ShortText
from chain.number import Number

MAX_COUNTERS: Final = 1 << 18
"""Most counters of a sketch."""
MAX_VALUES: Final = 1 << 12
"""Most values that one plan asks about."""
MAX_EPSILON: Final = 16
"""Beyond it an answer is as good as the value itself."""
HASHES = Annotated[int, Meta(ge=1, le=1 << 12)]
WIDTH = Annotated[int, Meta(ge=2, le=1 << 16)]


class Column(Record):
    """The column whose values are counted: the ``values`` to estimate are public.

    ``other``: a cell that is none of them, or is missing, refuses its file, or is counted among what nobody asks for.
    """

    name: ShortText
    values: tuple[ShortText, ...]
    other: Literal["refuse", "count"]


class CountMeanSketch(Record, tag="cms"):
    """Apple's CMS: a row tells one of ``hashes`` hashed places, one-hot in ``width`` bits, some of them flipped."""

    epsilon: Number
    hashes: HASHES
    width: WIDTH


class HadamardCountMeanSketch(Record, tag="hcms"):
    """Apple's HCMS: a row tells one bit, a coordinate of the Hadamard transform of its one-hot place."""

    epsilon: Number
    hashes: HASHES
    width: WIDTH


class OptimalLocalHashing(Record, tag="olh"):
    """OLH (Wang et al. 2017): a row draws a hash function of its own and tells its hashed value, sometimes another."""

    epsilon: Number


class RandomisedResponse(Record, tag="krr"):
    """Randomised response over all values: a row tells its own, or any other. The least error where values are few."""

    epsilon: Number


Sketch = CountMeanSketch | HadamardCountMeanSketch
"""Statistics in which texts can be looked up that nobody has listed."""
Statistic = CountMeanSketch | HadamardCountMeanSketch | OptimalLocalHashing | RandomisedResponse


class Counting(Record, tag="count"):
    """What stands where other kinds have an algorithm: devices answer one ``count`` task. No plan names it."""


class LocalReports(Record, tag="local"):
    """What stands where other kinds have their noise: each row is reported at random, ε-locally private. Not named."""

    epsilon: Number
    unit: Literal["record"] = "record"
    budget: Natural = 0
