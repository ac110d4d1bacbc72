"""Rules of stake: bonding, unbonding, leaving jail, showing evidence, permitting devices.

Each is asked on chains with validators alone; the coins that ``stake.bond`` takes have left the balance already.
"""

from msgspec.structs import replace

from chain.ids import AccountId, Amount, Height
from chain.transaction import Bond, PermitDevice, SubmitEvidence, Transaction, Unbond, Unjail
from consensus.context import StakeContext
from consensus.errors import Invalid
from consensus.events import DevicePermitted, StakeBonded, ValidatorUnjailed
from consensus.ledger import Ledger
from consensus.pos.errors import EvidenceFault
from consensus.pos.evidence import check_evidence, epoch_of_evidence, read_evidence
from consensus.staking.bonds import make_room, put_stake
from consensus.staking.records import Validator
from consensus.staking.sets import evidence_deadline
from consensus.staking.slashing import punish
from consensus.staking.state import get_permit, get_validator, need_validator_set, permit_key
from consensus.staking.unbonding import check_room, start_unbonding
from consensus.state import get_device


def bond(ledger: Ledger, transaction: Transaction, body: Bond) -> None:
    """Add coins to the sender's stake; the next epoch's set is chosen by what stands then."""
    stake, account = _need_open(ledger, "stake.bond.permissioned"), transaction.sender
    before = get_validator(ledger.view, account)
    if before is not None and before.standing == "tombstoned":
        raise Invalid("stake.bond.tombstoned", "this account has committed an offence: it is no validator again")
    total = body.amount + (0 if before is None else before.stake)
    if body.amount == 0 or total < stake.parameters.min_stake:
        raise Invalid("stake.bond.amount", f"stake {total}; at least {stake.parameters.min_stake} is asked")
    if before is None or before.stake == 0:
        make_room(ledger, stake, body.amount)
    since = ledger.context.height
    entry = Validator(Amount(total), since, "good", 0, Height(0)) if before is None else replace(before, stake=total)
    put_stake(ledger, account, entry)
    ledger.tell(StakeBonded(account, body.amount, Amount(total)))


def unbond(ledger: Ledger, transaction: Transaction, body: Unbond) -> None:
    """Take coins out of the sender's stake, for the queue that pays them when no evidence can reach them."""
    stake, account = _need_open(ledger, "stake.unbond.permissioned"), transaction.sender
    before = get_validator(ledger.view, account)
    if before is None or before.stake == 0:
        raise Invalid("stake.unbond.unknown", "this account has no stake")
    left = before.stake - body.amount
    if body.amount == 0 or left < 0:
        raise Invalid("stake.unbond.amount", f"amount {body.amount}; 1 to {before.stake} is there")
    if 0 < left < stake.parameters.min_stake:
        raise Invalid(
            "stake.unbond.rest", f"{left} would be left, below the least of {stake.parameters.min_stake}: unbond it all"
        )
    check_room(ledger, account, "stake.unbond.waiting")
    put_stake(ledger, account, replace(before, stake=Amount(left)))
    start_unbonding(ledger, stake, account, body.amount, "stake")


def unjail(ledger: Ledger, transaction: Transaction, body: Unjail) -> None:
    """Put the sender, jailed for absence, in good standing again."""
    stake, account = _need_open(ledger, "stake.unjail.permissioned"), transaction.sender
    before = get_validator(ledger.view, account)
    if before is None or before.standing != "jailed":
        raise Invalid("stake.unjail.standing", "this account is not in jail for absence")
    if ledger.context.height < before.free_from:
        raise Invalid("stake.unjail.early", f"free from block {before.free_from} on", later=True)
    if before.stake < stake.parameters.min_stake:
        raise Invalid("stake.unjail.stake", f"stake {before.stake}; at least {stake.parameters.min_stake} is asked")
    put_stake(ledger, account, replace(before, standing="good", missed=0, free_from=ledger.context.height))
    ledger.tell(ValidatorUnjailed(account))


def submit_evidence(ledger: Ledger, transaction: Transaction, body: SubmitEvidence) -> None:
    """Punish what the evidence proves, if it is about a time that still counts."""
    stake = _need_stake(ledger)
    try:
        evidence = read_evidence(body.evidence)
        epoch = epoch_of_evidence(evidence)
        if epoch > stake.epoch:
            raise Invalid("stake.evidence.epoch", f"about epoch {epoch}; this is epoch {stake.epoch}", later=True)
        last = evidence_deadline(epoch, stake.parameters)
        if ledger.context.height > last:
            raise Invalid("stake.evidence.expired", f"evidence about epoch {epoch} counted up to block {last}")
        offence = check_evidence(need_validator_set(ledger.view, epoch), evidence, ledger.signatures)
    except EvidenceFault as fault:
        raise Invalid("stake.evidence.proof", str(fault)) from None
    punish(ledger, stake, offence, transaction.sender)


def permit_device(ledger: Ledger, transaction: Transaction, body: PermitDevice) -> None:
    """Let a device register, which needs no stamp then."""
    registrar, stake = transaction.sender, _need_stake(ledger)
    if registrar not in stake.parameters.registrars:
        raise Invalid("device.permit.registrar", "this account is not one of the genesis' registrars")
    if get_device(ledger.view, body.device) is not None:
        raise Invalid("device.permit.known", "this account is a device already")
    if get_permit(ledger.view, body.device) is not None:
        raise Invalid("device.permit.twice", "this device has a permit already")
    ledger.view.put(permit_key(body.device), registrar)
    ledger.tell(DevicePermitted(body.device, registrar))


def use_permit(ledger: Ledger, device: AccountId) -> None:
    """Take the permit that a registering device needs; ``Invalid`` without one."""
    if get_permit(ledger.view, device) is None:
        raise Invalid("device.register.permit", "this network's registrars have not permitted the device", later=True)
    ledger.view.put(permit_key(device), None)


def _need_stake(ledger: Ledger) -> StakeContext:
    """Return the block's place among validators; the form of the transaction was checked for it."""
    if ledger.context.stake is None:
        raise LookupError("a rule of stake on a chain without validators")
    return ledger.context.stake


def _need_open(ledger: Ledger, rule: str) -> StakeContext:
    """Return the block's place; ``Invalid`` in a consortium, whose validators never change."""
    stake = _need_stake(ledger)
    if stake.parameters.permissioned:
        raise Invalid(rule, "the validators of this consortium are fixed by its genesis")
    return stake
