"""Gateways on real sockets: what is sent is kept once, sums come out, and strangers are told off."""

import asyncio
import csv
import io
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

from chain.address import format_account
from chain.codec import encode
from chain.ids import Hash
from chain.keys import KeyPair
from fl.errors import DataError
from fl.secure import pedersen
from fl.secure.curve import scalar_bytes
from fl.sharing import sums
from fl.sharing.delivery import Reading, Received, SharedReading, Shares, make_deliveries, sign_receipt
from fl.sharing.group import Field, Gateway, SharingGroup
from node.errors import GatewayError, StartupError
from node.gateway.client import GatewayClient
from node.gateway.collect import collect_sums, write_rows, write_sums
from node.gateway.door import MAX_DELIVERY_BYTES, GatewayDoor, open_model
from node.gateway.sender import Outbox
from node.gateway.store import GatewayStore
from storage.errors import DamagedError, ForeignGenesisError

KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 8)]
DEVICES, GATEWAYS = KEYS[:3], KEYS[3:6]
FIELDS = (Field("PM2.5", 0, 1000, 0), Field("TEMP", -40, 60, 1))


@dataclass
class Town:
    """Three gateways that listen, each with a store, and the group that they and three devices are."""

    group: SharingGroup
    doors: list[GatewayDoor]
    stores: list[GatewayStore]
    client: GatewayClient
    path: Path

    def outbox(self, device: int) -> Outbox:
        """Return a device's outbox, opened anew."""
        return Outbox(self.path / f"out{device}", self.group, DEVICES[device])


def group_at(urls: list[str], mode: str = "shares", threshold: int = 2) -> SharingGroup:
    """Return the group whose gateways are at these addresses."""
    gateways = tuple(Gateway(key.account, url) for key, url in zip(GATEWAYS, urls, strict=False))
    return SharingGroup("town", mode, threshold, 2, tuple(key.account for key in DEVICES), gateways, FIELDS)


async def opened(path: Path, mode: str, count: int, model: Path | None = None) -> Town:
    """Return a town whose gateways listen."""
    # Doors need their stores, stores the group, and the group the ports: its id has no URL in it.
    group = group_at([""] * count, mode, 2 if count > 1 else 1)
    stores = [GatewayStore(path / f"gateway{number}" / "town.db", group, GATEWAYS[number]) for number in range(count)]
    doors = [
        GatewayDoor(key, [store], model, structlog.get_logger()) for key, store in zip(GATEWAYS, stores, strict=False)
    ]
    for door in doors:
        await door.open("127.0.0.1", 0)
    group = group_at([f"http://127.0.0.1:{door.port}" for door in doors], mode, group.threshold)
    return Town(group, doors, stores, await GatewayClient().__aenter__(), path)


async def closed(town: Town) -> None:
    """Close everything."""
    await town.client.__aexit__(None, None, None)
    for door, store in zip(town.doors, town.stores, strict=True):
        await door.close()
        store.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """A town in which readings are shared among three gateways."""
    made = await opened(tmp_path, "shares", 3)
    yield made
    await closed(made)


def readings(device: int, labels: str) -> list[Reading]:
    """Return a device's readings: PM2.5 is 10 times its number and the label's place, TEMP the label's place."""
    return [Reading(label, (100 * device + ord(label), 400 + device)) for label in labels]


async def test_a_collector_learns_sums_and_nothing_else(town: Town):
    """Three devices send, one of them late; the table has the mean of each time, and no number of one device."""
    for device, labels in enumerate(("abc", "abc", "ab")):
        box = town.outbox(device)
        box.add(readings(device, labels))
        assert await box.flush(town.client, 1.0) == 1
    found = await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client)
    assert (found.learnt, found.too_few, found.faults) == (2, 0, []), "c is not ready: one device has not sent it"
    found = await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client, everything=True)
    assert found.learnt == 1
    table = list(csv.DictReader(io.StringIO(write_sums(town.group, town.stores[0]))))
    assert table == [
        {"time": "a", "devices": "3", "PM2.5": "197.00", "TEMP": "0.100"},
        {"time": "b", "devices": "3", "PM2.5": "198.00", "TEMP": "0.100"},
        {"time": "c", "devices": "2", "PM2.5": "149.00", "TEMP": "0.050"},
    ]
    kept = b"".join(file.read_bytes() for file in town.path.glob("gateway*/*"))
    assert not any(number.to_bytes(32, "little") in kept for number in (97, 197, 297))


