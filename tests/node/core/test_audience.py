"""Whom messages of the agreement reach: nobody who has to vote goes without."""

from itertools import combinations

from chain.ids import AccountId, Hash
from consensus.pos.effects import Audience
from consensus.pos.validators import Member, ValidatorSet
from node.core.audience import Listeners

_ACCOUNTS = tuple(AccountId(bytes([number]) * 32) for number in range(1, 5))
_SET = ValidatorSet(0, Hash(bytes(32)), tuple(Member(account, 10) for account in _ACCOUNTS))


class _Connected:
    """A network that knows who is connected."""

    def __init__(self, *peers: AccountId) -> None:
        self._peers = peers

    def is_connected(self, peer: AccountId) -> bool:
        return peer in self._peers


def _listeners(own: AccountId, *peers: AccountId) -> Listeners:
    listeners = Listeners(_Connected(*peers), own)  # type: ignore[arg-type]
    listeners.set = _SET
    return listeners


def test_votes_go_to_validators_alone_where_a_quorum_is_reached() -> None:
    """Of four equal ones three are a quorum; with two everybody passes them on."""
    own, *others = _ACCOUNTS
    for count in range(4):
        for peers in combinations(others, count):
            told = _listeners(own, *peers).of(Audience.VALIDATORS)
            assert told == (([*peers], False) if count >= 2 else (None, True))


def test_proposals_go_to_validators_alone_only_where_each_is_reached() -> None:
    """One that is reached through others alone must not wait until it is late."""
    own, *others = _ACCOUNTS
    for count in range(4):
        for peers in combinations(others, count):
            told = _listeners(own, *peers).of(Audience.EACH_VALIDATOR)
            assert told == (([*peers], False) if count == 3 else (None, True))


def test_a_validator_passes_on_what_each_is_to_hear() -> None:
    """A leader may have told it to some alone; who reaches not all of them asks everybody to pass it on."""
    own, *others = _ACCOUNTS
    assert _listeners(own, *others).of_passed(Audience.EACH_VALIDATOR, is_flooded=False) == (others, False)
    assert _listeners(own, *others[:2]).of_passed(Audience.EACH_VALIDATOR, is_flooded=False) == (None, True)
    assert _listeners(own, *others).of_passed(Audience.VALIDATORS, is_flooded=False) is None


def test_others_pass_on_what_is_flooded_or_for_all() -> None:
    """A node that does not vote keeps to itself what was told to it alone."""
    stranger = AccountId(bytes([9]) * 32)
    for own in (stranger, _ACCOUNTS[0]):
        listeners = _listeners(own, *_ACCOUNTS[1:])
        assert listeners.of_passed(Audience.ALL, is_flooded=False) == (None, True)
        assert listeners.of_passed(Audience.VALIDATORS, is_flooded=True) == (None, True)
    assert _listeners(stranger, *_ACCOUNTS).of_passed(Audience.EACH_VALIDATOR, is_flooded=False) is None
