"""The state's keys, and what stands under each.

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

Numbers in keys are 4 bytes, heights 8, big-endian. Staking adds keys of its own (``consensus.staking.state``).

Rules of this file: keys alone; reading and writing what stands under them is ``consensus.state``'s.
"""

from typing import Final

from chain.ids import AccountId, Hash

STATE_PREFIX: Final = b"s/"
GENESIS_KEY: Final = b"s/genesis"
SUPPLY_KEY: Final = b"s/supply"
MINERS_KEY: Final = b"s/miners"
PLANS_KEY: Final = b"s/plans"
READY_KEY: Final = b"s/ready"
DISPUTES_KEY: Final = b"s/disputes"


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
