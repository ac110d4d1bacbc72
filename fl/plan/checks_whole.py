"""Plans under which a device tells nothing but a whole vector: no counts of its features, no choice of coordinates.

Noise and encryption both ask for that, each for a reason of its own.

Rules of this file: as in ``fl.plan.validate``; who calls it says the reasons.
"""

from collections.abc import Iterator

from fl.errors import Problem
from fl.plan.schema import FedSvrg, NoCompression, Plan


def check_whole(plan: Plan, beside: str, counts: str, named: str) -> Iterator[Problem]:
    """Refuse S and A scaling, for what ``counts`` says, and compression, for what ``named`` says."""
    if isinstance(plan.algorithm, FedSvrg):
        for name in ("scale_gradients", "scale_aggregate"):
            if getattr(plan.algorithm, name):
                yield Problem(f"algorithm.{name}", "true", f"must be false {beside}: {counts}")
    if not isinstance(plan.compression, NoCompression):
        value = str(plan.compression.__struct_config__.tag)
        yield Problem("compression.type", value, f'must be "none" {beside}: {named}')
