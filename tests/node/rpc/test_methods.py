"""The RPC of a real node: every method, whatever is sent, and who may send it."""

import asyncio
import io
import json
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import jsonschema
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chain.address import format_account
from chain.codec import decode, encode
from chain.ids import Amount, Hash
from chain.keys import KeyPair
from chain.transaction import SignedTransaction, Transfer
from consensus.records import Account
from consensus.statekeys import account_key
from consensus.tree import StateProof, verify_state_proof
from node.client import (
    BadCall,
    Client,
    ConnectionRefused,
    NotFound,
    ProtocolError,
    Refused,
    Timeout,
    Unauthorized,
)
from node.rpc.door import open_door
from node.rpc.hub import QUEUE_EVENTS, TOPICS, EventHub
from node.rpc.methods import make_registry, openrpc_document
from tests.node.service.houses import RICH, ROOT, House, make_config, make_genesis, make_home, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = KeyPair(b"o" * 32)
METHODS = make_registry().methods


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A node that mines alone, and owns all coins."""
    home = make_home(tmp_path_factory.mktemp("rpc") / "home", make_genesis(), key=RICH)
    async with running_service(home, make_config(mine=True)) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(house: House) -> AsyncIterator[Client]:
    async with Client.from_home(house.home) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stranger(house: House) -> AsyncIterator[Client]:
    """A client without the cookie."""
    async with Client(house.running.url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def http(house: House) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=house.running.url) as session:
        yield session


# --- what it tells ---------------------------------------------------------------------------------


async def test_the_node_describes_itself(node: Client, http: aiohttp.ClientSession):
    """``rpc.discover`` and /openrpc.json both give the document of the repository."""
    expected = json.loads((ROOT / "node" / "rpc" / "openrpc.json").read_text(encoding="utf-8"))
    assert await node.call("rpc.discover") == expected
    async with http.get("/openrpc.json") as response:
        assert await response.json() == expected


async def test_every_result_has_the_shape_that_is_described(node: Client):
    """What each reading method returns is checked against its schema in the OpenRPC document."""
    await node.transfer(OTHER.account, 1, RICH)
    document = openrpc_document(make_registry())
    account = (await node.status()).account
    head = await node.block()
    arguments = {
        "account.get": [{"account": account}, {"account": account, "prove": True}],
        "block.get": [{}, {"height": 0}, {"id": head.id}],
        "state.proof": [{"key": account_key(RICH.account).hex()}, {"key": b"s/nothing".hex()}],
    }
    looked_at = set()
    for method in document["methods"]:
        # Plans, transactions and payloads have tests of their own; this network has no validators.
        if method["x-needs-cookie"] or method["name"].startswith(("plan.", "transaction.", "payload.", "stake.")):
            continue
        schema = method["result"]["schema"] | {"components": document["components"]}
        for params in arguments.get(method["name"], [{}]):
            jsonschema.validate(await node.call(method["name"], **params), schema)
            looked_at.add(method["name"])
    assert looked_at >= set(arguments)


async def test_a_transfer_is_seen_waiting_then_included(node: Client):
    """From the mempool into a block, with the coins moved and nothing minted beside the subsidy."""
    receiver = KeyPair(b"t" * 32).account
    id = await node.transfer(receiver, 1234, RICH)
    assert (await node.transaction(id)).state in ("waiting", "included")
    view = await node.wait_for_transaction(id, timeout_s=60)
    assert view.confirmations >= 1
    block = await node.block(height=view.height)
    assert block.transactions is not None
    assert block.transactions[view.position]["id"] == id.hex()
    assert block.events is not None
    moved = [event for event in block.events if event["kind"] == "transferred" and event["amount"] == 1234]
    assert [event["to"] for event in moved] == [format_account(receiver)]
    assert (await node.account(receiver)).balance == 1234
    supply = await node.supply()
    assert supply.minted == supply.circulating + supply.escrowed + supply.bonded


async def test_the_node_signs_with_its_own_key_on_request(node: Client):
    """Without a key of one's own the cookie lets the node pay."""
    id = await node.transfer(OTHER.account, 5)
    sent = decode(bytes.fromhex((await node.transaction(id)).encoded), SignedTransaction)
    assert sent.transaction.sender == RICH.account
    assert sent.is_signed()


