"""The jobs around blocks: run a branch, build a candidate."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from chain.block import Block, Body, Header
from chain.codec import encode
from chain.ids import Hash
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from consensus.branch import BranchOutcome, run_branch
from consensus.context import BlockContext, Execution
from consensus.errors import Invalid, MissingPayload
from consensus.staking.place import place_in, place_of
from consensus.transition import apply, fill, make_header
from consensus.undo import Undo, apply_undo, decode_undo, make_undo
from consensus.view import Overlay, StateView, apply_delta
from node.context import context_on
from node.core.payloads import body_payloads, transaction_payload
from node.jobs.control import JobControl
from node.jobs.results import (
    BlockBuilt,
    BranchExecuted,
    BrokenRule,
    BuildLacks,
    ExecutedBlock,
    JobResult,
    LackingPayloads,
    Stale,
)
from node.jobs.specs import BuildBlock, ExecuteBranch
from node.poolselect import select
from node.roles.attesting import trim_attestations
from node.world import World

_MOST_ITEMS: Final = 1000
"""Transactions and updates that one job executes, the block that reaches it included: its commit stands on the loop."""


def execute_branch(spec: ExecuteBranch, world: World, control: JobControl) -> JobResult:
    """Run the branch over the state at ``spec.base``; of one that takes nothing back, a full block or so at a time."""
    bodies: list[Body] = []
    with world.store.view() as view:
        if view.tip != spec.base:
            return Stale()
        undos = (_undo(world, id) for id in spec.undo)  # one at a time: there may be very many
        blocks = _read_blocks(spec, world, bodies)
        outcome = run_branch(
            view,
            undos,
            blocks,
            world.payloads,
            signatures=world.signatures,
            find_known=partial(_find_built, spec, world),
        )
    return _branch_result(spec, outcome, bodies)


def _read_blocks(spec: ExecuteBranch, world: World, bodies: list[Body]) -> Iterator[tuple[Block, BlockContext]]:
    """Read the blocks as they are asked for, and put their bodies aside; end early if they carry much."""
    count = 0
    for id in spec.blocks:
        if count >= _MOST_ITEMS and not spec.undo:
            return
        block, context = _block(world, id)
        bodies.append(block.body)
        count += len(block.body.transactions) + len(block.body.updates)
        yield block, context


def _find_built(spec: ExecuteBranch, world: World, block: Block) -> Execution | None:
    """Return what executing a block on ``spec.base`` gives if this node built it there itself."""
    return world.built.find(block.header) if block.header.parent == spec.base and not spec.undo else None


def _undo(world: World, id: Hash) -> Undo:
    data = world.store.undo(id)
    if data is None:
        raise LookupError(f"connected block {id.hex()} has no undo")
    return decode_undo(data)


def _block(world: World, id: Hash) -> tuple[Block, BlockContext]:
    header = _header(world, id)
    body = world.store.body(id)
    if body is None:
        raise LookupError(f"block {id.hex()} has no body in the store")
    parent = _header(world, header.parent)
    place = place_of(world.genesis, header)
    return Block(header, body), context_on(world, parent, header.time_ms, header.producer, place)


def _header(world: World, id: Hash) -> Header:
    header = world.store.header(id)
    if header is None:
        raise LookupError(f"block {id.hex()} has no header in the store")
    return header


def _branch_result(spec: ExecuteBranch, outcome: BranchOutcome, bodies: Sequence[Body]) -> BranchExecuted:
    executed = tuple(map(_executed, spec.blocks, outcome.executions, bodies))  # it may have stopped early
    broken = lacking = None
    if outcome.invalid is not None:
        index, verdict = outcome.invalid
        broken = BrokenRule(spec.blocks[index], verdict.rule, verdict.detail, False)
    if outcome.missing is not None:
        index, refs = outcome.missing
        lacking = LackingPayloads(spec.blocks[index], refs)
    return BranchExecuted(executed, broken, lacking, outcome.undone)


def _executed(id: Hash, execution: Execution, body: Body) -> ExecutedBlock:
    """Return what the commit of a block needs."""
    return ExecutedBlock(
        id=id,
        changes=execution.delta.writes,
        undo=encode(make_undo(execution)),
        events=execution.events,
        encoded_events=encode(execution.events),
        transactions=tuple([signed.id for signed in body.transactions]),
        payloads=tuple([ref.id for ref in body_payloads(body)]),
    )


def build_block(spec: BuildBlock, world: World, control: JobControl) -> JobResult:
    """Fill a candidate on ``spec.parent``, unless a phase that is due lacks payloads."""
    with world.store.view() as view:
        if view.tip != _base(spec, world):
            return Stale()
        site = _site(spec, world, view)
        if site is None:
            return Stale()
        parent, place = _header(world, spec.parent), place_in(world.genesis, spec.engine)
        context = context_on(world, parent, spec.time_ms, spec.producer, place)
        transactions, updates = _choose(spec, world, site, context)
        try:
            filling = fill(site, context, transactions, updates, world.payloads, signatures=world.signatures)
        except MissingPayload as missing:
            return BuildLacks(missing.refs)
    header = make_header(context, spec.parent, filling.body, filling.execution, spec.engine)
    if site is view:
        world.built.keep(header, filling.execution)
    rejected = [BrokenRule(id, verdict.rule, verdict.detail, verdict.later) for id, verdict in filling.rejected.items()]
    return BlockBuilt(header, filling.body, tuple(rejected))


def _choose(
    spec: BuildBlock, world: World, site: StateView, context: BlockContext
) -> tuple[list[SignedTransaction], list[AttestedUpdate]]:
    """Return what the block should try to hold: transactions whose payloads are here, updates with enough attestations.

    Each update comes with exactly the attestations that this block must carry.
    """
    rules, has = context.rules, world.payloads.has
    chosen = select(spec.pool, rules.max_block_bytes)
    ready = [signed for signed in chosen if (ref := transaction_payload(signed)) is None or has(ref.id)]
    trimmed = [trim_attestations(site, rules, attested, context.height) for attested in spec.updates]
    return ready, [attested for attested in trimmed if attested is not None]


def _base(spec: BuildBlock, world: World) -> Hash:
    """Return the head from which undoing and applying leads to the parent."""
    if spec.undo:
        return Hash(spec.undo[0])
    return _header(world, spec.apply[0]).parent if spec.apply else Hash(spec.parent)


def _site(spec: BuildBlock, world: World, view: StateView) -> StateView | None:
    """Return the state after the parent; None if its branch does not apply (any more)."""
    if not spec.undo and not spec.apply:
        return view
    site = Overlay(view)
    for id in spec.undo:
        apply_undo(site, _undo(world, id))
    for id in spec.apply:
        block, context = _block(world, id)
        try:
            execution = apply(site, block, context, world.payloads, signatures=world.signatures)
        except (Invalid, MissingPayload):
            return None  # the importer's verdict is what counts: it runs the same block
        apply_delta(site, execution.delta)
    return site
