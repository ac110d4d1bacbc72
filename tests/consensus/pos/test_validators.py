"""Validator sets: order, quorum, and who leads."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import Hash
from consensus.pos.fields import compute_first_mix
from consensus.pos.sets import MAX_EPOCHS, ValidatorSets, genesis_set
from consensus.pos.validators import (
    DOMAIN_LEADER,
    MAX_MEMBERS,
    Member,
    ValidatorSet,
    boundary_height,
    epoch_of,
    is_boundary,
)
from tests.consensus.engine.networks import pow_genesis
from tests.consensus.pos.people import KEYS, first_set, pos_genesis

powers = st.lists(st.integers(1, 1000), min_size=1, max_size=8)


@given(powers)
def test_a_set_is_the_genesis_validators_in_order(stakes):
    """Ascending by account, whatever order the document has; each weighs its stake; the seed is the first mix."""
    genesis = pos_genesis(stakes)
    set = genesis_set(genesis)
    assert set.find_fault() is None
    assert {member.account: member.power for member in set.members} == {
        key.account: stake for key, stake in zip(KEYS, stakes, strict=False)
    }
    assert (set.epoch, set.seed) == (0, compute_first_mix(genesis))
    assert decode(encode(set), ValidatorSet) == set
    assert [set.position(member.account) for member in set.members] == list(range(len(stakes)))
    assert set.position(KEYS[20].account) is None


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_any_two_quorums_share_more_than_a_third(stakes):
    """What safety rests on: two groups of a quorum each overlap in more stake than the hostile may have."""
    set = first_set(stakes)
    groups = [
        frozenset(group)
        for size in range(len(stakes) + 1)
        for group in combinations(range(len(stakes)), size)
        if set.is_quorum(sum(set.members[number].power for number in group))
    ]
    assert groups
    for one in groups:
        for other in groups:
            assert sum(set.members[number].power for number in one & other) * 3 > set.total


def test_two_thirds_exactly_are_no_quorum():
    """Strictly more, as the paper has it; and all of the stake always is one."""
    set = first_set([1, 1, 1])
    assert [set.is_quorum(power) for power in range(4)] == [False, False, False, True]


def test_views_are_led_in_proportion_to_stake():
    """Of 6000 views a validator with half of the stake leads about half, one with a sixth a sixth."""
    set = first_set([3, 2, 1])
    leaders = [set.leader(view) for view in range(6000)]
    shares = [leaders.count(KEYS[number].account) / 6000 for number in range(3)]
    assert shares == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=0.03)


@given(powers, st.integers(1, 2**63 - 1))
def test_the_draw_is_the_linear_search_it_stands_for(stakes, view):
    """The bisection finds the member whose stretch of the summed powers holds the ticket."""
    set = first_set(stakes)
    draw = digest(DOMAIN_LEADER, set.seed, set.epoch.to_bytes(8, "big"), view.to_bytes(8, "big"))
    ticket = int.from_bytes(draw, "big") % sum(stakes)
    for member in set.members:
        if ticket < member.power:
            break
        ticket -= member.power
    assert set.leader(view) == member.account


def test_another_seed_or_epoch_draws_otherwise():
    """Who leads is not known before the seed is."""
    set = first_set()
    later = replace(set, epoch=1)
    reseeded = replace(set, seed=Hash(bytes(32)))
    draws = [[other.leader(view) for view in range(40)] for other in (set, later, reseeded)]
    assert draws[0] != draws[1] != draws[2] != draws[0]


@pytest.mark.parametrize(
    "members",
    [
        (),
        (Member(KEYS[0].account, 0),),
        tuple(Member(number.to_bytes(32, "big"), 1) for number in range(MAX_MEMBERS + 1)),
    ],
)
def test_a_set_that_no_record_holds(members):
    """Nobody, a member without power, more members than certificates have room for: not decoded."""
    with pytest.raises(CodecError):
        decode(encode(ValidatorSet(0, Hash(bytes(32)), members)), ValidatorSet)


def test_members_out_of_order_or_twice_are_a_fault():
    """Bits of certificates must mean the same to everybody."""
    set = first_set()
    assert replace(set, members=set.members[::-1]).find_fault() is not None
    assert replace(set, members=(set.members[0], *set.members)).find_fault() is not None


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_every_height_above_genesis_is_of_one_epoch(height, epoch_blocks):
    """Epoch e covers e·E + 1 … (e + 1)·E, and its last height is the boundary."""
    assert is_boundary(0, epoch_blocks)
    epoch = epoch_of(height + 1, epoch_blocks)
    assert epoch * epoch_blocks < height + 1 <= boundary_height(epoch, epoch_blocks)
    assert is_boundary(boundary_height(epoch, epoch_blocks), epoch_blocks)
    with pytest.raises(ValueError, match="before the first epoch"):
        epoch_of(0, epoch_blocks)


def test_sets_are_told_once_and_never_contradicted():
    """Telling a set again is harmless; another set for the same epoch means that something is rotten."""
    sets = ValidatorSets(pos_genesis())
    first = sets.get(0)
    assert first is not None
    second = replace(first, epoch=1)
    sets.put(second)
    sets.put(second)
    assert sets.get(1) == second
    assert sets.get(2) is None
    with pytest.raises(ValueError, match="two validator sets for epoch 1"):
        sets.put(replace(second, seed=Hash(bytes(32))))
    with pytest.raises(ValueError, match="ascending"):
        sets.put(replace(second, epoch=2, members=first.members[::-1]))


def test_old_sets_make_room():
    """A node that runs for ever keeps the newest epochs' sets alone."""
    sets = ValidatorSets(pos_genesis())
    first = sets.get(0)
    for epoch in range(1, MAX_EPOCHS + 50):
        sets.put(replace(first, epoch=epoch))
    assert len(sets) == MAX_EPOCHS
    assert 0 not in sets
    assert MAX_EPOCHS + 49 in sets


def test_a_network_of_work_has_no_set():
    """Asking for one is the caller's mistake."""
    with pytest.raises(ValueError, match="proof of work"):
        genesis_set(pow_genesis())
