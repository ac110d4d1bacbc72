"""A stateful test of staking against a small reference model: bonds, queues, jail, evidence, epochs, blocks undone.

After every block the ledger and the model agree on every coin and every validator, no coin is made or lost but for the
subsidy and what was burnt, and a block that is taken back leaves the state of before, to the byte.
"""

from collections import Counter
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chain.codec import encode
from chain.ids import Amount
from chain.transaction import (
    Body,
    Bond,
    RegisterMiner,
    RetireMiner,
    SubmitEvidence,
    Transfer,
    Unbond,
    Unjail,
)
from consensus.events import DevicePermitted, StakeEvent, ValidatorSlashed
from consensus.pos.evidence import make_evidence
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Vote, VoteKind, vote_message
from consensus.queries import get_account, get_miner, get_supply
from consensus.staking.state import get_burned, get_candidates, get_unbonding, get_validator, get_validator_set
from consensus.tree import get_root
from tests.consensus.staking.harness import (
    KEY_OF,
    ONE,
    REPORTER,
    STAKES,
    TWO,
    VALIDATORS,
    WEALTH,
    StakeChain,
)
from tests.consensus.staking.model import Claim, Model, Staker

ZERO = type(ONE)(bytes(32))
PEOPLE = (*VALIDATORS, REPORTER)
KEYS = st.sampled_from(PEOPLE)
AMOUNTS = st.sampled_from([0, 1, 50, 99, 100, 101, 300, 400, 700, 1000, 5000, 2 * WEALTH])
OFFENCES = {
    "double notarize": ((VoteKind.NOTARIZE, ONE), (VoteKind.NOTARIZE, TWO)),
    "double finalize": ((VoteKind.FINALIZE, ONE), (VoteKind.FINALIZE, TWO)),
    "finalize and nullify": ((VoteKind.FINALIZE, ONE), (VoteKind.NULLIFY, ZERO)),
    "": ((VoteKind.NOTARIZE, ONE), (VoteKind.NULLIFY, ZERO)),
}
SEEN: Counter[object] = Counter()
"""What happened in all runs: kinds of events, rules that refused, blocks taken back."""


def new_model(chain: StakeChain) -> Model:
    """The model of a chain that has only its genesis."""
    stakers = {key.account: Staker(stake) for key, stake in zip(VALIDATORS, STAKES, strict=False)}
    balances = {key.account: get_account(chain, key.account).balance for key in PEOPLE}
    return Model(
        chain.parameters, balances, stakers, {0: chain.set(0)}, chain.set(0).members, minted=get_supply(chain).minted
    )