async def test_two_transfers_in_a_row_get_their_own_nonces(node: Client):
    """The second one counts the first, which still waits."""
    first, second = await node.transfer(OTHER.account, 1, RICH), await node.transfer(OTHER.account, 2, RICH)
    nonces = []
    for id in (first, second):
        view = await node.wait_for_transaction(id, timeout_s=60)
        assert view.state == "included"
        nonces.append(decode(bytes.fromhex(view.encoded), SignedTransaction).transaction.nonce)
    assert nonces[1] == nonces[0] + 1


async def test_a_transfer_that_waits_is_replaced_by_the_node(node: Client):
    """The new one takes its nonce for more fee, and a block holds it; one that waits no more can't be replaced."""
    await node.pause_miner()
    try:
        first = await node.transfer(OTHER.account, 5)
        second = await node.replace(first, Transfer(OTHER.account, Amount(6)))
        assert (await node.mempool()).transactions == 1
        with pytest.raises(NotFound):
            await node.transaction(first)
    finally:
        await node.resume_miner()
    assert (await node.wait_for_transaction(second, timeout_s=60)).state == "included"
    with pytest.raises(Refused, match="waits"):
        await node.replace(second, Transfer(OTHER.account, Amount(7)))


async def test_a_paused_miner_makes_no_blocks_until_it_resumes(node: Client):
    """The head stands still, then goes on."""
    await node.pause_miner()
    try:

        async def stands_still() -> bool:
            before = (await node.status()).height
            await asyncio.sleep(0.5)
            return (await node.status()).height == before

        await until(stands_still)  # a block that was being committed may come
        height = (await node.status()).height
    finally:
        await node.resume_miner()

    async def has_grown() -> bool:
        return (await node.status()).height > height

    await until(has_grown)


async def test_an_account_proof_convinces_who_knows_only_the_header(node: Client):
    """Value and proof check against the state root of the block that the answer names."""
    proof = (await node.account(RICH.account, prove=True)).proof
    assert proof is not None
    assert proof.value is not None
    header = (await node.block(id=proof.block)).header
    assert header["state_root"] == proof.state_root
    value, root = bytes.fromhex(proof.value), Hash(bytes.fromhex(proof.state_root))
    path = decode(bytes.fromhex(proof.proof), StateProof)
    assert verify_state_proof(root, account_key(RICH.account), value, path)
    assert not verify_state_proof(root, account_key(RICH.account), encode(Account(Amount(1), 0)), path)


async def test_metrics_and_health_answer(node: Client, http: aiohttp.ClientSession):
    """The head's height is among the metrics, and so is how long the core took."""
    async with http.get("/health") as response:
        assert await response.json() == {"ok": True}
    await until(lambda: _has_blocks(node))
    async with http.get("/metrics") as response:
        text = await response.text()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["fedchain_height"]) >= 1
    assert float(values['fedchain_core_seconds_count{event="tick"}']) >= 1
    assert float(values["fedchain_blocks_mined_total"]) >= 1


async def _has_blocks(node: Client) -> bool:
    return (await node.status()).height >= 1


# --- refusals --------------------------------------------------------------------------------------


async def test_a_refused_transaction_says_why(node: Client):
    """The rule that stands against it, and the numbers, reach the one who sent it."""
    with pytest.raises(Refused, match=r"balance|funds|coins"):
        await node.transfer(RICH.account, 10**18, KeyPair(b"p" * 32))
    genesis = await node.genesis()
    unsigned = decode(
        bytes.fromhex((await node.transaction(await node.transfer(OTHER.account, 1, RICH))).encoded), SignedTransaction
    ).transaction
    assert genesis.chain_id == unsigned.chain_id
    with pytest.raises(Refused, match="signature"):
        await node.submit(SignedTransaction(unsigned, bytes(64)))


