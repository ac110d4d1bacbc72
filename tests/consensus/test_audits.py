"""Audits on the chain: who is asked, what reports decide, what silence costs; real openings convict who forges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Amount, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.payload import PayloadRef
from chain.sealing import seal, unseal
from chain.transaction import JoinPlan, OpenAudit, RegisterMiner, ReportAudit
from chain.update import AttestedUpdate
from consensus.auditing import (
    NOT_OPENED,
    NOT_VERIFIED,
    decide,
    get_asked,
    get_audited,
    get_readers,
    get_verifiers,
)
from consensus.errors import Invalid
from consensus.events import AuditOpened, AuditReported, UpdateRefused
from consensus.problems import compile_document
from consensus.queries import get_history, needed_payloads
from consensus.records import AuditReport, RoundState, UpdateAudit
from consensus.state import get_enrolment, get_first_payload, get_round
from consensus.transition import check_transaction
from fl.audit.opening import CommittedStates, find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.envelope import read_contribution, train_with_states
from fl.plan.schema import Audit, Plan, Training
from fl.task import device_seed
from tests.consensus.harness import DEVICES, MINERS, PRODUCER, Chain, make_data, make_plan, make_rules

HONEST, LIAR = DEVICES[0], DEVICES[1]
BLOCKS = 4


def audited_plan(**audit: object) -> Plan:
    """Two devices, both asked in every phase; every update audited by one verifier."""
    policy = Audit(percent=100, openings=2, verifiers=1, blocks=BLOCKS, segment_clip=Number.of(5))
    plan = make_plan(devices=(1, 2, 2), over_select=100, rounds=1, attestations=0)
    checks = replace(plan.verification, policies=(*plan.verification.policies, replace(policy, **audit)))
    return replace(plan, version=2, training=Training("full", 5), verification=checks)


class AuditedChain(Chain):
    """A chain whose devices commit to their rows, train with states, and open what they are asked for."""

    def __init__(self, *miners: KeyPair, **audit: object) -> None:
        super().__init__(make_rules(version=3, policies=("bounds", "audit"), miner_fallback_blocks=2))
        for miner in miners:
            self.send(miner, RegisterMiner(Amount(1000)))
        self.mine()
        self.document = audited_plan(**audit)
        self.plan = self.submit(self.document)
        self.mine()
        self.register(HONEST, LIAR)
        for device in (HONEST, LIAR):
            self.send(device, JoinPlan(self.plan, "clinic", 20, self.rows(device).root))
        self.mine()
        self.trained: dict[KeyPair, CommittedStates] = {}

    def rows(self, device: KeyPair) -> CommittedRows:
        return CommittedRows.of(make_data(device), content_id(device.seed))

    @property
    def state_of_round(self) -> RoundState:
        state = get_round(self, self.plan)
        assert state is not None
        return state

    @property
    def beacon(self) -> Hash:
        return Hash(self.context().beacon)

    def send_update(self, device: KeyPair, spoil: bool = False) -> None:
        """Train and send the update; a liar's training runs over rows it never committed to."""
        problem, open_task = compile_document(self.state[b"s/document/" + self.plan]), self.task(self.plan)
        task, data = open_task.task, make_data(DEVICES[5] if spoil else device)
        model, seed = from_bytes(open_task.model, problem.dimension), device_seed(task.digest, device.account)
        made = train_with_states(problem, task, model, open_task.carry, data, seed, content_id(device.seed))
        self.trained[device] = made
        self.updates.append(AttestedUpdate(self.release(self.plan, device, made.payload()), ()))

    def position(self, device: KeyPair) -> int:
        audited = get_audited(self, self.state_of_round, self.beacon)
        return next(place for place, update in audited.items() if update.device == device.account)

    def open(self, device: KeyPair) -> None:
        """Send what the chain asks this device to open, sealed for its verifiers."""
        state = self.state_of_round
        update = get_audited(self, state, self.beacon)[self.position(device)]
        opening = self.trained[device].open(self.rows(device), get_asked(self, state, update, self.beacon))
        sealed = seal(opening, get_readers(self, state, device.account, self.beacon), content_id(device.seed))
        self.send(device, OpenAudit(self.plan, state.task.digest, self.keep(sealed)))

    def verify(self, miner: KeyPair, device: KeyPair) -> str:
        """Repeat what the device opened; return the fault, empty if there is none."""
        state = self.state_of_round
        position = self.position(device)
        update = get_audited(self, state, self.beacon)[position]
        audit = UpdateAudit(state.task.digest, self.opened(device), ())
        problem, task = compile_document(self.state[b"s/document/" + self.plan]), self.task(self.plan)
        first = get_first_payload(self, self.plan, device.account)
        counts = None
        if first is not None and state.task.phase:
            payload = self.payload(first.id)
            assert payload is not None
            counts = read_contribution(problem, 0, payload).counts
        training = AuditedTraining(
            problem,
            state.task.phase,
            from_bytes(task.model, problem.dimension),
            task.carry,
            update.samples,
            make_data(device).x[:0].astype(int).sum(axis=0) if counts is None else counts,
            device_seed(state.task.digest, AccountId(update.device)),
        )
        opened = unseal(self.payload(audit.payload.id) or b"", miner)
        assert opened is not None, "it was sealed for this miner"
        enrolment = get_enrolment(self, self.plan, device.account)
        assert enrolment is not None
        asked = get_asked(self, state, update, self.beacon)
        policy = self.document.verification.policies[-1]
        assert isinstance(policy, Audit)
        payload = self.payload(update.payload.id)
        assert payload is not None
        return find_fault(policy, training, Hash(enrolment.commitment), payload, asked, opened) or ""

    def opened(self, device: KeyPair) -> PayloadRef:
        for block in reversed(self.blocks):
            for signed in block.body.transactions:
                body = signed.transaction.body
                if isinstance(body, OpenAudit) and signed.transaction.sender == device.account:
                    return body.payload
        raise LookupError

    def report(self, miner: KeyPair, device: KeyPair, fault: str) -> None:
        self.send(miner, ReportAudit(self.plan, self.state_of_round.task.digest, device.account, not fault, fault))

    def refusal(self, key: KeyPair, body: object) -> Invalid:
        with pytest.raises(Invalid) as caught:
            check_transaction(self, self.context(), self.sign(key, body, 0), self)  # type: ignore[arg-type]
        return caught.value

    def run_phase(self, *devices: KeyPair, liar: KeyPair | None = None, miner: KeyPair = MINERS[0]) -> None:
        """One phase as it should go: updates, openings, honest reports."""
        for device in devices:
            self.send_update(device, spoil=device is liar)
        self.mine()
        for device in devices:
            self.open(device)
        self.mine()
        for device in devices:
            self.report(miner, device, self.verify(miner, device))
        self.mine()


