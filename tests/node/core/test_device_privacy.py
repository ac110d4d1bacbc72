"""A whole node's device under plans with noise: it signs what its data have lost, and refuses what would overspend."""

from dataclasses import replace as replace_field

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.genesis_default import default_genesis
from chain.ids import ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import Body, JoinPlan, LowerBudget, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from chain.update import AttestedUpdate
from consensus.fees import get_required_escrow
from consensus.privacy import get_standing
from fl.dataset import Dataset
from fl.payload import parse_payload
from fl.plan.schema import FedSvrg, Plan, encode_plan, plan_id
from node.core.config import CoreConfig
from node.effects import StartJob
from node.jobs.results import Trained
from node.jobs.specs import TrainTask
from node.notices import RoleNotice
from node.roles.device import DeviceStatus
from node.world import World
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.consensus.harness import make_data, make_rules
from tests.consensus.private import LOSS, open_plan, private_plan
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import BLOCK_MS, DEVICE, START, Rows, key_of, make_world

ALICE, ONE = key_of(1), key_of(11)
GENESIS = default_genesis(
    "town", {ALICE.account: 10**12}, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1, rules=make_rules(version=3)
)
SVRG = FedSvrg(Number.of("0.5"), False, False)


def sign(key: KeyPair, nonce: int, body: Body, fee: int = 0) -> SignedTransaction:
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


class Street:
    """Blocks up to the open tasks of plans that one device serves, and that device's node."""

    def __init__(self, *plans: Plan, lifetime: int = 0, key: KeyPair = ONE, joins: bool = True) -> None:
        self.key, self.mint, self.plans = key, Mint(GENESIS), [plan_id(plan) for plan in plans]
        escrows = [get_required_escrow(plan, GENESIS.rules_at(1)) or 0 for plan in plans]
        bodies = [SubmitPlan(encode_plan(plan), Amount(coins)) for plan, coins in zip(plans, escrows, strict=True)]
        founding = [sign(ALICE, nonce, body, 10_000) for nonce, body in enumerate(bodies)]
        first = self.mint.block(self.mint.root, [*founding, sign(key, 0, RegisterDevice(lifetime, 0))], producer=ALICE)
        joins_of = [JoinPlan(plan, "clinic", 20, ZERO_HASH) for plan in self.plans]
        joining = [sign(key, number, body) for number, body in enumerate(joins_of, 1)]
        self.blocks = [first, self.mint.block(first.id, joining, producer=ALICE)] if joins else [first]

    def device(self, world: World | None = None, lifetime: int = 0) -> Lonely:
        """The device's node, fed with the blocks so far. ``lifetime``: the budget in its settings."""
        assert DEVICE.device is not None
        config: CoreConfig = replace_field(DEVICE, device=replace_field(DEVICE.device, lifetime_budget=lifetime))
        lonely = Lonely(GENESIS, world or self.world(), config)
        for payload in self.mint.payloads.values():
            lonely.world.payloads.put(payload)
        lonely.give(*self.blocks)
        return lonely

    def world(self, data: Dataset | None = None) -> World:
        return make_world(GENESIS, self.key, data=Rows(data or make_data(ONE)))

    def carry(self, lonely: Lonely, *entries: JournalEntry) -> Block:
        """Give the node a block that carries these releases."""
        for entry in entries:
            self.mint.payloads[entry.update.release.payload.id] = entry.payload
        updates = [AttestedUpdate(entry.update, ()) for entry in entries]
        self.blocks.append(self.mint.block(self.blocks[-1].id, updates=updates, producer=ALICE))
        lonely.give(self.blocks[-1])
        return self.blocks[-1]


def released(lonely: Lonely) -> list[JournalEntry]:
    return list(lonely.world.journal.entries())


def totals(lonely: Lonely) -> list[int]:
    return [entry.update.release.privacy.total for entry in released(lonely)]


def trainings(lonely: Lonely) -> int:
    started = [effect.spec for effect in lonely.effects if isinstance(effect, StartJob)]
    return sum(isinstance(spec, TrainTask) for spec in started)


