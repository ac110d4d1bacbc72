"""Transactions: what an account can ask of the ledger. Shapes only; the rules are in ``consensus``.

A transaction's id hashes the unsigned array, so a signature can't change the id. A device owns no
coins: ``RegisterDevice``, ``JoinPlan`` carry fee 0 (a stamp or the plan's escrow pays).
"""

from typing import Annotated

from msgspec import Meta

from chain.codec import Record, encode
from chain.hashing import DOMAIN_TRANSACTION, digest
from chain.ids import AccountField, AmountField, Hash, HashField, Natural, ShortText, SignatureField
from chain.keys import KeyPair, verify
from chain.payload import PayloadRef
from chain.statement import DeviceStatement

MAX_PLAN_BYTES = 1 << 20
MAX_EVIDENCE_BYTES = 1 << 14
"""Two headers or votes with their signatures take less than two thousand."""


class Transfer(Record, tag="transfer"):
    """Move ``amount`` from the sender to ``to``."""

    to: AccountField
    amount: AmountField


class RegisterDevice(Record, tag="device.register"):
    """Make the sender a device. ``stamp`` is the proof-of-work nonce of ``consensus.stamps``.

    ``lifetime_budget`` bounds the device's privacy loss over all plans, in micro-zCDP (ρ · 10**6); 0 = no bound set.
    """

    lifetime_budget: Natural
    stamp: Natural


class JoinPlan(Record, tag="plan.join"):
    """Enrol the sending device in a plan with ``samples`` rows, frozen for the plan."""

    plan: HashField
    role: ShortText
    samples: Natural
    commitment: HashField


class RegisterMiner(Record, tag="miner.register"):
    """Bond ``bond`` coins and become eligible to be assigned updates to verify."""

    bond: AmountField


class RetireMiner(Record, tag="miner.retire"):
    """Leave the register of miners and get the bond back."""


class SubmitPlan(Record, tag="plan.submit"):
    """Put a plan (canonical bytes, ``fl.plan``) on the chain and escrow ``escrow`` coins for it."""

    plan: Annotated[bytes, Meta(max_length=MAX_PLAN_BYTES)]
    escrow: AmountField


class CancelPlan(Record, tag="plan.cancel"):
    """Cancel the sender's own plan; the unused escrow returns when the attempt in progress, if any, has ended."""

    plan: HashField


class OpenHoldout(Record, tag="plan.open_holdout"):
    """Reveal one chunk of a plan's committed holdout set after a reveal step has closed.

    The payload holds the chunk's rows; ``salt`` and ``proof`` tie it to the root in the plan.
    """

    plan: HashField
    round: Natural
    chunk: Natural
    salt: Annotated[bytes, Meta(min_length=16, max_length=32)]
    proof: Annotated[tuple[HashField, ...], Meta(max_length=32)]
    payload: PayloadRef


class OpenAudit(Record, tag="plan.open_audit"):
    """Open the segments of the sender's update that the beacon asked for, to the verifiers it is sealed for."""

    plan: HashField
    task: HashField
    payload: PayloadRef


class ReportAudit(Record, tag="plan.report_audit"):
    """Say, as a verifier, whether the opened work of ``device`` is honest; if not, ``reason`` says what is wrong."""

    plan: HashField
    task: HashField
    device: AccountField
    approves: bool
    reason: ShortText


class JoinSharing(Record, tag="plan.join_sharing"):
    """Enrol the sending device in a plan that repeats trainings; the payload is what it shares, for everybody to read.

    Its id is the device's commitment, so one set of ``samples`` rows stands behind all its updates.
    """

    plan: HashField
    role: ShortText
    samples: Natural
    payload: PayloadRef


class JoinAttested(Record, tag="plan.join_attested"):
    """Enrol the sending device in a plan that takes none without a registrar's statement; else as ``JoinPlan``."""

    plan: HashField
    role: ShortText
    samples: Natural
    commitment: HashField
    statement: DeviceStatement


class DisputeUpdate(Record, tag="plan.dispute"):
    """Say that an update of ``device`` (its id) is not what its training gives, and let every node repeat it.

    ``proof`` says that the sender has repeated it (``consensus.disputes.get_dispute_proof``): only then is it rewarded.
    ``amount``: the plan's deposit and the price of the work.
    """

    plan: HashField
    task: HashField
    device: AccountField
    update: HashField
    proof: HashField
    amount: AmountField


