"""Rules of coins, devices and miners: transfers, registration, bonds."""

from bisect import insort

from chain.ids import ZERO_HASH, AccountId
from chain.transaction import RegisterDevice, RegisterMiner, RetireMiner, Transaction, Transfer
from consensus.errors import Invalid
from consensus.events import DeviceRegistered, MinerRegistered, MinerRetired, Transferred
from consensus.ledger import Ledger
from consensus.records import Accounts, Device, Miner
from consensus.rules.staking import use_permit
from consensus.staking.unbonding import check_room, start_unbonding
from consensus.stamps import is_stamp
from consensus.state import get_device, get_miner, get_miners, get_vouched, put_record
from consensus.statekeys import MINERS_KEY, device_key

NOBODY = AccountId(ZERO_HASH)
"""No key has this account: coins sent there would be lost by mistake, not by will."""


def transfer(ledger: Ledger, transaction: Transaction, body: Transfer) -> None:
    """Move coins to another account. The amount has left the sender already."""
    if body.amount == 0:
        raise Invalid("transfer.amount", "amount 0 moves nothing; at least 1 is allowed")
    if body.to == NOBODY:
        raise Invalid("transfer.to", "the account of 32 zero bytes has no key")
    ledger.credit(body.to, body.amount)
    ledger.tell(Transferred(transaction.sender, body.to, body.amount))


def register_device(ledger: Ledger, transaction: Transaction, body: RegisterDevice) -> None:
    """Make the sender a device, for the price of a stamp; where there are registrars, for a permit of theirs."""
    device, bits = transaction.sender, ledger.context.rules.stamp_bits
    if get_device(ledger.view, device) is not None:
        raise Invalid("device.register.known", "this account is a device already")
    stake = ledger.context.stake
    if stake is not None and stake.parameters.registrars:
        use_permit(ledger, device)
    elif not is_stamp(ledger.context.chain_id, device, bits, body.stamp):
        raise Invalid("device.register.stamp", f"stamp {body.stamp} does not give {bits} leading zero bits")
    put_record(ledger.view, device_key(device), Device(ledger.context.height, body.lifetime_budget, 0))
    ledger.tell(DeviceRegistered(device))


def register_miner(ledger: Ledger, transaction: Transaction, body: RegisterMiner) -> None:
    """Put the sender on the register of miners. The bond has left its balance already."""
    miner, rules, miners = transaction.sender, ledger.context.rules, list(get_miners(ledger.view))
    if get_miner(ledger.view, miner) is not None:
        raise Invalid("miner.register.known", "this account is a registered miner already")
    if body.bond < rules.min_bond:
        raise Invalid("miner.register.bond", f"bond {body.bond}; at least {rules.min_bond} is asked")
    if len(miners) >= rules.max_miners:
        raise Invalid("miner.register.full", f"{len(miners)} miners are registered, no more are allowed", later=True)
    insort(miners, miner)
    ledger.put_miner(miner, Miner(ledger.context.height, body.bond))
    put_record(ledger.view, MINERS_KEY, Accounts(tuple(miners)))
    ledger.tell(MinerRegistered(miner, body.bond))


def retire_miner(ledger: Ledger, transaction: Transaction, body: RetireMiner) -> None:
    """Take the sender off the register and give its bond back, on a chain with validators after the unbonding time."""
    miner, stake = transaction.sender, ledger.context.stake
    entry = get_miner(ledger.view, miner)
    if entry is None:
        raise Invalid("miner.retire.unknown", "this account is not a registered miner")
    vouched = get_vouched(ledger.view, miner)
    if vouched:
        told = f"{vouched} updates that this miner attested can still be disputed; its bond answers for them"
        raise Invalid("miner.retire.vouched", told, later=True)
    if stake is not None:
        check_room(ledger, miner, "miner.retire.waiting")
    ledger.put_miner(miner, None)
    left = tuple([other for other in get_miners(ledger.view) if other != miner])
    put_record(ledger.view, MINERS_KEY, Accounts(left))
    if stake is None:
        ledger.credit(miner, entry.bond)
    else:
        start_unbonding(ledger, stake, miner, entry.bond, "miner")
    ledger.tell(MinerRetired(miner, entry.bond))
