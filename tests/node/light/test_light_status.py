"""A light device says who lied to it: in ``node.status``, in ``fedchain status``, in its metrics and its log."""

import io
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from rich.console import Console

from chain.address import format_account
from chain.ids import Hash
from commands.node import _status_facts
from node.client import Client
from node.config import DeviceSettings
from node.core.headstates import HeadStates
from tests.node.service.houses import RICH, make_config, make_genesis, make_home, running_service, until

GENESIS = make_genesis()


async def test_who_lied_what_about_and_when_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one full node there is answers with garbage: the device names it, the height, the lie and the moment."""
    monkeypatch.setattr(HeadStates, "part", lambda desk, block, question: _garbage(block, question))
    (tmp_path / "rows.csv").write_text("a,b,y\n0,1,1\n")
    began = time.time() * 1000 - 1
    full_home = make_home(tmp_path / "full", GENESIS, make_config(mine=True), key=RICH)
    async with running_service(full_home, make_config(mine=True)) as full:
        device = DeviceSettings(data=str(tmp_path / "rows.csv"), consent=True, any_plan=True, light=True)
        config = replace(make_config(connect=[full.running.listening]), device=device)
        home = make_home(tmp_path / "light", GENESIS, config)
        async with running_service(home, config) as light, Client.from_home(home) as client:
            await until(lambda: _lied(client), what="for a lie to be found out")
            status = await client.status()
            async with aiohttp.ClientSession() as session, session.get(f"{light.running.url}/metrics") as answer:
                metrics = await answer.text()
        async with Client.from_home(full_home) as client:
            assert (await client.status()).liars == (), "nobody lies to a full node"
    liar = status.liars[0]
    assert liar.peer == format_account(RICH.account, GENESIS.prefix)
    assert "does not fit the question" in liar.reason
    assert liar.height <= status.target
    assert began <= liar.time_ms <= time.time() * 1000 + 1
    assert "fedchain_lies_total 1.0" in metrics
    text = io.StringIO()
    Console(file=text, width=400).print(_status_facts(status, None))
    shown = next(line for line in text.getvalue().splitlines() if line.strip().startswith("liar"))
    assert liar.peer in shown
    assert f"at height {liar.height}: {liar.reason}" in shown
    told = [line for line in light.log() if line["event"] == "peer-lied"]
    assert [line["level"] for line in told] == ["warning"]


def _garbage(block: Hash, question: bytes) -> bytes:
    return b"\xc1 no answer"


async def _lied(client: Client) -> bool:
    return bool((await client.status()).liars)
