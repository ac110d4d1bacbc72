"""Plans whose devices commit before they reveal: what is revealed was made before, and a copy earns nothing."""

from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import CommitUpdate
from chain.update import AttestedUpdate, LocalUpdate
from consensus.committing import get_commitment_digest
from consensus.errors import Invalid
from consensus.events import LedgerEvent, RoundRetried, UpdateCommitted, UpdateRefused
from consensus.fees import get_required_escrow
from consensus.queries import get_history
from consensus.records import RevealedUpdate, RoundState
from consensus.rules.plans import check_document
from consensus.state import get_revealed, get_round, get_seat
from consensus.transition import check_local_update, check_transaction
from fl.plan.schema import Commit, Dane, FedAvg, FedSvrg, Plan, Policy, Timing, encode_plan
from tests.consensus.harness import BLOCK_MS, DEVICES, Chain, make_plan, make_rules

E = TypeVar("E", bound=LedgerEvent)
ALICE, BOB, CAROL = DEVICES[:3]
ONE, SMALL = Number.of(1), Number.of("0.1")


def committing_plan(*others: Policy, blocks: int = 3, **changes: object) -> Plan:
    """Three devices, all of them asked."""
    options = {"devices": (2, 3, 3), "over_select": 100, "rounds": 2} | changes
    plan = make_plan(policies=(*others, Commit(blocks)), **options)  # type: ignore[arg-type]
    return replace(plan, version=2)


class CommittingChain(Chain):
    """A chain with a running plan of three devices."""

    def __init__(self, plan: Plan | None = None, *, is_committing: bool = True) -> None:
        super().__init__(make_rules(version=3, policies=("bounds", "timing", "commit")))
        document = committing_plan() if plan is None else plan
        if not is_committing:
            policies = tuple(each for each in document.verification.policies if not isinstance(each, Commit))
            document = replace(document, verification=replace(document.verification, policies=policies))
        self.plan = self.start(document, DEVICES[:3])

    @property
    def round(self) -> RoundState:
        state = get_round(self, self.plan)
        assert state is not None
        return state

    def commitment(self, update: LocalUpdate) -> CommitUpdate:
        task = self.round.task
        digest = get_commitment_digest(update)
        return CommitUpdate(self.plan, task.round, task.attempt, task.phase, Hash(task.digest), digest)

    def commit(self, *updates: LocalUpdate) -> None:
        """Send the commitments to these updates, in this order."""
        keys = {key.account: key for key in DEVICES}
        for update in updates:
            self.send(keys[update.release.device], self.commitment(update))

    def show(self, *updates: LocalUpdate) -> None:
        """Send these updates, in this order."""
        self.updates += [AttestedUpdate(update, ()) for update in updates]

    def honest(self, *devices: KeyPair) -> list[LocalUpdate]:
        return [self.release(self.plan, device) for device in devices]

    def pass_phase(self, *updates: LocalUpdate) -> None:
        """Commit to these in a block, reveal them in the next."""
        self.commit(*updates)
        self.mine()
        assert self.rejected == {}
        while self.task(self.plan).step == "commit":
            self.mine()
        self.show(*updates)
        self.mine()
        assert self.rejected == {}

    def refusal(self, key: KeyPair, body: CommitUpdate) -> Invalid:
        with pytest.raises(Invalid) as caught:
            check_transaction(self, self.context(), self.sign(key, body), self)
        return caught.value

    def refusal_of(self, update: LocalUpdate) -> Invalid:
        """What both doors of updates say: the one for pools and the one for blocks."""
        with pytest.raises(Invalid) as caught:
            check_local_update(self, self.context(), update, self.store[update.release.payload.id])
        self.show(update)
        self.mine()
        assert str(self.rejected[update.id]) == str(caught.value)
        return caught.value

    def told(self, kind: type[E]) -> list[E]:
        return [event for execution in self.executions for event in execution.events if isinstance(event, kind)]

    def refused(self) -> dict[KeyPair, str]:
        keys = {key.account: key for key in DEVICES}
        return {keys[event.device]: event.reason for event in self.told(UpdateRefused)}

    def revealed(self, device: KeyPair) -> RevealedUpdate:
        task = Hash(self.round.task.digest)
        position = get_seat(self, self.plan, device.account, task)
        assert position is not None
        update = get_revealed(self, self.plan, position, task)
        assert update is not None
        return update


