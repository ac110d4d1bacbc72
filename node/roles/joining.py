"""How a device joins a plan: plainly, with the data that it shares, or with what a registrar says of it.

Rules of this file: questions and one body; the role decides when to join.
"""

from typing import Final

from chain.ids import Hash, Height
from chain.payload import PayloadRef
from chain.transaction import JoinAttested, JoinPlan, JoinSharing
from consensus.statements import find_statement_fault
from fl.plan.dimensions import audit_policy, randomised_policy, replay_policy
from fl.plan.schema import Masked, NoAttestation, Plan
from node.roles.base import DeviceSurroundings

_KINDS: Final = (JoinPlan, JoinSharing, JoinAttested)
_NO_AUDITS: Final = (
    "the plan audits its devices, and a light device can't answer audits: run a full node (without --light)"
)
_NO_MASKS: Final = (
    "the plan's updates travel under masks, which devices take off together; a light device can't help: run a full "
    "node (without --light)"
)
_NO_SHARING: Final = (
    "the plan repeats trainings, so its devices publish their data; a light device can't: run a full node "
    "(without --light)"
)
_NO_CONSENT_TO_SHARE: Final = (
    "the plan repeats trainings: it asks for the rows themselves, published to everybody, for ever. If they are public "
    "data, set share = true under [device] in the configuration"
)


def is_joining(around: DeviceSurroundings, plan: Hash) -> bool:
    """Does a join of this plan wait for a block?"""
    return any(around.is_waiting(kind, plan) for kind in _KINDS)


def _find_statement_reason(around: DeviceSurroundings, document: Plan) -> str | None:
    """Return why a plan would not take this device for want of a statement about it; None if it would."""
    if isinstance(document.attestation, NoAttestation):
        return None
    world, statement = around.world, around.world.statement
    if statement is None:
        return (
            "the plan takes devices that a registrar vouches for: have one say so (fedchain device vouch), and start "
            "the device with its --statement"
        )
    height = Height(around.chain.height + 1)
    return find_statement_fault(document.attestation, statement, world.genesis.chain_id, around.account, height)


def find_refusal(around: DeviceSurroundings, document: Plan, share: bool) -> str | None:
    """Return why a plan would not take this device, or asks what it can't do or its holder does not want; else None.

    ``share``: does the holder let the rows themselves be published?
    """
    lack = _find_statement_reason(around, document)
    if lack is not None:
        return lack
    if audit_policy(document) is not None and not around.opens_audits:
        return _NO_AUDITS
    if isinstance(document.aggregation, Masked) and not around.shares_data:
        return _NO_MASKS
    if replay_policy(document) is None:
        return None
    if not around.shares_data:
        return _NO_SHARING
    return _NO_CONSENT_TO_SHARE if randomised_policy(document) is None and not share else None


def make_join(
    around: DeviceSurroundings,
    plan: Hash,
    document: Plan,
    role: str,
    samples: int,
    commitment: Hash,
    shared: PayloadRef | None,
) -> JoinPlan | JoinSharing | JoinAttested:
    """Return what the device says to join a plan that it was seen to fit."""
    if shared is not None:
        return JoinSharing(plan, role, samples, shared)
    statement = around.world.statement
    if isinstance(document.attestation, NoAttestation) or statement is None:
        return JoinPlan(plan, role, samples, commitment)
    return JoinAttested(plan, role, samples, commitment, statement)
