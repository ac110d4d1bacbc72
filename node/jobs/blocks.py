"""The jobs around blocks: run a branch, build a candidate, seal it."""

from chain.block import Block, Header
from chain.ids import Hash
from consensus.branch import BranchOutcome, run_branch
from consensus.context import BlockContext
from consensus.engine import SealLimits
from consensus.errors import MissingPayload
from consensus.transition import fill, make_header
from consensus.view import Delta, decode_delta
from node.context import context_on
from node.jobs.control import JobControl
from node.jobs.results import (
    BlockBuilt,
    BlockSealed,
    BranchExecuted,
    BrokenRule,
    BuildLacks,
    Cancelled,
    ExecutedBlock,
    JobResult,
    LackingPayloads,
    Stale,
)
from node.jobs.specs import BuildBlock, ExecuteBranch, SealBlock
from node.world import World

_BURSTS_PER_SECOND = 20
"""A throttled search works and rests so often a second."""


def execute_branch(spec: ExecuteBranch, world: World, control: JobControl) -> JobResult:
    """Run the branch over the state at ``spec.base``."""
    with world.store.view() as view:
        if view.tip != spec.base:
            return Stale()
        undos = [_undo(world, id) for id in spec.undo]
        blocks = [_block(world, id) for id in spec.blocks]
        outcome = run_branch(view, undos, blocks, world.payloads, signatures=world.signatures)
    return _branch_result(spec, outcome)


def _undo(world: World, id: Hash) -> Delta:
    data = world.store.undo(id)
    if data is None:
        raise LookupError(f"connected block {id.hex()} has no undo")
    return decode_delta(data)


def _block(world: World, id: Hash) -> tuple[Block, BlockContext]:
    header = _header(world, id)
    body = world.store.body(id)
    if body is None:
        raise LookupError(f"block {id.hex()} has no body in the store")
    parent = _header(world, header.parent)
    return Block(header, body), context_on(world, parent, header.time_ms, header.producer)


def _header(world: World, id: Hash) -> Header:
    header = world.store.header(id)
    if header is None:
        raise LookupError(f"block {id.hex()} has no header in the store")
    return header


def _branch_result(spec: ExecuteBranch, outcome: BranchOutcome) -> BranchExecuted:
    executed = tuple(
        [
            ExecutedBlock(id, execution.delta, execution.events)
            for id, execution in zip(spec.blocks, outcome.executions, strict=False)  # it may have stopped early
        ]
    )
    broken = lacking = None
    if outcome.invalid is not None:
        index, verdict = outcome.invalid
        broken = BrokenRule(spec.blocks[index], verdict.rule, verdict.detail, False)
    if outcome.missing is not None:
        index, refs = outcome.missing
        lacking = LackingPayloads(spec.blocks[index], refs)
    return BranchExecuted(executed, broken, lacking)


def build_block(spec: BuildBlock, world: World, control: JobControl) -> JobResult:
    """Fill a candidate on ``spec.parent``, unless a phase that is due lacks payloads."""
    with world.store.view() as view:
        if view.tip != spec.parent:
            return Stale()
        parent = _header(world, spec.parent)
        context = context_on(world, parent, spec.time_ms, spec.producer)
        try:
            filling = fill(view, context, spec.transactions, spec.updates, world.payloads, signatures=world.signatures)
        except MissingPayload as missing:
            return BuildLacks(missing.refs)
    header = make_header(context, spec.parent, filling.body, filling.execution, spec.engine)
    rejected = [BrokenRule(id, verdict.rule, verdict.detail, verdict.later) for id, verdict in filling.rejected.items()]
    return BlockBuilt(header, filling.body, tuple(rejected))


def seal_block(spec: SealBlock, world: World, control: JobControl) -> JobResult:
    """Search for the seal until it is found or the job cancelled, at most ``spec.max_hashrate`` attempts a second."""
    if spec.max_hashrate == 0:
        seal = world.engine.seal(spec.header, control.is_cancelled)
        return Cancelled() if seal is None else BlockSealed(seal)
    burst = max(1, spec.max_hashrate // _BURSTS_PER_SECOND)
    start = 0
    while not control.is_cancelled():
        began = control.clock_us()
        seal = world.engine.seal(spec.header, control.is_cancelled, SealLimits(start=start, count=burst))
        if seal is not None:
            return BlockSealed(seal)
        start += burst
        rest_us = burst * 1_000_000 // spec.max_hashrate - (control.clock_us() - began)
        if rest_us > 0:
            control.sleep(rest_us / 1_000_000)
    return Cancelled()