@pytest.mark.parametrize(
    ("method", "params", "error", "text"),
    [
        ("block.get", {"height": 10**9}, NotFound, "its head has height"),
        ("block.get", {"id": "00" * 32}, NotFound, "no block"),
        ("block.get", {"height": 0, "id": "00" * 32}, BadCall, "one of them"),
        ("block.get", {"height": -1}, BadCall, "height"),
        ("transaction.get", {"id": "00" * 32}, NotFound, "no transaction"),
        ("transaction.get", {"id": "0" * 63}, BadCall, "64|regex"),
        ("transaction.submit", {"transaction": "ff"}, BadCall, "not a SignedTransaction"),
        ("account.get", {"account": "fed1qqqq"}, BadCall, "checksum"),
        ("account.get", {"account": "abc1qqqq"}, BadCall, "must start with fed1"),
        ("plan.get", {"plan": "00" * 32}, NotFound, "no plan"),
        ("plan.model", {"plan": "00" * 32}, NotFound, "no plan"),
        ("payload.get", {"id": "00" * 32}, NotFound, "no payload"),
        ("plan.task", {"plan": "00" * 32}, NotFound, "no plan"),
        ("plan.history", {"plan": "00" * 32}, NotFound, "no plan"),
        ("plan.list", {"status": "lost"}, BadCall, "lost"),
        ("state.proof", {"key": "00"}, BadCall, "begin with"),
        ("node.connect", {"address": "nowhere"}, BadCall, "HOST:PORT"),
        ("node.statsu", {}, BadCall, "node.status"),
        ("device.join", {"plan": "00" * 32}, Refused, "device"),
    ],
)
async def test_what_cannot_be_answered_is_a_typed_error_with_its_cause(node: Client, method, params, error, text):
    """Each has its own class in the client, and names what was wrong."""
    with pytest.raises(error, match=text):
        await node.call(method, **params)


async def test_guarded_methods_need_the_cookie(stranger: Client, house: House):
    """Every method that signs, spends or stops refuses a stranger, before it looks at the parameters."""
    guarded = {name for name, method in METHODS.items() if method.guarded}
    assert guarded == {
        "device.join",
        "miner.pause",
        "miner.resume",
        "node.ban",
        "node.connect",
        "node.stop",
        "node.backup",
        "node.unban",
        "transaction.send",
    }
    for name in guarded:
        with pytest.raises(Unauthorized, match="cookie"):
            await stranger.call(name, nonsense=1)
    async with Client(house.running.url, "0" * 64) as wrong:
        with pytest.raises(Unauthorized, match="cookie"):
            await wrong.stop()


async def test_the_cookie_is_for_its_owner_alone(house: House):
    """The file's mode is 0600, and its text is nowhere in the log."""
    cookie = house.home / "rpc.cookie"
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o600
    assert len(cookie.read_text().strip()) == 64
    assert cookie.read_text().strip() not in (house.home / "logs" / "node.log").read_text()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9471", "127.0.0.1.evil.example", "", "localhost@evil"])
async def test_a_rebound_name_is_not_answered(http: aiohttp.ClientSession, host: str):
    """A page whose own name was made to resolve to loopback gets nothing, on any path."""
    for path in ("/", "/health", "/metrics", "/events", "/openrpc.json"):
        method = "POST" if path == "/" else "GET"
        async with http.request(method, path, headers={"Host": host}, json={}) as response:
            assert response.status in (400, 403)


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Content-Type", "Upgrade", "X-Other"])
@pytest.mark.parametrize("value", [b"Bearer \xff", b"\xc3\x28", b"[", b"http://[", b"a" * 5000, b""])
async def test_any_header_is_answered_in_order(house: House, name: str, value: bytes):
    """Bytes that are no text, brackets that do not close: a refusal or an answer, never a fault of the server."""
    port = int(house.running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"jsonrpc":"2.0","id":1,"method":"node.stop","params":[1]}'
    headers = {"Host": b"localhost", "Content-Type": b"application/json", name: value}
    lines = b"".join(key.encode() + b": " + text + b"\r\n" for key, text in headers.items())
    writer.write(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body))
    status = int((await reader.readline()).split()[1])
    assert status in (200, 400, 403, 415)
    if status == 200:
        assert b"-32001" in await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9471"])
async def test_our_own_names_are_answered(http: aiohttp.ClientSession, host: str):
    """Loopback by any of its names, with or without a port."""
    async with http.get("/health", headers={"Host": host}) as response:
        assert response.status == 200


