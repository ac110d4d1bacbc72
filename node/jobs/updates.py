"""The job of a node that relays or attests: check local updates as a block would, many at a time."""

from chain.ids import Hash
from consensus.errors import Invalid
from consensus.rules.updates import expect_keys
from consensus.transition import check_local_update
from consensus.view import Overlay
from node.context import context_on
from node.jobs.control import JobControl
from node.jobs.results import BrokenRule, JobResult, Stale, UpdatesVerified
from node.jobs.specs import VerifyUpdates
from node.world import World


def _read(world: World, id: Hash) -> bytes | None:
    """Return a payload that is in the store: from memory if it has just come."""
    fresh = world.fresh.take(id)
    return fresh if fresh is not None and world.payloads.has(id) else world.payloads.payload(id)


def verify_updates(spec: VerifyUpdates, world: World, control: JobControl) -> JobResult:
    """Check updates whose payloads are in the store, in the context of the next block."""
    good: list[Hash] = []
    broken: list[BrokenRule] = []
    lacking: list[Hash] = []
    with world.store.view() as view:
        parent = world.store.header(spec.head)
        if view.tip != spec.head or parent is None:
            return Stale()
        context = context_on(world, parent, spec.time_ms, world.key.account)
        state = Overlay(view)  # what the updates of a task have in common is read once
        state.get_all(expect_keys(spec.updates))
        for update in spec.updates:
            id, ref = update.id, Hash(update.release.payload.id)
            payload = _read(world, ref)
            if payload is None:
                lacking.append(id)
                continue
            try:
                check_local_update(state, context, update, payload, signatures=world.signatures, is_named=True)
            except Invalid as verdict:
                broken.append(BrokenRule(id, verdict.rule, verdict.detail, verdict.later))
            else:
                good.append(id)
    return UpdatesVerified(tuple(good), tuple(broken), tuple(lacking))
