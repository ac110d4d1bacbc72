"""Which attestations count: those of the miners whom the task's beacon assigned to the device."""

from chain.genesis import Rules
from chain.ids import AccountId
from chain.update import AttestedUpdate, Release
from consensus.assignment import get_eligible
from consensus.queries import attestations_needed
from consensus.state import get_round
from consensus.view import StateView


def get_attesters(view: StateView, rules: Rules, release: Release, height: int) -> tuple[AccountId, ...]:
    """Return who may attest the update in a block at ``height``, in beacon order; nobody if its task is not open."""
    state = get_round(view, release.plan)
    if state is None or state.task.digest != release.task:
        return ()
    return get_eligible(view, rules, state, attestations_needed(view, release.plan), release.device, height)


def trim_attestations(view: StateView, rules: Rules, attested: AttestedUpdate, height: int) -> AttestedUpdate | None:
    """Return the update with exactly the attestations a block at ``height`` must carry, None if there are too few.

    Those of the miners first in beacon order are taken, and stand in the order of their ids.
    """
    release = attested.update.release
    needed = attestations_needed(view, release.plan)
    if needed == 0:
        return AttestedUpdate(attested.update, ()) if attested.attestations else attested
    by_miner = {attestation.miner: attestation for attestation in attested.attestations}
    attesters = get_attesters(view, rules, release, height)
    chosen = sorted([miner for miner in attesters if miner in by_miner][:needed])
    if len(chosen) < needed:
        return None
    return AttestedUpdate(attested.update, tuple([by_miner[miner] for miner in chosen]))