async def test_a_device_that_shares_no_secret_costs_the_others_nothing(town: Town):
    """It is named and left out before anybody is asked, so the sum of the others is there."""
    for device in range(2):
        box = town.outbox(device)
        box.add(readings(device, "a"))
        await box.flush(town.client, 1.0)
    bent, _ = pedersen.split(5, 3, 3, os.urandom)
    commitment = pedersen.commit(5, 1) + b"".join(pedersen.commit(*share) for share in bent)
    for place, (store, (value, hiding)) in enumerate(zip(town.stores, bent, strict=True)):
        content = Shares((SharedReading("a", commitment, scalar_bytes(value), scalar_bytes(hiding)),))
        assert store.take(Received(DEVICES[2].account, 1, Hash(bytes([place]) * 32), content)) is None
    found = await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client)
    assert found.faults == [f"time a: the shares of {format_account(DEVICES[2].account)} give no one secret"]
    assert [(label, devices) for label, devices, _ in town.stores[0].sums()] == [("a", 2)]


async def test_a_gateway_may_be_away(town: Town):
    """Two of three give the sums; with one alone there is none yet, and the very same question brings it later."""
    for device in range(3):
        box = town.outbox(device)
        box.add(readings(device, "ab"))
        await box.flush(town.client, 1.0)
    ports = [door.port for door in town.doors]
    for door in town.doors[1:]:
        await door.close()
    found = await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client)
    assert found.learnt == 0
    assert any("1 of 2 gateways that are needed" in fault for fault in found.faults)
    again = GatewayDoor(GATEWAYS[2], [town.stores[2]], None, structlog.get_logger())
    await again.open("127.0.0.1", ports[2])
    town.doors[2] = again
    found = await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client)
    assert found.learnt == 2


async def test_a_gateway_answers_one_question_for_a_time_even_after_a_restart(town: Town):
    """The collector can't learn a second sum, of one device less: what was answered is on disk."""
    for device in range(3):
        box = town.outbox(device)
        box.add(readings(device, "a"))
        await box.flush(town.client, 1.0)
    await collect_sums(town.group, GATEWAYS[0], town.stores[0], town.client)
    commitments = {device: held.commitment for device, held in list(town.stores[0].held("a").items())[:2]}
    fewer = sums.ask(town.group, "a", commitments)
    assert fewer is not None
    reopened = GatewayStore(town.stores[1].path, town.group, GATEWAYS[1])
    refused = sums.answer(town.group, fewer, reopened.held("a"), reopened.answered("a"))
    reopened.close()
    assert "two sums would show the difference" in refused.fault


async def test_what_was_sent_twice_is_kept_once(town: Town):
    """A receipt that got lost costs nothing; another delivery with an old number, or for an old time, is refused."""
    first = make_deliveries(town.group, DEVICES[0], 5, readings(0, "a"), os.urandom)[0]
    url = town.group.gateways[0].url
    assert await town.client.post(url, "/deliver", first, 64) == await town.client.post(url, "/deliver", first, 64)
    assert town.stores[0].counts()[format_account(DEVICES[0].account)] == 1
    for number, labels, told in ((5, "b", "numbers rise"), (4, "b", "numbers rise"), (6, "ab", "sent its reading")):
        data = make_deliveries(town.group, DEVICES[0], number, readings(0, labels), os.urandom)[0]
        with pytest.raises(GatewayError, match=told):
            await town.client.post(url, "/deliver", data, 64)
    assert town.stores[0].labels() == ["a"], "nothing of a refused delivery is kept"


