"""Plans that repeat trainings: what devices share is frozen, kept, and enough to repeat every update."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.transaction import DisputeUpdate, JoinPlan, JoinSharing, RegisterMiner, RetireMiner
from chain.update import Attestation, AttestedUpdate
from consensus.disputes import get_dispute_price, get_dispute_proof
from consensus.errors import Invalid, MissingPayload
from consensus.events import DisputeDecided, LedgerEvent, MinerSlashed, UpdateRefused
from consensus.problems import compile_document
from consensus.queries import get_history, needed_payloads
from consensus.records import RevealedUpdate, RoundState
from consensus.rules import disputes
from consensus.rules.plans import check_document
from consensus.staking.state import get_burned
from consensus.state import (
    get_enrolment,
    get_miner,
    get_miners,
    get_revealed,
    get_round,
    get_seat,
    get_shared,
    get_supply,
    get_vouched,
    get_waiting_disputes,
)
from consensus.transition import check_transaction
from fl.plan.dimensions import replay_work
from fl.plan.schema import Plan, Replay, encode_plan
from fl.policies.replay import REFUTED
from fl.shared import encode_shared, repeat_training
from tests.consensus.harness import DEVICES, MINERS, OTHER, Chain, make_data, make_plan, make_rules

E = TypeVar("E", bound=LedgerEvent)
HONEST, LIAR = DEVICES[0], DEVICES[1]
SHARED = {device: encode_shared(make_data(device)) for device in DEVICES}


def replayed_plan(attestations: int = 1, rounds: int = 1, **replay: object) -> Plan:
    """Two devices, both asked in every phase; every update attested after a repetition."""
    plan = make_plan(devices=(1, 2, 2), over_select=100, rounds=rounds, attestations=attestations)
    policies = (*plan.verification.policies, replace(Replay("open", 2, Amount(600)), **replay))
    return replace(plan, version=2, verification=replace(plan.verification, policies=policies))


class ReplayedChain(Chain):
    """A chain with miners and a plan that is running; both devices share their rows."""

    def __init__(
        self,
        *miners: KeyPair,
        attestations: int = 1,
        rounds: int = 1,
        bonds: Sequence[int] = (1000, 1000, 1000),
        **replay: object,
    ) -> None:
        super().__init__(make_rules(version=3, policies=("bounds", "replay"), miner_fallback_blocks=0))
        for miner, bond in zip(miners, bonds, strict=False):
            self.send(miner, RegisterMiner(Amount(bond)))
        self.mine()
        self.plan = self.submit(replayed_plan(attestations, rounds, **replay))
        self.mine()
        self.register(HONEST, LIAR)
        self.mine()

    def share(self, *devices: KeyPair) -> None:
        for device in devices:
            self.send(device, self.joining(device))
        self.mine()

    def joining(self, device: KeyPair) -> JoinSharing:
        return JoinSharing(self.plan, "clinic", 20, self.keep(SHARED[device]))

    @property
    def round(self) -> RoundState:
        state = get_round(self, self.plan)
        assert state is not None
        return state

    def is_true(self, device: KeyPair, payload: bytes) -> bool:
        """Repeat the training of a device for the open task, as a miner does."""
        enrolment, task = get_enrolment(self, self.plan, device.account), self.task(self.plan)
        assert enrolment is not None
        ref = get_shared(self, self.plan, enrolment.number)
        assert ref is not None
        shared, problem = self.payload(ref.id), compile_document(self.state[b"s/document/" + self.plan])
        assert shared is not None
        made = repeat_training(problem, task.task, device.account, enrolment.samples, task.model, task.carry, shared)
        return made == content_id(payload)

    def refusal(self, key: KeyPair, body: object) -> Invalid:
        with pytest.raises(Invalid) as caught:
            check_transaction(self, self.context(), self.sign(key, body), self)  # type: ignore[arg-type]
        return caught.value


def test_what_a_device_shares_is_its_commitment_and_is_kept_while_the_plan_runs() -> None:
    """From the join on, in every task, until the plan ends."""
    chain = ReplayedChain(MINERS[0])
    chain.share(HONEST)
    shared = {PayloadRef.of(SHARED[HONEST])}
    assert set(needed_payloads(chain, chain.plan)) == shared, "it enrols still"
    chain.share(LIAR)
    shared |= {PayloadRef.of(SHARED[LIAR])}
    for device in (HONEST, LIAR):
        enrolment = get_enrolment(chain, chain.plan, device.account)
        assert enrolment is not None
        assert enrolment.commitment == content_id(SHARED[device])
    for _ in range(2):
        assert set(needed_payloads(chain, chain.plan)) >= shared
        chain.reveal(chain.plan, HONEST, LIAR, miners=[MINERS[0]])
        chain.mine()
        while not get_history(chain, chain.plan) and chain.round.revealed:
            chain.mine()
    assert len(get_history(chain, chain.plan)) == 1
    assert needed_payloads(chain, chain.plan) == ()
    chain.audit()


def test_an_honest_update_repeats_from_the_shared_data_and_a_forged_one_does_not() -> None:
    """In both phases: the state and the shared payload are all that a miner needs."""
    chain = ReplayedChain(MINERS[0])
    chain.share(HONEST, LIAR)
    assert chain.is_true(HONEST, chain.train(chain.plan, HONEST))
    assert not chain.is_true(LIAR, chain.train(chain.plan, HONEST)), "a copy of another's work"


def test_each_rule_of_sharing_refuses_by_name() -> None:
    """A join without the data, data that are none, and data where nobody asked for them."""
    chain = ReplayedChain(MINERS[0])
    joining = chain.joining(HONEST)
    plain = JoinPlan(chain.plan, "clinic", 20, ZERO_HASH)
    assert chain.refusal(HONEST, plain).rule == "plan.join.sharing"
    assert chain.refusal(HONEST, replace(joining, samples=19)).rule == "plan.join_sharing.payload"
    wrong = replace(joining, payload=PayloadRef(joining.payload.id, joining.payload.size + 1))
    assert chain.refusal(HONEST, wrong).rule == "plan.join_sharing.payload"
    large = replace(joining, payload=PayloadRef(joining.payload.id, 2**40))
    assert chain.refusal(HONEST, large).rule == "plan.join_sharing.payload"
    assert chain.refusal(HONEST, replace(joining, payload=chain.keep(b"junk"))).rule == "plan.join_sharing.payload"
    absent = replace(joining, payload=PayloadRef(Hash(content_id(b"not here")), 8))
    with pytest.raises(MissingPayload):
        check_transaction(chain, chain.context(), chain.sign(HONEST, absent), chain)
    chain.share(HONEST)
    assert chain.refusal(HONEST, joining).rule == "plan.join.known"
    other = chain.submit(replace(make_plan(nonce=7), version=2))
    chain.mine()
    assert chain.refusal(LIAR, replace(joining, plan=other)).rule == "plan.join.sharing"
    chain.change_rules(version=2)
    assert chain.refusal(LIAR, joining).rule == "transaction.kind"


# --- disputes ---------------------------------------------------------------------------------------

ATTESTERS = MINERS[:2]
BOND, DEPOSIT, FEE = 1000, 600, 5000


class DisputedChain(ReplayedChain):
    """A running plan whose liar's updates two miners vouch for falsely."""

    def __init__(self, **options: object) -> None:
        super().__init__(*ATTESTERS, attestations=2, **options)  # type: ignore[arg-type]
        self.share(HONEST, LIAR)

    def reveal_all(self) -> None:
        """The honest update, and one that is a copy of it, attested by both; the dispute step begins."""
        honest = self.release(self.plan, HONEST)
        forged = self.release(self.plan, LIAR, self.train(self.plan, HONEST))
        for update in (honest, forged):
            keys = sorted(ATTESTERS, key=lambda key: key.account)
            self.updates.append(AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in keys)))
        self.mine()
        assert self.task(self.plan).step == "dispute"

    def update_of(self, device: KeyPair) -> RevealedUpdate:
        task = Hash(self.round.task.digest)
        position = get_seat(self, self.plan, device.account, task)
        assert position is not None
        update = get_revealed(self, self.plan, position, task)
        assert update is not None
        return update

    def price(self, device: KeyPair = LIAR) -> int:
        return get_dispute_price(self, self.entry(self.plan), self.update_of(device))

    def dispute_of(self, device: KeyPair = LIAR, disputer: KeyPair = OTHER) -> DisputeUpdate:
        """A dispute by somebody who has repeated the training."""
        update = Hash(self.update_of(device).update)
        made = content_id(self.train(self.plan, device))
        return DisputeUpdate(
            self.plan,
            self.round.task.digest,
            device.account,
            update,
            get_dispute_proof(disputer.account, update, made),
            Amount(self.price(device)),
        )

    def bond(self, miner: KeyPair) -> int:
        entry = get_miner(self, miner.account)
        assert entry is not None
        return entry.bond

    def settle(self) -> None:
        """Let the dispute step of the first phase run out."""
        while self.round.task.phase == 0:
            self.mine()

    def told(self, kind: type[E]) -> list[E]:
        return [event for execution in self.executions for event in execution.events if isinstance(event, kind)]