class CommitUpdate(Record, tag="update.commit"):
    """Commit the sending device to its update for a task, before anybody reveals one (``consensus.committing``).

    ``round``, ``attempt`` and ``phase`` are the task's: they tell one to come from one that is over.
    """

    plan: HashField
    round: Natural
    attempt: Natural
    phase: Natural
    task: HashField
    commitment: HashField


class LowerBudget(Record, tag="device.lower_budget"):
    """Lower the sending device's lifetime privacy budget to ``budget`` micro-zCDP, or set one where there is none.

    It can never be raised again.
    """

    budget: Natural


class ShareMask(Record, tag="update.share"):
    """Give, as a selected device, what the masks of the open task's updates are made of, sealed for its cohort.

    ``round``, ``attempt`` and ``phase`` are the task's: they tell one to come from one that is over.
    """

    plan: HashField
    round: Natural
    attempt: Natural
    phase: Natural
    task: HashField
    payload: PayloadRef


class DecryptSum(Record, tag="plan.decrypt"):
    """Give the sender's part of what decrypts the sum of the open task's updates."""

    plan: HashField
    task: HashField
    payload: PayloadRef


class Bond(Record, tag="stake.bond"):
    """Put ``amount`` coins into the sender's stake: with enough of it, it becomes a validator."""

    amount: AmountField


class Unbond(Record, tag="stake.unbond"):
    """Take ``amount`` coins out of the sender's stake; they are paid out when the unbonding time is over."""

    amount: AmountField


class Unjail(Record, tag="stake.unjail"):
    """End the sender's jail for absence: it can be a validator again from the next epoch on."""


class SubmitEvidence(Record, tag="stake.evidence"):
    """Show two signed messages of a validator that no honest one signs both (canonical ``Evidence``)."""

    evidence: Annotated[bytes, Meta(max_length=MAX_EVIDENCE_BYTES)]


class PermitDevice(Record, tag="device.permit"):
    """Allow ``device`` to register, on a chain whose genesis names registrars; the sender is one of them."""

    device: AccountField


Body = (
    Transfer
    | RegisterDevice
    | JoinPlan
    | RegisterMiner
    | RetireMiner
    | SubmitPlan
    | CancelPlan
    | OpenHoldout
    | OpenAudit
    | ReportAudit
    | JoinSharing
    | JoinAttested
    | DisputeUpdate
    | CommitUpdate
    | LowerBudget
    | ShareMask
    | DecryptSum
    | Bond
    | Unbond
    | Unjail
    | SubmitEvidence
    | PermitDevice
)
STAKE_KINDS = (Bond, Unbond, Unjail, SubmitEvidence, PermitDevice)
"""The kinds that exist on chains with validators alone."""
LEARNING_KINDS = (
    *(OpenAudit, ReportAudit, JoinSharing, DisputeUpdate, CommitUpdate),
    *(LowerBudget, ShareMask, DecryptSum, JoinAttested),
)
"""The kinds that exist from rules version 3 on."""
PAYLOAD_KINDS = (OpenHoldout, OpenAudit, JoinSharing, ShareMask, DecryptSum)
"""The kinds that refer to a ``payload`` beside the block."""


class Transaction(Record, dict=True, gc=True):
    """The unsigned transaction; its canonical bytes are what is hashed and signed.

    Its id, once computed, is kept beside the fields: no part of the encoding, nor of what is compared.
    """

    version: Natural
    chain_id: ShortText
    sender: AccountField
    nonce: Natural
    fee: AmountField
    body: Body

    @property
    def id(self) -> Hash:
        """SHA-256 of the canonical bytes under the transaction domain."""
        known: dict[str, Hash] = self.__dict__
        id = known.get("id")
        if id is None:
            id = known["id"] = digest(DOMAIN_TRANSACTION, encode(self))
        return id

    def sign(self, key: KeyPair) -> "SignedTransaction":
        """Return this transaction with the signature of ``key`` over its id."""
        return SignedTransaction(self, key.sign(self.id))


class SignedTransaction(Record):
    """A transaction and the Ed25519 signature of its sender over the transaction id."""

    transaction: Transaction
    signature: SignatureField

    @property
    def id(self) -> Hash:
        """The id of the transaction inside; the signature is not part of it."""
        return self.transaction.id

    def is_signed(self) -> bool:
        """Is the signature the sender's?"""
        return verify(self.transaction.sender, self.signature, self.transaction.id)
