"""The job of a node that relays or attests: check a local update as a block would."""

from consensus.errors import Invalid
from consensus.transition import check_local_update
from node.context import context_on
from node.jobs.control import JobControl
from node.jobs.results import BrokenRule, Declined, JobResult, Stale, UpdateVerified
from node.jobs.specs import VerifyUpdate
from node.world import World


def verify_update(spec: VerifyUpdate, world: World, control: JobControl) -> JobResult:
    """Check an update whose payload is in the store, in the context of the next block."""
    with world.store.view() as view:
        parent = world.store.header(spec.head)
        if view.tip != spec.head or parent is None:
            return Stale()
        payload = world.payloads.payload(spec.update.release.payload.id)
        if payload is None:
            return Declined("the payload is not in the store any more")
        context = context_on(world, parent, spec.time_ms, world.key.account)
        try:
            check_local_update(view, context, spec.update, payload, signatures=world.signatures)
        except Invalid as verdict:
            return UpdateVerified(BrokenRule(spec.update.id, verdict.rule, verdict.detail, verdict.later))
    return UpdateVerified(None)
