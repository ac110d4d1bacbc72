"""The async client of a node: every method of its RPC, typed, and what a program wants to do with them.

Its errors are drawn in ``node.rpc.failures``; all of them are ``ClientError``.

Rules of this file: knows RPC and the chain's objects, nothing of a running node; importing it starts nothing.
"""

import asyncio
from base64 import b64decode
from dataclasses import dataclass
from types import TracebackType
from typing import Final

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
from chain.transaction import Body, SignedTransaction, SubmitPlan, Transaction, Transfer
from chain.upgrades import read_upgrades
from consensus.fees import compute_need, get_minimum_fee
from consensus.rules.transactions import FREE
from fl.plan.schema import Plan, decode_plan, encode_plan, plan_id
from node.rpc.connection import DEFAULT_TIMEOUT_S, RpcConnection
from node.rpc.failures import (
    BadCall,
    ClientError,
    ConnectionRefused,
    Disconnected,
    NotFound,
    ProtocolError,
    Refused,
    Timeout,
    Unauthorized,
)
from node.rpc.shapes import (
    AccountView,
    AddressesView,
    BackupView,
    BanView,
    BlockView,
    DeviceStatus,
    Done,
    FleetStatus,
    GenesisView,
    HistoryView,
    MempoolView,
    MinerStatus,
    ModelView,
    NodeStatus,
    OpenTaskView,
    PayloadContent,
    PeerView,
    PlanDetail,
    PlanView,
    PrivacyView,
    ProofView,
    StakeView,
    SupplyView,
    TransactionView,
    ValidatorsView,
)

__all__ = [
    "BadCall",
    "Client",
    "ClientError",
    "ConnectionRefused",
    "Disconnected",
    "FetchedModel",
    "NotFound",
    "ProtocolError",
    "Refused",
    "Timeout",
    "Unauthorized",
]

_POLL_S: Final = 0.5
_VERSION: Final = 1


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


