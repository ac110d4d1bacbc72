"""Plans that repeat trainings: what devices share is frozen, kept, and enough to repeat every update."""

import pytest
from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.transaction import JoinPlan, JoinSharing, RegisterMiner
from consensus.errors import Invalid, MissingPayload
from consensus.problems import compile_document
from consensus.queries import get_history, needed_payloads
from consensus.records import RoundState
from consensus.state import get_enrolment, get_round, get_shared
from consensus.transition import check_transaction
from fl.plan.schema import Plan, Replay
from fl.shared import encode_shared, repeat_training
from tests.consensus.harness import DEVICES, MINERS, Chain, make_data, make_plan, make_rules

HONEST, LIAR = DEVICES[0], DEVICES[1]
SHARED = {device: encode_shared(make_data(device)) for device in DEVICES}


def replayed_plan(attestations: int = 1, rounds: int = 1, **replay: object) -> Plan:
    """Two devices, both asked in every phase; every update attested after a repetition."""
    plan = make_plan(devices=(1, 2, 2), over_select=100, rounds=rounds, attestations=attestations)
    policies = (*plan.verification.policies, replace(Replay("open"), **replay))
    return replace(plan, version=2, verification=replace(plan.verification, policies=policies))


class ReplayedChain(Chain):
    """A chain with miners and a plan that is running; both devices share their rows."""

    def __init__(self, *miners: KeyPair, attestations: int = 1, rounds: int = 1, **replay: object) -> None:
        super().__init__(make_rules(version=3, policies=("bounds", "replay"), miner_fallback_blocks=0))
        for miner in miners:
            self.send(miner, RegisterMiner(Amount(1000)))
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


def test_an_enrolment_with_shared_data_can_be_taken_back() -> None:
    """The undo of the block leaves nothing of it."""
    chain = ReplayedChain(MINERS[0])
    before = dict(chain.state)
    chain.share(HONEST)
    chain.undo()
    assert chain.state == before
