"""Services in one process: they find each other over TLS, agree, and refuse what does not fit."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from chain.keys import KeyPair
from node.client import Client
from node.config import DeviceSettings
from node.errors import ConfigError, StartupError
from node.home import create_home
from node.service.home import (
    open_home,
    read_settings,
)
from storage.errors import KeystoreError, LockedError, UseError, WrongPasswordError
from tests.node.service.houses import (
    RICH,
    House,
    make_config,
    make_genesis,
    make_home,
    running_service,
    until,
    with_port,
)

GENESIS = make_genesis()


async def agree(*clients: Client, height: int) -> bool:
    """Have all the same head, at ``height`` or above?"""
    seen = [await client.status() for client in clients]
    return len({status.head for status in seen}) == 1 and seen[0].height >= height


async def test_two_nodes_find_each_other_and_agree(tmp_path):
    """One mines; the other connects, follows, and its transfer gets into the miner's blocks."""
    homes = [make_home(tmp_path / name, GENESIS, key=key) for name, key in (("a", RICH), ("b", None))]
    async with (
        running_service(homes[0], make_config(mine=True)) as miner,
        running_service(homes[1], make_config(connect=[miner.running.listening])),
        Client.from_home(homes[0]) as first,
        Client.from_home(homes[1]) as second,
    ):
        await until(lambda: agree(first, second, height=5))
        (peer,) = await second.peers()
        assert peer.peer == (await first.status()).account
        id = await second.transfer(KeyPair(b"x" * 32).account, 10, RICH)
        included = await second.wait_for_transaction(id, timeout_s=60)
        assert (await first.transaction(id)).block == included.block
        assert (await second.supply()).minted > 0
        await until(lambda: agree(first, second, height=included.height + 1))


async def test_a_node_that_comes_later_catches_up(tmp_path):
    """It was not there when the blocks were made, and ends at the same head after a restart of both."""
    homes = [make_home(tmp_path / name, GENESIS, key=key) for name, key in (("a", RICH), ("b", None))]
    async with running_service(homes[0], make_config(mine=True)), Client.from_home(homes[0]) as first:
        await until(lambda: agree(first, height=30))
        head = (await first.status()).height
    async with (
        running_service(homes[0], make_config()) as first_house,
        running_service(homes[1], make_config()),
        Client.from_home(homes[0]) as first,
        Client.from_home(homes[1]) as second,
    ):
        assert (await first.status()).height >= head
        await second.connect(first_house.running.listening)
        await until(lambda: agree(first, second, height=head))


def reasons(house: House) -> str:
    """Everything a node logged about connections that ended."""
    return " | ".join(str(line.get("reason")) for line in house.log() if line["event"] == "connection closed")


async def test_another_network_is_refused_and_both_say_why(tmp_path):
    """The handshake names the genesis, in the log of the one who refuses and of the one refused."""
    stranger_genesis = make_genesis("elsewhere")
    ours, theirs = make_home(tmp_path / "a", GENESIS), make_home(tmp_path / "b", stranger_genesis)
    async with (
        running_service(ours, make_config()) as house,
        running_service(theirs, make_config(connect=[house.running.listening])) as stranger,
    ):
        await until(lambda: "genesis" in reasons(house).lower() or "chain" in reasons(house).lower())
        await until(lambda: "genesis" in reasons(stranger).lower() or "chain" in reasons(stranger).lower())
        async with Client.from_home(ours) as first, Client.from_home(theirs) as second:
            assert await first.peers() == ()
            assert await second.peers() == ()


async def test_a_directory_serves_one_node_at_a_time(tmp_path):
    """The second one is told so, and who holds it; the first goes on."""
    home = make_home(tmp_path / "a", GENESIS)
    async with running_service(home, make_config()), Client.from_home(home) as client:
        with pytest.raises(LockedError, match="in use by another process"):
            open_home(home)
        assert (await client.status()).height == 0
    open_home(home).close()


@pytest.mark.parametrize("door", ["network", "rpc"])
async def test_a_port_in_use_is_named_with_its_remedy(tmp_path, door):
    """Which port, for what, and which setting changes it; the directory is free again afterwards."""
    other = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    home = make_home(tmp_path / "a", GENESIS)
    with pytest.raises(StartupError) as caught:
        async with running_service(home, with_port(make_config(), **{door: port})):
            pass
    other.close()
    assert f"port {port}" in caught.value.cause
    assert f"[{door}] port" in caught.value.remedy
    assert not (home / "rpc.json").exists()
    open_home(home).close()


