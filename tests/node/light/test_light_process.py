"""A light node as a process: it follows without a chain on disk, without the compiler in memory, in little memory."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from node.config import DeviceSettings
from node.rpc.failures import NotFound
from tests.node.service.houses import RICH, NodeProcess, make_config, make_genesis, make_home, running_service, until

pytestmark = pytest.mark.processes
GENESIS = make_genesis()
MOST_MB = 120
ROWS = "".join(f"{number % 3},{number},{number % 2}\n" for number in range(40))


async def test_a_light_process_registers_follows_and_comes_back_after_kill_nine(tmp_path: Path) -> None:
    """It takes 120 MB at most, maps no compiler, makes no chain directory, and says what it trusts."""
    full_home = make_home(tmp_path / "full", GENESIS, make_config(mine=True), key=RICH)
    data = tmp_path / "rows.csv"
    data.write_text("a,b,y\n" + ROWS)
    async with running_service(full_home, make_config(mine=True)) as full:
        config = make_config(connect=[full.running.listening])
        device = DeviceSettings(data=str(data), consent=True, any_plan=True, light=True)
        home = make_home(tmp_path / "light", GENESIS, replace(config, device=device))
        with NodeProcess(home) as first:
            async with await first.client() as client:
                await until(lambda: _follows(client, 4))
                status = await client.status()
                report = await client.device_status()
                with pytest.raises(NotFound, match="light node"):
                    await client.supply()
            resident, maps = _memory_of(first.process.pid)
            await asyncio.to_thread(first.stop, signal.SIGKILL)
        assert status.trust.says.startswith("light: the heaviest chain of headers from genesis")
        assert status.listening == ""
        assert report.registered
        assert resident < MOST_MB
        assert "llvmlite" not in maps
        assert not (home / "chain").exists()
        (home / "rpc.json").unlink()  # it tells where the killed one answered
        with NodeProcess(home) as second:
            async with await second.client() as client:
                await until(lambda: _follows(client, status.height + 1))
            code, _ = await asyncio.to_thread(second.stop)
        assert code == 0


async def _follows(client, height: int) -> bool:  # type: ignore[no-untyped-def]
    status = await client.status()
    return status.state == "synced" and status.height >= height and (await client.device_status()).registered


def _memory_of(pid: int) -> tuple[float, str]:
    """The resident memory of a process in MB, and the files that are mapped into it."""
    return psutil.Process(pid).memory_info().rss / 10**6, Path(f"/proc/{pid}/maps").read_text()
