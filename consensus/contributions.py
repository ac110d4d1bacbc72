"""Rewards by contribution: what the updates of a round's last phase were worth is judged, kept, and paid for.

Judging belongs to the settling of that phase, while its payloads are at hand; what comes of it stands beside the
round's record for ever, and the round's share of the devices' pool is divided by it a moment later.

Rules of this file: only plans of format 2 whose ``contribution`` asks for it write anything here.
"""

from collections.abc import Sequence

from chain.fixedpoint import Int64Vector
from chain.ids import Hash
from consensus.ledger import Ledger
from consensus.records import (
    DeviceContribution,
    DeviceReport,
    PlanEntry,
    RevealedUpdate,
    RoundContributions,
    RoundState,
)
from consensus.rewards import compute_capped_split, compute_split, get_contribution_weight, get_device_weight
from consensus.state import need_record, put_record
from consensus.statekeys import contribution_key
from consensus.view import StateView
from fl.algorithms.base import Settled
from fl.contribution import Rank, judge_contributions
from fl.plan.schema import BySamples, Plan
from fl.problem import Problem
from fl.task import draw


def keep_contributions(
    ledger: Ledger,
    problem: Problem,
    state: RoundState,
    model: Int64Vector,
    carry: bytes,
    accepted: Sequence[Settled],
    updates: Sequence[RevealedUpdate],
    opening: bytes | None,
) -> None:
    """Judge the accepted updates of a round's last phase and keep what they were worth, where the plan asks for it.

    ``updates`` are all that were revealed, in the order of the draw. The orders of devices are drawn with the beacon
    that named the chunk: it follows the last reveal.
    """
    task = state.task
    if isinstance(problem.plan.contribution, BySamples) or task.phase + 1 < len(problem.algorithm.phases):
        return
    ranks = {update.device: get_rank(update, position) for position, update in enumerate(updates)}
    seed = draw(Hash(state.chunk_beacon), b"contribution", task.digest)
    found = [ranks[each.device] for each in accepted]
    worth = judge_contributions(problem, model, carry, accepted, found, opening, seed)
    devices = [
        DeviceContribution(each.device, value, original == number)
        for number, (each, original, value) in enumerate(zip(accepted, worth.originals, worth.values, strict=True))
    ]
    put_record(
        ledger.view, contribution_key(Hash(task.plan), task.round), RoundContributions(worth.walks, tuple(devices))
    )


def get_rank(update: RevealedUpdate, position: int) -> Rank:
    """Return how early an update came: by the block that carries it, within a block by its place in the draw."""
    return (update.step_blocks, position)


def compute_device_parts(
    view: StateView, plan: Plan, entry: PlanEntry, share: int, reports: Sequence[DeviceReport]
) -> list[int]:
    """Return what each device that settled in the plan's round ``entry.rounds`` gets of the share, by its rule."""
    rule = plan.contribution
    if isinstance(rule, BySamples):
        return compute_split(share, [get_device_weight(report) for report in reports])
    record = need_record(view, contribution_key(entry.plan, entry.rounds), RoundContributions)
    found = {each.device: each for each in record.devices}
    standing = [found[report.device].stands for report in reports]
    samples = [report.counted if stands else 0 for report, stands in zip(reports, standing, strict=True)]
    weights = [get_contribution_weight(found[report.device].value) for report in reports]
    if not record.walks:  # no chunk was opened, which is the owner's fault and nobody else's
        weights = [get_device_weight(report) if stands else 0 for report, stands in zip(reports, standing, strict=True)]
    return compute_capped_split(share, weights, samples, rule.cap_percent)