# --- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm", [FedSvrg(Number.of("0.5"), True, True), FedAvg(SMALL, 1, 4), Dane(SMALL, ONE, SMALL, 1)]
)
def test_a_plan_of_any_algorithm_commits_and_reveals_to_its_end(algorithm: FedSvrg | FedAvg | Dane) -> None:
    """Every phase begins with the step; all are paid; the escrow covers it to the coin; nothing stays behind."""
    chain = CommittingChain(committing_plan(algorithm=algorithm))
    phases = 0
    while chain.entry(chain.plan).status == "running":
        assert chain.task(chain.plan).step == "commit"
        chain.pass_phase(*chain.honest(ALICE, BOB, CAROL))
        phases += 1
        assert chain.audit().is_conserved
    assert phases == 2 * (1 if isinstance(algorithm, FedAvg) else 2)
    assert chain.entry(chain.plan).status == "finished"
    assert [len(record.devices) for record in get_history(chain, chain.plan)] == [3, 3]
    assert len(chain.told(UpdateCommitted)) == 3 * phases
    left = {key.split(b"/")[1] for key in chain.state if chain.plan in key and key.startswith(b"s/")}
    assert left == {b"plan", b"document", b"model", b"enrolment", b"enrolled", b"history"}


def test_only_what_was_committed_to_may_be_revealed() -> None:
    """Not another update of the same device, nor one with a word changed, nor one of a device that did not commit."""
    chain = CommittingChain()
    first, second = chain.honest(ALICE, BOB)
    chain.commit(first, second)
    chain.mine(3)
    assert chain.task(chain.plan).step == "reveal"
    other = chain.release(chain.plan, ALICE, chain.train(chain.plan, BOB))
    slower = chain.release(chain.plan, ALICE, change=lambda release: replace(release, computation_us=2_000_000))
    for update in (other, slower):
        assert chain.refusal_of(update).rule == "update.commitment"
    missed = chain.release(chain.plan, CAROL)
    assert "committed to no update" in str(chain.refusal_of(missed))
    assert chain.round.revealed == 0


def test_another_signature_of_the_same_update_is_another_update() -> None:
    """The signature is what hides a commitment, so it is part of it: a device that signs anew has not committed."""
    chain = CommittingChain()
    [update] = chain.honest(ALICE)
    again = replace(update, signature=bytes(64))
    assert get_commitment_digest(update) != get_commitment_digest(again)
    assert get_commitment_digest(update) == get_commitment_digest(chain.honest(ALICE)[0]), "honest ones are the same"


def test_no_update_comes_before_the_commitments_are_closed() -> None:
    """Whoever is early shows what it has to those who may still commit; the block does not take it, but may later."""
    chain = CommittingChain()
    updates = chain.honest(ALICE, BOB, CAROL)
    chain.commit(*updates[:2])
    chain.mine()
    verdict = chain.refusal_of(updates[0])
    assert (verdict.rule, verdict.later) == ("update.step", True)
    assert "has not begun" in str(verdict)


def test_a_commitment_is_refused_by_name() -> None:
    """Twice, of a stranger, for another task, after the step; one for a task to come may come again."""
    chain = CommittingChain(committing_plan(devices=(2, 2, 3)))
    asked = [key for key in DEVICES[:3] if key.account in chain.task(chain.plan).selected]
    [left_out] = [key for key in DEVICES[:3] if key not in asked]
    updates = chain.honest(*asked)
    body = chain.commitment(updates[0])
    assert chain.refusal(left_out, body).rule == "update.commit.device"
    assert chain.refusal(asked[0], replace(body, plan=content_id(b"none"))).rule == "update.commit.plan"
    gone = chain.refusal(asked[0], replace(body, task=content_id(b"another fork's")))
    assert (gone.rule, gone.later) == ("update.commit.step", False)
    for later in (replace(body, round=1), replace(body, attempt=1), replace(body, phase=1)):
        to_come = chain.refusal(asked[0], replace(later, task=content_id(b"to come")))
        assert (to_come.rule, to_come.later) == ("update.commit.step", True)
    chain.commit(updates[0])
    chain.mine()
    assert chain.refusal(asked[0], body).rule == "update.commit.known"
    chain.commit(updates[1])
    chain.mine()
    assert chain.task(chain.plan).step == "reveal"
    late = chain.refusal(asked[0], body)
    assert (late.rule, late.later) == ("update.commit.step", False)
    chain.change_rules(version=2)
    assert chain.refusal(asked[0], body).rule == "transaction.kind"


