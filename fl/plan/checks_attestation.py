"""Checks of what a plan asks of those who join: registrars, kinds of statement, measurements.

Rules of this file: as in ``fl.plan.validate``, by way of which it is called.
"""

from typing import Final

from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems
from fl.plan.dimensions import replay_policy
from fl.plan.schema import ByRegistrar, Plan

INSTALLED: Final = ("software",)
"""Kinds of statement that somebody can judge (``consensus.statements``)."""
NAMED: Final = ("tpm", "sev")
"""Kinds whose verifier is not installed: the quote of a TPM, the report of AMD SEV."""
MAX_LISTED: Final = 64
_NOBODY: Final = bytes(32)


def check_attestation(plan: Plan) -> Problems:
    """Somebody must be able to join, by a statement that can be judged."""
    policy = plan.attestation
    if not isinstance(policy, ByRegistrar):
        return
    for name, listed, least in (
        ("registrars", policy.registrars, 1),
        ("kinds", policy.kinds, 1),
        ("measurements", policy.measurements, 0),
    ):
        if not least <= len(listed) <= MAX_LISTED:
            yield Problem(f"attestation.{name}", f"{len(listed)} entries", f"must be {least} … {MAX_LISTED}")
        if len(set(listed)) < len(listed):
            yield Problem(f"attestation.{name}", "", "must name each once")
    for kind in policy.kinds:
        if kind in NAMED:
            yield Problem("attestation.kinds", kind, f"has no verifier installed; there is {', '.join(INSTALLED)}")
        elif kind not in INSTALLED:
            yield Problem("attestation.kinds", kind, f"is no kind of statement; there is {', '.join(INSTALLED)}")
    if _NOBODY in policy.registrars:
        yield Problem("attestation.registrars", _NOBODY.hex(), "is nobody's key")
    if replay_policy(plan) is not None:
        allowed = 'must be "none" with verification.replay: who joins with its data carries no statement'
        yield Problem("attestation.type", "registrar", allowed)


ATTESTATION_PLAN_RULES: Final[PlanRules] = ((frozenset({"attestation", "verification"}), check_attestation),)
"""Each rule with the sections it reads."""
