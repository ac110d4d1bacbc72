"""The state, read and written as records: what stands under the keys of ``consensus.statekeys``.

Rules of this file: no decision is taken here; a value that does not decode is damage to this node's database, so its
``CodecError`` is let through and stops the node.
"""

from functools import lru_cache
from typing import TypeVar

from chain.codec import Record, decode, decode_own
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, HashField, Height
from chain.payload import PayloadRef
from consensus.records import (
    Account,
    Accounts,
    Commitment,
    Decryption,
    Device,
    Dispute,
    DisputePlace,
    DisputeQueue,
    Enrolment,
    FirstPayloads,
    KnownVectors,
    Link,
    Miner,
    Opening,
    PlanEntry,
    PrivacyAccount,
    PrivacyCharged,
    RevealedUpdate,
    RoundContributions,
    RoundProgress,
    RoundRecord,
    RoundState,
    Seat,
    SharedMask,
    Supply,
    UpdateAudit,
)
from consensus.statekeys import (
    DISPUTES_KEY,
    MINERS_KEY,
    PLANS_KEY,
    READY_KEY,
    SUPPLY_KEY,
    account_key,
    active_key,
    audit_key,
    charge_key,
    commitment_key,
    committed_key,
    contribution_key,
    decryption_key,
    decryptions_key,
    device_key,
    dispute_key,
    enrolment_key,
    first_key,
    history_key,
    mask_key,
    masks_key,
    miner_key,
    opening_key,
    plan_key,
    privacy_key,
    progress_key,
    published_key,
    revealed_key,
    round_key,
    seat_key,
    selected_key,
    settled_key,
    shared_key,
    vectors_key,
    vouched_key,
)
from consensus.view import MAX_DELTA_BYTES, Overlay, StateView

R = TypeVar("R", bound=Record)


class Ids(Record):
    """A sorted list of plan ids."""

    ids: tuple[HashField, ...]


def get_record(view: StateView, key: bytes, kind: type[R]) -> R | None:
    """Return the record under a key, ``None`` if there is none."""
    if isinstance(view, Overlay):
        return view.get_record(key, kind)
    data = view.get(key)
    return None if data is None else decode(data, kind, MAX_DELTA_BYTES)


def need_record(view: StateView, key: bytes, kind: type[R]) -> R:
    """Return a record that an invariant says is there; ``LookupError`` (this node's fault) if it is not."""
    record = get_record(view, key, kind)
    if record is None:
        raise LookupError(f"the state has no {kind.__name__} under {key!r}")
    return record


def need_bytes(view: StateView, key: bytes) -> bytes:
    """Return bytes that an invariant says are there; ``LookupError`` (this node's fault) if they are not."""
    data = view.get(key)
    if data is None:
        raise LookupError(f"the state has nothing under {key!r}")
    return data


def put_record(overlay: Overlay, key: bytes, record: Record) -> None:
    """Write a record."""
    overlay.put_record(key, record)


def get_account(view: StateView, account: AccountId) -> Account:
    """Return an account; one that nobody has touched has no coins and nonce 0."""
    data = view.get(account_key(account))
    return Account(Amount(0), 0) if data is None else _decode_account(data)


@lru_cache(maxsize=4096)
def _decode_account(data: bytes) -> Account:
    """Return the account these bytes say. A transaction reads its sender's again and again."""
    return decode_own(data, Account)


def get_device(view: StateView, device: AccountId) -> Device | None:
    """Return a registered device."""
    return get_record(view, device_key(device), Device)


def get_privacy(view: StateView, device: AccountId | bytes) -> PrivacyAccount:
    """Return what the chain has charged a device; nothing, if it has joined no private plan."""
    return get_record(view, privacy_key(device), PrivacyAccount) or PrivacyAccount(0, 0, 0, 0, Height(0), ())


def get_charge(view: StateView, device: AccountId | bytes, number: int) -> PrivacyCharged:
    """Return a device's charge number ``number``; ``LookupError`` if it has not so many."""
    return need_record(view, charge_key(device, number), PrivacyCharged)


