"""Jobs: pure functions of their spec and the world, whose ends can be written into a log."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from chain.block import Block, Body, Header, block_id, has_matching_body
from chain.codec import decode, encode
from chain.ids import AccountId, Hash, Millis
from consensus import branch
from consensus.context import BlockContext
from consensus.events import LedgerEvent
from consensus.transition import apply
from fl.plan.schema import encode_plan
from fl.task import Task
from node.context import context_on
from node.core.config import PoolLimits
from node.effects import Effect
from node.events import Event
from node.jobs import blocks
from node.jobs.commitment import commit_to_data
from node.jobs.control import JobControl
from node.jobs.results import (
    BlockBuilt,
    BlockSealed,
    BranchExecuted,
    Cancelled,
    DataInspected,
    Declined,
    Stale,
    Trained,
)
from node.jobs.run import JOBS, run_job
from node.jobs.specs import BuildBlock, ExecuteBranch, InspectData, JobSpec, OpenChunk, SealBlock, TrainTask
from node.mempool import Mempool
from node.world import World
from tests.consensus.harness import make_data, make_plan
from tests.node.core.lonely import CONTROL
from tests.node.core.mint import Mint
from tests.node.core.plans import is_over, make_town, submit
from tests.node.core.test_device import ONE
from tests.node.core.test_importer import ALICE, GENESIS
from tests.node.core.town import START, Rows, make_world

MAX_LOGGED = 1 << 30
PLAN = make_plan()


def make_build(mint: Mint) -> BuildBlock:
    prepared = mint.engine.prepare(mint.tree, mint.root, Millis(START + 1_000))
    pay = mint.transfer(ALICE, ONE.account, 5, 0)
    pool = Mempool(PoolLimits())
    pool.admit(pay, 0, Millis(START))
    return BuildBlock(mint.root, ALICE.account, prepared.time_ms, prepared.engine, pool.snapshot(), ())


def test_every_kind_of_job_has_its_function() -> None:
    """The table of jobs covers the union of specs."""
    assert set(JobSpec.__args__) == set(JOBS)


def test_the_page_names_every_job() -> None:
    """docs/node.md says of each who asks for it and what comes back."""
    page = (Path(__file__).parents[3] / "docs" / "node.md").read_text(encoding="utf-8")
    rows = page.split("| job | asked by |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)) == {spec.__name__ for spec in JOBS}


def test_a_built_block_executes_to_the_state_it_claims() -> None:
    """Build, seal, execute: what one job makes the other accepts, and the body is the header's."""
    mint, world = Mint(GENESIS), make_world(GENESIS, ALICE)
    built = run_job(make_build(mint), world, CONTROL)
    assert isinstance(built, BlockBuilt)
    assert has_matching_body(built.header, built.body)
    assert len(built.body.transactions) == 1
    sealed = run_job(SealBlock(built.header, 0), world, CONTROL)
    assert isinstance(sealed, BlockSealed)
    header = replace(built.header, seal=sealed.seal)
    results = [execute_in(each, mint, header, built.body) for each in (world, make_world(GENESIS, ONE))]
    assert results[0] == results[1]
    assert (results[1].invalid, results[1].lacking) == (None, None)
    assert [block_id(header)] == [executed.id for executed in results[1].executed]


def execute_in(world: World, mint: Mint, header: Header, body: Body) -> BranchExecuted:
    """What a node makes of a block on the root."""
    world.store.put_headers([header])
    world.store.put_body(block_id(header), body)
    result = run_job(ExecuteBranch(mint.root, (), (block_id(header),)), world, CONTROL)
    assert isinstance(result, BranchExecuted)
    return result


