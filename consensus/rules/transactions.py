"""Rules of every transaction: form, signature, nonce, fee, payment; then the rule of its kind, from a table.

A device owns no coins, so the kinds in ``FREE`` carry fee 0: a stamp or the plan's escrow pays for them.
"""

from collections.abc import Callable
from typing import Final, cast

from chain.codec import encode
from chain.transaction import (
    LEARNING_KINDS,
    STAKE_KINDS,
    Body,
    Bond,
    CancelPlan,
    CommitUpdate,
    DecryptSum,
    DisputeUpdate,
    JoinAttested,
    JoinPlan,
    JoinSharing,
    LowerBudget,
    OpenAudit,
    OpenHoldout,
    PermitDevice,
    RegisterDevice,
    RegisterMiner,
    ReportAudit,
    RetireMiner,
    ShareMask,
    SignedTransaction,
    SubmitEvidence,
    SubmitPlan,
    Transaction,
    Transfer,
    Unbond,
    Unjail,
)
from consensus.context import BlockContext
from consensus.errors import Invalid
from consensus.fees import get_minimum_fee
from consensus.ledger import Ledger
from consensus.rules import (
    accounts,
    audits,
    commitments,
    disputes,
    encryption,
    enrolment,
    openings,
    plans,
    privacy,
    staking,
)
from consensus.signatures import SignatureCache
from consensus.state import get_account
from fl.plan.schema import LEARNING_RULES

TRANSACTION_VERSION: Final = 1
FREE: Final = (
    *(RegisterDevice, LowerBudget, JoinPlan, JoinSharing, JoinAttested),
    *(CommitUpdate, OpenAudit, ReportAudit, ShareMask, DecryptSum),
)

Rule = Callable[[Ledger, Transaction, Body], None]
_RULES: Final[dict[type[Body], Rule]] = {
    Transfer: cast(Rule, accounts.transfer),
    RegisterDevice: cast(Rule, accounts.register_device),
    RegisterMiner: cast(Rule, accounts.register_miner),
    RetireMiner: cast(Rule, accounts.retire_miner),
    SubmitPlan: cast(Rule, plans.submit_plan),
    JoinPlan: cast(Rule, enrolment.join_plan),
    JoinSharing: cast(Rule, enrolment.join_sharing),
    JoinAttested: cast(Rule, enrolment.join_attested),
    CancelPlan: cast(Rule, plans.cancel),
    OpenHoldout: cast(Rule, openings.open_holdout),
    OpenAudit: cast(Rule, audits.open_audit),
    ReportAudit: cast(Rule, audits.report_audit),
    DisputeUpdate: cast(Rule, disputes.dispute_update),
    CommitUpdate: cast(Rule, commitments.commit_update),
    LowerBudget: cast(Rule, privacy.lower_budget),
    ShareMask: cast(Rule, encryption.share_mask),
    DecryptSum: cast(Rule, encryption.decrypt_sum),
    Bond: cast(Rule, staking.bond),
    Unbond: cast(Rule, staking.unbond),
    Unjail: cast(Rule, staking.unjail),
    SubmitEvidence: cast(Rule, staking.submit_evidence),
    PermitDevice: cast(Rule, staking.permit_device),
}
"""The rule of each kind; it is called with a body of that kind alone, which the casts rely on."""


def check_form(context: BlockContext, signed: SignedTransaction, signatures: SignatureCache) -> None:
    """Check what does not depend on the state: version, chain, kind, fee, signature. ``Invalid`` says which is bad."""
    transaction, kind = signed.transaction, type(signed.transaction.body)
    if transaction.version != TRANSACTION_VERSION:
        raise Invalid("transaction.version", f"version {transaction.version}; {TRANSACTION_VERSION} is allowed")
    if transaction.chain_id != context.chain_id:
        raise Invalid("transaction.chain", f"chain {transaction.chain_id!r}; this one is {context.chain_id!r}")
    if kind in STAKE_KINDS and context.stake is None:
        name = kind.__struct_config__.tag
        raise Invalid("transaction.kind", f"{name} exists on chains with validators; this one has none")
    if kind in LEARNING_KINDS and context.rules.version < LEARNING_RULES:
        name = kind.__struct_config__.tag
        raise Invalid("transaction.kind", f"{name} exists from rules version {LEARNING_RULES} on", later=True)
    size = len(encode(signed))
    if size > context.rules.max_block_bytes:
        raise Invalid("transaction.size", f"{size} bytes; a block holds {context.rules.max_block_bytes}")
    if kind in FREE:
        if transaction.fee != 0:
            raise Invalid("transaction.fee", f"fee {transaction.fee}; this kind is free, its fee must be 0")
    else:
        least = get_minimum_fee(context.rules, size)
        if transaction.fee < least:
            raise Invalid("transaction.fee", f"fee {transaction.fee}; {size} bytes owe at least {least}")
    if not signatures.is_signed(transaction.sender, signed.signature, transaction.id):
        raise Invalid("transaction.signature", "the signature is not the sender's")


def check_nonce(expected: int, nonce: int) -> None:
    """Check that a transaction is its sender's next. ``Invalid`` if it is not."""
    if nonce != expected:
        raise Invalid("transaction.nonce", f"nonce {nonce}; the sender's next is {expected}", later=nonce > expected)


def run_transaction(ledger: Ledger, signed: SignedTransaction) -> None:
    """Do what a transaction asks. ``Invalid`` or ``MissingPayload`` if it can't be done."""
    transaction = signed.transaction
    check_form(ledger.context, signed, ledger.signatures)
    sender = get_account(ledger.view, transaction.sender)
    check_nonce(sender.nonce, transaction.nonce)
    purpose, amount = get_spending(transaction.body)
    rule = f"{transaction.body.__struct_config__.tag}.balance"
    ledger.charge(transaction.sender, sender, amount, purpose, transaction.fee, rule)
    _RULES[type(transaction.body)](ledger, transaction, transaction.body)


def get_spending(body: Body) -> tuple[str, int]:
    """Return what a transaction takes from its sender besides the fee: its name and the amount."""
    if isinstance(body, Transfer | Bond):
        return "amount", body.amount
    if isinstance(body, RegisterMiner):
        return "bond", body.bond
    if isinstance(body, SubmitPlan):
        return "escrow", body.escrow
    if isinstance(body, DisputeUpdate):
        return "deposit", body.amount
    return "", 0