async def test_missing_data_is_said_at_the_start(tmp_path):
    """A device whose file is not there does not begin to wait for tasks."""
    home = make_home(tmp_path / "a", GENESIS)
    config = replace(make_config(), device=DeviceSettings(data="ward.csv", consent=True))
    with pytest.raises(StartupError, match=r"ward\.csv"):
        async with running_service(home, config):
            pass


async def test_stopping_leaves_nothing_behind_that_says_it_runs(tmp_path):
    """rpc.json and rpc.cookie go with the node; the log says how it began and how it ended."""
    home = make_home(tmp_path / "a", GENESIS)
    async with running_service(home, make_config()) as house:
        assert (home / "rpc.json").exists()
    assert not (home / "rpc.json").exists()
    assert not (home / "rpc.cookie").exists()
    events = [line["event"] for line in house.log()]
    assert events.index("node started") < events.index("stopping") < events.index("node stopped")


async def test_stop_through_rpc_is_a_stop_in_order(tmp_path):
    """node.stop answers before the node is gone."""
    home = make_home(tmp_path / "a", GENESIS)
    async with running_service(home, make_config()) as house:
        async with Client.from_home(home) as client:
            await client.stop()
        assert house.service.is_stopping


async def test_a_fault_of_the_core_ends_the_node_loudly(tmp_path, monkeypatch):
    """An exception that no rule foresees: exit code 1, the cause in the log, nothing handled afterwards."""
    home = make_home(tmp_path / "a", GENESIS)

    def fail(*_: object) -> None:
        raise MemoryError("no memory for the test's sake")

    async with running_service(home, make_config(), code=1) as house:
        monkeypatch.setattr("node.core.monitor.Monitor._refresh", fail)
        await until(lambda: house.service.is_stopping)
        monkeypatch.undo()
    (line,) = [line for line in house.log() if line["level"] == "error"]
    assert "no memory for the test's sake" in str(line["exception"])


async def test_a_client_finds_a_node_that_started_anew(tmp_path):
    """Another port and another cookie: calls and the stream of events go on, and the stream says where it was cut."""
    home = make_home(tmp_path / "a", GENESIS)
    marks: list[str] = []
    mark = marks.append

    async def listen(client: Client) -> None:
        async for event in client.events(["status"]):
            mark(str(event.data.get("url")))

    async with AsyncExitStack() as stack:
        async with running_service(home, make_config()) as first:
            client = await stack.enter_async_context(Client.from_home(home))
            listener = asyncio.create_task(listen(client))
            await until(lambda: first.running.url in marks)
            await client.connect("127.0.0.1:9")
        async with running_service(home, make_config()) as second:
            assert second.running.url != first.running.url
            await client.connect("127.0.0.1:9")
            await until(lambda: second.running.url in marks)
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


# --- data directories ------------------------------------------------------------------------------


def test_a_new_directory_holds_genesis_settings_and_key(tmp_path):
    """What ``init`` makes opens, is for its owner alone, and has the settings it was given."""
    config = make_config(mine=True)
    create_home(tmp_path / "home", GENESIS, config, key=RICH)
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert read_settings(tmp_path / "home") == config
    with open_home(tmp_path / "home") as home:
        assert home.key.account == RICH.account
        assert home.genesis == GENESIS
        assert home.store.height() == 0


def test_a_directory_is_not_made_twice(tmp_path):
    """The key of the first stays."""
    create_home(tmp_path / "home", GENESIS, key=RICH)
    with pytest.raises(UseError, match="already is a data directory"):
        create_home(tmp_path / "home", GENESIS)
    with open_home(tmp_path / "home") as home:
        assert home.key.account == RICH.account


def test_a_wrong_password_opens_nothing(tmp_path):
    """Neither a wrong one nor none; the lock is free again."""
    create_home(tmp_path / "home", GENESIS, password="right")
    for password in ("wrong", None):
        with pytest.raises(WrongPasswordError):
            open_home(tmp_path / "home", password)
    open_home(tmp_path / "home", "right").close()


@pytest.mark.parametrize(
    ("name", "use", "error"),
    [
        ("genesis.json", open_home, UseError),
        ("keys/node.json", open_home, KeystoreError),
        ("config.toml", read_settings, ConfigError),
    ],
)
def test_a_missing_file_is_named(tmp_path, name, use, error):
    """Whichever it is, its name is in the message."""
    create_home(tmp_path / "home", GENESIS)
    (tmp_path / "home" / name).unlink()
    with pytest.raises(error, match=Path(name).stem):
        use(tmp_path / "home")
