"""Which miners may attest an update, and from when (DESIGN §4.2, §4.4).

The task's beacon puts the registered miners in an order of its own for each device. The first
``attestations`` of them are assigned; for every ``miner_fallback_blocks`` that pass while the update is not
in a block one more becomes eligible, so that a silent miner delays a device and never stops it.

Rules of this file: pure functions of the state, the task and heights.
"""

from chain.genesis import Rules
from chain.ids import AccountId
from consensus.records import RoundState
from consensus.state import get_miners
from consensus.view import StateView
from fl.task import Task, draw


def get_miner_order(miners: tuple[AccountId, ...], task: Task, device: AccountId) -> tuple[AccountId, ...]:
    """Return the miners in the order in which the beacon assigns them to a device for a task."""
    digest = task.digest
    return tuple(sorted(miners, key=lambda miner: draw(task.beacon, b"miner", digest, device, miner)))


def get_eligible_count(rules: Rules, attestations: int, opened: int, height: int) -> int | None:
    """Return how many miners of the order may attest in a block at ``height``; ``None`` is all of them.

    Without a fallback (0 blocks) everybody may from the start.
    """
    if rules.miner_fallback_blocks == 0:
        return None
    return attestations + max(0, height - opened - 1) // rules.miner_fallback_blocks


def get_eligible(
    view: StateView, rules: Rules, state: RoundState, attestations: int, device: AccountId, height: int
) -> tuple[AccountId, ...]:
    """Return the miners whose attestation of a device's update counts in a block at ``height``, in beacon order."""
    order = get_miner_order(get_miners(view), state.task, device)
    return order[: get_eligible_count(rules, attestations, state.opened, height)]
