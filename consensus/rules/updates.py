"""Rules of local updates: which release a block may carry, and who must have attested it (docs/ledger.md).

``check_release`` is everything that device, task and payload decide; ``check_attestations`` what miners add.
Checks go from cheap to dear: the payload is read last.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import INT_MAX, AccountId, Hash, Millis
from chain.payload import PayloadRef
from chain.update import AttestedUpdate, LocalUpdate, Release
from consensus.assignment import get_eligible
from consensus.context import BlockContext
from consensus.disputes import vouch
from consensus.errors import Invalid, MissingPayload
from consensus.events import UpdateRevealed
from consensus.ledger import Ledger, take_funds
from consensus.problems import get_problem
from consensus.records import Commitment, RevealedUpdate, RoundState
from consensus.rules.commitments import check_reveal, note_vector
from consensus.rules.common import check_payload_size, need_plan
from consensus.rules.encryption import check_shared
from consensus.rules.privacy import charge_update, check_privacy
from consensus.signatures import SignatureCache
from consensus.state import get_enrolment, get_revealed, get_round, get_seat, put_record
from consensus.statekeys import device_key, enrolment_key, privacy_key, revealed_key, round_key, seat_key
from consensus.view import StateView
from fl.algorithms.base import Contribution
from fl.envelope import read_release
from fl.errors import PayloadError
from fl.plan.dimensions import encryption_of, replay_policy
from fl.policies import check_time, check_update, is_timeless
from fl.policies.base import Facts
from fl.policies.commit import vector_digest
from fl.problem import Problem
from fl.steps import step_table


def run_update(ledger: Ledger, attested: AttestedUpdate) -> None:
    """Take an update into the open task's reveals. ``Invalid`` or ``MissingPayload`` if it can't be."""
    view, context, release = ledger.view, ledger.context, attested.update.release
    state, position = check_seat(view, context, release)
    shared = check_shared(view, state, position)
    commitment = check_reveal(view, state, position, attested.update)
    problem = get_problem(view, release.plan)
    needed = problem.plan.verification.attestations
    check_privacy(view, context, problem.plan, release)
    check_attestations(ledger, attested, state, needed)
    check_payload_size(context.rules, release.payload.size, "update.payload")
    id = attested.id
    # The signature comes before a payload is asked for: strangers can't make us fetch.
    check_signature(attested.update, id, ledger.signatures)
    facts = compute_facts(context, state, release, commitment, shared)
    credited = tuple(a.miner for a in attested.attestations) if needed else (context.producer,)
    if commitment is None:
        check_included(ledger, problem, release, facts)
        reveal(ledger, attested.update.release, id, state, position, facts, credited)
        return
    contribution = check_content(problem, release, need_payload(ledger, release), facts, may_wait=False)
    reveal(ledger, attested.update.release, id, state, position, facts, credited)
    note_vector(view, release.plan, position, commitment, vector_digest(contribution))


def expect_keys(updates: Iterable[LocalUpdate]) -> list[bytes]:
    """Return the keys that checking these updates will read, each device's own: read at once, they come sooner."""
    releases = [update.release for update in updates]
    noisy = [release for release in releases if release.privacy.loss]
    return [
        *[seat_key(release.plan, release.device) for release in releases],
        *[enrolment_key(release.plan, release.device) for release in releases],
        *[device_key(release.device) for release in releases],
        *[privacy_key(release.device) for release in noisy],
    ]


def need_payload(ledger: Ledger, release: Release) -> bytes:
    """Return an update's payload; ``MissingPayload`` if it is not here."""
    payload = ledger.payloads.payload(release.payload.id)
    if payload is None:
        raise MissingPayload([release.payload])
    return payload


def check_included(ledger: Ledger, problem: Problem, release: Release, facts: Facts) -> None:
    """Check the payload that a block's update names. One that was found good before need only be here, and in time.

    ``Invalid``, ``MissingPayload``.
    """
    contents, key = ledger.signatures.contents, content_key(problem, release, facts)
    if key in contents:
        if not ledger.has_payload(release.payload.id):
            raise MissingPayload([release.payload])
        reason = check_time(problem, release.phase, facts)
        if reason is not None:
            raise Invalid("update.policy", reason, later=check_time(problem, release.phase, patient(facts)) is None)
        return
    check_content(problem, release, need_payload(ledger, release), facts)
    contents.add(key)