async def test_strangers_are_told_off_and_nothing_of_theirs_is_kept(town: Town):
    """Bytes, devices outside the group, other groups, requests not by the collector, and too much."""
    url, other = town.group.gateways[1].url, replace(town.group, name="village")
    stranger = make_deliveries(town.group, KEYS[6], 1, readings(0, "a"), os.urandom)[1]
    village = make_deliveries(other, DEVICES[0], 1, readings(0, "a"), os.urandom)[1]
    question = sums.Question("a", (sums.Term(0, bytes(16)), sums.Term(1, bytes(16))))
    forged = sums.make_request(town.group, GATEWAYS[2], GATEWAYS[1].account, (question,))
    for path, data, told in (
        ("/deliver", b"", "not a Delivery"),
        ("/deliver", stranger, "not in the group"),
        ("/deliver", village, "no such group"),
        ("/deliver", bytes(MAX_DELIVERY_BYTES + 1), "at most"),
        ("/sum", b"\x93", "not a Request"),
        ("/sum", forged, "collector did not sign"),
        ("/", b"", "404"),
    ):
        with pytest.raises(GatewayError, match=told) as caught:
            await town.client.post(url, path, data, 64)
        assert caught.value.is_final
    assert town.stores[1].labels() == []


async def test_an_outbox_survives_a_crash(town: Town, monkeypatch: pytest.MonkeyPatch):
    """Unsent deliveries go out first, the very same ones; one that ``last`` does not know was never sent."""
    box = town.outbox(0)
    box.add(readings(0, "a"))
    box.add(readings(0, "b"))
    monkeypatch.setattr("node.gateway.sender.write_file", _fail_at_last)
    with pytest.raises(OSError, match="power"):
        box.add(readings(0, "c"))
    monkeypatch.undo()
    again = town.outbox(0)
    assert again.label == "b"
    assert await again.flush(town.client, 1.0) == 2
    again.add(readings(0, "c"))
    assert await again.flush(town.client, 1.0) == 1
    assert town.stores[2].labels() == ["a", "b", "c"]
    assert sorted(file.name for file in (town.path / "out0").iterdir()) == ["last"]


def _fail_at_last(file: Path, data: bytes) -> None:
    if file.name == "last":
        raise OSError("the power went off")
    file.write_bytes(data)


async def test_a_receipt_of_somebody_else_is_noticed(town: Town):
    """Whoever answers at the gateway's address without its key gets nothing deleted from the outbox."""

    async def swallow(request: web.Request) -> web.Response:
        return web.Response(body=sign_receipt(KEYS[6], await request.read()))

    application = web.Application()
    application.add_routes([web.post("/deliver", swallow)])
    async with TestServer(application) as somebody:
        urls = [gateway.url for gateway in town.group.gateways]
        group = group_at([urls[0], str(somebody.make_url("/")).rstrip("/"), urls[2]])
        box = Outbox(town.path / "out", group, DEVICES[0])
        box.add(readings(0, "a"))
        with pytest.raises(GatewayError, match="the receipt is not the gateway's"):
            await box.flush(town.client, 0.0)
    assert len(list((town.path / "out").glob("out.*"))) == 1


async def test_a_gateway_that_is_away_is_waited_for(town: Town):
    """For as long as the patience lasts; what was not sent stays."""
    port = town.doors[1].port
    await town.doors[1].close()
    box = town.outbox(0)
    box.add(readings(0, "a"))
    with pytest.raises(GatewayError, match=f"127.0.0.1:{port}"):
        await box.flush(town.client, 0.0)
    waiting = asyncio.create_task(box.flush(town.client, 10.0))
    await asyncio.sleep(0.05)
    town.doors[1] = GatewayDoor(GATEWAYS[1], [town.stores[1]], None, structlog.get_logger())
    await town.doors[1].open("127.0.0.1", port)
    assert await waiting == 1


