"""A plan from its submission to its model, over sockets, threads and disks: what a program sees of it."""

import csv
import dataclasses
import json
from contextlib import AsyncExitStack
from pathlib import Path

import jsonschema
import numpy as np

from chain.hashing import content_id
from chain.ids import Hash
from chain.keys import KeyPair
from consensus.queries import get_model
from fl.data.sources import load_dataset
from fl.models import initial_model
from fl.plan.schema import Plan, plan_id
from fl.problem import compile_problem
from fl.train import mean_objective
from node.client import Client, NotFound, Refused
from node.config import Config, DeviceSettings
from node.eventlog import read_log, replay
from node.rpc.methods import make_registry, openrpc_document
from node.service.home import open_home
from tests.consensus.harness import make_plan
from tests.node.service.houses import (
    RICH,
    make_config,
    make_genesis,
    make_home,
    make_replaying_core,
    running_service,
    until,
)

DEVICES = (KeyPair(b"1" * 32), KeyPair(b"2" * 32))


def write_rows(path: Path, seed: int) -> Path:
    """Forty rows of a device, its own."""
    random = np.random.default_rng(seed)
    rows = random.uniform(-4, 4, (40, 2))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "y"])
        writer.writerows([a, b, int(a + 0.5 * b > random.normal())] for a, b in rows.tolist())
    return path


async def check_shapes(node: Client, plan: str) -> None:
    """Every plan method answers in the shape that the OpenRPC document describes."""
    document = openrpc_document(make_registry())
    for method in document["methods"]:
        if method["name"].startswith("plan."):
            params = {} if method["name"] == "plan.list" else {"plan": plan}
            schema = method["result"]["schema"] | {"components": document["components"]}
            jsonschema.validate(await node.call(method["name"], **params), schema)


def check_replay(home: Path, config: Config) -> None:
    """The node's whole run, given to another core event by event, has the same effects and ends in the same state."""
    log = read_log(home / "events")
    core = make_replaying_core(home, config, log)
    mismatch = replay(log, core)
    assert mismatch is None, str(mismatch)
    with open_home(home) as opened:
        assert core.world.store.tip() == opened.store.tip()
        assert list(core.world.journal.entries()) == list(opened.journal.entries())
        assert list(core.world.payloads.ids()) == list(opened.payloads.ids())


async def test_a_plan_goes_from_a_program_to_a_model(tmp_path):
    """Two devices train on their files; all three nodes, and this program, have one model, better than the first.

    Afterwards the recorded events of each node are replayed: learning, verifying and mining repeat to the bit.
    """
    plan: Plan = make_plan(devices=(2, 2, 2), blocks=(10_000, 10_000, 10_000), rounds=3, pools=(1_000_000, 100_000))
    genesis = make_genesis(block_ms=100)
    miner = make_home(tmp_path / "miner", genesis, key=RICH)
    files = [write_rows(tmp_path / f"{number}.csv", number) for number in range(2)]
    devices = [make_home(tmp_path / f"device-{number}", genesis, key=key) for number, key in enumerate(DEVICES)]
    async with AsyncExitStack() as stack:
        configs = {miner: make_config(mine=True)}
        house = await stack.enter_async_context(running_service(miner, configs[miner], record=miner / "events"))
        for home, file in zip(devices, files, strict=True):
            device = DeviceSettings(data=str(file), consent=True, any_plan=True)
            config = dataclasses.replace(make_config(connect=[house.running.listening]), device=device)
            await stack.enter_async_context(running_service(home, config, record=home / "events"))
            configs[home] = config
        node = await stack.enter_async_context(Client.from_home(miner))

        name, transaction = await node.submit_plan(plan)
        assert name == plan_id(plan)
        await node.wait_for_transaction(transaction, timeout_s=60)
        with_task: list[str] = []

        async def has_task() -> bool:
            task = (await node.task(name)).task
            if task is not None:
                with_task.append(task.phase_name)
            return task is not None

        await until(has_task, seconds=60)
        await check_shapes(node, name.hex())
        standing = await node.wait_for_plan(name, timeout_s=90)
        await check_shapes(node, name.hex())

        assert (standing.status, standing.rounds, standing.enrolled) == ("finished", 3, 2), standing.reason
        history = (await node.history(name)).rounds
        assert [record.round for record in history] == [0, 1, 2]
        losses = [record.loss for record in history if record.loss is not None]
        assert losses == sorted(losses, reverse=True)
        assert len(losses) == 3
        paid = {report["device"]: report["reward"] for report in history[-1].devices}
        assert len(paid) == 2
        assert all(reward > 0 for reward in paid.values())

        model = await node.get_model(name)
        assert model.digest.hex() == history[-1].model
        problem = compile_problem(plan)
        parts = [load_dataset(file, plan.roles[0]) for file in files]
        assert mean_objective(problem, model.fixed, parts) < mean_objective(problem, initial_model(plan), parts)
        np.testing.assert_array_equal(model.weights, model.fixed * 2.0**-plan.fraction_bits)
        assert (await node.device_status()).role is None
        supply = await node.supply()
        assert supply.minted == supply.circulating + supply.escrowed + supply.bonded
        assert supply.escrowed == 0
        closed = standing.closed
        for home in devices:
            async with Client.from_home(home) as device_node:
                await until(lambda other=device_node: _is_at(other, closed))
                assert (await device_node.get_model(name)).digest == model.digest
                role = (await device_node.device_status()).role
                assert role is not None
                assert role["releases"] == 6
    for home, config in configs.items():
        with open_home(home) as opened, opened.store.view() as view:
            assert content_id(get_model(view, name)) == model.digest
        check_replay(home, config)


async def _is_at(node: Client, height: int) -> bool:
    return (await node.status()).height >= height


async def test_a_plan_that_nobody_can_pay_for_is_refused_with_the_reason(tmp_path):
    """The program learns what is missing, and the plan is on no chain."""
    home = make_home(tmp_path / "home", make_genesis())
    async with running_service(home, make_config()), Client.from_home(home) as node:
        plan = make_plan()
        try:
            await node.submit_plan(plan)
        except Refused as error:
            reason = json.dumps(error.reason)
        assert "balance" in reason or "coins" in reason or "funds" in reason
        try:
            await node.plan(Hash(plan_id(plan)))
        except NotFound:
            return
        raise AssertionError("the refused plan is on the chain")
