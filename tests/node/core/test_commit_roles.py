"""Commitments by whole nodes: a device commits to what it journalled, reveals that alone; a copier earns nothing."""

from dataclasses import replace as replace_field

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.genesis_default import default_genesis
from chain.ids import ZERO_HASH, Amount, Hash
from chain.keys import KeyPair
from chain.transaction import Body, CommitUpdate, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from chain.update import AttestedUpdate
from consensus.committing import get_commitment_digest
from consensus.fees import get_required_escrow
from consensus.queries import get_history, list_plans
from consensus.records import RoundRecord
from consensus.stamps import find_stamp
from fl.plan.schema import Commit, encode_plan, plan_id
from node.effects import StartJob
from node.jobs.specs import TrainTask
from node.notices import RoleNotice
from node.simulator.byzantine.copying import Copying
from node.simulator.population import Commission, Population
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import Simulation
from node.world import World
from p2p.events import UpdateArrived
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.consensus.harness import make_data, make_plan, make_rules
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import BLOCK_MS, DEVICE, START, Rows, key_of, make_world

ALICE, BOB, ONE, TWO = key_of(1), key_of(2), key_of(11), key_of(12)
RULES = make_rules(version=3, policies=("bounds", "commit"))
GENESIS = default_genesis(
    "town", {ALICE.account: 10**12}, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1, rules=RULES
)


def make_committing(confirmations: int = 1) -> tuple[Hash, list[SignedTransaction]]:
    """A plan of two devices that commit first, and the block that brings it and them."""
    plan = replace(make_plan(devices=(2, 2, 2), rounds=1, blocks=(8, 8, 4), policies=(Commit(8),)), version=2)
    plan = replace(plan, deadlines=replace(plan.deadlines, confirmations=confirmations))
    escrow = Amount(get_required_escrow(plan, GENESIS.rules_at(1)) or 0)
    stamps = {key: find_stamp(GENESIS.chain_id, key.account, 0) or 0 for key in (ONE, TWO)}
    registered = [sign(key, 0, RegisterDevice(0, stamp)) for key, stamp in stamps.items()]
    return plan_id(plan), [sign(ALICE, 0, SubmitPlan(encode_plan(plan), escrow), 10_000), *registered]


def sign(key: KeyPair, nonce: int, body: Body, fee: int = 0) -> SignedTransaction:
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


class Street:
    """Blocks up to the open task, and a device that lives by them."""

    def __init__(self, confirmations: int = 1) -> None:
        self.plan, founding = make_committing(confirmations)
        self.mint = Mint(GENESIS)
        self.first = self.mint.block(self.mint.root, founding, producer=ALICE)
        self._joins = [sign(key, 1, JoinPlan(self.plan, "clinic", 20, ZERO_HASH)) for key in (ONE, TWO)]
        self.opened = self.mint.block(self.first.id, self._joins, producer=ALICE)

    def rivals(self, count: int) -> list[Block]:
        """Another branch on which the same task opens, and nobody commits."""
        blocks = [self.mint.block(self.first.id, self._joins, producer=BOB)]
        while len(blocks) < count:
            blocks.append(self.mint.block(blocks[-1].id, producer=BOB))
        return blocks

    def device(self, world: World | None = None) -> Lonely:
        return Lonely(GENESIS, world or make_world(GENESIS, ONE, data=Rows(make_data(ONE))), DEVICE)

    def others(self, own: CommitUpdate) -> SignedTransaction:
        """The other device's commitment, to nothing in particular."""
        return sign(TWO, 2, replace(own, commitment=Hash(b"\x07" * 32)))

    def closing(self, parent: Block, own: CommitUpdate) -> Block:
        """A block with both commitments: the reveal step begins."""
        return self.mint.block(parent.id, [sign(ONE, 2, own), self.others(own)], producer=ALICE)


def committed(lonely: Lonely) -> list[CommitUpdate]:
    """The device's commitments that wait for a block."""
    bodies = [signed.transaction.body for signed in lonely.core.pending_transactions()]
    return [body for body in bodies if isinstance(body, CommitUpdate)]


def released(lonely: Lonely) -> list[JournalEntry]:
    return list(lonely.world.journal.entries())


def pooled(lonely: Lonely, entry: JournalEntry) -> bool:
    found = lonely.core.updates.of_device(entry.task, ONE.account)
    return found is not None and found.update == entry.update


