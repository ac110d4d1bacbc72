"""From what a plan of kind ``statistics`` has settled to frequencies, by anybody who has it.

The "global model" of such a plan is n, the rows of the devices that settled, and the sum of their counters. All floats
below are for people: nothing that nodes must agree on is made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.errors import DataError
from fl.plan.cells import canonical
from fl.plan.schema import StatisticsPlan
from fl.plan.statistics import Sketch
from fl.statistics.base import Codes
from fl.statistics.counters import mechanism_of, question_of
from fl.statistics.hashing import code_of_text


@dataclass(frozen=True, slots=True)
class Estimate:
    """How often a value occurs: rows and share of all rows, each with its standard error. May be below 0."""

    value: str
    rows: float
    rows_error: float
    share: float
    share_error: float


def estimate_values(
    plan: StatisticsPlan, plan_id: bytes, model: Int64Vector, values: Sequence[str] | None = None
) -> tuple[Estimate, ...]:
    """Return the estimates of the plan's values, or of these texts. () while nothing has settled.

    ``DataError`` for texts that the plan does not list, where it counts listed ones alone.
    """
    mechanism, samples, counters = mechanism_of(plan), int(model[0]), model[1:]
    if samples == 0:
        return ()
    question = question_of(plan, plan_id)
    listed = mechanism.estimate(question, counters, samples, question.asked)
    texts, codes = plan.column.values, question.asked
    found, errors = listed, np.sqrt(mechanism.variance(listed.tolist(), samples))
    if values is not None:
        texts, codes = tuple(values), codes_of_texts(plan, values)
        found = mechanism.estimate(question, counters, samples, codes)
        known = [float(listed[code]) if code < listed.size else 0.0 for code in codes.tolist()]
        others = [each for place, each in enumerate(listed.tolist()) if place not in set(codes.tolist())]
        errors = np.sqrt(mechanism.variance([*known, *others], samples))[: len(known)]
    return tuple(
        Estimate(text, count, error, count / samples, error / samples)
        for text, count, error in zip(texts, found.tolist(), errors.tolist(), strict=True)
    )


def codes_of_texts(plan: StatisticsPlan, texts: Sequence[str]) -> Codes:
    """Return the codes of texts. ``DataError`` for one that the plan's mechanism knows nothing of."""
    listed = {canonical(value): place for place, value in enumerate(plan.column.values)}
    codes = [listed.get(canonical(text), -1) for text in texts]
    for place, (text, code) in enumerate(zip(texts, codes, strict=True)):
        if code >= 0:
            continue
        if plan.column.other == "refuse" or not isinstance(plan.statistic, Sketch):
            raise DataError(f"{text!r} is none of the values that the plan counts: {', '.join(plan.column.values)}")
        codes[place] = code_of_text(text)
    return np.asarray(codes, np.int64)
