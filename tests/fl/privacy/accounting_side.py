"""The side of dp-accounting, run with the Python of its own environment (``make accounting``): known answers as JSON.

Nothing of fedchain is imported here: the answers are another library's. Epsilons at delta of so many releases: by its
RDP accountant from the losses' ρ and from the noise itself, by its accountant of privacy loss distributions, and of
releases that are each of a secret tenth of the rows, which no plan may claim: a public beacon's draw amplifies nothing.
"""

import json
import logging
import sys

from dp_accounting import GaussianDpEvent, LaplaceDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, ZCDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

ORDERS = [1 + 10 ** (step / 100) for step in range(-400, 500)]
CASES = [
    ("gaussian", parameter, count, delta)
    for parameter in (0.7, 2.0, 10.0, 60.0)
    for count in (1, 12, 300)
    for delta in (1e-5, 1e-8)
] + [
    ("laplace", parameter, count, delta)
    for parameter in (0.05, 0.5)
    for count in (1, 12, 300)
    for delta in (1e-5, 1e-8)
]


def answer(mechanism: str, parameter: float, count: int, delta: float) -> dict[str, object]:
    """Return dp-accounting's epsilons of ``count`` releases at noise multiplier, or pure epsilon, ``parameter``."""
    is_gaussian = mechanism == "gaussian"
    event = GaussianDpEvent(parameter) if is_gaussian else LaplaceDpEvent(1 / parameter)
    rho = 1 / (2 * parameter**2) if is_gaussian else parameter**2 / 2
    composed = SelfComposedDpEvent(event, count)
    sampled = SelfComposedDpEvent(PoissonSampledDpEvent(0.1, event), count)
    return {
        "mechanism": mechanism,
        "parameter": parameter,
        "count": count,
        "delta": delta,
        "zcdp": RdpAccountant(ORDERS).compose(ZCDpEvent(rho * count)).get_epsilon(delta),
        "rdp": RdpAccountant(ORDERS).compose(composed).get_epsilon(delta),
        "pld": PLDAccountant(value_discretization_interval=1e-4).compose(composed).get_epsilon(delta),
        "sampled": RdpAccountant().compose(sampled).get_epsilon(delta) if is_gaussian and parameter >= 2 else None,
    }


if __name__ == "__main__":
    logging.disable()
    json.dump([answer(*case) for case in CASES], sys.stdout, indent=1)
