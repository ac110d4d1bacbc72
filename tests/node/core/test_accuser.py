"""Who brings evidence to the chain: a validator whom it does not cost more than it earns, unless it is set to."""

from collections import deque

import pytest

from chain.codec import encode
from chain.genesis import Genesis, PosParameters
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import Hash
from chain.transaction import SubmitEvidence
from consensus.events import ValidatorSlashed
from consensus.pos.evidence import Evidence, make_evidence, read_evidence
from consensus.pos.sets import genesis_set
from consensus.pos.votes import Vote, VoteKind, vote_message
from consensus.staking.slashing import get_evidence_reward
from node.core.accuser import Accuser
from node.core.chain import Chain
from node.core.messages import OwnTransaction
from node.core.recovery import rebuild_tree
from node.core.turn import JobTable, Turn
from node.effects import Publish
from node.notices import RoleNotice
from tests.consensus.staking.harness import REPORTER, VALIDATORS, StakeChain
from tests.node.core.town import START, key_of, make_world

ACCUSER, LIAR = key_of(1), key_of(2)


def make_genesis(stake: int, coins: int) -> Genesis:
    """Two validators of this stake; the accuser has these coins beside it."""
    accounts = [ACCUSER.account, LIAR.account]
    return default_stake_genesis(
        "town", {ACCUSER.account: coins}, dict.fromkeys(accounts, stake), time_ms=START, block_ms=1000, min_stake=1
    )


def make_lie(genesis: Genesis) -> Evidence:
    set = genesis_set(genesis)
    votes = []
    for block in (Hash(b"\x01" * 32), Hash(b"\x02" * 32)):
        message = vote_message(set.seed, 0, 1, VoteKind.NOTARIZE, block)
        votes.append(Vote(0, 1, VoteKind.NOTARIZE, block, LIAR.account, LIAR.sign(message)))
    return make_evidence(*votes)


def accuse(stake: int, coins: int, *, at_a_loss: bool = False) -> tuple[list[OwnTransaction], list[str]]:
    """What is submitted, and what is said."""
    genesis = make_genesis(stake, coins)
    world = make_world(genesis, ACCUSER)
    assert isinstance(genesis.engine, PosParameters)
    turn = Turn(START, JobTable())
    accuser = Accuser(world, genesis.engine, Chain(world, rebuild_tree(world)), at_a_loss=at_a_loss)
    accuser.accuse(make_lie(genesis), genesis_set(genesis), turn)
    said = [effect.notice.text for effect in turn.effects if isinstance(effect, Publish)
            and isinstance(effect.notice, RoleNotice)]  # fmt: skip
    messages: deque[object] = turn.messages
    return [message for message in messages if isinstance(message, OwnTransaction)], said


def test_evidence_that_pays_is_submitted() -> None:
    """The transaction holds the evidence, whole."""
    (wish,), said = accuse(stake=10**9, coins=10**9)
    assert isinstance(wish.body, SubmitEvidence)
    assert read_evidence(wish.body.evidence) == make_lie(make_genesis(10**9, 10**9))
    assert said == []


def test_evidence_that_costs_more_than_it_earns_is_not_unless_it_is_wanted() -> None:
    """The operator hears of the offence, what its evidence would cost, and which setting submits it all the same."""
    wishes, (text,) = accuse(stake=1_000, coins=10**9)
    assert wishes == []
    assert LIAR.account.hex() in text
    assert "mining.accuse" in text
    wishes, said = accuse(stake=1_000, coins=10**9, at_a_loss=True)
    assert (len(wishes), said) == (1, [])


@pytest.mark.parametrize("at_a_loss", [False, True])
def test_who_has_no_coins_leaves_it_to_the_others(at_a_loss: bool) -> None:
    """It does not sign what can't be paid for: that would block its next transactions."""
    wishes, (text,) = accuse(stake=10**9, coins=1, at_a_loss=at_a_loss)
    assert wishes == []
    assert "others have heard it too" in text


def test_what_evidence_is_said_to_earn_is_what_it_earns() -> None:
    """Of the stake, and of what is leaving it."""
    chain = StakeChain()
    liar = VALIDATORS[0]
    expected = get_evidence_reward(chain, chain.parameters, liar.account)
    execution = chain.do(REPORTER, SubmitEvidence(encode(chain.double_vote(liar))))
    (slashed,) = [event for event in execution.events if isinstance(event, ValidatorSlashed)]
    assert slashed.reward == expected > 0
