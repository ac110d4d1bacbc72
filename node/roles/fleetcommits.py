"""What a fleet's devices owe an open step, where the plan has them commit to their updates before anybody reveals one.

    commit step    train, journal, put the commitment on the chain: it follows from what the journal has, so it is the
                   same again after a crash
    reveal step    send what was committed to, and nothing else; nothing is trained any more

Rules of this file: questions; the role acts on the answers. What concerns a single device is ``node.roles.asked``'s.
"""

from typing import Final

from chain.ids import Hash
from consensus.committing import is_committing, takes_commitments
from consensus.queries import takes_updates
from consensus.records import RoundState
from consensus.view import StateView
from node.roles.fleetroll import Standing

LOST: Final = (
    "has committed to an update that the journal does not have: does another machine run with the same keys, or is the "
    "journal from a backup? It reveals nothing for this task"
)


def find_owing(view: StateView, state: RoundState, standing: Standing) -> set[int] | None:
    """Return the places whose commitment or update the open step still lacks; None if it asks devices for neither."""
    if takes_commitments(view, state):
        return standing.due - standing.committed
    if not takes_updates(view, state):
        return None
    return standing.due & standing.committed if is_committing(view, Hash(state.task.plan)) else standing.due


def trains_now(view: StateView, state: RoundState) -> bool:
    """Is the open step the one that updates are made in? Whoever has not committed may not reveal."""
    return takes_commitments(view, state) or (
        takes_updates(view, state) and not is_committing(view, Hash(state.task.plan))
    )