def test_a_false_update_is_refused_and_costs_its_attesters_half_their_bonds() -> None:
    """The disputer has its deposit back and half of what was slashed; the rest is burnt; the honest device goes on."""
    chain = DisputedChain()
    chain.reveal_all()
    minted, before = get_supply(chain).minted, chain.balance(OTHER)
    work = chain.price() - DEPOSIT
    assert work > 0
    chain.send(OTHER, chain.dispute_of())
    chain.mine()
    slashed = 2 * (BOND // 2)
    assert [chain.bond(miner) for miner in ATTESTERS] == [BOND // 2] * 2
    assert chain.balance(OTHER) == before - FEE - work + slashed // 2
    assert get_supply(chain).minted == minted + 1000 - slashed // 2, "a subsidy more, half of the slash less"
    assert get_burned(chain) == slashed // 2
    [decided] = chain.told(DisputeDecided)
    assert (decided.is_true, decided.reward) == (False, slashed // 2)
    assert chain.audit().is_conserved
    chain.settle()
    [refusal] = chain.told(UpdateRefused)
    assert (refusal.device, refusal.reason) == (LIAR.account, f"replay: {REFUTED}")
    assert chain.task(chain.plan).selected == (HONEST.account,)
    assert chain.audit().is_conserved


def test_a_true_update_costs_the_disputer_its_deposit() -> None:
    """In equal parts to those who vouched for it, an odd coin to the producer; and it settles."""
    chain = DisputedChain(deposit=Amount(601))
    chain.reveal_all()
    before, attesters = chain.balance(OTHER), [chain.balance(miner) for miner in ATTESTERS]
    price = chain.price(HONEST)
    chain.send(OTHER, chain.dispute_of(HONEST))
    chain.mine()
    assert chain.balance(OTHER) == before - FEE - price
    assert [chain.balance(miner) for miner in ATTESTERS] == [each + 300 for each in attesters]
    assert [chain.bond(miner) for miner in ATTESTERS] == [BOND] * 2
    assert chain.audit().is_conserved
    chain.settle()
    assert not chain.told(UpdateRefused), "nobody disputed the other"
    assert not chain.told(MinerSlashed)


def test_who_copies_a_dispute_from_the_pool_has_nothing_of_it() -> None:
    """Its proof names another: deposit back, all that is slashed is burnt, the false update is refused all the same.

    So is one whose proof says what the training does not give.
    """
    chain = DisputedChain()
    chain.reveal_all()
    body = chain.dispute_of()
    before, work = chain.balance(MINERS[2]), chain.price() - DEPOSIT
    chain.send(MINERS[2], body)
    chain.mine()
    [decided] = chain.told(DisputeDecided)
    assert (decided.disputer, decided.is_true, decided.reward) == (MINERS[2].account, False, 0)
    assert chain.balance(MINERS[2]) == before - FEE - work
    assert get_burned(chain) == 2 * (BOND // 2)
    assert chain.audit().is_conserved
    chain.undo()
    update = Hash(body.update)
    for guess in (None, content_id(b"a guess"), Hash(chain.update_of(LIAR).payload.id)):
        chain.send(OTHER, replace(body, proof=get_dispute_proof(OTHER.account, update, guess)))
        chain.mine()
        assert chain.told(DisputeDecided)[-1].reward == 0
        chain.undo()
    chain.send(OTHER, body)
    chain.mine()
    assert chain.told(DisputeDecided)[-1].reward == BOND // 2


def test_a_miner_answers_for_what_it_attested_and_leaves_the_register_when_too_little_is_left() -> None:
    """It can't retire before the task is over; struck off, it has the rest of its bond locked until then."""
    chain = DisputedChain()
    assert get_vouched(chain, MINERS[0].account) == 0
    chain.reveal_all()
    assert get_vouched(chain, MINERS[0].account) == 2
    verdict = chain.refusal(MINERS[0], RetireMiner())
    assert (verdict.rule, verdict.later) == ("miner.retire.vouched", True)
    chain.change_rules(min_bond=Amount(BOND // 2 + 1))
    chain.send(OTHER, chain.dispute_of())
    chain.mine()
    assert get_miners(chain) == ()
    assert [event.is_registered for event in chain.told(MinerSlashed)] == [False, False]
    assert chain.refusal(MINERS[0], RetireMiner()).rule == "miner.retire.vouched"
    chain.settle()
    assert get_vouched(chain, MINERS[0].account) == 0
    before = chain.balance(MINERS[0])
    chain.send(MINERS[0], RetireMiner())
    chain.mine()
    assert chain.balance(MINERS[0]) == before - FEE + BOND // 2
    assert chain.audit().is_conserved


def test_each_rule_of_disputes_refuses_by_name() -> None:
    """What can't be disputed, when, and for how much."""
    chain = DisputedChain()
    early = DisputeUpdate(chain.plan, chain.round.task.digest, LIAR.account, ZERO_HASH, ZERO_HASH, Amount(1))
    verdict = chain.refusal(OTHER, early)
    assert (verdict.rule, verdict.later) == ("plan.dispute.step", True), "the reveals are not over"
    chain.reveal_all()
    body = chain.dispute_of()
    nowhere = Hash(bytes(32))
    assert chain.refusal(OTHER, replace(body, plan=nowhere)).rule == "plan.dispute.plan"
    assert chain.refusal(OTHER, replace(body, task=nowhere)).rule == "plan.dispute.step"
    assert chain.refusal(OTHER, replace(body, device=OTHER.account)).rule == "plan.dispute.device"
    assert chain.refusal(OTHER, replace(body, update=nowhere)).rule == "plan.dispute.device", "another fork's update"
    for amount in (body.amount - 1, body.amount + 1):
        assert chain.refusal(OTHER, replace(body, amount=Amount(amount))).rule == "plan.dispute.deposit"
    assert chain.refusal(HONEST, body).rule == "plan.dispute.balance", "no plan pays for it"
    chain.send(OTHER, body)
    chain.mine()
    assert chain.refusal(OTHER, body).rule == "plan.dispute.known"
    chain.settle()
    assert chain.refusal(OTHER, body).rule == "plan.dispute.step"


def test_a_task_names_the_data_that_its_devices_share() -> None:
    """Who shares other rows on a rival block opens another task there: no attestation of one counts for the other."""
    chain = ReplayedChain(MINERS[0])
    chain.share(HONEST)
    chain.share(LIAR)
    task = chain.round.task
    chain.undo()
    other = chain.keep(SHARED[DEVICES[5]])
    chain.send(LIAR, replace(chain.joining(LIAR), payload=other))
    chain.mine()
    assert chain.round.task.beacon == task.beacon
    assert chain.round.task.digest != task.digest


def test_no_more_disputes_wait_than_a_queue_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is told to come later."""
    chain = DisputedChain()
    chain.reveal_all()
    monkeypatch.setattr(disputes, "MAX_WAITING", 0)
    verdict = chain.refusal(OTHER, chain.dispute_of())
    assert (verdict.rule, verdict.later) == ("plan.dispute.full", True)


def test_disputes_queue_while_the_work_limit_is_full_and_the_step_waits_for_them() -> None:
    """One a block, if no two fit; the phase settles when the last is decided, though the deadline has passed."""
    chain = DisputedChain(dispute_blocks=1)
    chain.reveal_all()
    document = compile_document(chain.state[b"s/document/" + chain.plan]).plan
    chain.change_rules(max_block_work=2 * replay_work(document, 20) - 1)
    third = chain.dispute_of()
    for device in (LIAR, HONEST):
        chain.send(OTHER, chain.dispute_of(device))
    chain.mine()
    assert len(get_waiting_disputes(chain)) == 1
    assert [decided.device for decided in chain.told(DisputeDecided)] == [LIAR.account], "the older first"
    assert chain.task(chain.plan).step == "dispute"
    assert chain.height >= chain.round.deadline
    assert chain.audit().is_conserved, "a deposit waits"
    assert chain.refusal(OTHER, third).rule == "plan.dispute.step", "the deadline holds for new ones"
    chain.mine()
    assert get_waiting_disputes(chain) == ()
    assert [decided.is_true for decided in chain.told(DisputeDecided)] == [False, True]
    chain.settle()
    assert chain.audit().is_conserved


def test_a_plan_whose_disputes_no_block_could_decide_is_refused() -> None:
    """The first dispute in the queue is always decided, so one must fit."""
    chain = ReplayedChain(MINERS[0])
    plan = replace(replayed_plan(), nonce=9)
    chain.change_rules(max_block_work=replay_work(plan) - 1)
    with pytest.raises(Invalid, match="repeating a training") as caught:
        check_document(encode_plan(plan), chain.context().rules)
    assert caught.value.rule == "plan.submit.work"


def test_a_decided_dispute_is_taken_back_whole() -> None:
    """Bonds, deposit, burnt coins and the queue are as before."""
    chain = DisputedChain()
    chain.reveal_all()
    before = dict(chain.state)
    chain.send(OTHER, chain.dispute_of())
    chain.mine()
    chain.undo()
    assert chain.state == before


def test_a_block_with_a_dispute_waits_for_the_shared_data() -> None:
    """A node without them can't judge the block, and says what it lacks."""
    chain = DisputedChain()
    chain.reveal_all()
    chain.send(OTHER, chain.dispute_of())
    kept = chain.store.pop(content_id(SHARED[LIAR]))
    with pytest.raises(MissingPayload) as caught:
        chain.mine()
    assert [ref.id for ref in caught.value.refs] == [content_id(SHARED[LIAR])]
    chain.keep(kept)
    chain.mine()
    assert chain.told(DisputeDecided)


def test_a_plan_that_repeats_settles_without_disputes_when_the_step_is_over() -> None:
    """Both phases, each with its dispute step; bonds are free again at the end."""
    chain = DisputedChain(dispute_blocks=3)
    for _ in range(2):
        chain.reveal(chain.plan, HONEST, LIAR, miners=ATTESTERS)
        chain.mine()
        chain.mine(3)
    assert len(get_history(chain, chain.plan)) == 1
    assert get_vouched(chain, MINERS[0].account) == 0
    assert not [key for key in chain.state if key.startswith((b"s/dispute", b"s/vouched"))]


def test_an_enrolment_with_shared_data_can_be_taken_back() -> None:
    """The undo of the block leaves nothing of it."""
    chain = ReplayedChain(MINERS[0])
    before = dict(chain.state)
    chain.share(HONEST)
    chain.undo()
    assert chain.state == before


@given(
    deposit=st.integers(0, 10**6),
    bonds=st.tuples(st.integers(500, 5000), st.integers(500, 5000)),
    disputed=st.lists(st.sampled_from([HONEST, LIAR]), max_size=2, unique=True),
    least=st.sampled_from([500, 2000]),
)
@settings(max_examples=15, deadline=None)
def test_no_dispute_makes_or_loses_a_coin(
    deposit: int, bonds: tuple[int, int], disputed: list[KeyPair], least: int
) -> None:
    """Whatever is at stake and whoever is right: what is not burnt is somebody's."""
    chain = DisputedChain(bonds=bonds, deposit=Amount(deposit))
    chain.reveal_all()
    chain.change_rules(min_bond=Amount(least))
    for device in disputed:
        chain.send(OTHER, chain.dispute_of(device))
    chain.mine()
    cut = sum(bond // 2 for bond in bonds) if LIAR in disputed else 0
    assert get_burned(chain) == cut - cut // 2
    assert sum(chain.bond(miner) for miner in ATTESTERS) == sum(bonds) - cut
    struck = {miner.account for miner, bond in zip(ATTESTERS, bonds, strict=True) if cut and bond - bond // 2 < least}
    assert {miner.account for miner in ATTESTERS} - set(get_miners(chain)) == struck
    assert chain.audit().is_conserved
    chain.settle()
    assert chain.audit().is_conserved
