"""The mechanisms a row at a time, in plain Python: they draw the same randomness in the same order."""

from fl.plan.schema import StatisticsPlan
from fl.plan.statistics import CountMeanSketch, HadamardCountMeanSketch, RandomisedResponse
from fl.privacy.randomness import RandomSource
from fl.statistics.base import Codes
from fl.statistics.cms import CountMeanSketches
from fl.statistics.hashing import places
from fl.statistics.hcms import HadamardSketches
from fl.statistics.krr import RandomisedResponses
from fl.statistics.olh import PRIME, LocalHashing


class Words:
    """Random words of 64 bits, one after the other."""

    def __init__(self, source: RandomSource) -> None:
        self._source = source

    def word(self) -> int:
        return int.from_bytes(self._source.bytes(8), "little")

    def below(self, bound: int) -> int:
        return self.word() % bound

    def event(self, threshold: int) -> bool:
        return self.word() < threshold


def report_slowly(plan: StatisticsPlan, plan_id: bytes, codes: Codes, source: RandomSource) -> list[int]:
    """Return the sum of the rows' reports."""
    words, spec = Words(source), plan.statistic
    if isinstance(spec, CountMeanSketch):
        return _cms(spec, plan_id, codes, words)
    if isinstance(spec, HadamardCountMeanSketch):
        return _hcms(spec, plan_id, codes, words)
    if isinstance(spec, RandomisedResponse):
        return _krr(RandomisedResponses(spec, len(plan.column.values) + (plan.column.other == "count")), codes, words)
    return _olh(LocalHashing(spec, len(plan.column.values)), codes, words)


def _cms(spec: CountMeanSketch, plan_id: bytes, codes: Codes, words: Words) -> list[int]:
    k, m, flip = spec.hashes, spec.width, CountMeanSketches(spec).flip
    reports, signs = [0] * k, [0] * (k * m)
    chosen = [words.below(k) for _ in codes]
    for j, place in zip(chosen, _hashed(plan_id, codes, chosen, k, m), strict=True):
        reports[j] += 1
        for bit in range(m):
            signs[j * m + bit] += (bit == place) != words.event(flip)
    return reports + signs


def _hcms(spec: HadamardCountMeanSketch, plan_id: bytes, codes: Codes, words: Words) -> list[int]:
    k, m, flip = spec.hashes, spec.width, HadamardSketches(spec).flip
    chosen = [words.below(k) for _ in codes]
    coordinates = [words.below(m) for _ in codes]
    told = [0] * (k * m)
    for j, row, place in zip(chosen, coordinates, _hashed(plan_id, codes, chosen, k, m), strict=True):
        sign = -1 if (row & place).bit_count() % 2 else 1
        told[j * m + row] += -sign if words.event(flip) else sign
    return told


def _olh(mechanism: LocalHashing, codes: Codes, words: Words) -> list[int]:
    g, values = mechanism.answers, mechanism.values
    a, b = ([words.below(PRIME) for _ in codes] for _ in range(2))
    is_true = [words.event(mechanism.stay) for _ in codes]
    drawn = [words.below(g) for _ in codes]
    supported = [0] * values
    for row, code in enumerate(codes.tolist()):
        hashed = [(a[row] * value + b[row]) % PRIME % g for value in range(values + 1)]
        told = hashed[min(code, values)] if is_true[row] else drawn[row]
        for value in range(values):
            supported[value] += hashed[value] == told
    return supported


def _krr(mechanism: RandomisedResponses, codes: Codes, words: Words) -> list[int]:
    answers = [0] * mechanism.answers
    is_true = [words.event(mechanism.stay) for _ in codes]
    for code, own in zip(codes.tolist(), is_true, strict=True):
        drawn = words.below(mechanism.answers)
        answers[min(code, mechanism.answers - 1) if own else drawn] += 1
    return answers


def _hashed(plan_id: bytes, codes: Codes, chosen: list[int], k: int, m: int) -> list[int]:
    return [int(places(plan_id, codes[row : row + 1], k, m)[0, j]) for row, j in enumerate(chosen)]