def get_published_loss(view: StateView, device: AccountId | bytes, commitment: Hash | bytes) -> int:
    """Return what publishing the data with this commitment has cost the device, in micro-zCDP."""
    return int.from_bytes(view.get(published_key(device, commitment)) or b"", "big")


def get_miner(view: StateView, miner: AccountId) -> Miner | None:
    """Return a registered miner."""
    return get_record(view, miner_key(miner), Miner)


def get_miners(view: StateView) -> tuple[AccountId, ...]:
    """Return the registered miners, sorted by id."""
    record = get_record(view, MINERS_KEY, Accounts)
    return () if record is None else record.accounts


def get_supply(view: StateView) -> Supply:
    """Return where all coins are."""
    return need_record(view, SUPPLY_KEY, Supply)


def get_plan(view: StateView, plan: Hash) -> PlanEntry | None:
    """Return a plan's standing."""
    return get_record(view, plan_key(plan), PlanEntry)


def get_link(view: StateView, plan: Hash) -> Link:
    """Return a plan's neighbours among the active plans; a ring nobody is in has its start for neighbour."""
    return get_record(view, active_key(plan), Link) or Link(ZERO_HASH, ZERO_HASH)


def get_active(view: StateView) -> tuple[Hash, ...]:
    """Return the plans that are enrolling or running, in the order in which they were submitted."""
    found: list[Hash] = []
    plan = get_link(view, ZERO_HASH).after
    while plan != ZERO_HASH:
        found.append(plan)
        plan = get_link(view, plan).after
    return tuple(found)


def get_ready(view: StateView) -> tuple[Hash, ...]:
    """Return the plans whose phase is ready and waits to settle, sorted by id."""
    record = get_record(view, READY_KEY, Ids)
    return () if record is None else record.ids


def get_plan_count(view: StateView) -> int:
    """Return how many plans were ever submitted."""
    return int.from_bytes(view.get(PLANS_KEY) or b"", "big")


def get_enrolment(view: StateView, plan: Hash, device: AccountId) -> Enrolment | None:
    """Return a device's place in a plan."""
    return get_record(view, enrolment_key(plan, device), Enrolment)


def get_round(view: StateView, plan: Hash) -> RoundState | None:
    """Return a running plan's open task and step."""
    return get_record(view, round_key(plan), RoundState)


def get_settled_task(view: StateView, plan: Hash, device: AccountId) -> Hash | None:
    """Return the task of a device's last release that settled, of plans whose devices keep a residual."""
    data = view.get(settled_key(plan, device))
    return None if data is None else Hash(data)


def get_progress(view: StateView, plan: Hash) -> RoundProgress | None:
    """Return what the attempt's settled phases left."""
    return get_record(view, progress_key(plan), RoundProgress)


def get_audit(view: StateView, plan: Hash | bytes, position: int, task: Hash | bytes) -> UpdateAudit | None:
    """Return the audit of the update at a position; None if its device has opened nothing for this task."""
    audit = get_record(view, audit_key(plan, position), UpdateAudit)
    return audit if audit is not None and audit.task == task else None


def get_first_payload(view: StateView, plan: Hash, device: AccountId) -> PayloadRef | None:
    """Return the payload of a device's update in the first phase of the attempt, where the plan keeps them."""
    record = get_record(view, first_key(plan), FirstPayloads)
    entries = () if record is None else record.entries
    return next((entry.payload for entry in entries if entry.device == device), None)


def get_first_payloads(view: StateView, plan: Hash) -> tuple[PayloadRef, ...]:
    """Return the payloads of all devices in the first phase of the attempt, where the plan keeps them."""
    record = get_record(view, first_key(plan), FirstPayloads)
    return () if record is None else tuple([entry.payload for entry in record.entries])


def get_dispute(view: StateView, plan: Hash | bytes, position: int) -> Dispute | None:
    """Return the dispute about the update at a position of the plan's open task; None if nobody disputes it."""
    return get_record(view, dispute_key(plan, position), Dispute)


