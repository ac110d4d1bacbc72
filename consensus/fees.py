"""What things cost: fees by the byte, and what a plan has to escrow (docs/ledger.md, who pays).

A transaction pays for its bytes. Devices pay nothing: the plan they work for does, a fixed price for each join
and each update, frozen when the plan is submitted, to the producer whose block carries it. A plan also pays the
producers who settle its phases, by the work it declares.

Rules of this file: exact integers, pure functions of the plan and the rules.
"""

from typing import Final

from chain.genesis import Rules
from chain.ids import INT_MAX, Amount
from consensus.records import Funds
from fl.plan.dimensions import (
    audit_policy,
    commit_policy,
    encryption_of,
    model_bytes,
    most_selected,
    phase_count,
    plan_work,
    replay_work,
    settle_work,
)
from fl.plan.schema import MAX_MEMBERS, Committee, Masked, Plan

JOIN_BYTES: Final = 512
"""Bytes a plan pays for when a device joins."""
UPDATE_BYTES: Final = 512
ATTESTATION_BYTES: Final = 128
"""Bytes a plan pays for an update in a body, and for each of its attestations; payloads stand beside the block."""
WORK_UNIT: Final = 10**6
"""Sample × coordinate units that ``Rules.work_price`` is the price of."""


def get_minimum_fee(rules: Rules, size: int) -> int:
    """Return the least fee of a transaction whose signed encoding has ``size`` bytes."""
    return rules.min_fee_per_byte * size


def get_join_fee(rules: Rules) -> int:
    """Return what a plan pays for each device that joins."""
    return rules.min_fee_per_byte * JOIN_BYTES


def get_model_fee(plan: Plan, rules: Rules) -> int:
    """Return what a plan pays when it is submitted for the bytes of its model, which the state keeps for ever."""
    return rules.min_fee_per_byte * model_bytes(plan)


def get_update_fee(plan: Plan, rules: Rules) -> int:
    """Return what a plan pays for each update a block carries."""
    return rules.min_fee_per_byte * (UPDATE_BYTES + ATTESTATION_BYTES * plan.verification.attestations)


def count_device_transactions(plan: Plan) -> int:
    """Return how many transactions one update may take, each at the price of a join.

    Its commitment, its audit, what its masks are made of, and its device's part in taking masks off.
    """
    policy = audit_policy(plan)
    audits = 0 if policy is None else 1 + policy.verifiers
    masks = 2 if isinstance(encryption_of(plan), Masked) else 0
    return audits + masks + (commit_policy(plan) is not None)


def count_committee_transactions(plan: Plan) -> int:
    """Return how many transactions of a committee one phase may take, each at the price of a join."""
    return MAX_MEMBERS if isinstance(encryption_of(plan), Committee) else 0


def get_selected_count(plan: Plan, enrolled: int) -> int:
    """Return how many of the enrolled devices a drawn phase selects (over-selection, Bonawitz et al. 2019)."""
    return min(enrolled, most_selected(plan))


def get_settle_fee(plan: Plan, phase: int, work_price: int) -> int:
    """Return what a plan pays the producer of the block that settles a phase."""
    return work_price * settle_work(plan, phase) // WORK_UNIT


def get_replay_fee(plan: Plan, samples: int, work_price: int) -> int:
    """Return what a dispute pays the producer for the work of repeating a training of so many rows."""
    return -(-work_price * replay_work(plan, samples) // WORK_UNIT)


def compute_need(plan: Plan, rules: Rules) -> Funds | None:
    """Return the least a plan must escrow, by purpose; ``None`` if that is more than can exist.

    Enough for the worst case: every device joins, every round takes all its retries, every selected device reveals.
    """
    participation = plan.participation
    attempts = plan.stopping.rounds * (1 + participation.retries)
    updates = attempts * phase_count(plan) * get_selected_count(plan, participation.max_devices)
    fees = get_join_fee(rules) * participation.max_devices + get_update_fee(plan, rules) * updates
    fees += get_model_fee(plan, rules) + get_join_fee(rules) * updates * count_device_transactions(plan)
    fees += get_join_fee(rules) * attempts * phase_count(plan) * count_committee_transactions(plan)
    work = -(-rules.work_price * plan_work(plan) // WORK_UNIT)
    if plan.rewards.devices + plan.rewards.miners + fees + work > INT_MAX:
        return None
    return Funds(plan.rewards.devices, plan.rewards.miners, Amount(fees), Amount(work), Amount(0))


def get_required_escrow(plan: Plan, rules: Rules) -> int | None:
    """Return the least escrow of a plan under these rules; ``None`` if it is more than can exist."""
    need = compute_need(plan, rules)
    return None if need is None else need.total