def trainings(lonely: Lonely) -> int:
    started = [effect.spec for effect in lonely.effects if isinstance(effect, StartJob)]
    return sum(isinstance(spec, TrainTask) for spec in started)


def test_a_device_journals_then_commits_then_reveals() -> None:
    """Its commitment is to what the journal has; nothing else leaves before the step is closed."""
    street = Street()
    lonely = street.device()
    lonely.give(street.first, street.opened)
    [entry] = released(lonely)
    [body] = committed(lonely)
    assert body.commitment == get_commitment_digest(entry.update)
    assert (body.task, body.round, body.attempt, body.phase) == (entry.task, 0, 0, 0)
    assert lonely.network.updates == []
    assert not lonely.world.payloads.has(entry.update.release.payload.id)
    lonely.give(street.closing(street.opened, body))
    assert pooled(lonely, entry)
    assert lonely.network.updates
    assert trainings(lonely) == 1


def test_restarted_it_commits_and_reveals_the_very_same() -> None:
    """Whether it died before its commitment was in a block, or after."""
    street = Street()
    before = street.device()
    before.give(street.first, street.opened)
    [entry], [body] = released(before), committed(before)
    fresh = make_world(GENESIS, ONE, data=Rows(make_data(ONE)))
    after = street.device(replace_field(fresh, journal=before.world.journal))
    after.give(street.first, street.opened)
    assert committed(after) == [body]
    assert trainings(after) == 0
    closed = street.closing(street.opened, body)
    after.give(closed)
    assert pooled(after, entry)
    assert released(after) == [entry]


def test_a_reorganisation_takes_the_commitment_back_and_the_same_comes_again() -> None:
    """The rival block opens the same task, and no block has the commitment there: it is sent again, nothing else."""
    street = Street(confirmations=2)
    lonely = street.device()
    deep = street.mint.block(street.opened.id, producer=ALICE)
    lonely.give(street.first, street.opened, deep)
    [entry], [body] = released(lonely), committed(lonely)
    lonely.give(street.mint.block(deep.id, [sign(ONE, 2, body)], producer=ALICE))
    assert committed(lonely) == []
    rivals = street.rivals(4)
    lonely.give(*rivals)
    assert lonely.head == rivals[-1].id
    assert committed(lonely) == [body]
    assert released(lonely) == [entry]
    assert trainings(lonely) == 1


def test_nothing_is_revealed_before_the_closed_step_lies_deep_enough() -> None:
    """Else a copier could see it and commit to it on a fork on which the step is open yet."""
    street = Street(confirmations=2)
    lonely = street.device()
    deep = street.mint.block(street.opened.id, producer=ALICE)
    lonely.give(street.first, street.opened, deep)
    [entry], [body] = released(lonely), committed(lonely)
    closed = street.closing(deep, body)
    lonely.give(closed)
    assert not pooled(lonely, entry)
    assert lonely.network.updates == []
    lonely.give(street.mint.block(closed.id, producer=ALICE))
    assert pooled(lonely, entry)


def test_a_device_without_the_journal_of_its_commitment_reveals_nothing() -> None:
    """It can't: what it would train now has another time and is another update. It says so once, and lives on."""
    street = Street()
    before = street.device()
    before.give(street.first, street.opened)
    [body] = committed(before)
    fresh = make_world(GENESIS, ONE, data=Rows(make_data(ONE)))
    lonely = street.device(replace_field(fresh, journal=MemoryReleaseJournal()))
    closed = street.closing(street.opened, body)
    lonely.headers(street.first, street.opened, closed)
    lonely.give(street.first, street.opened, closed, street.mint.block(closed.id, producer=ALICE))
    assert lonely.network.updates == []
    notices = [notice for notice in lonely.notices(RoleNotice) if "committed to an update" in notice.text]  # type: ignore[attr-defined]
    assert len(notices) == 1
    assert lonely.halts() == []


def test_nobody_asks_for_an_update_that_was_not_committed_to() -> None:
    """Its payload is not fetched; the committed one, told too early, waits for its step and is then asked for."""
    street = Street()
    device = street.device()
    device.give(street.first, street.opened)
    [entry], [body] = released(device), committed(device)
    other = replace(entry.update.release, computation_us=7).sign(ONE)
    node = Lonely(GENESIS)
    node.give(street.first, street.opened)
    node.hear(UpdateArrived(PEER, AttestedUpdate(entry.update, ())))
    assert len(node.core.updates) == 0
    node.give(street.closing(street.opened, body))
    assert node.core.updates.get(entry.update.id) is not None
    payload = entry.update.release.payload.id
    assert payload in node.network.wanted
    node.core.updates.drop([entry.update.id])
    node.network.wanted.clear()
    node.hear(UpdateArrived(PEER, AttestedUpdate(other, ())))
    assert len(node.core.updates) == 0
    assert payload not in node.network.wanted


