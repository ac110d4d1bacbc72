"""``peers.dat``: what a node remembers of its peers over restarts, and what it makes of a file that is damaged."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.address import format_account
from chain.ids import Millis
from chain.keys import KeyPair
from node.client import Client, Refused
from node.errors import StartupError
from node.service.peerfile import FILE, read_former_peers, read_peers, write_peers
from p2p.saved import SavedAddress, SavedBan, SavedPeers
from tests.node.service.houses import make_config, make_genesis, make_home, read_log_lines, running_service, until

GENESIS = make_genesis()
PEERS = SavedPeers(
    bytes(32),
    (SavedAddress("8.8.8.8:7000", "9.9.9.9", True, Millis(1), Millis(2), 0),),
    ("8.8.8.8:7000",),
    (SavedBan("9.9.9.9", Millis(5), "flooding"),),
)


def test_what_is_written_is_read_and_replaces_the_former_list(tmp_path):
    """A former version's list of addresses is read until there is the new file, and then gone."""
    (tmp_path / "peers.json").write_text('["a.example:1", "[::1]:2", "nowhere"]')
    assert read_former_peers(tmp_path) == ("a.example:1", "[::1]:2")
    assert read_peers(tmp_path) == (None, "")
    write_peers(tmp_path, PEERS)
    assert read_peers(tmp_path) == (PEERS, "")
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_former_list_that_is_damaged_is_empty(tmp_path):
    """Whatever it holds."""
    for text in ("", "{}", "[1, null, {}]", '["nowhere"]', "\x00", "[" * 100_000):
        (tmp_path / "peers.json").write_text(text)
        assert read_former_peers(tmp_path) == ()


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"fedpeer1" + data))
def test_any_bytes_are_set_aside_and_no_reason_to_stop(tmp_path_factory, data: bytes):
    """Nothing is raised, what is wrong is said, the file is kept for a look."""
    home = tmp_path_factory.mktemp("home")
    (home / FILE).write_bytes(data)
    remembered, problem = read_peers(home)
    assert remembered is None
    assert problem
    assert (home / "peers.dat.damaged").read_bytes() == data
    assert read_peers(home) == (None, "")


async def test_a_node_remembers_who_it_was_connected_to_and_whom_it_banned(tmp_path):
    """Its own choice of peer anchors the next run; bans last; with a damaged file the node starts and says so."""
    one, two = make_home(tmp_path / "one", GENESIS), make_home(tmp_path / "two", GENESIS)
    passive = make_config()
    passive = replace(passive, network=replace(passive.network, outbound=0))  # it would dial back
    async with running_service(one, passive) as first:
        async with Client.from_home(one) as node:
            account = (await node.status()).account
        connect = (first.running.listening,)
        async with (
            running_service(two, make_config(connect=[f"{account}@{connect[0]}"])),
            Client.from_home(two) as node,
        ):
            await until(lambda: _count_peers(node, 1))
            assert (await node.addresses()).anchors == connect
            await node.ban(account, minutes=5, reason="a test")
            assert [(ban.subject, ban.reason) for ban in await node.bans()] == [(account, "a test")]
            await until(lambda: _count_peers(node, 0))
            with pytest.raises(Refused, match="this machine"):
                await node.ban("127.0.0.1")
            await node.unban(account)
            with pytest.raises(Refused, match="is not banned"):
                await node.unban(account)
            await node.connect(f"{account}@{connect[0]}")
            await until(lambda: _count_peers(node, 1))
            await node.ban("9.9.9.9")
    remembered, problem = read_peers(two)
    assert problem == ""
    assert remembered is not None
    assert remembered.anchors == connect
    assert [ban.subject for ban in remembered.bans] == ["9.9.9.9"]
    assert [each.address for each in remembered.addresses if each.is_tried] == list(connect)
    (two / FILE).write_bytes(b"fedpeer1 and nothing that makes sense")
    async with running_service(two, make_config()):
        pass
    assert any(line["event"] == "the list of peers can't be read" for line in read_log_lines(two))


async def test_whoever_else_answers_at_a_pinned_address_is_turned_away(tmp_path):
    """The log says whose key was there; nobody becomes a peer."""
    one, two = make_home(tmp_path / "one", GENESIS), make_home(tmp_path / "two", GENESIS)
    other = format_account(KeyPair(b"x" * 32).account, GENESIS.prefix)
    async with (
        running_service(one, make_config()) as first,
        running_service(two, make_config(connect=[f"{other}@{first.running.listening}"])) as second,
        Client.from_home(two) as node,
    ):
        await until(lambda: any("another node is there" in str(line.get("reason")) for line in second.log()))
        assert await node.peers() == ()


async def test_a_pin_that_is_no_account_of_the_network_stops_the_start(tmp_path):
    """The setting is named, and what is wrong with it."""
    home = make_home(tmp_path / "one", GENESIS)
    stranger = format_account(KeyPair(b"x" * 32).account, "other")
    with pytest.raises(StartupError, match=r"network\.connect.*not of this network"):
        async with running_service(home, make_config(connect=[f"{stranger}@127.0.0.1:1"])):
            pass


async def _count_peers(node: Client, count: int) -> bool:
    return len(await node.peers()) == count
