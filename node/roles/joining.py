"""How a device joins a plan: plainly, with the data that it shares, or with what a registrar says of it.

Rules of this file: questions and one body; the role decides when to join.
"""

from chain.ids import Hash, Height
from chain.payload import PayloadRef
from chain.transaction import JoinAttested, JoinPlan, JoinSharing
from consensus.statements import find_statement_fault
from fl.plan.schema import NoAttestation, Plan
from node.roles.base import DeviceSurroundings

_KINDS = (JoinPlan, JoinSharing, JoinAttested)


def is_joining(around: DeviceSurroundings, plan: Hash) -> bool:
    """Does a join of this plan wait for a block?"""
    return any(around.is_waiting(kind, plan) for kind in _KINDS)


def find_statement_reason(around: DeviceSurroundings, document: Plan) -> str | None:
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
