"""The state's keys, and typed reading and writing of what stands under them.

    s/genesis                      digest of the genesis document
    s/supply                       Supply
    s/account/ACCOUNT              Account            s/device/ACCOUNT   Device
    s/miner/ACCOUNT                Miner              s/miners           Accounts, sorted
    s/plans                        number of plans    s/plan_at/NUMBER   plan id
    s/active/PLAN                  Link: the ring of the plans that are enrolling or running
    s/due/HEIGHT                   number of plans    s/due_at/HEIGHT NUMBER  plan with a deadline at that height
    s/ready                        ids of the plans whose phase waits to settle, sorted
    s/plan/PLAN                    PlanEntry          s/document/PLAN    the plan's canonical bytes
    s/model/PLAN                   int64 little-endian bytes of the global model
    s/carry/PLAN                   what the last phase settled for the next
    s/enrolment/PLAN DEVICE        Enrolment          s/enrolled/PLAN NUMBER     device id
    s/round/PLAN                   RoundState         s/progress/PLAN            RoundProgress
    s/selected/PLAN                Accounts           s/seat/PLAN DEVICE         Seat
    s/revealed/PLAN POSITION       RevealedUpdate     s/opening/PLAN             Opening
    s/history/PLAN ROUND           RoundRecord        s/audit/PLAN POSITION      UpdateAudit
    s/first/PLAN                   FirstPayloads      s/shared/PLAN NUMBER       PayloadRef
    s/contribution/PLAN ROUND      RoundContributions s/settled/PLAN DEVICE      digest of a task
    s/dispute/PLAN POSITION        Dispute            s/disputes                 DisputeQueue
    s/commitment/PLAN POSITION     Commitment         s/committed/PLAN           how many there are
    s/vectors/PLAN PHASE PARITY    KnownVectors of the last even and the last odd round
    s/mask/PLAN POSITION           SharedMask         s/masks/PLAN               how many there are
    s/decryption/PLAN NUMBER       Decryption         s/decryptions/PLAN         how many there are
    s/vouched/ACCOUNT              how many updates that can be disputed a miner attested
    s/privacy/DEVICE               PrivacyAccount     s/charge/DEVICE NUMBER     PrivacyCharged
    s/published/DEVICE COMMITMENT  8 bytes: the loss, in micro-zCDP, that publishing these data has cost

Numbers in keys are 4 bytes, heights 8, big-endian. Rules of this file: no decision is taken here; a value that does not
decode is damage to this node's database, so its ``CodecError`` is let through and stops the node.
"""

from functools import lru_cache
from typing import Final, TypeVar

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
from consensus.view import MAX_DELTA_BYTES, Overlay, StateView

STATE_PREFIX: Final = b"s/"
GENESIS_KEY: Final = b"s/genesis"
SUPPLY_KEY: Final = b"s/supply"
MINERS_KEY: Final = b"s/miners"
PLANS_KEY: Final = b"s/plans"
READY_KEY: Final = b"s/ready"
DISPUTES_KEY: Final = b"s/disputes"

R = TypeVar("R", bound=Record)


class Ids(Record):
    """A sorted list of plan ids."""

    ids: tuple[HashField, ...]


# --- keys -----------------------------------------------------------------------------------------


def number_key(number: int) -> bytes:
    """Return a number as it stands in keys."""
    return number.to_bytes(4, "big")


def account_key(account: AccountId) -> bytes:
    """Return the key of an ``Account``."""
    return b"s/account/" + account


def device_key(device: AccountId) -> bytes:
    """Return the key of a ``Device``."""
    return b"s/device/" + device


def privacy_key(device: AccountId | bytes) -> bytes:
    """Return the key of a ``PrivacyAccount``."""
    return b"s/privacy/" + device


def charge_key(device: AccountId | bytes, number: int) -> bytes:
    """Return the key of a ``PrivacyCharged``: the device's charge number ``number`` (from 0)."""
    return b"s/charge/" + device + number_key(number)


def published_key(device: AccountId | bytes, commitment: Hash | bytes) -> bytes:
    """Return the key of what publishing the data with this commitment has cost the device."""
    return b"s/published/" + device + commitment


def miner_key(miner: AccountId) -> bytes:
    """Return the key of a ``Miner``."""
    return b"s/miner/" + miner


def plan_at_key(number: int) -> bytes:
    """Return the key of the id of the plan that was submitted as number ``number`` (from 0)."""
    return b"s/plan_at/" + number_key(number)


def active_key(plan: Hash) -> bytes:
    """Return the key of a plan's ``Link``; 32 zero bytes have the ring's start and end."""
    return b"s/active/" + plan