async def test_a_foreign_page_is_not_answered(http: aiohttp.ClientSession):
    """An Origin that is not ours is refused, for calls and for events; a form can't be a call."""
    foreign = {"Origin": "https://evil.example"}
    async with http.post("/", headers=foreign, json={}) as response:
        assert response.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect("/events", headers=foreign)
    neighbour = {"Host": "localhost:9471", "Origin": "http://localhost:8888"}  # another program's page, same machine
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect("/events", headers=neighbour)
    async with http.get("/health", headers=neighbour | {"Origin": "http://localhost:9471"}) as response:
        assert response.status == 200
    async with http.post("/", data="{}", headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 405), ("GET", "/x", 404), ("POST", "/events", 405)]
)
async def test_other_paths_and_verbs_are_named(http: aiohttp.ClientSession, method: str, path: str, status: int):
    """The answer is JSON with a cause."""
    async with http.request(method, path) as response:
        assert response.status == status
        assert path in (await response.json())["error"]


async def test_an_oversized_body_is_refused(http: aiohttp.ClientSession):
    """Longer than the configured limit is 413, without being read whole."""
    size = make_config().limits.rpc_body_bytes
    async with http.post(
        "/", data=io.BytesIO(b" " * (size + 1)), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413
        assert str(size) in (await response.json())["error"]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=80) | st.sampled_from(["00" * 32, "", "ff"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=6,
)
_NAMES = sorted(set(METHODS) - {"node.stop", "miner.pause"})
_PARAMETERS = sorted({name for method in METHODS.values() for name in method.params.__struct_fields__})
_BODIES = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "id": st.integers(0, 9),
        "method": st.sampled_from(_NAMES),
        "params": st.dictionaries(st.sampled_from(_PARAMETERS), _VALUES, max_size=3) | st.lists(_VALUES, max_size=3),
    }
).map(lambda body: json.dumps(body).encode())


@given(body=_BODIES | st.binary(max_size=100))
async def test_no_body_makes_the_node_fail(house: House, http: aiohttp.ClientSession, body: bytes):
    """Any method with any parameters, or any bytes: a result or a JSON-RPC error, never a fault of the node."""
    cookie = (house.home / "rpc.cookie").read_text().strip()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {cookie}"}
    async with http.post("/", data=body, headers=headers) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["jsonrpc"] == "2.0"
    assert answer.get("error", {}).get("code") != -32603


# --- events ----------------------------------------------------------------------------------------


async def test_the_head_is_told_as_it_moves(node: Client):
    """The stream begins with "connected"; then each new head comes once, in order, without gaps in the numbers."""
    heights, numbers = [], []
    async for event in node.events(["head"]):
        if event.topic == "connected":
            assert not heights
            continue
        assert event.topic == "head"
        heights.append(event.data["height"])
        numbers.append(event.number)
        if len(heights) == 4:
            break
    assert heights == sorted(set(heights))
    assert numbers == sorted(set(numbers))


async def test_a_transfer_is_told_on_its_topics(node: Client):
    """First it waits (pool), then it has happened (ledger)."""
    seen: list[str] = []

    async def listen() -> None:
        async for event in node.events(["pool", "ledger"]):
            if event.topic == "connected":
                ready.set()
            elif event.topic == "pool" and event.data["kind"] == "transaction-seen":
                seen.append("pool")
            elif event.topic == "ledger" and event.data["event"].get("amount") == 4321:
                seen.append("ledger")
                return

    ready = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        await ready.wait()
        await node.transfer(OTHER.account, 4321, RICH)
    assert seen == ["pool", "ledger"]


async def test_the_log_is_told_to_those_with_the_cookie(node: Client, stranger: Client):
    """A stranger may not even subscribe."""
    with pytest.raises(Unauthorized):
        async for _ in stranger.events(["log"]):
            pass
    async with asyncio.timeout(20):
        async for event in node.events(["log"]):
            if event.topic == "log":
                assert event.data["event"]
                break


async def test_an_unknown_topic_is_refused_with_those_that_exist(http: aiohttp.ClientSession):
    """The answer lists the topics."""
    async with http.get("/events", params={"topics": "heads"}) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert all(topic in error for topic in TOPICS)