def get_waiting_disputes(view: StateView) -> tuple[DisputePlace, ...]:
    """Return the disputes that wait to be decided, in their order."""
    record = get_record(view, DISPUTES_KEY, DisputeQueue)
    return () if record is None else record.entries


def get_vouched(view: StateView, miner: AccountId) -> int:
    """Return how many updates that can be disputed still a miner attested."""
    return int.from_bytes(view.get(vouched_key(miner)) or b"", "big")


def get_shared(view: StateView, plan: Hash | bytes, number: int) -> PayloadRef | None:
    """Return the data that the device shares which joined as number ``number``, where the plan asks for it."""
    return get_record(view, shared_key(plan, number), PayloadRef)


def get_selected(view: StateView, plan: Hash) -> tuple[AccountId, ...]:
    """Return the open task's selected devices in draw order."""
    record = get_record(view, selected_key(plan), Accounts)
    return () if record is None else record.accounts


def get_seat(view: StateView, plan: Hash, device: AccountId, task: Hash) -> int | None:
    """Return a device's position among the selected of this task."""
    seat = get_record(view, seat_key(plan, device), Seat)
    return None if seat is None or seat.task != task else seat.position


def get_revealed(view: StateView, plan: Hash, position: int, task: Hash) -> RevealedUpdate | None:
    """Return the update that the device at a position has revealed for this task."""
    revealed = get_record(view, revealed_key(plan, position), RevealedUpdate)
    return None if revealed is None or revealed.task != task else revealed


def get_commitment(view: StateView, plan: Hash, position: int, task: Hash) -> Commitment | None:
    """Return what the device at a position has committed to for this task."""
    commitment = get_record(view, commitment_key(plan, position), Commitment)
    return None if commitment is None or commitment.task != task else commitment


def get_committed_count(view: StateView, plan: Hash) -> int:
    """Return how many devices have committed to the open task."""
    return int.from_bytes(view.get(committed_key(plan)) or b"", "big")


def get_mask(view: StateView, plan: Hash, position: int, task: Hash) -> SharedMask | None:
    """Return what the device at a position has shared for this task."""
    mask = get_record(view, mask_key(plan, position), SharedMask)
    return None if mask is None or mask.task != task else mask


def get_mask_count(view: StateView, plan: Hash) -> int:
    """Return how many devices have shared for the open task."""
    return int.from_bytes(view.get(masks_key(plan)) or b"", "big")


def get_decryption(view: StateView, plan: Hash, number: int, task: Hash) -> Decryption | None:
    """Return the part that the helper with this number has given for this task."""
    part = get_record(view, decryption_key(plan, number), Decryption)
    return None if part is None or part.task != task else part


def get_decryption_count(view: StateView, plan: Hash) -> int:
    """Return how many parts there are of what decrypts the open task's sum."""
    return int.from_bytes(view.get(decryptions_key(plan)) or b"", "big")


def get_vectors(view: StateView, plan: Hash, phase: int, round_number: int) -> KnownVectors | None:
    """Return what was revealed in a phase of a round, if it is this one that is kept."""
    known = get_record(view, vectors_key(plan, phase, round_number), KnownVectors)
    return None if known is None or known.round != round_number else known


def get_opening(view: StateView, plan: Hash, task: Hash) -> Opening | None:
    """Return the holdout chunk opened for this task."""
    opening = get_record(view, opening_key(plan), Opening)
    return None if opening is None or opening.task != task else opening


def get_round_record(view: StateView, plan: Hash, round_number: int) -> RoundRecord | None:
    """Return a settled round."""
    return get_record(view, history_key(plan, round_number), RoundRecord)


def get_contributions(view: StateView, plan: Hash, round_number: int) -> RoundContributions | None:
    """Return what the updates of a settled round were worth, where the plan's rewards go by that."""
    return get_record(view, contribution_key(plan, round_number), RoundContributions)