def test_a_late_commitment_is_no_commitment() -> None:
    """A device that waits for others' reveals before it commits is out of the phase."""
    chain = CommittingChain()
    updates = chain.honest(ALICE, BOB)
    chain.commit(*updates)
    chain.mine(3)
    assert chain.task(chain.plan).step == "reveal"
    chain.show(updates[0])
    chain.mine()
    copied = chain.release(chain.plan, CAROL, chain.store[updates[0].release.payload.id])
    chain.commit(copied)
    chain.mine()
    assert [verdict.rule for verdict in chain.rejected.values()] == ["update.commit.step"]
    assert chain.refusal_of(copied).rule == "update.commitment"


def test_the_step_closes_with_the_last_commitment_or_at_its_deadline() -> None:
    """All selected, not the goal; and a reveal step waits for nobody who has not committed."""
    chain = CommittingChain()
    task = chain.task(chain.plan)
    assert (task.step, task.deadline, task.goal) == ("commit", chain.height + 3, 3)
    updates = chain.honest(ALICE, BOB)
    chain.commit(*updates)
    chain.mine(2)
    assert chain.task(chain.plan).committed == tuple(
        account for account in task.selected if account in (ALICE.account, BOB.account)
    )
    assert chain.task(chain.plan).step == "commit", "one device may come yet"
    chain.mine()
    assert chain.task(chain.plan).step == "reveal"
    chain.show(*updates)
    chain.mine()
    assert chain.task(chain.plan).task.phase == 1, "two of three had committed, and both were heard"


def test_too_few_commitments_end_the_attempt() -> None:
    """Like too few reveals: the next attempt draws again, and when none is left the plan is cancelled and refunded."""
    chain = CommittingChain()
    first = chain.round.task.digest
    chain.commit(*chain.honest(ALICE))
    chain.mine(3)
    [retried] = chain.told(RoundRetried)
    assert retried.reason == "1 devices committed, 2 needed"
    assert (chain.round.task.attempt, chain.task(chain.plan).step) == (1, "commit")
    assert chain.round.task.digest != first
    assert chain.task(chain.plan).committed == ()
    chain.mine(3)
    assert chain.entry(chain.plan).status == "cancelled"
    assert "0 devices committed, 2 needed" in chain.entry(chain.plan).reason
    assert chain.audit().is_conserved


def test_the_plan_pays_for_commitments() -> None:
    """A device needs no coins: the fee is that of a join, out of the escrow, and the worst case is escrowed."""
    rules = make_rules(version=3, policies=("bounds", "commit"))
    with_step, without = (
        get_required_escrow(plan, rules)
        for plan in (committing_plan(), replace(make_plan(devices=(2, 3, 3)), version=2))
    )
    assert with_step is not None
    assert without is not None
    commitments = 2 * 2 * 2 * 3  # rounds, attempts, phases, devices
    assert with_step - without == commitments * 512
    chain = CommittingChain()
    assert chain.balance(ALICE) == 0
    before = chain.entry(chain.plan).funds.fees
    chain.commit(*chain.honest(ALICE))
    chain.mine()
    assert before - chain.entry(chain.plan).funds.fees == 512
    assert chain.audit().is_conserved
    paid = chain.commitment(chain.honest(BOB)[0])
    with pytest.raises(Invalid, match="its fee must be 0"):
        check_transaction(chain, chain.context(), chain.sign(BOB, paid, fee=1), chain)


