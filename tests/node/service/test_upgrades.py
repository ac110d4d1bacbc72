"""An upgrade of real services over TLS: the old one stops below the height and says so, the new one goes on."""

from dataclasses import replace
from pathlib import Path

from chain.upgrades import write_upgrades
from node.client import Client
from storage.directory import DataDirectory
from tests.node.service.houses import House, make_config, make_genesis, make_home, running_service, until

AT = 4
GENESIS = make_genesis("upgrading", block_ms=200)


def adopt(home: Path, version: int) -> Path:
    """Put the upgrade beside the genesis, as ``fedchain upgrade adopt`` does."""
    entry = {"height": AT, "version": version, "release": "fedchain 4"}
    DataDirectory(home).upgrades_file.write_text(write_upgrades(GENESIS, [entry]))
    return home


async def height(house: House) -> int:
    async with Client.from_home(house.home) as node:
        return (await node.status()).height


async def test_an_old_service_stops_below_the_upgrade_and_a_new_one_goes_on(tmp_path: Path):
    """The network is one: same id, same handshake. The old node's state, reason and log say what to do; it restarts
    under the upgrade on the same directory and catches up."""
    new, old = adopt(make_home(tmp_path / "new", GENESIS), 2), adopt(make_home(tmp_path / "old", GENESIS), 9)
    async with running_service(new, make_config(mine=True)) as first:
        link = make_config(connect=[first.running.listening])
        async with running_service(old, replace(link, mining=make_config(mine=True).mining)) as second:
            await until(lambda: is_above(first, AT + 3), seconds=60)
            async with Client.from_home(old) as node:
                await until(lambda: has_state(node, "outdated"), seconds=30)
                status = await node.status()
            assert status.height == AT - 1
            assert "install fedchain 4" in status.reason
            lines = [str(line.get("text")) for line in second.log() if line["event"] == "role"]
            assert any(f"from block {AT} on" in line for line in lines)
        adopt(old, 2)
        async with running_service(old, link) as third:
            await until(lambda: is_above(third, AT + 3), seconds=60)
            async with Client.from_home(old) as node:
                assert (await node.genesis()).rules_at(AT).version == 2


async def is_above(house: House, least: int) -> bool:
    return await height(house) >= least


async def has_state(node: Client, state: str) -> bool:
    return (await node.status()).state == state
