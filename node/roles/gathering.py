"""Is there anything that the next block should wait for? What a leader asks who holds its block back a little.

A phase of a round settles in the block that carries the last update its task waits for: a block that goes out while
updates are still on their way costs the phase another block.

Rules of this file: questions about the head's state and the pools. It is a matter of speed alone: whatever it says, the
block is valid and goes out in time.
"""

from chain.ids import Hash
from consensus.queries import attestations_needed, takes_updates
from consensus.records import RoundState
from consensus.state import get_active, get_round
from consensus.view import StateView
from node.roles.base import Surroundings
from node.updatepool import Stage, UpdatePool


def is_worth_waiting(around: Surroundings) -> bool:
    """Would a block made now lack something that may come soon?

    Not if a transaction waits: nobody's transaction waits for others' updates. Not if a plan waits for nothing but
    blocks. Yes if nothing happens at all, or a task lacks updates that it needs to settle.
    """
    if len(around.mempool):
        return False
    view, pool = around.chain.view, around.updates
    states = [get_round(view, plan) for plan in get_active(view)]
    if any(state is None or not takes_updates(view, state) for state in states):
        return False
    return not states or any(state is not None and _lacks_updates(view, pool, state) for state in states)


def _lacks_updates(view: StateView, pool: UpdatePool, state: RoundState) -> bool:
    """Are there fewer updates here that a block can take than the task needs for its goal?"""
    entries = pool.of_task(Hash(state.task.digest))
    missing = state.goal - state.revealed
    if len(entries) < missing:
        return True
    needed = attestations_needed(view, Hash(state.task.plan))
    ready = sum(entry.stage is Stage.VERIFIED and len(entry.attestations) >= needed for entry in entries)
    return ready < missing
