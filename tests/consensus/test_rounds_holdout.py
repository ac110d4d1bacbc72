"""Rounds of plans with a holdout set: who opens which chunk when, and what becomes of a round that it refuses."""

import numpy as np
import pytest
from msgspec.structs import replace

from chain.ids import ZERO_HASH, Hash
from chain.number import Number
from chain.payload import PayloadRef
from chain.transaction import OpenHoldout
from chain.update import AttestedUpdate
from consensus.errors import Invalid, MissingPayload
from consensus.events import (
    RoundRetried,
    TaskOpened,
    UpdateRefused,
)
from consensus.queries import (
    expected_opening,
    get_history,
    get_plan_document,
)
from consensus.transition import check_local_update, check_transaction
from fl.dataset import DenseData
from fl.holdout import HoldoutSet, chunk_of, commit_holdout
from fl.payload import write_payload
from fl.plan.dimensions import holdout_policy
from fl.plan.schema import FedAvg, Holdout
from tests.consensus.endings import kinds
from tests.consensus.harness import DEVICES, OTHER, OWNER, Chain, make_data, make_plan

FOUR = DEVICES[:4]


def with_holdout(rows: int = 30, tolerance: str = "0.5") -> tuple[Chain, Hash, HoldoutSet]:
    """A running FedAvg plan of three devices with a holdout set of three chunks."""
    random = np.random.default_rng(7)
    x = random.uniform(-1, 1, (rows, 2))
    holdout = commit_holdout(DenseData(x, (x[:, 0] > 0).astype(np.float64)), 3, b"owner's secret")
    policy = Holdout(holdout.root, 3, rows // 3, Number.of(tolerance))
    chain = Chain()
    plan = make_plan(algorithm=FedAvg(Number.of("0.1"), 1, 5), devices=(2, 3, 3), rounds=2, policies=[policy])
    return chain, chain.start(plan, FOUR[:3]), holdout


def opening(chain: Chain, plan: Hash, holdout: HoldoutSet, chunk: int | None = None, **changes: object) -> OpenHoldout:
    """The transaction body that opens the chunk that is asked for, or another."""
    asked = expected_opening(chain, plan, chain.context().beacon) if chunk is None else chunk
    assert asked is not None
    payload = chain.keep(holdout.payloads[asked])
    number = chain.task(plan).task.round
    body = OpenHoldout(plan, number, asked, holdout.salts[asked], holdout.proofs[asked], payload)
    return replace(body, **changes)


def test_an_opened_chunk_judges_the_updates():
    """After the reveal step the owner opens the chunk the beacon names; a harmful update is refused and unpaid."""
    chain, plan, holdout = with_holdout()
    chain.reveal(plan, *FOUR[:2])
    harm = write_payload(np.array([-(9 << 24), 0, 0], dtype=np.int64), 1)
    chain.updates.append(AttestedUpdate(chain.release(plan, FOUR[2], harm), ()))
    assert expected_opening(chain, plan, chain.context().beacon) is None
    chain.mine()
    assert chain.task(plan).step == "open"
    chain.send(OWNER, opening(chain, plan, holdout))
    execution = chain.mine()
    (refused,) = [event for event in execution.events if isinstance(event, UpdateRefused)]
    assert refused.device == FOUR[2].account
    assert "holdout" in refused.reason
    (record,) = get_history(chain, plan)
    assert [(refusal.device, refusal.phase) for refusal in record.refused] == [(FOUR[2].account, 0)]
    assert {report.device for report in record.devices} == {device.account for device in FOUR[:2]}
    assert chain.balance(FOUR[2]) == 0
    assert chain.task(plan).task.round == 1


def test_nobody_knows_the_chunk_before_the_reveal_step_has_closed():
    """The closing block's own beacon names it, not its parent's, which the last devices saw; and it stays named."""
    chain, plan, holdout = with_holdout()
    for nonce in range(9):  # three chunks: some block's beacon and its parent's name different ones
        chain.reveal(plan, *FOUR[:3])
        chain.mine()
        document = get_plan_document(chain, plan)
        assert document is not None
        policy, number = holdout_policy(document), chain.task(plan).task.round
        assert policy is not None
        beacon, known = chain.context().beacon, chain.contexts[-1].beacon
        chunk = expected_opening(chain, plan, beacon)
        assert chunk == chunk_of(policy, number, beacon)
        wait = nonce % 2
        chain.mine(wait)
        assert expected_opening(chain, plan, chain.context().beacon) == chunk
        chain.send(OWNER, opening(chain, plan, holdout))
        chain.mine()
        assert chain.rejected == {}
        if chunk != chunk_of(policy, number, known):
            return
        chain.mine(2 - wait)
        document = replace(document, nonce=nonce + 1)
        plan = chain.start(document, FOUR[:3])
    pytest.fail("every beacon named the chunk its parent named")


def test_no_update_comes_in_once_the_chunk_can_be_known():
    """A device that waits for the rows it is judged by, and is selected, is refused all the same."""
    chain, plan, _ = with_holdout()
    chain.reveal(plan, *FOUR[:2])
    while chain.task(plan).step == "reveal":
        assert chain.height < 40, "the reveal step never closes"
        chain.mine()
    assert expected_opening(chain, plan, chain.context().beacon) is not None
    update = chain.release(plan, FOUR[2])
    with pytest.raises(Invalid) as caught:
        check_local_update(chain, chain.context(), update, chain.store[update.release.payload.id])
    assert caught.value.rule == "update.step"
    chain.updates.append(AttestedUpdate(update, ()))
    chain.mine()
    assert chain.rejected[update.id].rule == "update.step"


def test_an_owner_who_does_not_open_settles_nothing_but_its_own_doubt():
    """At the deadline of the open step the phase settles in full: withholding the chunk can't withhold pay."""
    chain, plan, _ = with_holdout()
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    assert (chain.task(plan).step, chain.task(plan).deadline) == ("open", chain.height + 2)
    chain.mine(2)
    (record,) = get_history(chain, plan)
    assert len(record.devices) == 3


def test_too_many_refusals_retry_the_round():
    """When the chunk leaves too few updates the attempt has failed; nobody is paid for it."""
    chain, plan, holdout = with_holdout()
    harm = write_payload(np.array([-(9 << 24), 0, 0], dtype=np.int64), 1)
    for device in FOUR[:3]:
        chain.updates.append(AttestedUpdate(chain.release(plan, device, harm), ()))
    chain.mine()
    chain.send(OWNER, opening(chain, plan, holdout))
    execution = chain.mine()
    assert kinds(execution.events)[-2:] == [RoundRetried, TaskOpened]
    assert get_history(chain, plan) == ()
    assert all(chain.balance(device) == 0 for device in FOUR[:3])


def test_fewer_accepted_updates_than_the_plan_asks_for_retry_the_round():
    """Refused updates do not count: one good update of three is one, where two are needed."""
    chain, plan, holdout = with_holdout()
    harm = write_payload(np.array([-(9 << 24), 0, 0], dtype=np.int64), 1)
    chain.reveal(plan, FOUR[0])
    for device in FOUR[1:3]:
        chain.updates.append(AttestedUpdate(chain.release(plan, device, harm), ()))
    chain.mine()
    chain.send(OWNER, opening(chain, plan, holdout))
    execution = chain.mine()
    assert kinds(execution.events)[-2:] == [RoundRetried, TaskOpened]
    assert get_history(chain, plan) == ()
    assert chain.balance(FOUR[0]) == 0


def test_wrong_openings_are_refused_by_name():
    """Owner, step, chunk, proof and payload are each checked."""
    chain, plan, holdout = with_holdout()
    early = chain.sign(OWNER, opening(chain, plan, holdout, 0))
    assert verdict(chain, early).rule == "plan.open_holdout.step"
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    asked = expected_opening(chain, plan, chain.context().beacon)
    assert asked is not None
    other = (asked + 1) % 3
    too_large = PayloadRef(ZERO_HASH, chain.context().rules.max_payload_bytes + 1)
    cases = [
        (chain.sign(OTHER, opening(chain, plan, holdout)), "plan.open_holdout.owner"),
        (chain.sign(OWNER, opening(chain, plan, holdout, round=1)), "plan.open_holdout.step"),
        (chain.sign(OWNER, opening(chain, plan, holdout, other)), "plan.open_holdout.chunk"),
        (chain.sign(OWNER, opening(chain, plan, holdout, salt=bytes(32))), "plan.open_holdout.proof"),
        (chain.sign(OWNER, opening(chain, plan, holdout, payload=chain.keep(b"rows"))), "plan.open_holdout.proof"),
        (chain.sign(OWNER, opening(chain, plan, holdout, payload=too_large)), "plan.open_holdout.payload"),
    ]
    assert [verdict(chain, signed).rule for signed, _ in cases] == [rule for _, rule in cases]
    chain.send(OWNER, opening(chain, plan, holdout))
    chain.send(OWNER, opening(chain, plan, holdout))
    second = chain.transactions[1]
    chain.mine()
    assert chain.rejected[second.id].rule == "plan.open_holdout.known"


def test_a_plan_without_a_task_opens_nothing():
    """While devices still join there is no step to open a chunk in: a verdict, no fault of this machine."""
    chain, running, holdout = with_holdout()
    document = get_plan_document(chain, running)
    assert document is not None
    plan = chain.submit(replace(document, nonce=1))
    chain.mine()
    body = replace(opening(chain, running, holdout, 0), plan=plan)
    assert verdict(chain, chain.sign(OWNER, body)).rule == "plan.open_holdout.closed"


def test_rows_that_are_none_of_the_plans_are_refused():
    """A commitment to rubbish is found out when it is opened."""
    chain, plan, _ = with_holdout()
    rubbish = commit_holdout(make_data(FOUR[0], 3), 3, b"secret")
    document = get_plan_document(chain, plan)
    assert document is not None
    bounds, policy = document.verification.policies
    spoilt = replace(policy, root=rubbish.root)  # chunks of one row, where the plan says ten
    broken = replace(document, nonce=1, verification=replace(document.verification, policies=(bounds, spoilt)))
    plan = chain.start(broken, FOUR[:3])
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    assert verdict(chain, chain.sign(OWNER, opening(chain, plan, rubbish))).rule == "plan.open_holdout.rows"


def verdict(chain: Chain, signed: object) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_transaction(chain, chain.context(), signed, chain)  # type: ignore[arg-type]
    return caught.value


def test_a_missing_chunk_is_asked_for():
    """An opening whose payload is not here is incomplete."""
    chain, plan, holdout = with_holdout()
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    signed = chain.sign(OWNER, opening(chain, plan, holdout))
    chain.store.clear()
    with pytest.raises(MissingPayload):
        check_transaction(chain, chain.context(), signed, chain)
