"""Offences and absence: evidence that counts, evidence that does not, and whom nothing can ever be held against."""

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import encode
from chain.ids import ZERO_HASH, Amount, Hash
from chain.transaction import Bond, SubmitEvidence, Unbond, Unjail
from consensus.context import StakeContext
from consensus.events import ValidatorJailed, ValidatorSlashed
from consensus.pos.errors import EvidenceFault
from consensus.pos.evidence import Evidence, check_evidence, make_evidence
from consensus.pos.sets import genesis_set
from consensus.pos.votes import Signed, Vote, VoteKind, vote_message
from consensus.queries import get_supply
from consensus.signatures import SignatureCache
from consensus.staking.absence import MAX_COUNTED, list_missed
from consensus.staking.sets import evidence_deadline
from consensus.staking.state import get_burned, get_offences, get_unbonding, get_validator, offence_key
from tests.consensus.staking.harness import (
    KEY_OF,
    ONE,
    REPORTER,
    STAKES,
    TWO,
    VALIDATORS,
    StakeChain,
    make_proposal,
    make_reproposal,
    make_stake_genesis,
)

FIRST, SECOND, THIRD, FOURTH = VALIDATORS[:4]
MEMBERS = genesis_set(make_stake_genesis())
JUDGE = SignatureCache(10_000)


def shown(evidence: Evidence) -> SubmitEvidence:
    return SubmitEvidence(encode(evidence))


def led_by(chain: StakeChain, key: object, start: int = 1) -> int:
    """A view of this epoch that this validator leads."""
    return next(view for view in range(start, 1000) if KEY_OF[chain.set().leader(view)] == key)


# --- what an offence costs ------------------------------------------------------------------------


def test_an_offence_costs_stake_and_what_leaves_it() -> None:
    """A tenth of both; a tenth of that to the reporter, the rest is destroyed; no coin is lost to the count."""
    chain = StakeChain()
    chain.do(FIRST, Unbond(Amount(600)))
    minted, before = get_supply(chain).minted, chain.balance(REPORTER)
    execution = chain.do(REPORTER, shown(chain.double_vote(FIRST)))
    assert execution.events == (
        ValidatorSlashed(FIRST.account, "double notarize", Amount(100), REPORTER.account, Amount(10)),
    )
    entry = get_validator(chain, FIRST.account)
    assert entry is not None
    assert (entry.stake, entry.standing) == (360, "tombstoned")
    assert get_unbonding(chain, FIRST.account).total == 540
    assert chain.balance(REPORTER) == before - 5000 + 10
    assert get_burned(chain) == 90
    assert get_supply(chain).minted == minted + 1000 - 90
    assert chain.audit().is_conserved


def test_an_offender_is_no_validator_again_but_gets_the_rest_back() -> None:
    """Out of the next set, refused for ever, and what was not slashed leaves as any stake does."""
    chain = StakeChain()
    chain.do(REPORTER, shown(chain.double_vote(FIRST)))
    assert chain.refusal(FIRST, Bond(Amount(500))) == "stake.bond.tombstoned"
    assert chain.refusal(FIRST, Unjail()) == "stake.unjail.standing"
    chain.end_epoch()
    assert FIRST.account not in chain.set()
    chain.do(FIRST, Unbond(Amount(900)))
    before = chain.balance(FIRST)
    chain.mine(14)
    assert chain.balance(FIRST) == before + 900
    assert chain.refusal(FIRST, Bond(Amount(500))) == "stake.bond.tombstoned"


def test_an_offence_is_punished_once_whatever_shows_it() -> None:
    """Other votes of the same kind in the same view are the same offence; another kind or view is another."""
    chain = StakeChain()
    chain.do(REPORTER, shown(chain.double_vote(FIRST)))
    assert chain.refusal(SECOND, shown(chain.double_vote(FIRST))) == "stake.evidence.known"
    kind, third = VoteKind.NOTARIZE, Hash(bytes([9]) * 32)
    other = make_evidence(chain.vote(FIRST, kind, ONE, epoch=0), chain.vote(FIRST, kind, third, epoch=0))
    assert chain.refusal(SECOND, shown(other)) == "stake.evidence.known"
    chain.do(SECOND, shown(chain.crossed_vote(FIRST, epoch=0)))
    chain.do(SECOND, shown(chain.double_vote(FIRST, view=2, epoch=0)))
    entry = get_validator(chain, FIRST.account)
    assert entry is not None
    assert entry.stake == 1000 - 100 - 90 - 81
    assert [offence.slashed for offence in get_offences(chain, 0)] == [100, 90, 81]


def test_who_has_nothing_left_cannot_be_punished_for_ever() -> None:
    """Offences that cost nothing any more do not fill the state."""
    chain = StakeChain(slash_ppm=10**6)
    chain.do(REPORTER, shown(chain.double_vote(FIRST)))
    assert chain.refusal(REPORTER, shown(chain.double_vote(FIRST, view=2))) == "stake.evidence.empty"