def refused(chain: Chain) -> dict[AccountId, str]:
    return {
        AccountId(event.device): event.reason
        for execution in chain.executions
        for event in execution.events
        if isinstance(event, UpdateRefused)
    }


def test_an_audited_round_settles_and_pays_devices_and_verifiers() -> None:
    """Two phases, each opened and repeated; what is free costs the senders nothing, and the producer is paid."""
    chain = AuditedChain(MINERS[0])
    before = chain.balance(MINERS[0])
    chain.run_phase(HONEST, LIAR)
    assert chain.state_of_round.task.phase == 1
    chain.run_phase(HONEST, LIAR)
    [record] = get_history(chain, chain.plan)
    assert {report.device for report in record.devices} == {HONEST.account, LIAR.account}
    rewards = {report.miner: report.reward for report in record.miners}
    assert rewards.keys() == {MINERS[0].account, PRODUCER.account}, "who verified, and who included"
    assert chain.balance(MINERS[0]) == before + rewards[MINERS[0].account]
    kinds = [type(event) for execution in chain.executions for event in execution.events]
    assert kinds.count(AuditOpened) == kinds.count(AuditReported) == 4
    assert not refused(chain)
    chain.audit()


@pytest.mark.parametrize("phase", [0, 1])
def test_training_on_other_rows_than_committed_is_refused_and_not_paid(phase: int) -> None:
    """The verifier's report says what is wrong; the honest device goes on alone."""
    chain = AuditedChain(MINERS[0])
    chain.run_phase(HONEST, LIAR, liar=None if phase else LIAR)
    if phase:
        chain.run_phase(HONEST, LIAR, liar=LIAR)
    reasons = refused(chain)
    assert list(reasons) == [LIAR.account]
    assert reasons[LIAR.account].startswith("audit: segment ")
    if not phase:
        chain.run_phase(HONEST)
    [record] = get_history(chain, chain.plan)
    assert [report.device for report in record.devices] == [HONEST.account]
    assert [refusal.device for refusal in record.refused] == [LIAR.account]