def said(lonely: Lonely) -> str:
    return "\n".join(notice.text for notice in lonely.notices(RoleNotice) if isinstance(notice, RoleNotice))


def status(lonely: Lonely) -> DeviceStatus:
    found = lonely.core.device_status()
    assert found is not None
    return found


@pytest.mark.parametrize("algorithm", [None, SVRG], ids=["fedavg", "fedsvrg"])
def test_a_plan_with_noise_runs_to_its_end(algorithm: FedSvrg | None) -> None:
    """Trained, noised, signed at the plan's price, taken by blocks, and added up."""
    plan = private_plan(devices=(1, 1, 1), retries=0, rounds=2)
    plan = plan if algorithm is None else replace(plan, algorithm=algorithm)
    street = Street(plan)
    lonely = street.device()
    count = 2 if algorithm is None else 4
    for number in range(1, count + 1):
        assert totals(lonely) == [LOSS * each for each in range(1, number + 1)]
        street.carry(lonely, released(lonely)[-1])
    assert totals(lonely) == [LOSS * each for each in range(1, count + 1)]
    standing = get_standing(lonely.core.chain.view, ONE.account)
    assert (standing.loss, standing.reserved) == (count * LOSS, 0)
    assert status(lonely).loss == count * LOSS
    noisy = [parse_payload(entry.payload, 3, has_loss=entry.update.release.phase == 0) for entry in released(lonely)]
    assert {entry.update.release.computation_us for entry in released(lonely)} == {0}, "times tell of rows"
    assert len({tuple(payload.vector) for payload in noisy}) == count
    assert not said(lonely)


def test_two_plans_add_up_in_one_total() -> None:
    """Whatever plan a release is of, the next one's total holds it."""
    street = Street(*[private_plan(devices=(1, 1, 1), retries=0, nonce=nonce) for nonce in (1, 2)])
    lonely = street.device()
    assert totals(lonely) == [LOSS, 2 * LOSS]
    one, two = released(lonely)
    assert one.update.release.plan != two.update.release.plan
    street.carry(lonely, two)  # signed second
    street.carry(lonely, one)
    assert get_standing(lonely.core.chain.view, ONE.account).loss == 2 * LOSS


def test_a_restored_journal_goes_on_from_what_the_chain_knows() -> None:
    """The larger of the two: a backup is no way back."""
    street = Street(private_plan(devices=(1, 1, 1), retries=0))
    lonely = street.device()
    street.carry(lonely, released(lonely)[0])
    assert totals(lonely) == [LOSS, 2 * LOSS]
    assert totals(street.device()) == [2 * LOSS], "its journal is empty"


def test_what_no_block_carried_counts_by_the_journal() -> None:
    """A release on a fork that is gone: its task, and so its bytes, are another's; the loss stays."""
    plan = private_plan(devices=(1, 1, 1), retries=0)
    old = Street(plan)
    lonely = old.device()
    assert totals(lonely) == [LOSS]
    fork = Street(replace(plan, nonce=9))
    again = fork.device(replace_field(fork.world(), journal=lonely.world.journal))
    assert totals(again) == [LOSS, 2 * LOSS]
    fork.carry(again, released(again)[1])
    assert get_standing(again.core.chain.view, ONE.account).loss == 2 * LOSS


def test_a_new_key_on_the_same_data_is_no_new_budget() -> None:
    """The journal lies with the data: the second key signs the losses of the first."""
    plan = private_plan(devices=(1, 1, 1), retries=0)
    first = Street(plan).device()
    other = Street(replace(plan, nonce=9), key=key_of(12))
    world = replace_field(other.world(), journal=first.world.journal)
    second = other.device(world, lifetime=3 * LOSS)
    assert totals(second) == [LOSS, 2 * LOSS]
    other.carry(second, released(second)[1])
    assert totals(second) == [LOSS, 2 * LOSS, 3 * LOSS]
    third = Street(plan, key=key_of(13), joins=False)
    last = third.device(replace_field(third.world(), journal=second.world.journal), lifetime=3 * LOSS)
    assert f"it has lost {3 * LOSS}" in said(last)


