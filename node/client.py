"""The async client of a node's RPC, with typed results and typed errors.

    ClientError               the root; catches all of them
    ├── ConnectionRefused     nobody answers at the address
    │   └── Disconnected      the connection broke before the answer: it may have been done, or not
    ├── Unauthorized          the call needs the node's cookie, or the cookie is wrong
    ├── Refused               the node, or the ledger's rules, say no; ``reason`` says why
    ├── NotFound              the node has no such block, plan, transaction …
    ├── BadCall               the call itself does not fit: an unknown method, a parameter out of range
    ├── Timeout               no answer, or the thing waited for did not happen, within the time given
    └── ProtocolError         what answers does not speak like a node; or a fault of the node

``cause`` says what was wrong and ``remedy`` what can be done.

Rules of this file: knows RPC and the chain's objects, nothing of a running node; importing it starts nothing.
"""

import asyncio
import io
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec
import numpy as np

from chain.address import format_account, parse_account
from chain.codec import encode
from chain.errors import ChainError
from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from chain.genesis import Genesis, Rules
from chain.genesis_file import read_genesis
from chain.hashing import content_id
from chain.ids import AccountId, Amount, Hash
from chain.keys import KeyPair
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction, Transfer
from consensus.fees import compute_need, get_minimum_fee
from fl.plan.schema import Plan, decode_plan, encode_plan, plan_id
from node.errors import NodeError
from node.rpc import jsonrpc
from node.rpc.hub import NodeEvent
from node.rpc.shapes import (
    AccountView,
    BlockView,
    DeviceStatus,
    Done,
    GenesisView,
    HistoryView,
    MempoolView,
    MinerStatus,
    ModelView,
    NodeStatus,
    OpenTaskView,
    PeerView,
    PlanDetail,
    PlanView,
    ProofView,
    SupplyView,
    TransactionView,
)

T = TypeVar("T")

DEFAULT_TIMEOUT_S: Final = 30.0
_RECONNECT_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_POLL_S: Final = 0.5
_MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
_VERSION: Final = 1


# --- errors ----------------------------------------------------------------------------------------


class ClientError(NodeError):
    """Base of every error of the client. ``cause`` says what was wrong, ``remedy`` what can be done ("" = nothing)."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})" if self.remedy else self.cause


class ConnectionRefused(ClientError):  # noqa: N818
    """Nobody answers at the address."""


class Disconnected(ConnectionRefused):
    """The connection broke before the answer came: what was asked may have been done, or not."""


class Unauthorized(ClientError):  # noqa: N818
    """The call needs the node's cookie, or the cookie is wrong."""


class Refused(ClientError):  # noqa: N818
    """The node, or the ledger's rules, say no."""

    @property
    def reason(self) -> str:
        """Why: the rule, and how it is broken."""
        return self.cause


class NotFound(ClientError):  # noqa: N818
    """The node does not have what was asked for."""


class BadCall(ClientError):  # noqa: N818
    """The call does not fit: an unknown method, or a parameter that is not allowed."""


class Timeout(ClientError):  # noqa: N818
    """No answer, or what was waited for did not happen in time."""


class ProtocolError(ClientError):
    """What answers does not speak like a node, or the node has a fault."""


_KINDS: Final[dict[int, type[ClientError]]] = {
    jsonrpc.UNAUTHORIZED: Unauthorized,
    jsonrpc.REFUSED: Refused,
    jsonrpc.NOT_FOUND: NotFound,
    jsonrpc.BUSY: Refused,
    jsonrpc.NO_SUCH_METHOD: BadCall,
    jsonrpc.INVALID_PARAMS: BadCall,
    jsonrpc.INVALID_REQUEST: BadCall,
}


# --- models ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """A plan's global model. ``fixed`` is what the chain holds, shape (d,); ``digest`` is its content id."""

    plan: Plan
    rounds: int
    status: str
    digest: Hash
    fixed: Int64Vector

    @property
    def weights(self) -> Float64Vector:
        """The model as float64, shape (d,), exact."""
        return to_float(self.fixed, self.plan.fraction_bits)


# --- the client ------------------------------------------------------------------------------------


