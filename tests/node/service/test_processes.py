"""Nodes as processes: signals, and a log of events that another core repeats to the bit."""

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from chain.codec import encode
from chain.genesis import Genesis
from chain.keys import KeyPair
from node.client import Client
from node.config import DeviceSettings
from node.core.core import NodeCore
from node.errors import EventLogError
from node.eventlog import LoggedStep, read_log, replay
from node.events import Received, Started, Tick
from node.light.core import LightCore
from node.service.home import open_home, read_settings
from tests.node.service.houses import (
    RICH,
    NodeProcess,
    make_config,
    make_genesis,
    make_home,
    make_replaying_core,
    make_stake_genesis,
    read_log_lines,
    running_service,
    until,
)

pytestmark = pytest.mark.processes
GENESIS = make_genesis()
STOP_S = 5.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_working_node_in_order(tmp_path: Path, number: int):
    """Exit code 0 within five seconds while it mines, the head on disk, nothing left that says it runs."""
    home = make_home(tmp_path / "home", GENESIS, make_config(mine=True), key=RICH)
    with NodeProcess(home) as node:
        async with await node.client() as client:
            await until(lambda: _is_at(client, 3))
            head = (await client.status()).height
        code, seconds = await asyncio.to_thread(node.stop, number)
    assert code == 0
    assert seconds < STOP_S
    assert not (home / "rpc.json").exists()
    lines = read_log_lines(home)
    assert lines[-1]["event"] == "node stopped"
    with open_home(home) as opened:
        assert opened.store.height() >= head


async def _is_at(client, height: int) -> bool:
    return (await client.status()).height >= height


async def test_a_second_node_on_the_same_directory_does_not_start(tmp_path: Path):
    """It names the process that holds it, and leaves the first one alone."""
    home = make_home(tmp_path / "home", GENESIS)
    with NodeProcess(home) as first:
        async with await first.client() as client:
            with NodeProcess(home) as second:
                errors = await asyncio.to_thread(second.errors)
            assert second.process.returncode == 1
            assert f"in use by another process (pid {first.process.pid})" in errors
            assert (await client.status()).height == 0


async def test_killed_with_nine_it_starts_again_where_it_was(tmp_path: Path):
    """Nothing that was told to anybody is lost; stale rpc files do not keep it from starting."""
    home = make_home(tmp_path / "home", GENESIS, make_config(mine=True), key=RICH)
    with NodeProcess(home) as node:
        async with await node.client() as client:
            await until(lambda: _is_at(client, 3))
            told = await client.block()
        await asyncio.to_thread(node.stop, signal.SIGKILL)
    assert (home / "rpc.json").exists()
    async with running_service(home, make_config()), client.__class__.from_home(home) as again:
        assert (await again.block(height=told.height)).id == told.id


# --- the event log ---------------------------------------------------------------------------------


GENESES = {"pow": GENESIS, "pos": make_stake_genesis()}


async def record_a_run(tmp_path: Path, genesis: Genesis) -> tuple[Path, Path]:
    """Record a process that makes blocks, has a peer, is asked for a transfer, and is stopped; return home and log."""
    home = make_home(tmp_path / "home", genesis, make_config(mine=True), key=RICH)
    peer = make_home(tmp_path / "peer", genesis)
    record = tmp_path / "events.log"
    with NodeProcess(home, record=record) as node:
        async with await node.client() as client:
            listening = json.loads((home / "rpc.json").read_text())["listening"]
            async with running_service(peer, make_config(connect=[listening])) as other:
                id = await client.transfer(KeyPair(b"x" * 32).account, 10)
                await client.wait_for_transaction(id, timeout_s=60)
                async with type(client)(other.running.url) as beside:
                    await until(lambda: _is_at(beside, 5))
        code, _ = await asyncio.to_thread(node.stop)
    assert code == 0
    return home, record


@pytest.mark.parametrize("engine", GENESES)
async def test_a_recorded_process_is_repeated_to_the_bit(tmp_path: Path, engine: str):
    """Every event of a real miner or validator, given to another core, leads to the same effects and state."""
    home, record = await record_a_run(tmp_path, GENESES[engine])
    log = read_log(record)
    core = make_replaying_core(home, read_settings(home), log)
    assert isinstance(core, NodeCore)
    steps = list(log.steps())
    kinds = {step.event.__struct_config__.tag for step in steps}
    assert {"started", "tick", "connected", "received", "job-done", "submit-body", "shutdown"} <= kinds
    assert sum(len(step.kinds) for step in steps) > 20
    mismatch = replay(log, core)
    assert mismatch is None, str(mismatch)
    with open_home(home) as opened:
        assert core.world.store.tip() == opened.store.tip()
        if opened.signing is not None:
            assert core.world.signer is not None
            assert core.world.signer.journal.entries() == opened.signing.entries() != ()
    assert KeyPair(RICH.seed).seed not in record.read_bytes()

    changed = make_replaying_core(home, read_settings(home), log)
    changed.world.random.seed(b"another chance")
    assert replay(log, changed) is not None


@pytest.mark.parametrize("engine", GENESES)
async def test_a_recorded_light_device_is_repeated_to_the_bit(tmp_path: Path, engine: str):
    """What it heard of a full node, its proofs among it, leads another light core to the same head."""
    full = make_home(tmp_path / "full", GENESES[engine], key=RICH)
    home, record = tmp_path / "light", tmp_path / "events.log"
    async with running_service(full, make_config(mine=True)) as other:
        settings = make_config(connect=[other.running.listening])
        settings = replace(settings, device=DeviceSettings(light=True))
        make_home(home, GENESES[engine], settings)
        async with running_service(home, settings, record=record), Client.from_home(home) as client:
            await until(lambda: _is_at(client, 3))
    log = read_log(record)
    core = make_replaying_core(home, settings, log)
    assert isinstance(core, LightCore)
    assert any(isinstance(step.event, Received) for step in log.steps())
    mismatch = replay(log, core)
    assert mismatch is None, str(mismatch)
    assert core.chain.height >= 3


def test_a_log_that_is_cut_is_named_unless_the_process_was_killed(tmp_path: Path):
    """At every length; a killed process's log gives the steps that are whole."""
    from node.eventlog import EventRecorder, LogHeader

    path = tmp_path / "log"
    header = LogHeader("0", GENESIS.id, RICH.account, b"seed")
    with EventRecorder(path, header) as recorder:
        recorder.record(Started(), 5, [])
        recorder.record(Tick(), 6, [])
    whole = path.read_bytes()
    assert [step.event for step in read_log(path).steps()] == [Started(), Tick()]
    assert read_log(path).header == header
    one = len(encode(LoggedStep(6, Tick(), (), b"0" * 32))) + 4
    for length in range(len(whole) - one + 1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(EventLogError, match="cut short"):
            list(read_log(path).steps())
        assert [step.event for step in read_log(path).steps(may_be_cut=True)] == [Started()]
    for damaged in (b"", b"fedlog01", b"fedlog99" + whole[8:], whole[:12] + b"\xc1" + whole[13:]):
        path.write_bytes(damaged)
        with pytest.raises(EventLogError):
            read_log(path)
