"""The rules of stake one by one: what each asks, what it refuses, and what happens to the coins."""

from contextlib import suppress

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.codec import encode
from chain.ids import Amount, Height
from chain.keys import KeyPair
from chain.transaction import (
    STAKE_KINDS,
    Bond,
    PermitDevice,
    RegisterDevice,
    RegisterMiner,
    RetireMiner,
    SubmitEvidence,
    Transfer,
    Unbond,
    Unjail,
)
from consensus.errors import Invalid
from consensus.ledger import Ledger
from consensus.pos.sets import genesis_set
from consensus.pos.validators import Member
from consensus.queries import get_device, get_miner, get_supply
from consensus.staking.bonds import CANDIDATES_PER_SEAT
from consensus.staking.place import place_after, place_of
from consensus.staking.records import Validator
from consensus.staking.sets import choose_members
from consensus.staking.state import get_burned, get_candidates, get_permit, get_unbonding, get_validator
from consensus.staking.unbonding import MAX_LEAVING
from consensus.transition import apply, check_transaction
from tests.consensus.harness import DEVICES, OTHER, OWNER, Chain
from tests.consensus.staking.harness import REGISTRAR, REPORTER, STAKES, VALIDATORS, WEALTH, StakeChain

FIRST, SECOND, THIRD, FOURTH = VALIDATORS[:4]
BODIES = {
    Bond: Bond(Amount(500)),
    Unbond: Unbond(Amount(500)),
    Unjail: Unjail(),
    SubmitEvidence: SubmitEvidence(b"evidence"),
    PermitDevice: PermitDevice(REGISTRAR.account),
}
PAYS_AFTER = 2 * 4 + 6
"""Blocks from unbonding to payment: two epochs and the unbonding time."""


def stake_of(chain: StakeChain, key: KeyPair) -> int:
    entry = get_validator(chain, key.account)
    return 0 if entry is None else entry.stake


# --- genesis --------------------------------------------------------------------------------------


