"""The keys of stake in the state, and typed reading of what stands under them.

    s/validator/ACCOUNT            Validator          s/validators               Accounts with a stake, sorted
    s/validator_set/EPOCH          ValidatorSet       s/chosen                   Chosen
    s/unbonding/ACCOUNT            Unbonding
    s/unbonding_due/HEIGHT         number of payments s/unbonding_at/HEIGHT NUMBER  account to pay
    s/offence/DIGEST               epoch and number   s/offences/EPOCH           number of offences
    s/offence_at/EPOCH NUMBER      PunishedOffence
    s/burned                       coins slashed and destroyed
    s/permit/DEVICE                the registrar that permits the device to register

Epochs and heights in keys are 8 bytes, numbers 4, big-endian; ``s/burned`` holds 8 bytes. Only chains with validators
have any of them.
"""

from typing import Final

from chain.ids import AccountId, Hash
from consensus.pos.validators import ValidatorSet
from consensus.records import Accounts
from consensus.staking.records import PunishedOffence, Unbonding, Validator
from consensus.state import get_record, need_record
from consensus.statekeys import number_key
from consensus.view import StateView

VALIDATORS_KEY: Final = b"s/validators"
CHOSEN_KEY: Final = b"s/chosen"
BURNED_KEY: Final = b"s/burned"


def validator_key(account: AccountId) -> bytes:
    """Return the key of a ``Validator``."""
    return b"s/validator/" + account


def validator_set_key(epoch: int) -> bytes:
    """Return the key of an epoch's ``ValidatorSet``."""
    return b"s/validator_set/" + epoch.to_bytes(8, "big")


def unbonding_key(account: AccountId) -> bytes:
    """Return the key of an ``Unbonding``."""
    return b"s/unbonding/" + account


def unbonding_due_key(height: int) -> bytes:
    """Return the key of how many accounts are to be paid at a height."""
    return b"s/unbonding_due/" + height.to_bytes(8, "big")


def unbonding_at_key(height: int, number: int) -> bytes:
    """Return the key of one of them."""
    return b"s/unbonding_at/" + height.to_bytes(8, "big") + number_key(number)


def offence_key(offence: Hash) -> bytes:
    """Return the key that says an offence has been punished."""
    return b"s/offence/" + offence


def offences_key(epoch: int) -> bytes:
    """Return the key of how many offences of an epoch have been punished."""
    return b"s/offences/" + epoch.to_bytes(8, "big")


def offence_at_key(epoch: int, number: int) -> bytes:
    """Return the key of one ``PunishedOffence``."""
    return b"s/offence_at/" + epoch.to_bytes(8, "big") + number_key(number)


def permit_key(device: AccountId) -> bytes:
    """Return the key of a device's permit."""
    return b"s/permit/" + device


def get_validator(view: StateView, account: AccountId) -> Validator | None:
    """Return what an account stakes."""
    return get_record(view, validator_key(account), Validator)


def get_candidates(view: StateView) -> tuple[AccountId, ...]:
    """Return the accounts that have a stake, sorted."""
    record = get_record(view, VALIDATORS_KEY, Accounts)
    return () if record is None else record.accounts


def get_validator_set(view: StateView, epoch: int) -> ValidatorSet | None:
    """Return an epoch's validators; None for one to come, or so old that no evidence about it counts."""
    return get_record(view, validator_set_key(epoch), ValidatorSet)


def need_validator_set(view: StateView, epoch: int) -> ValidatorSet:
    """Return the validators of an epoch that is not over; ``LookupError`` (this node's fault) without."""
    return need_record(view, validator_set_key(epoch), ValidatorSet)


def get_unbonding(view: StateView, account: AccountId) -> Unbonding:
    """Return what leaves an account's bonds."""
    return get_record(view, unbonding_key(account), Unbonding) or Unbonding(())


def get_offences(view: StateView, epoch: int) -> tuple[PunishedOffence, ...]:
    """Return the offences of an epoch that have been punished, in order."""
    count = read_number(view, offences_key(epoch))
    return tuple([need_record(view, offence_at_key(epoch, number), PunishedOffence) for number in range(count)])


def get_burned(view: StateView) -> int:
    """Return the coins that were ever slashed and destroyed."""
    return read_number(view, BURNED_KEY)


def get_permit(view: StateView, device: AccountId) -> AccountId | None:
    """Return the registrar that permits a device to register."""
    data = view.get(permit_key(device))
    return None if data is None else AccountId(data)


def read_number(view: StateView, key: bytes) -> int:
    """Return the number under a key; 0 if there is none."""
    return int.from_bytes(view.get(key) or b"", "big")
