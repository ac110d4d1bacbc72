"""What the open task of a plan asks of a device: whether it is its turn, and whether the step lies deep enough.

    commit step    train, journal, put the commitment on the chain: it follows from what the journal has
    reveal step    send what was committed to, and nothing else; without commitments, train, journal and send

Rules of this file: questions, and the body of a commitment; the role acts on the answers.
"""

from chain.ids import AccountId, Hash
from chain.transaction import CommitUpdate
from consensus.committing import get_commitment_digest, is_as_committed, is_committing, takes_commitments
from consensus.encryption import is_sharing_first
from consensus.problems import get_problem
from consensus.queries import takes_updates
from consensus.records import RoundState
from consensus.state import get_commitment, get_mask, get_revealed, get_round, get_seat
from consensus.view import StateView
from node.roles.base import DeviceSurroundings
from storage.own import JournalEntry


def is_asked(around: DeviceSurroundings, plan: Hash, task: Hash) -> bool:
    """Does the plan's open task wait for this device's commitment, or for its update?"""
    view = around.chain.view
    state = get_round(view, plan)
    if state is None or state.task.digest != task:
        return False
    position = get_seat(view, plan, around.account, task)
    if position is None:
        return False
    has_committed = is_committing(view, plan) and get_commitment(view, plan, position, task) is not None
    if takes_commitments(view, state):
        return not has_committed
    is_bound = has_committed or not is_committing(view, plan)
    if is_sharing_first(view, plan) and get_mask(view, plan, position, task) is None:
        return False  # nobody could take its masks off
    return is_bound and takes_updates(view, state) and get_revealed(view, plan, position, task) is None


def find_due_task(around: DeviceSurroundings, plan: Hash) -> RoundState | None:
    """Return the plan's open task if this device is asked and the step lies deep enough to trust.

    Who revealed sooner after the commitments are closed would show a copier on another fork what to commit to.
    """
    state = get_round(around.chain.view, plan)
    if state is None or not is_asked(around, plan, state.task.digest):
        return None
    return state if is_deep(around, state) else None


def is_deep(around: DeviceSurroundings, state: RoundState) -> bool:
    """Does the open step lie deep enough to trust: final, or under as many blocks as the plan asks for?"""
    if around.has_votes:
        return state.stepped <= around.final_height  # nothing can take it back
    plan = get_problem(around.chain.view, Hash(state.task.plan)).plan
    return around.chain.height - state.stepped + 1 >= plan.deadlines.confirmations


def make_commitment(entry: JournalEntry, state: RoundState) -> CommitUpdate:
    """Return what a device says to commit to a journalled release."""
    task = state.task
    commitment = get_commitment_digest(entry.update)
    return CommitUpdate(task.plan, task.round, task.attempt, task.phase, Hash(task.digest), commitment)


def may_reveal(view: StateView, state: RoundState, device: AccountId, entry: JournalEntry | None) -> bool:
    """Is what the journal has for the open task what its device has committed to, if the plan asks for that?"""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    if not is_committing(view, plan):
        return True
    position = get_seat(view, plan, device, task)
    return entry is not None and position is not None and is_as_committed(view, position, entry.update)