def test_who_opens_nothing_is_refused_when_time_is_up() -> None:
    """The others wait for the deadline, no longer."""
    chain = AuditedChain(MINERS[0])
    chain.send_update(HONEST)
    chain.send_update(LIAR)
    chain.mine()
    chain.open(HONEST)
    chain.mine()
    chain.report(MINERS[0], HONEST, "")
    chain.mine(BLOCKS)
    assert refused(chain) == {LIAR.account: f"audit: {NOT_OPENED}"}
    assert chain.state_of_round.task.phase == 1


def test_what_nobody_verifies_in_time_is_refused() -> None:
    """Nothing unverified is aggregated; both lost, the attempt is tried again."""
    chain = AuditedChain(MINERS[0])
    chain.send_update(HONEST)
    chain.send_update(LIAR)
    chain.mine()
    chain.open(HONEST)
    chain.open(LIAR)
    chain.mine(BLOCKS + 1)
    assert set(refused(chain).values()) == {f"audit: {NOT_VERIFIED}"}
    assert (chain.state_of_round.task.attempt, chain.state_of_round.task.phase) == (1, 0)


def test_only_what_the_beacon_picks_is_audited() -> None:
    """With nobody picked the step ends in the next block, without a word."""
    chain = AuditedChain(MINERS[0], percent=1)
    for _ in range(3):
        chain.send_update(HONEST)
        chain.send_update(LIAR)
        chain.mine()
        if get_audited(chain, chain.state_of_round, chain.beacon):
            return  # picked after all, one time in fifty: the other tests say what follows
        chain.mine()
        if get_history(chain, chain.plan):
            break
    assert len(get_history(chain, chain.plan)) == 1


def test_what_is_asked_was_not_known_when_the_work_was_committed() -> None:
    """It hangs on the beacon of the block that closed the reveals, and on nothing before: another asks otherwise."""
    chain = AuditedChain(MINERS[0])
    chain.send_update(HONEST)
    chain.send_update(LIAR)
    chain.mine()
    state, other = chain.state_of_round, content_id(b"another draw")
    update = get_audited(chain, state, chain.beacon)[chain.position(HONEST)]
    draws = {get_asked(chain, state, update, content_id(bytes([number]))) for number in range(20)}
    assert len(draws) > 1
    asked = get_asked(chain, state, update, chain.beacon)
    chain.mine()
    assert get_asked(chain, chain.state_of_round, update, other) == asked, "from the next block on it is written down"


def test_silent_verifiers_are_stood_in_for() -> None:
    """Every ``miner_fallback_blocks`` one more of those for whom it is sealed may report."""
    chain = AuditedChain(*MINERS)
    chain.send_update(HONEST)
    chain.send_update(LIAR)
    chain.mine()
    chain.open(HONEST)
    chain.open(LIAR)
    chain.mine()
    state, beacon = chain.state_of_round, chain.beacon
    first, second, third = get_readers(chain, state, HONEST.account, beacon)
    height = state.stepped
    eligible = [
        get_verifiers(chain, chain.genesis.rules_at(1), state, HONEST.account, beacon, height + blocks)
        for blocks in (1, 3, 5)
    ]
    assert eligible == [(first,), (first, second), (first, second, third)]
    late = next(miner for miner in MINERS if miner.account == second)
    body = ReportAudit(chain.plan, state.task.digest, HONEST.account, True, "")
    assert chain.refusal(late, body).rule == "plan.report_audit.miner"
    chain.mine()
    chain.send(late, body, 0)
    chain.mine()
    assert not chain.rejected