def content_key(problem: Problem, release: Release, facts: Facts) -> tuple[object, ...]:
    """Return all that ``check_content`` looks at, payload and plan by their digests; not what ``check_time`` does."""
    ref, time = release.payload, () if is_timeless(problem.plan) else (facts.elapsed_ms, facts.step_blocks)
    bound = () if encryption_of(problem.plan) is None else (release.task, release.device, facts.shared)
    return (problem.plan_id, release.phase, ref.id, ref.size, facts.samples, facts.computation_us, *time, *bound)


def check_release(
    view: StateView,
    context: BlockContext,
    update: LocalUpdate,
    payload: bytes,
    signatures: SignatureCache,
    *,
    is_named: bool,
) -> None:
    """Check an update as a block would, attestations aside. ``Invalid`` says what is wrong.

    ``is_named``: the payload's digest has been compared, as payload views do; senders may not have.
    """
    release = update.release
    state, position = check_seat(view, context, release)
    shared = check_shared(view, state, position)
    commitment = check_reveal(view, state, position, update)
    problem = get_problem(view, release.plan)
    check_privacy(view, context, problem.plan, release)
    check_payload_size(context.rules, release.payload.size, "update.payload")
    check_signature(update, update.id, signatures)
    if not is_named and content_id(payload) != release.payload.id:
        raise Invalid(
            "update.payload", f"the payload is not the one the release names, {release.payload.id.hex()[:16]}"
        )
    facts = compute_facts(context, state, release, commitment, shared)
    check_content(problem, release, payload, facts, may_wait=commitment is None)
    signatures.contents.add(content_key(problem, release, facts))


def check_seat(view: StateView, context: BlockContext, release: Release) -> tuple[RoundState, int]:
    """Return the open task's state and the device's position among the selected; ``Invalid`` if it has none to fill."""
    if release.chain_id != context.chain_id:
        raise Invalid("update.chain", f"chain {release.chain_id!r}; this one is {context.chain_id!r}")
    entry = need_plan(view, release.plan, "update.plan")
    state = get_round(view, release.plan)
    if state is None:
        raise Invalid(
            "update.plan", f"the plan is {entry.status}, it has no open task", later=entry.status == "enrolling"
        )
    task = state.task
    if release.task != task.digest or (release.round, release.phase) != (task.round, task.phase):
        raise Invalid(
            "update.task",
            f"task {release.task.hex()[:16]} of round {release.round}, phase {release.phase}; the plan's open task is "
            f"{task.digest.hex()[:16]} of round {task.round}, phase {task.phase}",
            later=(release.round, release.phase) >= (task.round, task.phase),
        )
    steps = step_table(get_problem(view, release.plan).plan)[task.phase].steps
    if steps[state.step].message != "update":
        is_early = any(step.message == "update" for step in steps[state.step :])
        told = "has not begun" if is_early else "is over"
        raise Invalid(
            "update.step",
            f"the task's reveal step {told}, it is in its {steps[state.step].name} step",
            later=is_early,
        )
    position = get_seat(view, release.plan, release.device, release.task)
    if position is None:
        raise Invalid("update.device", "the device is not among those selected for this task")
    if get_revealed(view, release.plan, position, release.task) is not None:
        raise Invalid("update.known", "the device has an update for this task in the chain already")
    enrolment = get_enrolment(view, release.plan, release.device)
    if enrolment is None or enrolment.samples != release.samples:
        frozen = 0 if enrolment is None else enrolment.samples
        raise Invalid("update.samples", f"{release.samples} samples; the device enrolled with {frozen}")
    return state, position


def compute_facts(
    context: BlockContext,
    state: RoundState,
    release: Release,
    commitment: Commitment | None = None,
    shared: bytes = b"",
) -> Facts:
    """Return what the chain knows of an update in this block. Time is the block's own, never before the task's.

    What was committed to was made by then: time that passed later did not serve it.
    """
    elapsed_ms, step_blocks = max(0, context.time_ms - state.opened_ms), context.height - state.opened
    if commitment is not None:
        elapsed_ms, step_blocks = commitment.elapsed_ms, commitment.step_blocks
    return Facts(release.samples, release.computation_us, elapsed_ms, step_blocks, shared=shared)