class Client(RpcConnection):
    """A connection to one node. Use it as ``async with Client.from_home(path) as node: …``.

    ``url`` is like http://127.0.0.1:9471. ``cookie`` is needed by calls that sign, spend or stop. ``timeout_s`` bounds
    each call.
    """

    def __init__(self, url: str, cookie: str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(url, cookie, timeout_s=timeout_s)
        self._genesis: Genesis | None = None

    # --- the node ------------------------------------------------------------------------------------

    async def status(self) -> NodeStatus:
        """Return the node's state at a glance."""
        return await self.get(NodeStatus, "node.status")

    async def peers(self) -> tuple[PeerView, ...]:
        """Return the connected peers."""
        return await self.get(tuple[PeerView, ...], "node.peers")

    async def connect(self, address: str) -> None:
        """Have the node connect to HOST:PORT and stay connected."""
        await self.get(Done, "node.connect", address=address)

    async def back_up(self, directory: str) -> BackupView:
        """Have the node copy its chain and payloads, as they are now, into a new directory on its machine."""
        return await self.get(BackupView, "node.backup", directory=directory)

    async def bans(self) -> tuple[BanView, ...]:
        """Return whom the node does not speak to."""
        return await self.get(tuple[BanView, ...], "node.bans")

    async def ban(self, subject: str, *, minutes: int = 60 * 24, reason: str = "banned by the operator") -> None:
        """Have the node part with an account or a host."""
        await self.get(Done, "node.ban", subject=subject, minutes=minutes, reason=reason)

    async def unban(self, subject: str) -> None:
        """Let an account or a host back in."""
        await self.get(Done, "node.unban", subject=subject)

    async def addresses(self) -> AddressesView:
        """Return what the node's address book holds."""
        return await self.get(AddressesView, "node.addresses")

    async def stop(self) -> None:
        """Stop the node."""
        await self.get(Done, "node.stop")

    async def genesis(self) -> Genesis:
        """Return the network's genesis (asked once)."""
        if self._genesis is None:
            view = await self.get(GenesisView, "genesis.get")
            try:
                genesis = read_genesis(view.document)
                self._genesis = read_upgrades(view.upgrades, genesis) if view.upgrades else genesis
            except ChainError as error:
                raise ProtocolError(f"the node's genesis can't be read: {error}") from None
        return self._genesis

    async def device_status(self) -> DeviceStatus:
        """Return what the node's device does."""
        return await self.get(DeviceStatus, "device.status")

    async def join(self, plan: Hash | str, role: str = "") -> None:
        """Have the node's device serve a plan."""
        await self.get(Done, "device.join", plan=_hex(plan), role=role)

    async def privacy(self, device: AccountId | str | None = None, start: int = 0, limit: int = 1000) -> PrivacyView:
        """Return what a device (None: the node's own) has lost, what is left, and its charges from ``start`` on."""
        named = None if device is None else await self._address(device)
        return await self.get(PrivacyView, "privacy.get", device=named, start=start, limit=limit)

    async def fleet_status(self) -> FleetStatus:
        """Return what the devices that the node hosts do."""
        return await self.get(FleetStatus, "fleet.status")

    async def miner_status(self) -> MinerStatus:
        """Return what the node's miner does."""
        return await self.get(MinerStatus, "miner.status")

    async def pause_miner(self) -> None:
        """Have the node's miner build no more blocks; verifying goes on."""
        await self.get(Done, "miner.pause")

    async def resume_miner(self) -> None:
        """Have the node's miner build blocks again."""
        await self.get(Done, "miner.resume")

    # --- the ledger ----------------------------------------------------------------------------------

    async def account(self, account: AccountId | str, *, prove: bool = False) -> AccountView:
        """Return an account's coins and nonce, with a proof against the head's state root if asked."""
        return await self.get(AccountView, "account.get", account=await self._address(account), prove=prove)

    async def block(self, *, height: int | None = None, id: Hash | str | None = None) -> BlockView:
        """Return a block by height or id, or the head."""
        return await self.get(BlockView, "block.get", height=height, id=None if id is None else _hex(id))

    async def payload(self, id: Hash | str) -> bytes:
        """Return a payload that blocks refer to, checked against its id. ``NotFound`` if this node has it no more."""
        view = await self.get(PayloadContent, "payload.get", id=_hex(id))
        try:
            data = b64decode(view.base64, validate=True)
        except ValueError as error:
            raise ProtocolError(f"payload.get: {error}") from None
        if content_id(data).hex() != _hex(id):
            raise ProtocolError("payload.get: the bytes are another payload's")
        return data

    async def transaction(self, id: Hash | str) -> TransactionView:
        """Return a transaction, waiting or included."""
        return await self.get(TransactionView, "transaction.get", id=_hex(id))

    async def mempool(self, limit: int = 100) -> MempoolView:
        """Return what waits for blocks."""
        return await self.get(MempoolView, "mempool.get", limit=limit)

    async def state_proof(self, key: bytes) -> ProofView:
        """Return what stands under a state key (``consensus.statekeys``), with its proof."""
        return await self.get(ProofView, "state.proof", key=key.hex())

    async def supply(self) -> SupplyView:
        """Return where all coins are."""
        return await self.get(SupplyView, "supply.get")

    async def validators(self) -> ValidatorsView:
        """Return who votes in this epoch, and who stakes. ``Refused`` on a network without validators."""
        return await self.get(ValidatorsView, "stake.validators")

    async def stake(self, account: AccountId | str | None = None) -> StakeView:
        """Return what an account (the node's own, if none is named) stakes, and what leaves."""
        return await self.get(StakeView, "stake.get", account=None if account is None else await self._address(account))

    async def submit(self, signed: SignedTransaction) -> Hash:
        """Hand in a signed transaction and return its id. ``Refused`` says why it was not taken."""
        done = await self.get(Done, "transaction.submit", transaction=encode(signed).hex())
        return Hash(bytes.fromhex(done.id))

    async def replace(self, waiting: Hash | str, body: Body) -> Hash:
        """Have the node put a transaction in the place of one of its own that still waits; return the new one's id.

        It pays the least fee that pushes the other out. ``Refused`` if that one waits no more.
        """
        done = await self.get(Done, "transaction.send", body=encode(body).hex(), replaces=_hex(waiting))
        return Hash(bytes.fromhex(done.id))

    async def send(self, body: Body, key: KeyPair | None = None, *, fee: int | None = None) -> Hash:
        """Sign a transaction body with ``key``, hand it in, and return its id.

        Without a key the node signs with its own (and chooses the fee). The nonce follows what waits already; the fee
        is the lowest that the rules ask for, if none is given. ``Refused`` says why it was not taken.
        """
        if key is None:
            done = await self.get(Done, "transaction.send", body=encode(body).hex())
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
        if fee is None and not isinstance(body, FREE):  # a stamp, or the plan's escrow, pays these
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
        return await self.get(tuple[PlanView, ...], "plan.list", status=status)

    async def plan(self, plan: Hash | str) -> PlanDetail:
        """Return a plan, its TOML text and its standing."""
        return await self.get(PlanDetail, "plan.get", plan=_hex(plan))

    async def task(self, plan: Hash | str) -> OpenTaskView:
        """Return a plan's open task."""
        return await self.get(OpenTaskView, "plan.task", plan=_hex(plan))

    async def history(self, plan: Hash | str) -> HistoryView:
        """Return a plan's settled rounds."""
        return await self.get(HistoryView, "plan.history", plan=_hex(plan))

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
        view = await self.get(ModelView, "plan.model", plan=_hex(plan))
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

    async def _address(self, account: AccountId | str) -> str:
        return account if isinstance(account, str) else format_account(account, (await self.genesis()).prefix)


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