def test_each_rule_of_audits_refuses_by_name() -> None:
    """Who may open what when, and who may report."""
    chain = AuditedChain(MINERS[0])
    task = Hash(chain.state_of_round.task.digest)
    nothing = PayloadRef(content_id(b""), 0)
    opening = OpenAudit(chain.plan, task, nothing)
    assert chain.refusal(HONEST, opening).rule == "plan.open_audit.step", "the reveal step is not over"
    assert chain.refusal(HONEST, replace(opening, plan=task)).rule == "plan.open_audit.plan"
    chain.send_update(HONEST)
    chain.send_update(LIAR)
    chain.mine()
    assert chain.refusal(DEVICES[5], opening).rule == "plan.open_audit.device"
    assert chain.refusal(HONEST, replace(opening, task=Hash(bytes(32)))).rule == "plan.open_audit.step"
    unsealed = replace(opening, payload=chain.keep(b"in the clear"))
    assert chain.refusal(HONEST, unsealed).rule == "plan.open_audit.payload"
    word = ReportAudit(chain.plan, task, HONEST.account, True, "")
    assert chain.refusal(MINERS[0], word).rule == "plan.report_audit.closed"
    chain.open(HONEST)
    chain.mine()
    assert chain.refusal(HONEST, unsealed).rule == "plan.open_audit.known"
    assert chain.refusal(MINERS[1], word).rule == "plan.report_audit.miner"
    assert chain.refusal(MINERS[0], replace(word, reason="but")).rule == "plan.report_audit.reason"
    assert chain.refusal(MINERS[0], replace(word, approves=False)).rule == "plan.report_audit.reason"
    assert chain.refusal(MINERS[0], replace(word, device=MINERS[0].account)).rule == "plan.report_audit.device"
    chain.report(MINERS[0], HONEST, "")
    chain.mine()
    assert chain.refusal(MINERS[0], word).rule == "plan.report_audit.known"
    assert {ref.id for ref in needed_payloads(chain, chain.plan)} >= {chain.opened(HONEST).id}


def test_audits_need_rules_of_version_3() -> None:
    """Before, the kinds do not exist."""
    chain = AuditedChain(MINERS[0])
    chain.change_rules(version=2)
    body = OpenAudit(chain.plan, chain.state_of_round.task.digest, PayloadRef(content_id(b""), 0))
    assert chain.refusal(HONEST, body).rule == "transaction.kind"


@given(st.integers(1, 15), st.lists(st.booleans(), max_size=15))
def test_more_than_half_decide_and_nothing_changes_a_decision(verifiers: int, words: list[bool]) -> None:
    """Once enough have approved, or so many refused that not enough can approve."""
    policy = Audit(percent=100, openings=1, verifiers=verifiers, blocks=9, segment_clip=Number.of(1))
    reports: list[AuditReport] = []
    decided = None
    for number, word in enumerate(words[:verifiers]):
        reports.append(AuditReport(AccountId(content_id(bytes([number]))), word, "" if word else "why"))
        now = decide(policy, UpdateAudit(bytes(32), PayloadRef(bytes(32), 0), tuple(reports)))
        assert decided is None or now is decided
        decided = now
    approving = sum(word for word in words[:verifiers])
    assert (decided is True) is (2 * approving > verifiers)
    if len(reports) == verifiers:
        assert decided is not None


@given(st.binary(max_size=100), st.integers(1, 4))
def test_only_those_it_is_sealed_for_read_it(data: bytes, readers: int) -> None:
    """Others, and whoever gets it spoilt, read nothing."""
    keys = DEVICES[:readers]
    sealed = seal(data, [key.account for key in keys], bytes(32))
    assert [unseal(sealed, key) for key in keys] == [data] * readers
    assert unseal(sealed, MINERS[0]) is None
    assert unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), keys[0]) is None
    assert unseal(data, keys[0]) is None