def patient(facts: Facts) -> Facts:
    """Return the facts of the same update in a block as late as can be."""
    return Facts(facts.samples, facts.computation_us, INT_MAX, INT_MAX)


def check_signature(update: LocalUpdate, id: Hash, signatures: SignatureCache) -> None:
    """Check that the device signed its release, which has this id. ``Invalid`` if it did not."""
    if not signatures.is_signed(update.release.device, update.signature, id):
        raise Invalid("update.signature", "the signature is not the device's")


def check_content(
    problem: Problem, release: Release, payload: bytes, facts: Facts, *, may_wait: bool = True
) -> Contribution:
    """Check the payload and the policies that are checked at inclusion; return it. ``Invalid`` says what fails.

    ``may_wait``: will the facts be others in a later block?
    """
    if len(payload) != release.payload.size:
        raise Invalid(
            "update.payload", f"the payload has {len(payload)} bytes; the release says {release.payload.size}"
        )
    try:
        contribution = read_release(problem, release, payload, facts.shared)
    except PayloadError as error:
        raise Invalid("update.payload", str(error)) from None
    reason = check_update(problem, release.phase, facts, contribution)
    if reason is not None:
        later = may_wait and check_update(problem, release.phase, patient(facts), contribution) is None
        raise Invalid("update.policy", reason, later=later)
    return contribution


def check_attestations(ledger: Ledger, attested: AttestedUpdate, state: RoundState, needed: int) -> None:
    """Check that exactly the needed number of eligible miners attest, in the order of their ids. ``Invalid`` if not.

    With fewer registered miners than needed the update waits: nobody else can vouch for it.
    """
    release = attested.update.release
    miners = [attestation.miner for attestation in attested.attestations]
    if len(miners) != needed:
        raise Invalid(
            "update.attestations", f"{len(miners)} attestations; the plan asks for {needed}", later=len(miners) < needed
        )
    if not needed:
        return
    if miners != sorted(set(miners)):
        raise Invalid("update.attestations", "attestations must stand in the order of their miners, each miner once")
    eligible = get_eligible(ledger.view, ledger.context.rules, state, needed, release.device, ledger.context.height)
    for attestation in attested.attestations:
        if attestation.miner not in eligible:
            raise Invalid(
                "update.attestations",
                f"miner {attestation.miner.hex()[:16]} is not assigned to this device yet",
                later=True,
            )
        if not ledger.signatures.is_signed(attestation.miner, attestation.signature, attestation.message(attested.id)):
            raise Invalid(
                "update.attestations", f"the signature of miner {attestation.miner.hex()[:16]} is not its own"
            )


def reveal(
    ledger: Ledger,
    release: Release,
    id: Hash,
    state: RoundState,
    position: int,
    facts: Facts,
    credited: tuple[AccountId, ...],
) -> None:
    """Write the update under its device's position, take over its privacy total, and let the plan pay the producer."""
    view, plan = ledger.view, Hash(release.plan)
    revealed = RevealedUpdate(
        task=release.task,
        device=release.device,
        update=id,
        payload=PayloadRef(release.payload.id, release.payload.size),
        samples=release.samples,
        computation_us=release.computation_us,
        elapsed_ms=Millis(facts.elapsed_ms),
        step_blocks=facts.step_blocks,
        credited=credited,
    )
    put_record(view, revealed_key(plan, position), revealed)
    put_record(view, round_key(plan), replace(state, revealed=state.revealed + 1))
    if replay_policy(get_problem(view, plan).plan) is not None:
        vouch(ledger.view, credited, 1)
    charge_update(ledger, get_problem(view, plan).plan, release)
    entry = need_plan(view, plan, "update.plan")
    ledger.earn(entry.update_fee)
    ledger.put_plan(take_funds(entry, fees=entry.update_fee))
    ledger.stir(plan)
    ledger.tell(UpdateRevealed(plan, release.task, id, release.device, state.revealed + 1))
