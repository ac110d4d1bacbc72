"""What an offence costs: a share of the stake and of what leaves it; a part for who showed it, the rest destroyed.

An offence (its validator, epoch, view and kind) is punished once, whatever evidence proves it. Who has committed one
is never a validator again: its key signed what an honest program never signs.
"""

from typing import Final

from msgspec.structs import replace

from chain.genesis import PosParameters
from chain.genesis_stake import PPM
from chain.hashing import digest
from chain.ids import AccountId, Amount, Hash, Height
from consensus.context import StakeContext
from consensus.errors import Invalid
from consensus.events import ValidatorSlashed
from consensus.ledger import Ledger
from consensus.pos.evidence import Offence
from consensus.staking.bonds import put_stake
from consensus.staking.records import PunishedOffence, Unbonding
from consensus.staking.state import (
    get_unbonding,
    get_validator,
    offence_at_key,
    offence_key,
    offences_key,
    read_number,
)
from consensus.state import put_record
from consensus.statekeys import number_key
from consensus.view import StateView

DOMAIN_OFFENCE: Final = b"fedchain/pos-offence"


def offence_id(offence: Offence) -> Hash:
    """Return the digest of an offence, the same for all evidence that proves it."""
    return digest(
        DOMAIN_OFFENCE,
        offence.validator,
        offence.epoch.to_bytes(8, "big"),
        offence.view.to_bytes(8, "big"),
        offence.kind.encode(),
    )


def punish(ledger: Ledger, stake: StakeContext, offence: Offence, reporter: AccountId) -> None:
    """Slash and tombstone the offender, pay the reporter. ``Invalid`` if it was done before or nothing is left."""
    id = offence_id(offence)
    if ledger.view.get(offence_key(id)) is not None:
        raise Invalid("stake.evidence.known", f"this {offence.kind} has been punished already")
    validator = get_validator(ledger.view, offence.validator)
    slashed = _slash(ledger, offence.validator, stake.parameters.slash_ppm)
    if slashed == 0 and (validator is None or validator.standing == "tombstoned"):
        raise Invalid("stake.evidence.empty", "the offender has nothing left to lose")
    after = get_validator(ledger.view, offence.validator)
    if after is not None:
        put_stake(ledger, offence.validator, replace(after, standing="tombstoned", free_from=Height(0)))
    reward = slashed * stake.parameters.evidence_reward_ppm // PPM
    ledger.credit(reporter, reward)
    ledger.burn(slashed - reward)
    _note(ledger, offence, id, slashed)
    ledger.tell(ValidatorSlashed(offence.validator, offence.kind.value, Amount(slashed), reporter, Amount(reward)))


def get_evidence_reward(view: StateView, parameters: PosParameters, offender: AccountId) -> int:
    """Return what showing a new offence of a staker would earn now."""
    validator = get_validator(view, offender)
    amounts = [entry.amount for entry in get_unbonding(view, offender).entries if entry.purpose == "stake"]
    amounts += [] if validator is None else [validator.stake]
    slashed = sum(amount * parameters.slash_ppm // PPM for amount in amounts)
    return slashed * parameters.evidence_reward_ppm // PPM


def _slash(ledger: Ledger, account: AccountId, share_ppm: int) -> int:
    """Take the share out of an account's stake and of what leaves it, rounded down each; return how much it is."""
    slashed = 0
    validator = get_validator(ledger.view, account)
    if validator is not None:
        cut = validator.stake * share_ppm // PPM
        put_stake(ledger, account, replace(validator, stake=Amount(validator.stake - cut)))
        slashed += cut
    entries = []
    for entry in get_unbonding(ledger.view, account).entries:
        cut = entry.amount * share_ppm // PPM if entry.purpose == "stake" else 0
        entries.append(replace(entry, amount=Amount(entry.amount - cut)))
        slashed += cut
    if entries:
        ledger.put_unbonding(account, Unbonding(tuple(entries)))
    return slashed


def _note(ledger: Ledger, offence: Offence, id: Hash, slashed: int) -> None:
    """Remember the offence under its digest and under its epoch, with which it will be forgotten."""
    number = read_number(ledger.view, offences_key(offence.epoch))
    record = PunishedOffence(
        offence.validator, id, offence.view, offence.kind.value, ledger.context.height, Amount(slashed)
    )
    ledger.view.put(offence_key(id), offence.epoch.to_bytes(8, "big") + number_key(number))
    put_record(ledger.view, offence_at_key(offence.epoch, number), record)
    ledger.view.put(offences_key(offence.epoch), number_key(number + 1))