class StakeMachine(RuleBasedStateMachine):
    """Accounts stake, leave, come and go; some break the protocol; blocks come and are taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = StakeChain()
        self.model = new_model(self.chain)
        self.claims: dict[bytes, Claim] = {}
        self.history: list[tuple[dict[bytes, bytes], Model]] = []

    # --- what accounts ask ---

    @rule(key=KEYS, amount=AMOUNTS)
    def bond(self, key, amount) -> None:
        self.chain.send_one(key, Bond(Amount(amount)))

    @rule(key=KEYS, amount=AMOUNTS, everything=st.booleans())
    def unbond(self, key, amount, everything) -> None:
        entry = get_validator(self.chain, key.account)
        self.chain.send_one(key, Unbond(entry.stake if everything and entry else Amount(amount)))

    @rule(key=KEYS)
    def unjail(self, key) -> None:
        jailed = [other for other in VALIDATORS if self.standing(other) == "jailed"]
        self.chain.send_one(jailed[0] if jailed else key, Unjail())

    @rule(key=KEYS, to=KEYS, amount=AMOUNTS)
    def transfer(self, key, to, amount) -> None:
        self.chain.send_one(key, Transfer(to.account, Amount(amount)))

    @rule(key=st.sampled_from([REPORTER, VALIDATORS[0]]))
    def verify(self, key) -> None:
        known = get_miner(self.chain, key.account) is not None
        self.chain.send_one(key, RetireMiner() if known else RegisterMiner(Amount(777)))

    @rule(data=st.data(), kind=st.sampled_from(sorted(OFFENCES)), forged=st.integers(0, 4), sender=KEYS)
    def accuse(self, data, kind, forged, sender) -> None:
        """Evidence about any epoch, right or forged, maybe shown before."""
        last = max(self.model.sets)
        members = self.model.sets[max(0, last - data.draw(st.integers(0, 3)))]
        accused = KEY_OF[data.draw(st.sampled_from(members.members)).account]
        signer = accused if forged else PEOPLE[PEOPLE.index(accused) - 1]
        view = data.draw(st.integers(1, 2))
        self.show(members, accused, signer, kind, view, sender)

    @rule(data=st.data(), kind=st.sampled_from(sorted(OFFENCES)[1:]), sender=KEYS)
    def betray(self, data, kind, sender) -> None:
        """A validator of this epoch breaks the protocol and is shown to have."""
        members = self.chain.set()
        guilty = KEY_OF[data.draw(st.sampled_from(members.members)).account]
        self.show(members, guilty, guilty, kind, data.draw(st.integers(1, 2)), sender)

    def show(self, members: ValidatorSet, accused, signer, kind, view, sender) -> None:
        votes = [self.vote(members, accused, signer, *each, view) for each in OFFENCES[kind]]
        evidence = encode(make_evidence(*votes))
        self.claims[evidence] = Claim(kind, members.epoch, view, accused.account, accused == signer and bool(kind))
        self.chain.send_one(sender, SubmitEvidence(evidence))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), sender=KEYS)
    def accuse_again(self, data, sender) -> None:
        """Evidence that was shown before, maybe in a block taken back since."""
        self.chain.send_one(sender, SubmitEvidence(data.draw(st.sampled_from(sorted(self.claims)))))

    @staticmethod
    def vote(members: ValidatorSet, accused, signer, kind, block, view) -> Vote:
        message = vote_message(members.seed, members.epoch, view, kind, block)
        return Vote(members.epoch, view, kind, block, accused.account, signer.sign(message))

    def standing(self, key) -> str:
        entry = get_validator(self.chain, key.account)
        return "" if entry is None else entry.standing

    # --- blocks ---

    @rule(blocks=st.integers(1, 6), away=st.sets(st.integers(0, 6), max_size=2), skipped=st.sampled_from([0, 0, 1, 4]))
    def mine(self, blocks, away, skipped) -> None:
        self.chain.skipped = skipped  # in the first of these blocks
        for _ in range(blocks):
            members = {member.account for member in self.chain.set().members}
            gone = {VALIDATORS[number].account for number in away}
            self.chain.absent = gone if members - gone else ()
            self.step()

    @rule(number=st.integers(0, 2), bonds=st.booleans())
    def oversleep(self, number, bonds) -> None:
        """A validator is away until it is in jail, comes back, asks at once and when its time is over."""
        key = VALIDATORS[number]
        for _ in range(12):
            members = {member.account for member in self.chain.set().members}
            self.chain.absent = {key.account} if members - {key.account} else ()
            self.step()
            if self.standing(key) == "jailed":
                break
        for _ in range(2):  # before its time is over, and after
            self.chain.send_one(key, Bond(Amount(150)) if bonds else Unjail())
            self.chain.absent, bonds = (), False
            for _ in range(5):
                self.step()

    def step(self) -> None:
        """Mine a block, and let the model do it too: it must take and refuse the same."""
        self.history.append((dict(self.chain.state), self.model.copy()))
        height, waiting = self.chain.height + 1, list(self.chain.transactions)
        execution = self.chain.mine()
        self.model.begin()
        self.chain.skipped, income = 0, 0
        for signed in waiting:
            transaction = signed.transaction
            body: Body | Claim = transaction.body
            if isinstance(body, SubmitEvidence):
                body = self.claims[body.evidence]
            is_taken = self.model.takes(height, transaction.sender, transaction.fee, body)
            assert is_taken is (signed.id not in self.chain.rejected), self.chain.rejected.get(signed.id)
            income += transaction.fee if is_taken else 0
        context = self.chain.contexts[-1]
        assert context.stake is not None
        views = range(context.stake.parent_view + 1, context.stake.view)
        self.model.close(height, context.producer, income, views, context.stake.mix)
        SEEN.update(type(event) for event in execution.events)
        SEEN.update(verdict.rule for verdict in self.chain.rejected.values())
        self.the_ledger_is_the_models()

    @precondition(lambda self: self.history)
    @rule(blocks=st.integers(1, 5))
    def take_back(self, blocks) -> None:
        for _ in range(min(blocks, len(self.history))):
            self.chain.undo()
            state, self.model = self.history.pop()
            assert self.chain.state == state
            SEEN["undone"] += 1
        self.chain.transactions = []

    # --- what always holds ---

    @invariant()
    def the_ledger_is_the_models(self) -> None:
        for key in PEOPLE:
            account = key.account
            assert get_account(self.chain, account).balance == self.model.balances[account]
            entry, staker = get_validator(self.chain, account), self.model.stakers.get(account)
            assert (entry is None) is (staker is None)
            if entry is not None and staker is not None:
                assert (entry.stake, entry.standing, entry.free_from) == (
                    staker.stake,
                    staker.standing,
                    staker.free_from,
                )
                assert entry.standing != "good" or entry.missed == staker.missed
            leaving = sorted((exit.due, exit.amount) for exit in self.model.exits if exit.account == account)
            assert sorted((each.due, each.amount) for each in get_unbonding(self.chain, account).entries) == leaving
        staked = sorted(account for account, staker in self.model.stakers.items() if staker.stake)
        assert list(get_candidates(self.chain)) == staked

    @invariant()
    def no_coin_is_made_or_lost(self) -> None:
        supply = get_supply(self.chain)
        assert self.chain.audit().is_conserved
        assert supply.bonded == self.model.bonded
        assert get_burned(self.chain) == self.model.burnt
        assert supply.minted == self.model.minted - self.model.burnt

    @invariant()
    def sets_change_at_boundaries_and_live_as_long_as_evidence(self) -> None:
        """Every epoch begun has its set, that of the model; those of the past go once nothing can be shown of them."""
        height, blocks = self.chain.height, self.chain.parameters.epoch_blocks
        last_boundary = height - height % blocks
        for epoch, members in self.model.sets.items():
            found = get_validator_set(self.chain, epoch)
            if self.model.deadline(epoch) > last_boundary:
                assert found == members
            else:
                assert found is None
        assert get_validator_set(self.chain, height // blocks + 1) is None

    @invariant()
    def the_root_is_the_trees(self) -> None:
        assert get_root(self.chain) == self.chain.root

    def teardown(self) -> None:
        """All that leaves arrives: the queues are empty in the end, and old offences are forgotten."""
        self.chain.transactions = []
        for _ in range(20):
            self.chain.absent = ()
            self.step()
        self.the_ledger_is_the_models()
        self.no_coin_is_made_or_lost()
        assert not [key for key in self.chain.state if key.startswith((b"s/unbonding", b"s/offence"))]


def test_staking_is_what_its_model_says():
    """The machine runs, and in its runs everything that can happen to a stake has happened."""
    SEEN.clear()
    run_state_machine_as_test(StakeMachine, settings=settings(max_examples=50, stateful_step_count=25, deadline=None))
    assert set(get_args(StakeEvent)) - {DevicePermitted} <= SEEN.keys()
    assert SEEN[ValidatorSlashed] > 5
    assert {"undone", "stake.evidence.known", "stake.evidence.expired", "stake.evidence.proof"} <= SEEN.keys()