async def test_a_sealed_group_has_rows(tmp_path: Path):
    """The one gateway reads them as they are, missing fields too; and hands out the model it was given, signed."""
    model = tmp_path / "model.npz"
    town = await opened(tmp_path, "sealed", 1, model)
    box = town.outbox(1)
    box.add([Reading("a", (5, None)), Reading("b", (6, 250))])
    await box.flush(town.client, 1.0)
    account = format_account(DEVICES[1].account)
    assert write_rows(town.group, town.stores[0]) == f"time,device,PM2.5,TEMP\na,{account},5,\nb,{account},6,-15.0\n"
    url = town.group.gateways[0].url
    with pytest.raises(GatewayError, match="no model here yet"):
        await town.client.get(url, "/model", 100)
    model.write_bytes(b"weights")
    answer = await town.client.get(url, "/model", 100)
    assert open_model(town.group, answer) == (GATEWAYS[0].account, b"weights")
    assert open_model(town.group, answer + b"x") is None
    with pytest.raises(GatewayError, match="more than 70 bytes"):
        await town.client.get(url, "/model", 70)
    await closed(town)


async def test_a_door_that_cannot_open_says_so(town: Town):
    """The port is taken."""
    door = GatewayDoor(GATEWAYS[0], [town.stores[0]], None, structlog.get_logger())
    with pytest.raises(StartupError, match=str(town.doors[0].port)):
        await door.open("127.0.0.1", town.doors[0].port)


def test_a_store_of_another_group_is_refused(tmp_path: Path):
    """Shares of one group must not be added up by the rules of another."""
    GatewayStore(tmp_path / "a.db", group_at(["", "", ""]), GATEWAYS[0]).close()
    with pytest.raises(ForeignGenesisError, match="another group"):
        GatewayStore(tmp_path / "a.db", replace(group_at(["", "", ""]), least=3), GATEWAYS[0])
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


def test_an_outbox_that_was_tampered_with_says_so(tmp_path: Path):
    """Damage names its file and the remedy."""
    box = Outbox(tmp_path, group_at(["", "", ""]), DEVICES[0])
    with pytest.raises(DataError, match="a delivery has 1 to"):
        box.add([])
    (tmp_path / "last").write_text("many a")
    with pytest.raises(DamagedError, match="is no number"):
        Outbox(tmp_path, group_at(["", "", ""]), DEVICES[0])


@pytest.mark.parametrize("mode", ["shares", "sealed"])
async def test_a_gateways_file_shows_no_reading_and_none_can_be_exchanged(tmp_path: Path, mode: str):
    """Values are sealed under the gateway's key, each for its label and device: another key, or place, opens none."""
    town = await opened(tmp_path, mode, 3 if mode == "shares" else 1)
    for device in range(2):
        box = town.outbox(device)
        box.add([Reading("a", (345, 321 + device))])
        await box.flush(town.client, 1.0)
    path = town.stores[0].path
    await closed(town)
    found = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert encode((345, 321))[1:] not in found

    def read(key: KeyPair) -> object:
        store = GatewayStore(path, town.group, key)
        try:
            return store.held("a") if mode == "shares" else list(store.rows())
        finally:
            store.close()

    assert read(GATEWAYS[0])
    with pytest.raises(DamagedError, match="this gateway's key"):
        read(GATEWAYS[1])
    base = sqlite3.connect(path)
    first, second = base.execute("SELECT device, sealed FROM readings ORDER BY device").fetchall()
    for device, sealed in ((first[0], second[1]), (second[0], first[1])):
        base.execute("UPDATE readings SET sealed = ? WHERE device = ?", (sealed, device))
    base.commit()
    base.close()
    with pytest.raises(DamagedError, match="this gateway's key"):
        read(GATEWAYS[0])
