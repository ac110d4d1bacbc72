"""The bytes of a device's summed reports.

Each counter is a little-endian number of as many bytes as ``max_samples`` needs, with a sign bit where counters may be
below 0: a payload's length follows from the plan alone, and tells nothing of the rows.

Rules of this file: pure; any other bytes are a ``PayloadError``.
"""

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.errors import PayloadError
from fl.plan.schema import StatisticsPlan
from fl.plan.statistics import CountMeanSketch, HadamardCountMeanSketch, OptimalLocalHashing
from fl.statistics.base import Mechanism, Question
from fl.statistics.cms import CountMeanSketches
from fl.statistics.hcms import HadamardSketches
from fl.statistics.krr import RandomisedResponses
from fl.statistics.olh import LocalHashing


def mechanism_of(plan: StatisticsPlan) -> Mechanism:
    """Return the plan's mechanism."""
    spec = plan.statistic
    if isinstance(spec, CountMeanSketch):
        return CountMeanSketches(spec)
    if isinstance(spec, HadamardCountMeanSketch):
        return HadamardSketches(spec)
    if isinstance(spec, OptimalLocalHashing):
        return LocalHashing(spec, len(plan.column.values))
    return RandomisedResponses(spec, len(plan.column.values) + (plan.column.other == "count"))


def question_of(plan: StatisticsPlan, plan_id: bytes) -> Question:
    """Return what the mechanism is asked."""
    return Question(plan_id, len(plan.column.values))


def counter_bytes(plan: StatisticsPlan) -> int:
    """Return the bytes of one counter, 1 … 7 or 8."""
    bits = plan.participation.max_samples.bit_length() + mechanism_of(plan).is_signed
    return max(1, -(-bits // 8))


def payload_bytes(plan: StatisticsPlan) -> int:
    """Return the length of every payload of the plan."""
    return mechanism_of(plan).counters * counter_bytes(plan)


def write_counters(plan: StatisticsPlan, counters: Int64Vector) -> bytes:
    """Return the payload of a device's counters."""
    width = counter_bytes(plan)
    return counters.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def read_counters(plan: StatisticsPlan, payload: bytes) -> Int64Vector:
    """Return the counters of a payload, int64 (D,). ``PayloadError`` if its length is another."""
    width, expected = counter_bytes(plan), payload_bytes(plan)
    if len(payload) != expected:
        raise PayloadError(f"payload of {len(payload)} bytes; {expected} are needed for {expected // width} counters")
    raw = np.frombuffer(payload, np.uint8).reshape(-1, width)
    whole = np.zeros((raw.shape[0], 8), np.uint8)
    whole[:, :width] = raw
    if mechanism_of(plan).is_signed and width < 8:
        whole[:, width:] = np.where(raw[:, -1:] >= 0x80, 0xFF, 0)
    return whole.view("<i8").ravel().astype(np.int64)