async def test_a_subscriber_that_does_not_read_is_cut_off_and_others_are_not():
    """Events are lost to nobody in silence: the slow one's loop ends after what was queued."""
    hub = EventHub()
    with hub.subscribe({"head"}) as slow, hub.subscribe({"peers"}) as other:
        for number in range(QUEUE_EVENTS + 10):
            hub.publish("head", {"number": number}, 0)
        hub.publish("peers", {}, 0)
        got = [event.data["number"] async for event in slow]
        assert got == list(range(QUEUE_EVENTS))
        assert slow.was_too_slow
        assert (await anext(other)).topic == "peers"
        assert not other.was_too_slow


# --- the client against what is no node ------------------------------------------------------------


async def test_nobody_at_the_address_is_connection_refused(tmp_path: Path, unused_tcp_port: int):
    """The address is named, and so is the remedy; likewise a directory in which no node runs."""
    async with Client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(ConnectionRefused, match=f"{unused_tcp_port}.*node start"):
            await client.status()
    with pytest.raises(ConnectionRefused, match="no node runs in"):
        Client.from_home(tmp_path)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b"5", b'{"jsonrpc":"2.0","id":999,"result":1}', b'{"id":1,"result":{"height":"x"}}'],
)
async def test_what_is_no_node_is_a_protocol_error(answer: bytes):
    """Whatever a server answers, the client says that it does not speak like a node."""
    async with _FakeServer(answer) as url, Client(url) as client:
        with pytest.raises(ProtocolError):
            await client.status()


async def test_a_silent_server_is_a_timeout():
    """The call ends after the time given."""
    async with _FakeServer(None) as url, Client(url, timeout_s=0.1) as client:
        with pytest.raises(Timeout, match=r"0\.1 s"):
            await client.status()


class _FakeServer:
    """Answers every request with the same body, or never."""

    def __init__(self, body: bytes | None) -> None:
        self._body = body

    async def __aenter__(self) -> str:
        self._listener = await asyncio.start_server(self._on_request, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _on_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self._body is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self._body), self._body))
        writer.close()


async def test_long_requests_that_never_end_leave_room_for_others(http: aiohttp.ClientSession, house: House):
    """Bodies on their way in are bounded together: one too many is told to come again, short calls are answered."""
    size, host, port = make_config().limits.rpc_body_bytes, *house.running.url.removeprefix("http://").split(":")
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    callers = [await asyncio.open_connection(host, port) for _ in range(5)]
    for _, writer in callers[:4]:
        writer.write(head.encode() + b"[")
        await writer.drain()
    await asyncio.sleep(0.3)
    reader, writer = callers[4]
    writer.write(head.encode() + b"[")
    assert b" 503 " in await asyncio.wait_for(reader.readline(), 30)
    async with http.post("/", data=CALL, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 200
    for _, writer in callers:
        await hang_up(writer)
    await until(lambda: _is_taken(http, size))
    assert not [line for line in house.log() if line["level"] == "error"]


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _is_taken(http: aiohttp.ClientSession, size: int) -> bool:
    """Is a request of the greatest length taken again?"""
    async with http.post(
        "/", data=io.BytesIO(CALL.ljust(size)), headers={"Content-Type": "application/json"}
    ) as response:
        return response.status == 200


CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "node.status", "params": {}}'


async def test_connections_are_counted():
    """One beyond the limit ends as it begins; when another has left there is room again."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    door = await open_door(runner, "127.0.0.1", 0, most=2)
    address = door.sockets[0].getsockname()
    inside = []
    for _ in range(2):
        inside.append(await asyncio.open_connection(*address))
        await until(lambda: len(runner.server.connections) == len(inside))
    reader, writer = await asyncio.open_connection(*address)
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert len(runner.server.connections) == 2
    await hang_up(inside.pop()[1])
    await until(lambda: len(runner.server.connections) == 1)
    inside.append(await asyncio.open_connection(*address))
    await until(lambda: len(runner.server.connections) == 2)
    for _, other in [(reader, writer), *inside]:
        await hang_up(other)
    door.close()
    await runner.cleanup()