def due_key(height: int) -> bytes:
    """Return the key of how many plans have (had) a deadline at a height."""
    return b"s/due/" + height.to_bytes(8, "big")


def due_at_key(height: int, number: int) -> bytes:
    """Return the key of the id of one of them."""
    return b"s/due_at/" + height.to_bytes(8, "big") + number_key(number)


def plan_key(plan: Hash) -> bytes:
    """Return the key of a ``PlanEntry``."""
    return b"s/plan/" + plan


def document_key(plan: Hash) -> bytes:
    """Return the key of a plan's canonical bytes."""
    return b"s/document/" + plan


def model_key(plan: Hash) -> bytes:
    """Return the key of a plan's global model."""
    return b"s/model/" + plan


def carry_key(plan: Hash) -> bytes:
    """Return the key of what a plan's last settled phase leaves to the next."""
    return b"s/carry/" + plan


def enrolment_key(plan: Hash, device: AccountId) -> bytes:
    """Return the key of an ``Enrolment``."""
    return b"s/enrolment/" + plan + device


def enrolled_key(plan: Hash, number: int) -> bytes:
    """Return the key of the id of the device that joined as number ``number`` (from 0)."""
    return b"s/enrolled/" + plan + number_key(number)


def round_key(plan: Hash) -> bytes:
    """Return the key of a ``RoundState``."""
    return b"s/round/" + plan


def progress_key(plan: Hash) -> bytes:
    """Return the key of a ``RoundProgress``."""
    return b"s/progress/" + plan


def selected_key(plan: Hash) -> bytes:
    """Return the key of the open task's selected devices."""
    return b"s/selected/" + plan


def seat_key(plan: Hash, device: AccountId) -> bytes:
    """Return the key of a ``Seat``."""
    return b"s/seat/" + plan + device


def revealed_key(plan: Hash, position: int) -> bytes:
    """Return the key of a ``RevealedUpdate``."""
    return b"s/revealed/" + plan + number_key(position)


def commitment_key(plan: Hash, position: int) -> bytes:
    """Return the key of a ``Commitment``."""
    return b"s/commitment/" + plan + number_key(position)


def committed_key(plan: Hash) -> bytes:
    """Return the key of how many devices have committed to the open task."""
    return b"s/committed/" + plan


def vectors_key(plan: Hash, phase: int, round_number: int) -> bytes:
    """Return the key of the ``KnownVectors`` of a phase in a round; the round after the next has it too."""
    return b"s/vectors/" + plan + number_key(phase) + number_key(round_number % 2)


def mask_key(plan: Hash, position: int) -> bytes:
    """Return the key of a ``SharedMask``."""
    return b"s/mask/" + plan + number_key(position)


def masks_key(plan: Hash) -> bytes:
    """Return the key of how many devices have shared for the open task."""
    return b"s/masks/" + plan


def decryption_key(plan: Hash, number: int) -> bytes:
    """Return the key of a ``Decryption``, by the helper's number."""
    return b"s/decryption/" + plan + number_key(number)


def decryptions_key(plan: Hash) -> bytes:
    """Return the key of how many parts there are of what decrypts the open task's sum."""
    return b"s/decryptions/" + plan


def opening_key(plan: Hash) -> bytes:
    """Return the key of an ``Opening``."""
    return b"s/opening/" + plan


def audit_key(plan: Hash | bytes, position: int) -> bytes:
    """Return the key of an ``UpdateAudit``."""
    return b"s/audit/" + plan + number_key(position)


def first_key(plan: Hash) -> bytes:
    """Return the key of ``FirstPayloads``."""
    return b"s/first/" + plan


def dispute_key(plan: Hash | bytes, position: int) -> bytes:
    """Return the key of a ``Dispute``."""
    return b"s/dispute/" + plan + number_key(position)


def vouched_key(miner: AccountId) -> bytes:
    """Return the key of how many updates a miner answers for with its bond."""
    return b"s/vouched/" + miner


def shared_key(plan: Hash | bytes, number: int) -> bytes:
    """Return the key of where the data stand that the device shares which joined as number ``number``."""
    return b"s/shared/" + plan + number_key(number)


def settled_key(plan: Hash | bytes, device: AccountId | bytes) -> bytes:
    """Return the key of the task whose release by this device settled last, of plans whose devices keep a residual."""
    return b"s/settled/" + plan + device


def history_key(plan: Hash, round_number: int) -> bytes:
    """Return the key of a ``RoundRecord``."""
    return b"s/history/" + plan + number_key(round_number)


def contribution_key(plan: Hash, round_number: int) -> bytes:
    """Return the key of a ``RoundContributions``."""
    return b"s/contribution/" + plan + number_key(round_number)


# --- typed values ---------------------------------------------------------------------------------


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
