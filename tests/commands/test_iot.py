"""``fedchain iot``: readings from a table to a gateway's table, the model back, and keys kept by several."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from chain.keys import KeyPair
from fl.sharing.group import read_group
from node.gateway.door import GatewayDoor
from node.gateway.store import GatewayStore
from storage.keystore import KeyFiles
from tests.commands.terminal import done, fedchain

GROUP = """
name = "yard"
mode = "sealed"
threshold = 1
least = 1
devices = ["{device}"]
[[gateways]]
account = "{gateway}"
url = "http://127.0.0.1:{port}"
[[fields]]
name = "PM2.5"
low = 0
high = 1000
decimals = 0
"""


def failed(*arguments: object, code: int) -> dict[str, str]:
    """Run a command with --json, see that it fails with this code, and return its error."""
    answer = fedchain(*arguments, "--json")
    assert answer.code == code, answer.out + answer.err
    return answer.error


@pytest.fixture
def accounts(tmp_path: Path) -> dict[str, str]:
    """Keys of a sensor, a gateway and a neighbour in tmp_path; their accounts by name."""
    return {name: done("keys", "new", name, "--out", tmp_path)["account"] for name in ("sensor", "gateway", "other")}


@contextmanager
def listening(path: Path, accounts: dict[str, str], model: Path) -> Iterator[Path]:
    """Run a gateway's door in a thread; yields the group's file."""
    loop, file = asyncio.new_event_loop(), path / "yard.toml"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    async def opened() -> tuple[GatewayDoor, GatewayStore]:
        group = read_group(GROUP.format(port=1, device=accounts["sensor"], gateway=accounts["gateway"]))
        key = KeyFiles(path).load("gateway")
        store = GatewayStore(path / "kept" / f"{group.id.hex()[:16]}.db", group, key)
        door = GatewayDoor(key, [store], model, structlog.get_logger())
        await door.open("127.0.0.1", 0)
        return door, store

    async def closed(door: GatewayDoor, store: GatewayStore) -> None:
        await door.close()
        store.close()

    try:
        parts = wait(opened())
        file.write_text(GROUP.format(port=parts[0].port, device=accounts["sensor"], gateway=accounts["gateway"]))
        yield file
        wait(closed(*parts))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_readings_reach_the_gateways_table_once(tmp_path: Path, accounts: dict[str, str]):
    """A table is sent twice, longer the second time; a bad line is told and costs nothing else; a model comes back."""
    table, model = tmp_path / "readings.csv", tmp_path / "model.npz"
    model.write_bytes(b"weights")
    with listening(tmp_path, accounts, model) as group:
        table.write_text("when,PM2.5,wind\n2015-01-01 00,7,N\n2015-01-01 01,NA,N\n")
        send = ("iot", "stream", group, table, "--key", tmp_path / "sensor.json", "--time", "when")
        assert done(*send) == {"sent": 2, "earlier": 0, "incomplete": 0, "refused": 0}
        table.write_text(table.read_text() + "2015-01-01 02,1001,N\n2015-01-01 03,12,N\n")
        assert done(*send, "--batch", "1") == {"sent": 1, "earlier": 2, "incomplete": 0, "refused": 1}
        more = ("iot", "stream", group, "-", "--key", tmp_path / "sensor.json", "--batch", "1")
        assert done(*more, given="time,PM2.5\n2015-01-01 04,9.5\n")["sent"] == 1
        take = ("--key", tmp_path / "gateway.json", "--out", tmp_path / "kept", "--to", tmp_path / "rows.csv")
        assert done("iot", "collect", group, *take)["devices"] == {accounts["sensor"]: 4}
        later = fedchain("iot", "collect", group, *take[:-1], "-", "--after", "2015-01-01 03")
        assert later.out == f"time,device,PM2.5\n2015-01-01 04,{accounts['sensor']},10\n"
        fetched = done("iot", "model", group, "--to", tmp_path / "fetched.npz")
        assert fetched["gateway"] == accounts["gateway"]
    sensor = accounts["sensor"]
    rows = f"time,device,PM2.5\n2015-01-01 00,{sensor},7\n2015-01-01 01,{sensor},\n2015-01-01 03,{sensor},12\n"
    rows += f"2015-01-01 04,{sensor},10\n"
    assert (tmp_path / "rows.csv").read_text() == rows
    assert (tmp_path / "fetched.npz").read_bytes() == b"weights"


def test_wrong_keys_and_tables_are_told_with_the_remedy(tmp_path: Path, accounts: dict[str, str]):
    """Whose key it must be, which column is missing, what is wrong with a group's file."""
    group, table = tmp_path / "yard.toml", tmp_path / "readings.csv"
    group.write_text(GROUP.format(port=1, device=accounts["sensor"], gateway=accounts["gateway"]))
    table.write_text("time,wind\n1,N\n")
    own, other = ("--key", tmp_path / "sensor.json"), ("--key", tmp_path / "other.json")
    assert "none of its devices" in failed("iot", "stream", group, table, *other, code=2)["cause"]
    assert "no column PM2.5" in failed("iot", "stream", group, table, *own, code=2)["cause"]
    kept = ("--out", tmp_path / "kept")
    assert "not the group's collector" in failed("iot", "collect", group, *own, *kept, "--to", table, code=2)["cause"]
    assert "none of its gateways" in failed("iot", "gateway", group, *own, *kept, code=2)["cause"]
    group.write_text('name = "yard"')
    assert "yard.toml: a group has the keys" in failed("iot", "stream", group, table, *own, code=1)["cause"]