# --- worlds -----------------------------------------------------------------------------------------


def ask_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans wait for all devices, so that a slow one has its turn."""
    draw = Population.commission

    def commission(self: Population, number: int) -> Commission:
        drawn = draw(self, number)
        asked = drawn.plan.participation.max_devices
        participation = replace(drawn.plan.participation, goal_devices=asked, over_select_percent=100)
        return replace_field(drawn, plan=replace(drawn.plan, participation=participation))

    monkeypatch.setattr(Population, "commission", commission)


def commit_always(monkeypatch: pytest.MonkeyPatch, commit: Commit | None) -> None:
    monkeypatch.setattr(Population, "_draw_commit", lambda self, number: commit)
    monkeypatch.setattr(Population, "_draw_audit", lambda self, number: None)
    monkeypatch.setattr(Population, "_draw_replay", lambda self, number: None)


@pytest.mark.parametrize(("engine", "light"), [("pow", 3), ("pos", 0)])
def test_a_plan_that_commits_is_learned_whatever_fails(
    engine: str, light: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By full devices and by light ones, through crashes, restarts, losses and partitions."""
    commit_always(monkeypatch, Commit(12))
    settings = SimulationSettings(
        seed=3,
        nodes=4,
        miners=4 if engine == "pos" else 3,
        devices=3,
        light=light,
        engine=engine,
        faults=("crash", "loss", "partition", "restart"),
        duration_ms=45_000,
        block_ms=1_000,
        plans=1,
    )
    world = Simulation(settings)
    report = world.run()
    assert report.is_good, report.violations
    assert report.plans_finished == 1
    assert report.updates >= 4
    assert not [each for record in rounds_of(world) for each in record.refused], "whoever commits again is no copier"


def rounds_of(world: Simulation) -> tuple[RoundRecord, ...]:
    """The rounds of the world's one plan, as its first node has them."""
    core = world.machines[0].core
    assert core is not None
    [entry] = list_plans(core.chain.view)
    return get_history(core.chain.view, entry.plan)


def run_copier(
    engine: str, commit: Commit | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Copying, tuple[RoundRecord, ...]]:
    """A world with one copier of four devices; return it, and the plan's rounds."""
    ask_all(monkeypatch)
    commit_always(monkeypatch, commit)
    world = Simulation(
        SimulationSettings(
            seed=6,
            nodes=4 if engine == "pos" else 3,
            devices=4,
            miners=4 if engine == "pos" else 2,
            engine=engine,
            byzantine=0.3,
            behaviours=("copy-updates",),
            duration_ms=45_000,
            block_ms=1_000,
            plans=1,
        )
    )
    report = world.run()
    assert report.violations == (), report.command
    [copier] = [machine.mask.behaviour for machine in world.machines if machine.mask is not None]
    assert isinstance(copier, Copying)
    return copier, rounds_of(world)


def test_a_copier_is_paid_where_nobody_commits_and_refused_where_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the step it is paid for rounds of copies alone. With it it has nothing to copy but the last round."""
    copier, rounds = run_copier("pos", None, monkeypatch)
    me = copier.stage.key.account
    paid = {
        number
        for number, record in enumerate(rounds)
        if any(each.device == me and each.reward for each in record.devices)
    }
    copies = {number for _, number, _ in copier.copied}
    assert paid & copies, "a round's reward for what others did"
    copier, rounds = run_copier("pow", Commit(12), monkeypatch)
    me = copier.stage.key.account
    copies = {number for _, number, _ in copier.copied}
    assert copies, "it tried"
    for number, record in enumerate(rounds):
        if number in copies:
            assert not [each for each in record.devices if each.device == me]
    reasons = [each.reason for record in rounds for each in record.refused if each.device == me]
    assert any(reason.startswith("commit: recycled: what") for reason in reasons)
    honest = {each.device for record in rounds for each in record.refused} - {me}
    assert honest == set()