def test_who_built_a_block_does_not_execute_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor any other block instead: one whose header differs in anything but the seal is executed, and refused."""
    mint, world = Mint(GENESIS), make_world(GENESIS, ALICE)
    built = run_job(make_build(mint), world, CONTROL)
    assert isinstance(built, BlockBuilt)
    executed: list[Block] = []
    monkeypatch.setattr(branch, "apply", lambda view, block, *rest, **options: executed.append(block))
    assert len(execute_in(world, mint, replace(built.header, seal=b"any"), built.body).executed) == 1
    assert executed == []
    monkeypatch.setattr(branch, "apply", apply)
    forged = replace(built.header, state_root=Hash(bytes(32)), seal=b"any")
    verdict = execute_in(world, mint, forged, built.body).invalid
    assert verdict is not None
    assert verdict.rule == "block.state_root"


def test_full_blocks_are_executed_one_job_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job executes is committed on the event loop at once: little enough that nobody waits long."""
    monkeypatch.setattr(blocks, "_MOST_ITEMS", 2)
    mint, world = Mint(GENESIS), make_world(GENESIS, ALICE)
    chain: list[Block] = []
    for height in range(3):
        pays = [mint.transfer(ALICE, ONE.account, 5, nonce) for nonce in (2 * height, 2 * height + 1)]
        chain.append(mint.block(chain[-1].id if chain else mint.root, pays, producer=ALICE))
        world.store.put_headers([chain[-1].header])
        world.store.put_body(chain[-1].id, chain[-1].body)
    ids = tuple(block.id for block in chain)
    result = run_job(ExecuteBranch(mint.root, (), ids), world, CONTROL)
    assert isinstance(result, BranchExecuted)
    assert [executed.id for executed in result.executed] == [ids[0]]
    assert (result.invalid, result.lacking) == (None, None)
    executed = result.executed[0]
    assert executed.transactions == tuple(signed.id for signed in chain[0].body.transactions)
    assert decode(executed.encoded_events, tuple[LedgerEvent, ...], MAX_LOGGED) == executed.events


def test_a_job_about_another_state_is_stale() -> None:
    """Jobs that read the state say so when it is not the one they were asked about."""
    mint, world = Mint(GENESIS), make_world(GENESIS, ALICE)
    other = mint.block(mint.root, producer=ALICE)
    assert Stale() == run_job(ExecuteBranch(other.id, (), ()), world, CONTROL)
    assert Stale() == run_job(replace(make_build(mint), parent=other.id), world, CONTROL)


class Clockwork:
    """A job's control whose clock moves only while the job sleeps."""

    def __init__(self, stop_after: int) -> None:
        self.now_us = 0
        self.slept_us = 0
        self.stop_after = stop_after

    def control(self) -> JobControl:
        return JobControl(lambda: self.slept_us >= self.stop_after, self.sleep, lambda: self.now_us)

    def sleep(self, seconds: float) -> None:
        self.slept_us += round(seconds * 1_000_000)
        self.now_us += round(seconds * 1_000_000)


@pytest.mark.parametrize("rate", [7, 1000, 20_000])
def test_a_limited_search_is_never_ahead_of_its_rate(rate: int) -> None:
    """At no moment has it tried more than its rate times its time, and it is behind by a burst at most."""
    world, clockwork = make_world(GENESIS, ALICE), Clockwork(stop_after=10_000_000)
    attempts: list[tuple[int, int]] = []

    class Counting:
        """An engine that never finds a seal."""

        def seal(self, header: object, cancel: object, limits: object) -> None:
            attempts.append((limits.start, limits.count))  # type: ignore[attr-defined]
            assert sum(count for _, count in attempts) <= rate * clockwork.now_us // 1_000_000 + 1

    from dataclasses import replace as replace_field

    mint = Mint(GENESIS)
    header = mint.block(mint.root, producer=ALICE).header
    lazy = replace_field(world, engine=Counting())  # type: ignore[arg-type]
    assert Cancelled() == run_job(SealBlock(header, rate), lazy, clockwork.control())
    assert 0.98 * 10 * rate <= sum(count for _, count in attempts) <= 10 * rate
    starts = [start for start, _ in attempts]
    assert starts == sorted(set(starts))
    assert starts[1] == attempts[0][1]


