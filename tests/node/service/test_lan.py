"""Nodes on one network find each other without being told where: real sockets, on this machine alone."""

import asyncio
import io
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from chain.ids import Hash, Millis
from node.client import Client
from node.config import LogSettings
from node.events import Event, Heard
from node.logs import NodeLog
from node.service.lan import open_lan
from p2p.lan import LAN_GROUP, LAN_PORT
from tests.node.service.houses import make_config, make_genesis, make_home, running_service, until

GENESIS = Hash(bytes(range(32)))


async def test_two_nodes_that_nobody_introduced_connect(tmp_path: Path) -> None:
    """Both look through the local network; neither has an address of the other. One that does not look stays alone."""
    genesis = make_genesis("lan")
    quiet = make_config()
    looking = replace(quiet, network=replace(quiet.network, lan=True))
    settings = {"a": looking, "b": looking, "c": quiet}
    homes = [make_home(tmp_path / name, genesis, config) for name, config in settings.items()]
    async with (
        running_service(homes[0], looking),
        running_service(homes[1], looking),
        running_service(homes[2], quiet),
    ):
        clients = [Client.from_home(home) for home in homes]
        async with clients[0] as first, clients[1] as second, clients[2] as third:
            for _ in range(300):
                await asyncio.sleep(0.1)
                if await first.call("node.peers") and await second.call("node.peers"):
                    break
            assert await first.call("node.peers")
            assert await second.call("node.peers")
            assert await third.call("node.peers") == []


async def test_hellos_become_hints_and_what_else_comes_does_not() -> None:
    """Two doors on loopback: each hears of the other's port; a stranger's bytes are dropped."""
    log = NodeLog(LogSettings(), None, io.StringIO())
    heard: list[list[Event]] = [[], []]
    now = [Millis(10**9)]
    doors = [
        await open_lan(GENESIS, "127.0.0.1", 7001 + number, heard[number].append, lambda: now[0], log.logger)
        for number in range(2)
    ]
    tasks = [asyncio.create_task(door.run()) for door in doors if door is not None]
    assert len(tasks) == 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        stranger.sendto(b"M-SEARCH * HTTP/1.1", (LAN_GROUP, LAN_PORT))
    await until(lambda: bool(heard[0] and heard[1]))
    assert heard == [[Heard("127.0.0.1:7002")], [Heard("127.0.0.1:7001")]]
    for task in tasks:
        task.cancel()
    for door in doors:
        assert door is not None
        door.close()
        door.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.close()


async def test_a_machine_without_a_network_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """No door, a warning that names the remedy, and no fault of the node."""

    def refuse(host: str, port: int) -> socket.socket:
        raise OSError(19, "No such device")

    monkeypatch.setattr("node.service.lan._open_socket", refuse)
    lines = io.StringIO()
    log = NodeLog(LogSettings(), None, lines)
    door = await open_lan(GENESIS, "0.0.0.0", 7001, lambda event: None, lambda: Millis(0), log.logger)
    log.close()
    assert door is None
    assert "No such device" in lines.getvalue()
    assert "[network] connect" in lines.getvalue()
