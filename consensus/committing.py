"""Commitments to updates: what a device puts on the chain before anybody reveals, and whose a vector is.

    task opens ──▶ commit step: each selected device commits to the update that it has made
                   all have, or the deadline ──▶ reveal: who committed reveals that very update

A commitment is the digest of (task, device, update id, the device's signature of that id). The update id covers the
payload, the samples and the reported time. No secret of its own hides it: nobody can guess the signature, which takes
the device's key, and whoever reveals shows it anyway. So a commitment follows from the signed update that the device
has journalled, and is the same again after a crash or a reorganisation; an update that is never revealed can't be
recognised by those who guess at the data; and another device's commitment is none under one's own name.

Rules of this file: questions about the state, and the note of what was revealed.
"""

from typing import Final

from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.update import LocalUpdate
from consensus.problems import get_problem
from consensus.records import Commitment, KnownVector, KnownVectors, RoundState
from consensus.state import get_commitment, get_committed_count, get_revealed, get_selected, get_vectors, put_record
from consensus.statekeys import vectors_key
from consensus.view import Overlay, StateView
from fl.plan.dimensions import commit_policy
from fl.steps import step_table

DOMAIN_COMMITMENT: Final = b"fedchain/commitment"


def get_commitment_digest(update: LocalUpdate) -> Hash:
    """Return what a device commits to this signed update with."""
    release = update.release
    return digest(DOMAIN_COMMITMENT, release.task, release.device, update.id, update.signature)


def is_committing(view: StateView, plan: Hash) -> bool:
    """Do the devices of a plan commit before they reveal?"""
    return commit_policy(get_problem(view, plan).plan) is not None


def takes_commitments(view: StateView, state: RoundState) -> bool:
    """Is the open task in its commit step?"""
    plan = get_problem(view, Hash(state.task.plan)).plan
    return step_table(plan)[state.task.phase].steps[state.step].name == "commit"


def is_as_committed(view: StateView, position: int, update: LocalUpdate) -> bool:
    """Is an update the one that the device at a position has committed to? True where the plan asks for none."""
    plan, task = Hash(update.release.plan), Hash(update.release.task)
    if not is_committing(view, plan):
        return True
    commitment = get_commitment(view, plan, position, task)
    return commitment is not None and commitment.commitment == get_commitment_digest(update)


def get_reveal_goal(view: StateView, state: RoundState) -> int:
    """Return how many reveals close the reveal step: the goal, or all who may, if those are fewer."""
    if not is_committing(view, Hash(state.task.plan)):
        return state.goal
    return min(state.goal, get_committed_count(view, Hash(state.task.plan)))


def get_committed(view: StateView, state: RoundState) -> tuple[AccountId, ...]:
    """Return the devices that have committed to the open task, in draw order; none where the plan asks for none."""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    if not is_committing(view, plan):
        return ()
    devices = enumerate(get_selected(view, plan))
    return tuple([device for position, device in devices if get_commitment(view, plan, position, task) is not None])


def get_revealing(view: StateView, state: RoundState) -> list[tuple[AccountId, Commitment]]:
    """Return the devices that have revealed for the task, with their commitments, the earliest first."""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    found: list[tuple[AccountId, Commitment]] = []
    for position in range(state.selected):
        commitment = get_commitment(view, plan, position, task)
        update = get_revealed(view, plan, position, task)
        if commitment is not None and update is not None:
            found.append((AccountId(update.device), commitment))
    return sorted(found, key=lambda entry: entry[1].number)


def find_copies(view: StateView, state: RoundState) -> dict[AccountId, str]:
    """Return the devices of the task whose vectors are somebody's already, and what is wrong with each.

    A vector is its first committer's, in this attempt or an earlier one of the round: an honest device may send the
    same again, since the same model gives the same gradient. In the round after, at another model, it is nobody's.
    """
    task = state.task
    plan = Hash(task.plan)
    if not is_committing(view, plan):
        return {}
    owners = {known.vector: known.device for known in _get_known(view, state)}
    last = get_vectors(view, plan, task.phase, task.round - 1) if task.round else None
    is_old = last is not None and last.model != task.model
    recycled = {known.vector: known.device for known in last.entries} if last is not None and is_old else {}
    faults: dict[AccountId, str] = {}
    for device, commitment in get_revealing(view, state):
        owner = owners.setdefault(commitment.vector, device)
        if commitment.vector in recycled:
            faults[device] = f"recycled: what {recycled[commitment.vector].hex()[:16]} sent in the round before"
        elif owner != device:
            faults[device] = f"a copy of what {owner.hex()[:16]} committed to first"
    return faults


def keep_vectors(view: Overlay, state: RoundState) -> None:
    """Note whose the vectors are that were revealed for a task that is over, for the rest of the round and the next."""
    task = state.task
    owners = {known.vector: known.device for known in _get_known(view, state)}
    for device, commitment in get_revealing(view, state):
        owners.setdefault(commitment.vector, device)
    entries = tuple([KnownVector(vector, owners[vector]) for vector in sorted(owners)])
    known = KnownVectors(task.round, task.model, entries)
    put_record(view, vectors_key(Hash(task.plan), task.phase, task.round), known)


def _get_known(view: StateView, state: RoundState) -> tuple[KnownVector, ...]:
    """Return what earlier attempts of the round revealed in this phase."""
    known = get_vectors(view, Hash(state.task.plan), state.task.phase, state.task.round)
    return () if known is None else known.entries