def test_a_device_does_not_train_what_it_may_not_release() -> None:
    """Its lifetime budget, as in the settings, is used up: nothing is trained, and it says why."""
    street = Street(private_plan(devices=(1, 1, 1), retries=0))
    lonely = street.device(lifetime=LOSS)
    assert totals(lonely) == [LOSS]
    street.carry(lonely, released(lonely)[0])
    assert (totals(lonely), trainings(lonely)) == ([LOSS], 1)
    assert f"its update would cost too much: a whole loss of {2 * LOSS} micro-zCDP" in said(lonely)
    assert "too much" in status(lonely).last_error


def test_a_device_stays_away_from_plans_that_its_budget_can_not_bear() -> None:
    """Too dear a worst case, or no noise at all; it joins what fits."""
    plans = [private_plan(devices=(1, 2, 2), nonce=1), private_plan(devices=(1, 2, 2), retries=0, nonce=2)]
    street = Street(*plans, open_plan(devices=(1, 2, 2), nonce=3), lifetime=2 * LOSS, joins=False)
    lonely = street.device()
    told = {standing.plan: standing.declined for standing in status(lonely).plans}
    assert "this plan 20000: have a plan with more noise" in told[street.plans[0]]
    assert told[street.plans[1]] == ""
    assert "no noise" in told[street.plans[2]]
    joins = [signed.transaction.body for signed in lonely.core.pending_transactions()]
    assert [body.plan for body in joins if isinstance(body, JoinPlan)] == [street.plans[1]]


def test_a_lower_budget_in_the_settings_is_put_on_the_chain() -> None:
    """Once; a higher one changes nothing."""
    street = Street(private_plan(devices=(1, 2, 2)), lifetime=9 * LOSS, joins=False)

    def lowered(lonely: Lonely) -> list[LowerBudget]:
        bodies = [signed.transaction.body for signed in lonely.core.pending_transactions()]
        return [body for body in bodies if isinstance(body, LowerBudget)]

    assert lowered(street.device(lifetime=5 * LOSS)) == [LowerBudget(5 * LOSS)]
    assert lowered(street.device(lifetime=9 * LOSS)) == lowered(street.device(lifetime=10 * LOSS)) == []
    assert lowered(street.device()) == []


def test_what_carries_no_noise_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should training ever forget it, the device keeps the update to itself."""
    import node.jobs.run as run

    real = run.run_job

    def forgetful(spec: object, world: World, control: object) -> object:
        result = real(spec, world, control)  # type: ignore[arg-type]
        return replace(result, mechanism="none") if isinstance(result, Trained) else result

    monkeypatch.setattr("tests.node.core.lonely.run_job", forgetful)
    lonely = Street(private_plan(devices=(1, 1, 1))).device()
    assert released(lonely) == []
    assert "it carries the noise 'none', and the plan asks for 'gaussian'" in said(lonely)


def test_a_plans_own_budget_counts_what_no_block_carried() -> None:
    """By the journal: under each plan no more than it promises, whatever became of the releases."""
    plan = private_plan(devices=(1, 1, 1), rounds=1, retries=1, blocks=(4, 2, 2))
    street = Street(plan)
    lonely = street.device()
    journal = MemoryReleaseJournal()
    (entry,) = released(lonely)
    for number in range(2):  # releases of the same plan on forks that are gone
        release = replace(
            entry.update.release,
            task=Hash(bytes([number + 1]) * 32),
            privacy=replace(entry.update.release.privacy, total=LOSS * (number + 1)),
        )
        journal.record(JournalEntry(release.sign(ONE), entry.payload))
    again = street.device(replace_field(street.world(), journal=journal))
    assert len(released(again)) == 2
    assert f"by its journal the device has lost {2 * LOSS} micro-zCDP under this plan" in said(again)