@pytest.mark.parametrize("is_reproposal", [False, True])
def test_proposing_two_blocks_in_one_view_is_an_offence(is_reproposal: bool) -> None:
    """By headers, or by a header and a re-proposal: only the view's leader can be guilty of it."""
    chain = StakeChain()
    members, view, header = chain.set(), led_by(chain, SECOND, 2), chain.blocks[0].header
    first = make_proposal(members, SECOND, header, view)
    second: Signed = make_proposal(members, SECOND, replace(header, time_ms=header.time_ms + 1), view)
    if is_reproposal:
        second = make_reproposal(members, SECOND, ONE, view)
    execution = chain.do(REPORTER, shown(make_evidence(first, second)))
    assert [event.offence for event in execution.events if isinstance(event, ValidatorSlashed)] == ["double proposal"]
    wrong = [make_proposal(members, THIRD, replace(header, time_ms=header.time_ms + n), view) for n in (0, 1)]
    assert chain.refusal(REPORTER, shown(make_evidence(*wrong))) == "stake.evidence.proof"


# --- when evidence counts -------------------------------------------------------------------------


def test_evidence_counts_up_to_its_last_block() -> None:
    """In the last block it still slashes, one later it is refused; then the set and the offence are forgotten."""
    chain = StakeChain()
    late = chain.double_vote(SECOND)
    last = evidence_deadline(0, chain.parameters)
    assert last == 4 + 6
    chain.mine(last - 1)
    execution = chain.do(REPORTER, shown(chain.double_vote(FIRST, epoch=0)))
    assert chain.height == last
    assert any(isinstance(event, ValidatorSlashed) for event in execution.events)
    assert chain.refusal(REPORTER, shown(late)) == "stake.evidence.expired"
    assert any(key.startswith(offence_key(ZERO_HASH)[:10]) for key in chain.state)
    chain.end_epoch()
    assert not chain.has_set(0)
    assert not [key for key in chain.state if key.startswith(b"s/offence")]
    assert chain.refusal(REPORTER, shown(late)) == "stake.evidence.expired"
    stale = shown(make_evidence(*[replace(vote, epoch=10**9) for vote in (late.first, late.second)]))  # type: ignore[type-var]
    assert chain.refusal(REPORTER, stale) == "stake.evidence.epoch"


def test_who_leaves_can_be_slashed_as_long_as_evidence_counts() -> None:
    """Whatever the height at which a stake leaves, evidence about its last vote reaches it in its last block."""
    for height in range(1, 9):
        chain = StakeChain()
        chain.mine(height - 1) if height > 1 else None
        chain.do(THIRD, Unbond(Amount(400)))
        last = (height - 1) // 4 + 1
        chain.mine(4 * last - height + 1)
        assert chain.epoch == last
        assert THIRD.account in chain.set()
        evidence = chain.double_vote(THIRD)
        chain.end_epoch()
        assert THIRD.account not in chain.set()
        chain.mine(evidence_deadline(last, chain.parameters) - 1 - chain.height)
        chain.do(REPORTER, shown(evidence))
        assert get_unbonding(chain, THIRD.account).total == 360


# --- whom nothing can be held against -------------------------------------------------------------


def honest_messages(view: int, choice: int, block: Hash) -> list[Signed]:
    """All that every honest validator signs in a view: proposes and notarises one block, then gives up or finalises."""
    made: list[Signed] = []
    for key in (FIRST, SECOND, THIRD):
        kinds = [(VoteKind.NOTARIZE, block)]
        if choice == 0:
            kinds.append((VoteKind.FINALIZE, block))
        elif choice == 1:
            kinds.append((VoteKind.NULLIFY, ZERO_HASH))
        for kind, voted in kinds:
            signature = key.sign(vote_message(MEMBERS.seed, 0, view, kind, voted))
            made.append(Vote(0, view, kind, voted, key.account, signature))
        if MEMBERS.leader(view) == key.account:
            header = StakeChain().blocks[0].header
            again = make_reproposal(MEMBERS, key, block, view, 1)
            made.append(again if choice == 2 and view > 1 else make_proposal(MEMBERS, key, header, view, view - 1))
    return made


HONEST = [message for view in range(1, 5) for message in honest_messages(view, view % 3, Hash(bytes([40 + view]) * 32))]


def test_honest_messages_are_evidence_of_nothing() -> None:
    """No two of all the messages of honest validators, in either order, prove an offence."""
    assert len(HONEST) > 20
    for first, second in [*permutations(HONEST, 2), *[(each, each) for each in HONEST]]:
        with pytest.raises(EvidenceFault):
            check_evidence(MEMBERS, Evidence(first, second), JUDGE)


