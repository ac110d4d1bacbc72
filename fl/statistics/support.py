"""Estimates from counters that a report of a value raises with one chance, and a report of another with a lower one.

``krr`` and ``olh`` are such: a counter for each value, raised with the chance ``truth`` (p*) by rows that have it and
``chance`` (q) by the others (Wang et al. 2017).
"""

from collections.abc import Sequence

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector


def unbias(counters: Int64Vector, samples: int, truth: float, chance: float) -> Float64Vector:
    """Return the unbiased estimates (c − n·q) / (p* − q) of ``samples`` rows' counters."""
    return np.asarray((counters - samples * chance) / (truth - chance), np.float64)


def variance_of(counts: Sequence[float], samples: int, truth: float, chance: float) -> Float64Vector:
    """Return (f·p*·(1 − p*) + (n − f)·q·(1 − q)) / (p* − q)², f cut to what ``samples`` rows can have."""
    f = np.clip(np.asarray(counts, np.float64), 0.0, samples)
    spread = f * truth * (1.0 - truth) + (samples - f) * chance * (1.0 - chance)
    return np.asarray(spread / (truth - chance) ** 2)