def test_a_chain_begins_with_its_validators_bonded() -> None:
    """Stakes exist beside the allocations, count as bonded, and are the set that the engine starts with."""
    chain = StakeChain()
    supply = get_supply(chain)
    assert supply.bonded == sum(STAKES)
    assert supply.minted == supply.circulating + sum(STAKES)
    assert chain.audit().is_conserved
    assert chain.set(0) == genesis_set(chain.genesis)
    assert [stake_of(chain, key) for key in VALIDATORS] == [*STAKES, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", STAKE_KINDS, ids=lambda kind: kind.__name__)
def test_a_chain_without_validators_has_none_of_the_kinds(kind: type) -> None:
    """A chain of work refuses them by form, before anything is read."""
    chain = Chain()
    signed = chain.send(OWNER, BODIES[kind])
    chain.mine()
    assert chain.rejected[signed.id].rule == "transaction.kind"


# --- bonding and unbonding ------------------------------------------------------------------------


def test_bonding_makes_a_validator_after_the_next_epoch_and_no_earlier() -> None:
    """A stake that outweighs another is chosen when the epoch ends, and votes when the next one has ended."""
    chain = StakeChain()
    chain.do(FOURTH, Bond(Amount(500)))
    assert chain.balance(FOURTH) == WEALTH - 500 - 5000 + (chain.blocks[-1].header.producer == FOURTH.account) * 6000
    chain.end_epoch()
    assert chain.set(1).members == chain.set(0).members
    chain.end_epoch()
    assert [member.account for member in chain.set(2).members] == sorted(k.account for k in (FIRST, SECOND, FOURTH))
    assert chain.set(2).power(FOURTH.account) == 500
    assert THIRD.account in get_candidates(chain)


def test_of_equal_stakes_the_lower_accounts_are_taken() -> None:
    """A tie never depends on who came first."""
    chain = StakeChain()
    for key in VALIDATORS[6:2:-1]:
        chain.do(key, Bond(Amount(1000)))
    chain.end_epoch()
    assert [member.account for member in chain.set(2).members] == [FIRST.account, FOURTH.account, VALIDATORS[4].account]


def test_nothing_in_the_boundary_block_changes_whom_its_seed_draws() -> None:
    """Its producer knows the seed first: bonds, unbonds and jails left in that block are for a later epoch."""
    chains = [StakeChain(), StakeChain(), StakeChain(), StakeChain(absent_slots=1, jail_blocks=1, epoch_blocks=10)]
    for chain in chains:
        chain.mine(3)
    chains[1].do(FOURTH, Bond(Amount(10**6)))
    chains[2].send(FIRST, Unbond(Amount(1000)))
    chains[2].do(SECOND, Bond(Amount(5)))
    chains[0].mine()
    assert chains[0].set(1) == chains[1].set(1) == chains[2].set(1)
    chain = StakeChain()
    chain.mine(3)
    chain.do(REPORTER, SubmitEvidence(encode(chain.double_vote(SECOND))))
    assert chain.set(1) == chains[0].set(1)  # evidence held back for this block is no choice among draws
    chain.end_epoch()
    assert SECOND.account not in chain.set(2)
    chain = chains[3]
    chain.absent = {SECOND.account}
    while get_validator(chain, SECOND.account) == replace(get_validator(chain, SECOND.account), standing="good"):
        assert chain.height < 9, "nobody is jailed"
        chain.mine()
    chain.absent = ()
    assert chain.height < 9
    chain.mine(9 - chain.height)
    chain.do(SECOND, Unjail())
    assert chain.height == 10
    assert SECOND.account not in chain.set(1)  # as without his transaction
    chain.end_epoch()
    assert SECOND.account in chain.set(2)


def test_coins_come_back_by_themselves_and_no_earlier() -> None:
    """Unbonded coins are paid by the block that the rule names, without any transaction."""
    chain = StakeChain()
    chain.do(THIRD, Unbond(Amount(400)))
    begun, absent = chain.height, {THIRD.account}
    chain.absent = absent
    before = chain.balance(THIRD)
    chain.mine(PAYS_AFTER - 1)
    assert chain.balance(THIRD) == before
    assert get_unbonding(chain, THIRD.account).total == 400
    chain.mine()
    assert chain.height == begun + PAYS_AFTER
    assert chain.balance(THIRD) == before + 400
    assert get_validator(chain, THIRD.account) is None
    assert not [key for key in chain.state if b"unbonding" in key]


def test_what_leaves_in_two_blocks_comes_back_in_two() -> None:
    """Each payment has its own block."""
    chain = StakeChain()
    chain.do(FIRST, Unbond(Amount(200)))
    chain.do(FIRST, Unbond(Amount(300)))
    chain.mine(PAYS_AFTER - 1)
    assert [entry.amount for entry in get_unbonding(chain, FIRST.account).entries] == [300]
    chain.mine()
    assert get_unbonding(chain, FIRST.account).entries == ()


def test_a_part_of_a_stake_can_leave() -> None:
    """The rest goes on staking; one too small must leave as a whole."""
    chain = StakeChain()
    chain.do(FIRST, Unbond(Amount(900)))
    assert stake_of(chain, FIRST) == 100
    assert chain.refusal(SECOND, Unbond(Amount(601))) == "stake.unbond.rest"
    assert chain.refusal(SECOND, Unbond(Amount(701))) == "stake.unbond.amount"
    assert chain.refusal(SECOND, Unbond(Amount(0))) == "stake.unbond.amount"
    assert chain.refusal(FOURTH, Unbond(Amount(1))) == "stake.unbond.unknown"


def test_a_stake_begins_with_the_least_asked() -> None:
    """Less than ``min_stake`` in all is refused; nothing is refused too; and the coins must be there."""
    chain = StakeChain()
    assert chain.refusal(FOURTH, Bond(Amount(99))) == "stake.bond.amount"
    assert chain.refusal(FIRST, Bond(Amount(0))) == "stake.bond.amount"
    assert chain.refusal(FOURTH, Bond(Amount(WEALTH))) == "stake.bond.balance"
    chain.do(FIRST, Bond(Amount(1)))
    assert stake_of(chain, FIRST) == STAKES[0] + 1


def test_payments_on_their_way_are_bounded() -> None:
    """One account can't make the state grow by leaving in a thousand parts."""
    chain = StakeChain(unbonding_blocks=100)
    chain.do(FIRST, Bond(Amount(1000)))
    for _ in range(MAX_LEAVING):
        chain.do(FIRST, Unbond(Amount(1)))
    assert chain.refusal(FIRST, Unbond(Amount(1))) == "stake.unbond.waiting"


def test_a_larger_stake_takes_the_smallest_place_when_all_are_taken() -> None:
    """The list that the boundary reads stays short, and money alone can't shut others out for ever."""
    chain = StakeChain(max_validators=3)
    crowd = [KeyPair(bytes([number]) * 32) for number in range(60, 60 + CANDIDATES_PER_SEAT * 3 - 3)]
    rich = [OTHER, *crowd]
    for key in rich:
        chain.send(REPORTER, Transfer(key.account, Amount(10**6)))
    chain.mine()
    for key in crowd:
        chain.send(key, Bond(Amount(200)))
    chain.mine()
    assert not chain.rejected
    assert len(get_candidates(chain)) == CANDIDATES_PER_SEAT * 3
    assert chain.refusal(OTHER, Bond(Amount(200))) == "stake.bond.full"
    chain.do(OTHER, Bond(Amount(201)))
    assert len(get_candidates(chain)) == CANDIDATES_PER_SEAT * 3
    weakest = min(key.account for key in crowd)
    assert weakest not in get_candidates(chain)
    assert get_unbonding(chain, weakest).total == 200
    assert chain.audit().is_conserved
    chain.do(FIRST, Bond(Amount(1)))  # one who is in may add what he likes


def test_what_fails_burns_nothing() -> None:
    """A rule that refuses half way leaves neither the stake smaller nor coins destroyed."""
    chain = StakeChain()
    ledger, before = Ledger(chain, chain.context(), chain, None), get_validator(chain, FIRST.account)
    assert before is not None
    with suppress(Invalid), ledger.attempt():
        ledger.put_validator(FIRST.account, replace(before, stake=Amount(0)))
        ledger.burn(before.stake)
        raise Invalid("a.rule", "that refuses")
    ledger.close()  # it counts every coin
    assert get_supply(ledger.view).minted == get_supply(chain).minted + 1000
    assert get_burned(ledger.view) == 0
    assert get_validator(ledger.view, FIRST.account) == before


# --- epochs ---------------------------------------------------------------------------------------


def test_only_whoever_is_fit_is_chosen() -> None:
    """In good standing, with the least stake asked, whatever the state came to hold."""
    parameters = StakeChain().parameters
    fit = Validator(Amount(100), Height(0), "good", 0, Height(0))
    entries = [
        replace(fit, stake=Amount(99)),
        replace(fit, standing="jailed"),
        fit,
        replace(fit, standing="tombstoned"),
    ]
    found = choose_members(zip([key.account for key in VALIDATORS], entries, strict=False), parameters)
    assert found == (Member(THIRD.account, 100),)


def test_if_nobody_is_fit_the_validators_stay() -> None:
    """A chain whose validators all leave goes on with those it had."""
    chain = StakeChain()
    for key, stake in zip(VALIDATORS, STAKES, strict=False):
        chain.send(key, Unbond(Amount(stake)))
    chain.end_epoch()
    assert chain.set(1).members == chain.set(0).members
    assert chain.set(1).seed != chain.set(0).seed


def test_the_seed_of_an_epoch_is_the_beacon_of_its_boundary() -> None:
    """Whoever makes the boundary block gives the next epoch its draw."""
    chain = StakeChain()
    chain.end_epoch()
    stake = chain.contexts[-1].stake
    assert stake is not None
    assert chain.set(1).seed == stake.mix


def test_place_after_names_the_epoch_and_the_earliest_view() -> None:
    """Views count from 1 in every epoch; inside one they follow the parent's."""
    chain = StakeChain()
    assert place_of(chain.genesis, (chain.mine(), chain.blocks[-1].header)[1]) == chain.contexts[-1].stake
    chain.mine(2)
    inside = place_after(chain.genesis, chain.blocks[-1].header)
    assert inside is not None
    assert (inside.epoch, inside.parent_view, inside.view) == (0, 3, 4)
    chain.mine()
    first = place_after(chain.genesis, chain.blocks[-1].header)
    assert first is not None
    assert (first.epoch, first.parent_view, first.view) == (1, 0, 1)
    assert place_after(Chain().genesis, chain.blocks[-1].header) is None


def test_a_header_must_stand_where_its_context_says() -> None:
    """Epoch, view and beacon of the header are what the state was computed from."""
    chain = StakeChain()
    chain.mine()
    block, context = chain.blocks[-1], chain.contexts[-1]
    assert context.stake is not None
    chain.undo()
    apply(chain, block, context, chain)
    for change in ({"view": 9}, {"epoch": 1}, {"parent_view": 1}, {"mix": bytes(32)}):
        wrong = replace(context, stake=replace(context.stake, **change))
        with pytest.raises(Invalid, match=r"block\.engine"):
            apply(chain, block, wrong, chain)
    with pytest.raises(Invalid, match=r"block\.engine"):
        apply(chain, Block(replace(block.header, engine=b"\x90"), block.body), context, chain)


# --- miners and devices ---------------------------------------------------------------------------


def test_the_bond_of_a_miner_leaves_through_the_queue() -> None:
    """Where there are validators, a miner who retires waits as they do, and no offence touches the bond."""
    chain = StakeChain()
    chain.do(FIRST, RegisterMiner(Amount(800)))
    chain.do(FIRST, RetireMiner())
    begun = chain.height
    assert get_miner(chain, FIRST.account) is None
    assert get_supply(chain).bonded == sum(STAKES) + 800
    chain.do(REPORTER, SubmitEvidence(encode(chain.double_vote(FIRST, epoch=0))))
    assert get_unbonding(chain, FIRST.account).total == 800
    chain.mine(begun + PAYS_AFTER - 1 - chain.height)
    assert get_unbonding(chain, FIRST.account).total == 800
    chain.mine()
    assert get_unbonding(chain, FIRST.account).total == 0
    assert chain.audit().is_conserved


def test_a_device_registers_with_a_permit_where_registrars_give_them() -> None:
    """No permit, no device; a permit is used once; only registrars give them."""
    chain = StakeChain(registrars=(REGISTRAR.account,), rules=replace(StakeChain().genesis.schedule[0], stamp_bits=64))
    device = DEVICES[0]
    assert chain.refusal(device, RegisterDevice(0, 0)) == "device.register.permit"
    assert chain.refusal(FIRST, PermitDevice(device.account)) == "device.permit.registrar"
    chain.do(REGISTRAR, PermitDevice(device.account))
    assert get_permit(chain, device.account) == REGISTRAR.account
    assert chain.refusal(REGISTRAR, PermitDevice(device.account)) == "device.permit.twice"
    chain.do(device, RegisterDevice(0, 0))  # no stamp meets 64 bits: none is asked
    assert get_device(chain, device.account) is not None
    assert get_permit(chain, device.account) is None
    assert chain.refusal(REGISTRAR, PermitDevice(device.account)) == "device.permit.known"
    assert chain.refusal(DEVICES[1], RegisterDevice(0, 0)) == "device.register.permit"


def test_without_registrars_a_stamp_is_what_a_device_needs() -> None:
    """Nobody permits devices on an open chain, and the stamp is checked."""
    chain = StakeChain(rules=replace(StakeChain().genesis.schedule[0], stamp_bits=64))
    assert chain.refusal(DEVICES[0], RegisterDevice(0, 0)) == "device.register.stamp"
    assert chain.refusal(REGISTRAR, PermitDevice(DEVICES[0].account)) == "device.permit.registrar"


# --- consortium -----------------------------------------------------------------------------------


def test_a_consortium_never_changes() -> None:
    """Nobody bonds, unbonds or goes to jail; an offence costs coins and leaves the votes as genesis gave them."""
    chain = StakeChain(permissioned=True)
    members = chain.set(0).members
    assert chain.refusal(FOURTH, Bond(Amount(500))) == "stake.bond.permissioned"
    assert chain.refusal(FIRST, Unbond(Amount(500))) == "stake.unbond.permissioned"
    assert chain.refusal(FIRST, Unjail()) == "stake.unjail.permissioned"
    chain.absent = {FIRST.account}
    chain.mine(20)
    assert get_validator(chain, FIRST.account) == replace(
        get_validator(chain, FIRST.account), standing="good", missed=0
    )
    chain.do(REPORTER, SubmitEvidence(encode(chain.double_vote(SECOND))))
    assert stake_of(chain, SECOND) == STAKES[1] * 9 // 10
    assert get_burned(chain) == STAKES[1] // 10 * 9 // 10
    chain.end_epoch()
    assert chain.set().members == members
    assert chain.audit().is_conserved


def test_a_pool_asks_with_the_place_after_the_head() -> None:
    """What a pool takes or refuses needs no beacon and no proof."""
    chain = StakeChain()
    chain.mine(3)
    context = replace(chain.context(), stake=place_after(chain.genesis, chain.blocks[-1].header))
    check_transaction(chain, context, chain.sign(FOURTH, Bond(Amount(500))), chain)
    with pytest.raises(Invalid, match=r"stake\.bond\.amount"):
        check_transaction(chain, context, chain.sign(FOURTH, Bond(Amount(5))), chain)