def test_time_that_passes_after_the_commitment_serves_nobody() -> None:
    """What the chain saw pass for an update is what had passed when its device committed."""
    plan = committing_plan(Timing(10**6))
    chain = CommittingChain(plan)
    claimed = BLOCK_MS * 1000 + 10_000_000  # a block's time, and what clocks are allowed
    [update] = [chain.release(chain.plan, ALICE, change=lambda release: replace(release, computation_us=claimed + 1))]
    chain.commit(update, *chain.honest(BOB))
    chain.mine(3)
    verdict = chain.refusal_of(update)
    assert (verdict.rule, verdict.later) == ("update.policy", False)
    [honest] = chain.honest(BOB)
    chain.show(honest)
    chain.mine()
    assert chain.revealed(BOB).elapsed_ms == BLOCK_MS
    assert chain.revealed(BOB).step_blocks == 1


def test_a_block_with_commitments_can_be_taken_back() -> None:
    """The undo leaves no trace of them, and the same block can come again."""
    chain = CommittingChain()
    before = dict(chain.state)
    chain.commit(*chain.honest(ALICE, BOB, CAROL))
    chain.mine()
    after = dict(chain.state)
    chain.undo()
    assert chain.state == before
    chain.commit(*chain.honest(ALICE, BOB, CAROL))
    chain.mine()
    assert chain.state == after


# --- copies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(ALICE, BOB), (BOB, ALICE)])
def test_the_earliest_commitment_stands_and_its_copies_are_refused(first: KeyPair, second: KeyPair) -> None:
    """In the order of commitments, whoever was drawn or reveals first; a changed loss makes no other vector of it."""
    chain = CommittingChain()
    payload = chain.train(chain.plan, CAROL)
    loss = (int.from_bytes(payload[24:32], "little") + 1).to_bytes(8, "little")
    mine = chain.release(chain.plan, first, payload)
    copy = chain.release(chain.plan, second, payload[:24] + loss + payload[32:])
    other = chain.release(chain.plan, CAROL, chain.train(chain.plan, ALICE))
    chain.commit(mine, other, copy)
    chain.mine()
    chain.show(copy, other, mine)
    chain.mine()
    assert chain.rejected == {}
    assert chain.refused() == {second: f"commit: a copy of what {first.account.hex()[:16]} committed to first"}
    assert set(chain.task(chain.plan).selected) == {first.account, CAROL.account}


def test_without_the_policy_a_copy_is_paid() -> None:
    """What the step is for: the copier does nothing, and has as much as the one it copies."""
    chain = CommittingChain(is_committing=False)
    while chain.entry(chain.plan).status == "running":
        stolen = chain.train(chain.plan, ALICE)
        chain.show(*chain.honest(ALICE, CAROL), chain.release(chain.plan, BOB, stolen))
        chain.mine()
        assert chain.rejected == {}
    assert chain.entry(chain.plan).status == "finished"
    assert chain.balance(BOB) == chain.balance(ALICE) > 0


def test_what_was_revealed_in_the_round_before_is_refused() -> None:
    """One's own, or another's: no work on this model. The round before that is forgotten, as the page says."""
    chain = CommittingChain(committing_plan(rounds=3))
    old = [chain.train(chain.plan, ALICE)]
    chain.pass_phase(*chain.honest(ALICE, BOB, CAROL))
    chain.pass_phase(*chain.honest(ALICE, BOB, CAROL))
    assert chain.round.task.round == 1
    own, others = chain.release(chain.plan, ALICE, old[0]), chain.release(chain.plan, BOB, old[0])
    chain.pass_phase(own, others, *chain.honest(CAROL))
    told = f"commit: recycled: what {ALICE.account.hex()[:16]} sent in the round before"
    assert chain.refused() == {ALICE: told, BOB: told}
    assert chain.told(RoundRetried)[-1].reason.startswith("1 of 3 updates were accepted")
    chain.pass_phase(*chain.honest(ALICE, BOB, CAROL))
    assert chain.round.task.phase == 1, "in the next attempt they work, and are taken"
    chain.pass_phase(*chain.honest(ALICE, BOB, CAROL))
    assert chain.round.task.round == 2
    chain.pass_phase(chain.release(chain.plan, ALICE, old[0]), *chain.honest(BOB, CAROL))
    assert chain.round.task.phase == 1