class Client:
    """A connection to one node. Use it as ``async with Client.from_home(path) as node: …``.

    ``url`` is like http://127.0.0.1:9471. ``cookie`` is needed by calls that sign, spend or stop. ``timeout_s`` bounds
    each call.
    """

    def __init__(self, url: str, cookie: str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._cookie = cookie
        self._home: Path | None = None
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._genesis: Genesis | None = None
        self._number = 0

    @classmethod
    def from_home(cls, home: Path | str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> "Client":
        """Return a client of the node that runs in a data directory. ``ConnectionRefused`` if none does."""
        home = Path(home).expanduser()
        client = cls(*_read_door(home), timeout_s=timeout_s)
        client._home = home
        return client

    def _find_again(self) -> bool:
        """Has the node of our data directory started anew, with another address or cookie? Then use these."""
        if self._home is None:
            return False
        try:
            url, cookie = _read_door(self._home)
        except ClientError:
            return False
        is_new = (url, cookie) != (self.url, self._cookie)
        self.url, self._cookie = url, cookie
        return is_new

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    def _headers(self) -> dict[str, str]:
        return {} if self._cookie is None else {"Authorization": f"Bearer {self._cookie}"}

    def _refused_connection(self) -> ConnectionRefused:
        return ConnectionRefused(f"nobody answers at {self.url}", "is the node running? fedchain node start")

    async def call(self, method: str, /, **params: object) -> Any:
        """Call a method and return its result as JSON values. Raises a ``ClientError``."""
        try:
            return await self._call_once(method, params)
        except (ConnectionRefused, Unauthorized) as error:
            if isinstance(error, Disconnected) or not self._find_again():
                raise
        return await self._call_once(method, params)

    async def _call_once(self, method: str, params: dict[str, object]) -> Any:
        self._number = number = self._number + 1
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            async with self._open().post(
                self.url + "/",
                data=io.BytesIO(msgspec.json.encode(request)),
                headers=self._headers() | {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            ) as response:
                if (response.content_length or 0) > _MAX_ANSWER_BYTES:
                    raise ProtocolError(f"{method}: an answer of {response.content_length} bytes")
                body = await response.read()
        except TimeoutError:
            raise Timeout(f"{method}: no answer from {self.url} in {self._timeout_s:g} s") from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL):
            raise self._refused_connection() from None
        except aiohttp.ClientConnectionError:
            text = f"{method}: the connection to {self.url} broke before the answer"
            raise Disconnected(text, "it may have been done, or not: look before you repeat it") from None
        except aiohttp.ClientError as error:
            raise ProtocolError(f"{method}: {error}", f"is {self.url} a fedchain node?") from None
        return self._result(method, number, body)

    def _result(self, method: str, number: int, body: bytes) -> Any:
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ProtocolError(f"{method}: the answer is not JSON", f"is {self.url} a fedchain node?") from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):  # refused before it was read
            raise ProtocolError(f"{method}: {answer['error']}")
        if not isinstance(answer, dict) or (answer.get("id") != number and "error" not in answer):
            raise ProtocolError(f"{method}: the answer is no JSON-RPC", f"is {self.url} a fedchain node?")
        error = answer.get("error")
        if isinstance(error, dict):
            given = error.get("data")
            data = given if isinstance(given, dict) else {}
            cause = str(data.get("cause") or error.get("message"))
            raise _KINDS.get(error.get("code", 0), ProtocolError)(cause, str(data.get("remedy", "")))
        return answer.get("result")

    async def _get(self, kind: type[T], method: str, /, **params: object) -> T:
        given = {name: value for name, value in params.items() if value is not None}
        try:
            return msgspec.convert(await self.call(method, **given), kind)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{method}: {error}", "the node runs another version of fedchain") from None

    # --- the node ------------------------------------------------------------------------------------

    async def status(self) -> NodeStatus:
        """Return the node's state at a glance."""
        return await self._get(NodeStatus, "node.status")

    async def peers(self) -> tuple[PeerView, ...]:
        """Return the connected peers."""
        return await self._get(tuple[PeerView, ...], "node.peers")

    async def connect(self, address: str) -> None:
        """Have the node connect to HOST:PORT and stay connected."""
        await self._get(Done, "node.connect", address=address)

    async def stop(self) -> None:
        """Stop the node."""
        await self._get(Done, "node.stop")

    async def genesis(self) -> Genesis:
        """Return the network's genesis (asked once)."""
        if self._genesis is None:
            view = await self._get(GenesisView, "genesis.get")
            try:
                self._genesis = read_genesis(view.document)
            except ChainError as error:
                raise ProtocolError(f"the node's genesis can't be read: {error}") from None
        return self._genesis

    async def device_status(self) -> DeviceStatus:
        """Return what the node's device does."""
        return await self._get(DeviceStatus, "device.status")

    async def join(self, plan: Hash | str, role: str = "") -> None:
        """Have the node's device serve a plan."""
        await self._get(Done, "device.join", plan=_hex(plan), role=role)

    async def miner_status(self) -> MinerStatus:
        """Return what the node's miner does."""
        return await self._get(MinerStatus, "miner.status")

    async def pause_miner(self) -> None:
        """Have the node's miner build no more blocks; verifying goes on."""
        await self._get(Done, "miner.pause")

    async def resume_miner(self) -> None:
        """Have the node's miner build blocks again."""
        await self._get(Done, "miner.resume")

    # --- the ledger ----------------------------------------------------------------------------------

    async def account(self, account: AccountId | str, *, prove: bool = False) -> AccountView:
        """Return an account's coins and nonce, with a proof against the head's state root if asked."""
        return await self._get(AccountView, "account.get", account=await self._address(account), prove=prove)

    async def block(self, *, height: int | None = None, id: Hash | str | None = None) -> BlockView:
        """Return a block by height or id, or the head."""
        return await self._get(BlockView, "block.get", height=height, id=None if id is None else _hex(id))

    async def transaction(self, id: Hash | str) -> TransactionView:
        """Return a transaction, waiting or included."""
        return await self._get(TransactionView, "transaction.get", id=_hex(id))

    async def mempool(self, limit: int = 100) -> MempoolView:
        """Return what waits for blocks."""
        return await self._get(MempoolView, "mempool.get", limit=limit)

    async def state_proof(self, key: bytes) -> ProofView:
        """Return what stands under a state key (``consensus.state``), with its proof."""
        return await self._get(ProofView, "state.proof", key=key.hex())

    async def supply(self) -> SupplyView:
        """Return where all coins are."""
        return await self._get(SupplyView, "supply.get")

    async def submit(self, signed: SignedTransaction) -> Hash:
        """Hand in a signed transaction and return its id. ``Refused`` says why it was not taken."""
        done = await self._get(Done, "transaction.submit", transaction=encode(signed).hex())
        return Hash(bytes.fromhex(done.id))

    async def send(self, body: Body, key: KeyPair | None = None, *, fee: int | None = None) -> Hash:
        """Sign a transaction body with ``key``, hand it in, and return its id.

        Without a key the node signs with its own (and chooses the fee). The nonce follows what waits already; the fee
        is the lowest that the rules ask for, if none is given. ``Refused`` says why it was not taken.
        """
        if key is None:
            done = await self._get(Done, "transaction.send", body=encode(body).hex())
            return Hash(bytes.fromhex(done.id))
        genesis, account = await self.genesis(), await self.account(key.account)
        unsigned = Transaction(
            version=_VERSION,
            chain_id=genesis.chain_id,
            sender=key.account,
            nonce=account.next_nonce,
            fee=Amount(0 if fee is None else fee),
            body=body,
        )
        if fee is None and not isinstance(body, RegisterDevice | JoinPlan):  # a stamp, or the plan's escrow, pays these
            unsigned = _with_lowest_fee(unsigned, genesis.rules_at(account.height + 1))
        return await self.submit(unsigned.sign(key))

    async def transfer(
        self, to: AccountId | str, amount: int, key: KeyPair | None = None, *, fee: int | None = None
    ) -> Hash:
        """Move coins and return the transaction's id."""
        prefix = (await self.genesis()).prefix
        account = parse_account(to, prefix) if isinstance(to, str) else to
        return await self.send(Transfer(account, Amount(amount)), key, fee=fee)

    async def wait_for_transaction(self, id: Hash | str, *, timeout_s: float = 120.0) -> TransactionView:
        """Return a transaction once a block of the main chain holds it. ``Timeout``; ``NotFound`` if it was dropped."""
        async with _Deadline(timeout_s, f"transaction {_hex(id)} is in no block"):
            while True:
                view = await self.transaction(id)
                if view.state == "included":
                    return view
                await asyncio.sleep(_POLL_S)

    # --- plans ---------------------------------------------------------------------------------------

    async def plans(self, status: str | None = None) -> tuple[PlanView, ...]:
        """Return the plans on the chain, of one status or all."""
        return await self._get(tuple[PlanView, ...], "plan.list", status=status)

    async def plan(self, plan: Hash | str) -> PlanDetail:
        """Return a plan, its TOML text and its standing."""
        return await self._get(PlanDetail, "plan.get", plan=_hex(plan))

    async def task(self, plan: Hash | str) -> OpenTaskView:
        """Return a plan's open task."""
        return await self._get(OpenTaskView, "plan.task", plan=_hex(plan))

    async def history(self, plan: Hash | str) -> HistoryView:
        """Return a plan's settled rounds."""
        return await self._get(HistoryView, "plan.history", plan=_hex(plan))

    async def submit_plan(
        self, plan: Plan, key: KeyPair | None = None, *, escrow: int | None = None, fee: int | None = None
    ) -> tuple[Hash, Hash]:
        """Put a plan on the chain; return the plan's id and the transaction's.

        ``escrow`` is the least that the rules ask for, if none is given; what the plan does not use comes back.
        """
        if escrow is None:
            rules = (await self.genesis()).rules_at((await self.status()).height + 1)
            need = compute_need(plan, rules)
            if need is None:
                raise Refused("the plan's worst case costs more coins than can exist", "lower its rewards or rounds")
            escrow = need.total
        transaction = await self.send(SubmitPlan(encode_plan(plan), Amount(escrow)), key, fee=fee)
        return plan_id(plan), transaction

    async def wait_for_plan(self, plan: Hash | str, *, timeout_s: float = 3600.0) -> PlanView:
        """Return a plan's standing once it is finished or cancelled. ``Timeout``."""
        async with _Deadline(timeout_s, f"plan {_hex(plan)} has not ended"):
            while True:
                try:
                    standing = (await self.plan(plan)).standing
                    if standing.status in ("finished", "cancelled"):
                        return standing
                except NotFound:  # submitted, and in no block yet
                    pass
                await asyncio.sleep(_POLL_S)

    async def get_model(self, plan: Hash | str) -> FetchedModel:
        """Return a plan's global model as it stands now, its bytes checked against their digest."""
        view = await self._get(ModelView, "plan.model", plan=_hex(plan))
        detail = await self.plan(plan)
        try:
            document = decode_plan(bytes.fromhex(detail.encoded))
            data = b64decode(view.base64, validate=True)
        except (ChainError, ValueError) as error:
            raise ProtocolError(f"plan.model: {error}") from None
        if (
            content_id(data).hex() != view.digest
            or len(data) != 8 * view.parameters
            or plan_id(document).hex() != _hex(plan)
        ):
            raise ProtocolError("plan.model: the bytes do not fit their digest, or are of another plan")
        fixed = np.frombuffer(data, dtype="<i8").astype(np.int64)
        return FetchedModel(document, view.rounds, view.status, content_id(data), fixed)

    # --- events --------------------------------------------------------------------------------------

    async def events(self, topics: Collection[str] = (), *, reconnect: bool = True) -> AsyncIterator[NodeEvent]:
        """Yield the node's events as they happen.

        The first event, and one after every reconnection, has topic "connected" (number 0): what happened before it
        was not seen, so read the state anew. Without ``reconnect`` the end of the connection ends the iteration.
        ``ConnectionRefused`` if nobody answers the first time.
        """
        attempt, was_connected = 0, False
        while True:
            try:
                async with self._open().ws_connect(
                    f"{self.url}/events",
                    params={"topics": ",".join(topics)},
                    headers=self._headers(),
                    max_msg_size=_MAX_EVENT_BYTES,
                ) as socket:
                    attempt, was_connected = 0, True
                    yield NodeEvent(topic="connected", number=0, time_ms=0, data={"url": self.url})
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            yield msgspec.json.decode(message.data, type=NodeEvent)
            except aiohttp.WSServerHandshakeError as error:
                if not (error.status == 401 and self._find_again()):
                    kind = Unauthorized if error.status == 401 else ProtocolError
                    raise kind(f"events: the node answers {error.status} {error.message}") from None
            except (aiohttp.ClientConnectionError, aiohttp.InvalidURL):
                if not reconnect or not was_connected:
                    raise self._refused_connection() from None
                self._find_again()
            except msgspec.MsgspecError as error:
                raise ProtocolError(f"events: {error}") from None
            if not reconnect:
                return
            await asyncio.sleep(_RECONNECT_S[min(attempt, len(_RECONNECT_S) - 1)])
            attempt += 1

    async def _address(self, account: AccountId | str) -> str:
        return account if isinstance(account, str) else format_account(account, (await self.genesis()).prefix)


def _read_door(home: Path) -> tuple[str, str]:
    """Return the address and the cookie of the node that runs in a data directory."""
    try:
        url = json.loads((home / "rpc.json").read_text(encoding="utf-8"))["url"]
        return str(url), (home / "rpc.cookie").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConnectionRefused(f"no node runs in {home}", f"start it: fedchain node start --home {home}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{home}/rpc.json or rpc.cookie can't be read: {error}") from None


class _Deadline:
    """Turns running out of time in its block into ``Timeout``."""

    def __init__(self, seconds: float, what: str) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._message = f"{what} after {seconds:g} s"

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise Timeout(self._message) from None


def _with_lowest_fee(unsigned: Transaction, rules: Rules) -> Transaction:
    """Return the transaction with the fee its own length asks for; the fee's digits are part of that length."""
    while True:
        least = get_minimum_fee(rules, len(encode(SignedTransaction(unsigned, bytes(64)))))
        if unsigned.fee >= least:
            return unsigned
        unsigned = msgspec.structs.replace(unsigned, fee=Amount(least))


def _hex(id: Hash | str) -> str:
    return id if isinstance(id, str) else id.hex()