@given(st.data())
@settings(max_examples=100)
def test_no_forgery_from_honest_messages_proves_anything(data: st.DataObject) -> None:
    """Whoever has every honest message and no key can relabel them as he likes: it stays nothing."""
    one, other = data.draw(st.sampled_from([*combinations(HONEST, 2)]))
    forged = []
    for message in (one, other):
        if isinstance(message, Vote):
            changes = {
                "view": st.integers(1, 5),
                "epoch": st.integers(0, 1),
                "kind": st.sampled_from(VoteKind),
                "block": st.sampled_from([ONE, TWO, ZERO_HASH, *[m.block for m in HONEST if isinstance(m, Vote)]]),
                "validator": st.sampled_from([key.account for key in VALIDATORS]),
                "signature": st.sampled_from([m.signature for m in HONEST if isinstance(m, Vote)]),
            }
            names = data.draw(st.sets(st.sampled_from(sorted(changes)), max_size=3))
            message = replace(message, **{name: data.draw(changes[name]) for name in sorted(names)})
        forged.append(message)
    first, second = sorted(forged, key=encode)
    with pytest.raises(EvidenceFault):
        check_evidence(MEMBERS, Evidence(first, second), JUDGE)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_evidence_are_refused(junk: bytes) -> None:
    """Whatever a stranger sends, the rule answers."""
    chain = StakeChain()
    assert chain.refusal(REPORTER, SubmitEvidence(junk)) == "stake.evidence.proof"


# --- absence --------------------------------------------------------------------------------------


def test_turns_missed_in_a_row_end_in_jail() -> None:
    """The third turn passed over in a row; a block in between starts the count again."""
    chain = StakeChain(epoch_blocks=40)
    chain.absent = {SECOND.account}
    jailed = []
    while not jailed:
        assert chain.height < 40, "nobody is jailed"
        jailed = [event for event in chain.mine().events if isinstance(event, ValidatorJailed)]
    stake = chain.contexts[-1].stake
    assert stake is not None
    views = range(1, stake.view)
    assert [SECOND.account == chain.set().leader(view) for view in views].count(True) == jailed[0].missed >= 3
    assert jailed[0].free_from == chain.height + 5


def test_a_block_forgives_what_was_missed_before() -> None:
    """Two turns missed, one block made, two missed: nobody goes to jail for that."""
    chain = StakeChain(epoch_blocks=400)
    for _ in range(3):
        chain.absent, missed = {SECOND.account}, 0
        while missed < 2:
            chain.mine()
            entry = get_validator(chain, SECOND.account)
            assert entry is not None
            if entry.standing == "jailed":  # three in a row at once: the draw's doing
                return
            missed = entry.missed
        chain.absent = ()
        while chain.blocks[-1].header.producer != SECOND.account:
            chain.mine()
        entry = get_validator(chain, SECOND.account)
        assert entry is not None
        assert (entry.standing, entry.missed) == ("good", 0)


def test_who_makes_the_block_was_here_whatever_it_missed_before() -> None:
    """Turns that the producer itself let pass just before do not count against it."""
    chain = StakeChain(absent_slots=1, epoch_blocks=40)
    members = chain.set()
    view = next(view for view in range(2, 99) if members.leader(view) == members.leader(1))
    chain.skipped = view - 1
    chain.mine()
    others = {members.leader(each) for each in range(1, view)} - {members.leader(1)}
    for key in VALIDATORS[:3]:
        entry = get_validator(chain, key.account)
        assert entry is not None
        assert entry.standing == ("jailed" if key.account in others else "good")


def test_who_has_taken_its_stake_away_stays_in_jail():
    """Good standing without a stake would be a validator's for nothing."""
    chain = StakeChain(jail_blocks=2)
    chain.absent = {SECOND.account}
    while get_validator(chain, SECOND.account).standing == "good":  # type: ignore[union-attr]
        assert chain.height < 40, "nobody is jailed"
        chain.mine()
    chain.do(SECOND, Unbond(Amount(STAKES[1])))
    while chain.height + 1 < get_validator(chain, SECOND.account).free_from:  # type: ignore[union-attr]
        chain.mine()
    assert chain.refusal(SECOND, Unjail()) == "stake.unjail.stake"


def test_who_leaves_jail_votes_again_after_the_next_epoch() -> None:
    """Jailed in one epoch, out of the next set; free after its time, chosen then, and in the set after that."""
    chain = StakeChain(jail_blocks=11)
    chain.absent = {SECOND.account}
    while get_validator(chain, SECOND.account).standing == "good":  # type: ignore[union-attr]
        assert chain.height < 40, "nobody is jailed"
        chain.mine()
    chain.end_epoch()
    assert SECOND.account not in chain.set()
    chain.absent = ()
    free_from = get_validator(chain, SECOND.account).free_from  # type: ignore[union-attr]
    while chain.height + 1 < free_from:
        assert chain.refusal(SECOND, Unjail()) == "stake.unjail.early"
    chain.do(SECOND, Unjail())
    chain.end_epoch()
    assert SECOND.account not in chain.set()
    chain.end_epoch()
    assert SECOND.account in chain.set()
    assert chain.set().power(SECOND.account) == STAKES[1]


def test_a_header_cannot_make_a_block_dear() -> None:
    """A view of any size costs the count of a few thousand turns."""
    stake = StakeContext(0, 2**60, 3, ZERO_HASH, make_stake_genesis().engine)  # type: ignore[arg-type]
    missed = list_missed(MEMBERS, stake)
    assert missed == [MEMBERS.leader(view) for view in range(4, 4 + MAX_COUNTED)]
    assert list_missed(MEMBERS, replace(stake, view=4)) == []
