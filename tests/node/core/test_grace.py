"""The time before a validator signs: it counts from those who would know, not from whoever comes first."""

from collections.abc import Sequence

from chain.genesis import PosParameters
from chain.ids import AccountId, Hash, Millis
from consensus.pos.agreement import Agreement
from consensus.pos.effects import CastVote, Effect, Timer, TimerToken
from consensus.pos.validators import Member, ValidatorSet
from consensus.pos.votes import VoteKind
from node.core.grace import Grace
from node.core.turn import JobTable, Turn
from p2p.events import PeerId
from tests.consensus.pos.people import first_set, genesis_header, pos_genesis

OWN, *OTHERS = [AccountId(bytes([number]) * 32) for number in range(1, 5)]
STRANGER = PeerId(AccountId(b"\xee" * 32))


def make_set(*powers: int) -> ValidatorSet:
    """A set of the first people with these powers."""
    accounts = [OWN, *OTHERS]
    return ValidatorSet(
        0, Hash(bytes(32)), tuple(Member(account, power) for account, power in zip(accounts, powers, strict=False))
    )


class Waiting:
    """A grace and its clock."""

    def __init__(self, set: ValidatorSet) -> None:
        parameters = pos_genesis().engine
        assert isinstance(parameters, PosParameters)
        self.delta = parameters.delta_ms
        self.now = 1_000_000
        self.grace = Grace(parameters, OWN)
        self.grace.on_set(set, self.turn)

    @property
    def turn(self) -> Turn:
        return Turn(Millis(self.now), JobTable())

    def come(self, peers: Sequence[bytes]) -> None:
        for peer in peers:
            self.grace.on_peer(PeerId(AccountId(peer)), self.turn)

    def go(self, peers: Sequence[bytes]) -> None:
        for peer in peers:
            self.grace.on_peer_down(PeerId(AccountId(peer)), self.turn)

    def is_due_after(self, deltas: float) -> bool:
        self.now += int(deltas * self.delta)
        return self.grace.is_due(Millis(self.now))


def test_a_stranger_who_comes_first_does_not_let_the_time_run() -> None:
    """It runs from when validators with more than a third of the stake are here, and then lasts as long as ever."""
    waiting = Waiting(make_set(1, 1, 1, 1))
    waiting.come([STRANGER, OTHERS[0]])
    assert not waiting.is_due_after(20)
    waiting.come([OTHERS[1]])
    assert not waiting.is_due_after(2.9)
    assert waiting.is_due_after(0.2)


def test_a_third_exactly_is_not_enough() -> None:
    """Two thirds may have certified without anybody of that third."""
    waiting = Waiting(make_set(1, 1, 1))
    waiting.come([OTHERS[0]])
    assert not waiting.is_due_after(4)
    waiting.come([OTHERS[1]])
    assert waiting.is_due_after(3)


def test_it_begins_anew_when_those_who_know_have_left() -> None:
    """They may not have said all."""
    waiting = Waiting(make_set(1, 1, 1, 1))
    waiting.come(OTHERS[:2])
    assert not waiting.is_due_after(2)
    waiting.go(OTHERS[:1])
    assert not waiting.is_due_after(2)
    waiting.come(OTHERS[:1])
    assert not waiting.is_due_after(2.9)
    assert waiting.is_due_after(0.2)


def test_where_validators_are_not_connected_directly_it_ends_later() -> None:
    """A network that starts behind relays starts; without any peer a validator waits."""
    waiting = Waiting(make_set(1, 1, 1, 1))
    assert not waiting.is_due_after(1_000)
    waiting.come([STRANGER])
    assert not waiting.is_due_after(29.5)
    assert waiting.is_due_after(1)


def test_a_validator_that_is_a_quorum_alone_waits_for_nobody() -> None:
    """And a new epoch's set can make it one."""
    assert Waiting(make_set(3, 1)).is_due_after(3)
    waiting = Waiting(make_set(1, 1))
    assert not waiting.is_due_after(10)
    waiting.grace.on_set(make_set(3, 1), waiting.turn)
    assert not waiting.is_due_after(2.9)
    assert waiting.is_due_after(0.2)


def test_a_leader_loses_no_patience_to_those_who_listened() -> None:
    """Who may vote at last gives the view's leader all the time there is, though its own time had run out before."""
    genesis = pos_genesis()
    set = first_set()
    follower = next(member.account for member in set.members if member.account != set.leader(1))
    agreement = Agreement(genesis, follower)
    assert isinstance(genesis.engine, PosParameters)
    start = genesis.time_ms + genesis.engine.block_ms

    def is_nullified(effects: Sequence[Effect]) -> bool:
        return any(isinstance(effect, CastVote) and effect.kind is VoteKind.NULLIFY for effect in effects)

    patience = TimerToken(0, 1, is_patience=True)
    agreement.start(set, genesis_header(genesis), Millis(start), may_vote=False)
    late = start + 100 * genesis.engine.delta_ms
    assert not is_nullified(agreement.on_timer(patience, Millis(late)))
    effects = agreement.allow_votes(Millis(late))
    assert not is_nullified(effects)
    again = late + 3 * genesis.engine.delta_ms
    assert [effect.at_ms for effect in effects if isinstance(effect, Timer) and effect.token == patience] == [again]
    assert not is_nullified(agreement.on_timer(patience, Millis(again - 1)))
    assert is_nullified(agreement.on_timer(patience, Millis(again)))