def test_training_is_a_function_of_its_spec() -> None:
    """The same task, model and data give the same payload, whatever the clock says."""
    data = Rows(make_data(ONE))
    plan = encode_plan(PLAN)
    zero = bytes(32)
    task = Task(zero, 0, 0, 0, zero, zero, zero, zero)
    spec = TrainTask(plan, "clinic", task, ONE.account, bytes(8 * 3), b"")
    slow = JobControl(lambda: False, lambda seconds: None, iter(range(0, 10**9, 7_000)).__next__)
    first = run_job(spec, make_world(GENESIS, ONE, data=data), CONTROL)
    second = run_job(spec, make_world(GENESIS, ONE, data=data), slow)
    assert isinstance(first, Trained)
    assert isinstance(second, Trained)
    assert first.payload == second.payload
    assert (first.computation_us, second.computation_us, second.samples) == (0, 7_000, 20)
    other = run_job(replace(spec, device=AccountId(bytes(32))), make_world(GENESIS, ONE, data=data), CONTROL)
    assert isinstance(other, Trained)


def test_the_commitment_hides_and_binds_the_data() -> None:
    """Same data, other key: another commitment; same key, one row changed: another; the same again: the same."""
    plan = encode_plan(PLAN)

    def inspect(key_holder: object, rows: object) -> DataInspected:
        result = run_job(InspectData(plan, "clinic"), make_world(GENESIS, key_holder, data=Rows(rows)), CONTROL)  # type: ignore[arg-type]
        assert isinstance(result, DataInspected)
        return result

    one = inspect(ONE, make_data(ONE))
    assert one == inspect(ONE, make_data(ONE))
    assert one.commitment != inspect(ALICE, make_data(ONE)).commitment
    changed = make_data(ONE)
    changed.x[3, 1] += 0.5
    assert one.commitment != inspect(ONE, changed).commitment


def test_nobody_can_try_rows_against_a_commitment() -> None:
    """Its salt comes from the secret half of the key: who knows account and plan alone can't guess rows and compare."""
    plan = Hash(bytes(32))
    stranger = SimpleNamespace(account=ONE.account, seed=bytes(32))
    guessed = commit_to_data(make_data(ONE), stranger, plan)  # type: ignore[arg-type]
    assert guessed != commit_to_data(make_data(ONE), ONE, plan)


def test_what_a_person_can_mend_is_declined_with_a_reason() -> None:
    """An unknown role, a node without data, a node without the holdout set: each says so."""
    plan = encode_plan(PLAN)
    world = make_world(GENESIS, ONE, data=Rows(make_data(ONE)))
    bare = make_world(GENESIS, ONE)
    for spec, where, words in (
        (InspectData(plan, "bank"), world, "no role 'bank'; it has clinic"),
        (InspectData(plan, "clinic"), bare, "no data to train on"),
        (OpenChunk(plan, 0), bare, "keeps no holdout sets"),
    ):
        result = run_job(spec, where, CONTROL)
        assert isinstance(result, Declined)
        assert words in result.reason


def test_the_context_is_the_parents() -> None:
    """Height, parent's time, beacon and rules come from the parent; time and producer are the block's."""
    world = make_world(GENESIS, ALICE)
    parent = Mint(GENESIS).blocks[world.store.tip()].header
    context = context_on(world, parent, Millis(START + 9), ONE.account)
    assert isinstance(context, BlockContext)
    expected = (1, parent.time_ms, START + 9, ONE.account)
    assert expected == (context.height, context.parent_time_ms, context.time_ms, context.producer)
    assert world.engine.beacon(parent) == context.beacon


def test_a_log_of_events_and_effects_can_be_written_and_read() -> None:
    """Everything that goes into and comes out of cores that run a plan survives the codec."""
    town = make_town(miners=1, devices=1)
    town.run(lambda: town.houses[0].core.chain.height >= 1, 60)
    plan = submit(town, make_plan(devices=(1, 1, 1), rounds=1, attestations=1, blocks=(8, 8, 4)))
    assert town.run(lambda: is_over(town, plan), 100)
    kinds: set[str] = set()
    for house in town.houses:
        for _, event, effects in house.log:
            assert event == decode(encode(event), Event, MAX_LOGGED)  # type: ignore[arg-type]
            kinds.add(type(event).__name__)
            for effect in effects:
                assert effect == decode(encode(effect), Effect, MAX_LOGGED)  # type: ignore[arg-type]
                kinds.add(type(effect).__name__)
    assert {"JobDone", "Received", "SubmitBody", "StartJob", "Send", "Publish", "Reply", "Wake"} <= kinds
