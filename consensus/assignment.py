"""Which miners may attest an update, and from when (docs/ledger.md).

The task's beacon puts the registered miners in an order of its own for each device. The first
``attestations`` of them are assigned; for every ``miner_fallback_blocks`` that pass while the update is not
in a block one more becomes eligible, so that a silent miner delays a device and never stops it.

Rules of this file: pure functions of the state, the task and heights.
"""

from hashlib import sha256

from chain.genesis import Rules
from chain.ids import AccountId
from consensus.records import Miner, RoundState
from consensus.state import get_miners, need_record
from consensus.statekeys import miner_key
from consensus.view import StateView
from fl.task import Task, draw


def get_miner_order(miners: tuple[AccountId, ...], task: Task, device: AccountId) -> tuple[AccountId, ...]:
    """Return the miners in the order in which the beacon assigns them to a device for a task."""
    seed = draw(task.beacon, b"miner", task.digest, device)
    return tuple(sorted(miners, key=lambda miner: sha256(seed + miner).digest()))  # one hash each: there may be many


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
    """Return the miners whose attestation of a device's update counts in a block at ``height``, in beacon order.

    Those who registered after the task had opened come last: whoever knows a beacon can make a key that comes first.
    """
    count = get_eligible_count(rules, attestations, state.opened, height)
    early: list[AccountId] = []
    late: list[AccountId] = []
    for miner in get_miner_order(get_miners(view), state.task, device):
        if len(early) == count:
            break
        is_early = need_record(view, miner_key(miner), Miner).registered < state.opened
        (early if is_early else late).append(miner)
    return tuple([*early, *late][:count])
