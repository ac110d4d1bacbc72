"""``fedchain fleet`` with processes of their own: the fleet's is killed in mid-round, and the run goes on."""

import asyncio
import json
import os
import signal
from dataclasses import replace as with_fields
from pathlib import Path

import pytest
from rich.console import Console

from fl.data.fleetfile import save_fleet
from node.errors import LocalnetError
from node.localnet import fleetrun
from node.localnet.fleets import FLEET, FleetSpec, find_earlier
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from storage.directory import DataDirectory
from tests.node.fleet.bands import make_plan, make_rows

DEVICES = 24


@pytest.mark.processes
def test_a_run_whose_fleet_is_killed_goes_on_and_says_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with -9 once it has released something; with ``resume`` the plan is finished, on what the journal has."""
    data, out = tmp_path / "small.fleet.npz", tmp_path / "out"
    save_fleet(data, ((f"author-{number:03}", make_rows(number)) for number in range(DEVICES)))
    plan = make_plan(DEVICES, rounds=2, reveal=200)
    spec = FleetSpec(data, plan, out, miners=1, block_ms=200, seed=1, timeout_s=120)
    quiet = Progress(Console(quiet=True))
    processes: list[NodeProcess] = []
    start, look = NodeProcess.start, fleetrun._Watch._look

    async def remember(*arguments: object) -> NodeProcess:
        processes.append(await start(*arguments))  # type: ignore[arg-type]
        return processes[-1]

    async def kill_in_a_round(watch: fleetrun._Watch) -> str:
        status = await look(watch)
        if DataDirectory.find(out / "nodes" / FLEET).journal_file.stat().st_size > 1000:
            (victim,) = (process for process in processes if process.home.role == FLEET)
            os.kill(victim.pid, signal.SIGKILL)
            await victim.wait()
        return status

    with monkeypatch.context() as patch:
        patch.setattr(NodeProcess, "start", remember)
        patch.setattr(fleetrun._Watch, "_look", kill_in_a_round)
        with pytest.raises(LocalnetError, match="fleet stopped with exit code -9"), quiet:
            asyncio.run(fleetrun.run_fleet(spec, quiet))
    assert find_earlier(out) == (plan, data)
    with quiet:
        summary = asyncio.run(fleetrun.run_fleet(with_fields(spec, resume=True), quiet))
    assert (summary["agreed"], summary["supply_conserved"]) == (True, True)
    chain = summary["chain"]
    assert (chain["rounds"], chain["updates"], chain["paid"]) == (2, DEVICES * 2 * 2, DEVICES)
    assert json.loads((out / "summary.json").read_text())["head"] == summary["head"]
    with DataDirectory.find(out / "nodes" / FLEET).open_journal() as journal:
        said = [(entry.task, entry.device) for entry in journal.entries()]
    assert len(said) == len(set(said)) == chain["updates"]
