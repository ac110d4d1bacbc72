"""Encrypted updates: who has shared, who may help to decrypt, and the sum itself (docs/ledger.md).

    task opens ──▶ share step (masks alone) ──▶ reveal ──▶ decrypt: helpers give parts ──▶ settle: the sum is opened

What is decrypted is the sum of all updates that were revealed when the reveal step closed, and nothing else: an update
that settles later changes no set. With fewer parts than the threshold at the deadline the plan ends. It is not tried
again: parts that come late could open one sum of a round and the retry another, and their difference shows a device.

Rules of this file: questions about the state; what is costly is remembered by what it follows from.
"""

from collections.abc import Callable
from typing import Final

from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.payload import PayloadRef
from consensus.errors import MissingPayload
from consensus.problems import get_problem
from consensus.records import Decryption, RevealedUpdate, RoundState, SharedMask
from consensus.signatures import SignatureCache
from consensus.state import (
    get_decryption,
    get_mask,
    get_mask_count,
    get_revealed,
    get_selected,
)
from consensus.view import PayloadView, StateView
from fl.algorithms.base import Settled
from fl.plan.dimensions import encryption_of
from fl.secure.base import Cohort, Gathered
from fl.secure.quantise import get_cohort_update
from fl.secure.registry import scheme_of
from fl.steps import step_table

DOMAIN_GATHERED: Final = b"fedchain/gathered"
"""Of what updates are decrypted together; members of a committee pledge themselves to it."""
Read = Callable[[PayloadRef], bytes]


def is_encrypted(view: StateView, plan: Hash) -> bool:
    """Are the plan's updates encrypted?"""
    return encryption_of(get_problem(view, plan).plan) is not None


def is_sharing_first(view: StateView, plan: Hash) -> bool:
    """Do the plan's devices share something before they reveal?"""
    problem = get_problem(view, plan)
    return encryption_of(problem.plan) is not None and scheme_of(problem.plan).sharing is not None


def is_in_step(view: StateView, state: RoundState, name: str) -> bool:
    """Is the open task in the step of this name?"""
    plan = get_problem(view, Hash(state.task.plan)).plan
    return step_table(plan)[state.task.phase].steps[state.step].name == name


def get_sharing_goal(view: StateView, state: RoundState) -> int:
    """Return how many devices can still reveal: those that have shared, where they must; all selected elsewhere."""
    plan = Hash(state.task.plan)
    return get_mask_count(view, plan) if is_sharing_first(view, plan) else state.selected


def get_threshold(view: StateView, state: RoundState) -> int:
    """Return how many helpers it takes to decrypt the open task's sum."""
    problem = get_problem(view, Hash(state.task.plan))
    return scheme_of(problem.plan).threshold(problem, state.selected)


def get_masks(view: StateView, state: RoundState) -> list[tuple[AccountId, SharedMask]]:
    """Return what devices have shared for the open task, in draw order."""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    if not is_sharing_first(view, plan):
        return []
    found = [(device, get_mask(view, plan, place, task)) for place, device in enumerate(get_selected(view, plan))]
    return [(device, mask) for device, mask in found if mask is not None]


def get_decryptions(view: StateView, state: RoundState) -> list[Decryption]:
    """Return the parts that helpers have given for the open task's sum, by their numbers."""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    if not is_encrypted(view, plan):
        return []
    found = [get_decryption(view, plan, number, task) for number in range(len(get_helpers(view, state)))]
    return [part for part in found if part is not None]


def get_serving(view: StateView, state: RoundState) -> tuple[AccountId, ...]:
    """Return the members of a committee who gave a part for the sum; devices under masks help themselves."""
    if is_sharing_first(view, Hash(state.task.plan)):
        return ()
    return tuple([AccountId(part.helper) for part in get_decryptions(view, state)])


def get_protected(view: StateView, state: RoundState) -> list[RevealedUpdate]:
    """Return the updates that are decrypted together, in draw order."""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    found = [get_revealed(view, plan, place, task) for place in range(state.selected)]
    return [update for update in found if update is not None]


def get_helpers(view: StateView, state: RoundState) -> tuple[AccountId, ...]:
    """Return who may help to decrypt the open task's sum, each under its number."""
    plan = Hash(state.task.plan)
    problem = get_problem(view, plan)
    cohort = Cohort(Hash(state.task.digest), get_selected(view, plan), {})
    revealed = [AccountId(update.device) for update in get_protected(view, state)]
    return scheme_of(problem.plan).helpers(problem, cohort, revealed)


def get_gathered_name(view: StateView, state: RoundState) -> Hash:
    """Return the digest of just what is decrypted together: updates, and what their masks were made of."""
    masks = [bytes(mask.payload.id) for _, mask in get_masks(view, state)]
    updates = [bytes(update.update) for update in get_protected(view, state)]
    return digest(DOMAIN_GATHERED, state.task.digest, digest(DOMAIN_GATHERED, *masks), *updates)


def get_cohort(view: StateView, state: RoundState, read: Read) -> Cohort:
    """Return the open task's cohort with all that was shared."""
    plan = Hash(state.task.plan)
    shares = {device: read(mask.payload) for device, mask in get_masks(view, state)}
    return Cohort(Hash(state.task.digest), get_selected(view, plan), shares)


def gather(view: StateView, state: RoundState, read: Read, remembered: SignatureCache) -> Gathered:
    """Return what is to be decrypted; the sum under encryption is made once for the same updates."""
    name = get_gathered_name(view, state)
    known = remembered.gathered.get(name)
    if known is not None:
        return known
    problem = get_problem(view, Hash(state.task.plan))
    updates = get_protected(view, state)
    total = scheme_of(problem.plan).combine(problem, [read(update.payload) for update in updates])
    revealed = tuple([AccountId(update.device) for update in updates])
    gathered = Gathered(get_cohort(view, state, read), revealed, total)
    remembered.gathered.keep(name, gathered)
    return gathered


def read_all(payloads: PayloadView, refs: list[PayloadRef]) -> Read:
    """Return how to read payloads of which all must be here: ``MissingPayload`` with each that is not."""
    missing = [ref for ref in refs if payloads.payload(ref.id) is None]
    if missing:
        raise MissingPayload(missing)

    def read(ref: PayloadRef) -> bytes:
        payload = payloads.payload(ref.id)
        if payload is None:
            raise MissingPayload([ref])
        return payload

    return read


def get_refs(view: StateView, state: RoundState) -> list[PayloadRef]:
    """Return the payloads that opening the sum reads."""
    shared = [mask.payload for _, mask in get_masks(view, state)]
    protected = [update.payload for update in get_protected(view, state)]
    return [*shared, *protected, *[part.payload for part in get_decryptions(view, state)]]


def open_sum(view: StateView, state: RoundState, payloads: PayloadView, remembered: SignatureCache) -> Settled | None:
    """Return the whole cohort's update as one device's, None if what was encrypted makes no sum."""
    problem = get_problem(view, Hash(state.task.plan))
    read = read_all(payloads, get_refs(view, state))
    gathered = gather(view, state, read, remembered)
    parts = {AccountId(part.helper): read(part.payload) for part in get_decryptions(view, state)}
    sums = scheme_of(problem.plan).open(problem, gathered, parts)
    if sums is None:
        return None
    samples = [update.samples for update in get_protected(view, state)]
    return get_cohort_update(problem, state.task.phase, samples, sums)