def test_a_gradient_that_a_failed_attempt_has_shown_stays_its_devices() -> None:
    """The same model gives the same gradient: its device sends it again, and nobody takes it by committing earlier."""
    chain = CommittingChain()
    shown = chain.honest(ALICE)[0]
    chain.commit(shown, *chain.honest(BOB))
    chain.mine(3)
    chain.show(shown)
    chain.mine(3)
    assert chain.round.task.attempt == 1, "Bob did not reveal"
    stolen = chain.store[shown.release.payload.id]
    again = chain.honest(ALICE, CAROL)
    assert again[0].release.payload.id == shown.release.payload.id
    chain.pass_phase(chain.release(chain.plan, BOB, stolen), *again)
    assert chain.refused() == {BOB: f"commit: a copy of what {ALICE.account.hex()[:16]} committed to first"}
    assert set(chain.task(chain.plan).selected) == {ALICE.account, CAROL.account}


def test_a_near_copy_passes_where_its_maker_knew_the_work_before() -> None:
    """One unit more is another vector: who shares an update with another before both commit has both paid."""
    chain = CommittingChain()
    while chain.entry(chain.plan).status == "running":
        payload = chain.train(chain.plan, ALICE)
        first = np.frombuffer(payload[:8], "<i8") + 1
        near = chain.release(chain.plan, BOB, first.astype("<i8").tobytes() + payload[8:])
        chain.pass_phase(near, *chain.honest(ALICE, CAROL))
    assert chain.refused() == {}
    assert chain.balance(BOB) == chain.balance(ALICE) > 0


STEPS = st.lists(st.tuples(st.sampled_from((0, 1, 2)), st.sampled_from((0, 1, 2)), st.booleans()), max_size=12)
"""Each: a device, whose work it brings, and whether a block comes after."""


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_whoever_commits_and_reveals_whatever_each_work_is_paid_once(steps: list[tuple[int, int, bool]]) -> None:
    """Any order of commitments and reveals, copies among them: coins stay, and of one work its first committer's."""
    chain = CommittingChain(committing_plan(algorithm=FedAvg(SMALL, 1, 4), rounds=1, retries=0))
    devices, payloads = DEVICES[:3], [chain.train(chain.plan, key) for key in DEVICES[:3]]
    first: dict[KeyPair, int] = {}
    for device, work, is_last in steps:
        if chain.entry(chain.plan).status != "running":
            break
        update = chain.release(chain.plan, devices[device], payloads[work])
        if chain.task(chain.plan).step == "commit":
            if devices[device] not in first:
                chain.commit(update)
                first[devices[device]] = work
        else:
            chain.show(update)
        if is_last:
            chain.mine()
            assert chain.audit().is_conserved
    while chain.entry(chain.plan).status == "running":
        chain.mine()
    assert chain.audit().is_conserved
    owners: dict[int, KeyPair] = {}
    order = [event.device for event in chain.told(UpdateCommitted)]
    keys = {key.account: key for key in devices}
    revealed = {device: first[device] for device in first}
    for account in order:
        owners.setdefault(revealed[keys[account]], keys[account])
    paid = [keys[each.device] for record in get_history(chain, chain.plan) for each in record.devices]
    works = [first[key] for key in paid]
    assert len(works) == len(set(works)), "one work, paid twice"
    refused = chain.refused()
    for key in paid:
        assert key in first
        assert key not in refused
    for key, reason in refused.items():
        assert reason.startswith("commit: a copy of")
        assert owners[first[key]] is not key


def test_a_step_shorter_than_the_depth_that_devices_wait_for_is_no_plan() -> None:
    """Else nobody could commit; and a plan of format 1 has no such step."""
    rules = make_rules(version=3, policies=("bounds", "commit"))
    deep = committing_plan(blocks=2)
    deep = replace(deep, deadlines=replace(deep.deadlines, confirmations=2))
    with pytest.raises(Invalid, match=r"verification\.commit\.blocks"):
        check_document(encode_plan(deep), rules)
    old = replace(committing_plan(), version=1)
    with pytest.raises(Invalid, match="version = 2"):
        check_document(encode_plan(old), rules)