def test_a_time_that_is_a_word_ends_no_series(tmp_path: Path, accounts: dict[str, str]):
    """As texts words come after all dates: sent once, it would have every later reading passed over."""
    table = tmp_path / "readings.csv"
    table.write_text("time,PM2.5\n2026-01-01,3\nnan,4\n,4\n2026-01-02,5\n")
    with listening(tmp_path, accounts, tmp_path / "none.npz") as group:
        answer = fedchain("iot", "stream", group, "--key", tmp_path / "sensor.json", table, "--json")
    assert (answer.json["sent"], answer.json["refused"]) == (2, 1)
    assert "line 3 is not sent: the time 'nan' must begin with a digit" in " ".join(answer.err.split())


def test_a_gateway_that_is_away_costs_no_reading(tmp_path: Path, accounts: dict[str, str]):
    """What to do is told; what was read is in the outbox."""
    group, table = tmp_path / "away.toml", tmp_path / "readings.csv"
    group.write_text(GROUP.format(port=9, device=accounts["sensor"], gateway=accounts["gateway"]))
    table.write_text("time,PM2.5\n1,3\n")
    words = ("iot", "stream", group, "--key", tmp_path / "sensor.json", table, "--patience", "0")
    error = failed(*words, code=1)
    assert "nobody listens there" in error["cause"]
    assert "wait in the outbox" in error["remedy"]


def test_a_key_comes_back_from_two_of_three(tmp_path: Path, accounts: dict[str, str]):
    """Each share opens for who keeps it alone; one that was changed is named."""
    keepers = ("--to", accounts["gateway"], "--to", accounts["other"], "--to", accounts["sensor"])
    split = done("iot", "split-key", tmp_path / "sensor.json", *keepers, "--out", tmp_path / "shares")
    first, second = (Path(file) for file in split["files"][:2])
    opened = []
    for file, keeper in ((first, "gateway"), (second, "other")):
        opened.append(tmp_path / f"{keeper}.opened")
        done("iot", "open-share", file, "--key", tmp_path / f"{keeper}.json", "--to", opened[-1])
    told = failed("iot", "open-share", first, "--key", tmp_path / "other.json", "--to", tmp_path / "x", code=1)
    assert "not sealed for this key" in told["cause"]
    joined = done("iot", "join-key", *opened, "--to", tmp_path / "again.json")
    assert joined["account"] == accounts["sensor"]
    assert isinstance(KeyFiles(tmp_path).load("again"), KeyPair)
    *whole, last = opened[1].read_bytes()
    opened[1].write_bytes(bytes([*whole, last ^ 1]))
    told = failed("iot", "join-key", *opened, "--to", tmp_path / "wrong.json", code=1)
    assert "other.opened: the share with number 2 is wrong" in told["cause"]
