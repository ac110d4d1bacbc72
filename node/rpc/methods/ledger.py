"""``account.*``, ``block.*``, ``transaction.*``, ``mempool.*``, ``state.*``, ``supply.*``: the ledger as it stands."""

from base64 import b64encode
from typing import Any, Final, Literal, cast

from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import Hash, Height
from chain.transaction import Body, SignedTransaction
from consensus.events import LedgerEvent
from consensus.queries import get_account, get_device, get_miner, get_supply
from consensus.statekeys import STATE_PREFIX, account_key
from consensus.tree import prove
from node.events import SubmitBody, SubmitTransaction
from node.rpc.doors import NodeDoors, Reader
from node.rpc.jsonrpc import INVALID_PARAMS, RpcError
from node.rpc.methods.convert import address, done, not_found, read_account, read_id
from node.rpc.params import (
    AccountParams,
    BlockParams,
    BodyParams,
    IdParams,
    MempoolParams,
    ProofParams,
    TransactionParams,
)
from node.rpc.registry import Method, Nothing
from node.rpc.render import show
from node.rpc.shapes import (
    AccountView,
    BlockView,
    Done,
    MempoolView,
    PayloadContent,
    ProofView,
    SupplyView,
    TransactionView,
    WaitingTransaction,
)


async def _account(doors: NodeDoors, params: AccountParams) -> AccountView:
    prefix = doors.genesis.prefix
    account = read_account(params.account, prefix)

    def question(reader: Reader) -> AccountView:
        entry = get_account(reader.view, account)
        device, miner = get_device(reader.view, account), get_miner(reader.view, account)
        return AccountView(
            account=address(account, prefix),
            balance=entry.balance,
            nonce=entry.nonce,
            next_nonce=entry.nonce,
            height=reader.head.height,
            device=None if device is None else show(device, prefix),
            bond=None if miner is None else miner.bond,
            proof=_prove(reader, account_key(account)) if params.prove else None,
        )

    view = await doors.read(question)
    return replace(view, next_nonce=await doors.next_nonce(account, view.nonce))


def _prove(reader: Reader, key: bytes) -> ProofView:
    value, head = reader.view.get(key), reader.head
    return ProofView(
        key=key.hex(),
        value=None if value is None else value.hex(),
        height=head.height,
        block=reader.view.tip.hex(),
        state_root=head.state_root.hex(),
        proof=encode(prove(reader.view, key)).hex(),
    )


async def _state_proof(doors: NodeDoors, params: ProofParams) -> ProofView:
    key = bytes.fromhex(params.key)
    if not key.startswith(STATE_PREFIX):
        raise RpcError(INVALID_PARAMS, f"state keys begin with {STATE_PREFIX.hex()}", "consensus.statekeys lists them")
    return await doors.read(lambda reader: _prove(reader, key))


# --- blocks ----------------------------------------------------------------------------------------


async def _block(doors: NodeDoors, params: BlockParams) -> BlockView:
    if params.height is not None and params.id is not None:
        raise RpcError(INVALID_PARAMS, "both height and id are given; one of them names a block")
    prefix = doors.genesis.prefix
    return await doors.read(lambda reader: _block_view(reader, _named_block(reader, params), prefix))


def _named_block(reader: Reader, params: BlockParams) -> Hash:
    if params.id is not None:
        return read_id(params.id)
    if params.height is None:
        return reader.view.tip
    found = reader.store.block_id_at(Height(params.height))
    if found is None:
        raise not_found("block of height", str(params.height), f"its head has height {reader.head.height}")
    return found


def _block_view(reader: Reader, id: Hash, prefix: str) -> BlockView:
    store = reader.store
    header = store.header(id)
    if header is None:
        raise not_found("block", id.hex())
    on_main = store.block_id_at(header.height) == id
    body, events = store.body(id), store.events(id) if on_main else None
    return BlockView(
        id=id.hex(),
        height=header.height,
        main_chain=on_main,
        confirmations=max(0, reader.head.height - header.height + 1) if on_main else 0,
        header=show(header, prefix),
        transactions=None
        if body is None
        else tuple({"id": signed.id.hex()} | show(signed, prefix) for signed in body.transactions),
        updates=None if body is None else tuple({"id": item.id.hex()} | show(item, prefix) for item in body.updates),
        events=None if events is None else tuple(show(event, prefix) for event in _read_events(events)),
        absent=_why_absent(reader, header.height, on_main) if body is None else None,
    )


def _why_absent(reader: Reader, height: int, on_main: bool) -> str:
    """Say why a block's body is not here."""
    store = reader.store
    if on_main and height <= store.base():
        return f"this node has no blocks up to height {store.base()}: it took the state there from peers (state-synced)"
    if on_main and height <= store.floor("bodies"):
        return f"this node has no blocks up to height {store.floor('bodies')}: it pruned them"
    return "its body is not here"


def _why_unknown(reader: Reader) -> str:
    """Say why a transaction may not be found."""
    floor = reader.store.floor("bodies")
    gone = f", or is in a block up to height {floor}, of which this node has no bodies: ask an archive" if floor else ""
    return "it was never seen here, was replaced, or has expired" + gone


def _read_events(data: bytes) -> tuple[LedgerEvent, ...]:
    """Return the events of a block as the core stores them: the canonical bytes of their tuple."""
    return decode(data, tuple[LedgerEvent, ...], len(data))


async def _payload(doors: NodeDoors, params: IdParams) -> PayloadContent:
    data = await doors.payload(read_id(params.id))
    if data is None:
        remedy = "payloads of old blocks may be pruned here: ask an archive (storage.archive = true)"
        raise not_found("payload", params.id, remedy)
    return PayloadContent(id=params.id, size=len(data), base64=b64encode(data).decode("ascii"))


# --- transactions ----------------------------------------------------------------------------------


async def _submit(doors: NodeDoors, params: TransactionParams) -> Done:
    try:
        signed = decode(bytes.fromhex(params.transaction), SignedTransaction)
    except CodecError as error:
        raise RpcError(INVALID_PARAMS, f"transaction: {error}") from None
    return done(await doors.ask(lambda request: SubmitTransaction(request, signed)))


async def _send(doors: NodeDoors, params: BodyParams) -> Done:
    try:
        body: Body = decode(bytes.fromhex(params.body), cast(type[Body], Body))
    except CodecError as error:
        raise RpcError(INVALID_PARAMS, f"body: {error}") from None
    replaces = b"" if params.replaces is None else read_id(params.replaces)
    return done(await doors.ask(lambda request: SubmitBody(request, body, replaces)))


async def _transaction(doors: NodeDoors, params: IdParams) -> TransactionView:
    id, prefix = read_id(params.id), doors.genesis.prefix
    waiting = await doors.waiting_transaction(id)  # asked first: it may get into a block while the store is read
    found = await doors.read(lambda reader: _included(reader, id, prefix))
    if found is not None:
        return found
    if waiting is None:
        raise not_found("transaction", params.id, await doors.read(_why_unknown))
    return _transaction_view(waiting, prefix, "waiting")


def _included(reader: Reader, id: Hash, prefix: str) -> TransactionView | None:
    place = reader.store.transaction_place(id)
    header = None if place is None else reader.store.header(place.block)
    body = None if place is None else reader.store.body(place.block)
    if place is None or header is None or body is None:
        return None
    view = _transaction_view(body.transactions[place.position], prefix, "included")
    return replace(
        view,
        block=place.block.hex(),
        height=header.height,
        position=place.position,
        confirmations=max(0, reader.head.height - header.height + 1),
    )


def _transaction_view(signed: SignedTransaction, prefix: str, state: Literal["waiting", "included"]) -> TransactionView:
    return TransactionView(
        id=signed.id.hex(),
        state=state,
        block=None,
        height=None,
        position=None,
        confirmations=0,
        transaction=show(signed.transaction, prefix),
        encoded=encode(signed).hex(),
    )


async def _mempool(doors: NodeDoors, params: MempoolParams) -> MempoolView:
    pools, prefix = (await doors.figures()).pools, doors.genesis.prefix
    return MempoolView(
        transactions=pools.transactions,
        transaction_bytes=pools.transaction_bytes,
        updates=pools.updates,
        update_bytes=pools.update_bytes,
        listed=tuple(_waiting_view(signed, prefix) for signed in (await doors.waiting())[: params.limit]),
    )


def _waiting_view(signed: SignedTransaction, prefix: str) -> WaitingTransaction:
    inner = signed.transaction
    return WaitingTransaction(
        id=signed.id.hex(),
        sender=address(inner.sender, prefix),
        nonce=inner.nonce,
        fee=inner.fee,
        kind=str(inner.body.__struct_config__.tag),
        size=len(encode(signed)),
    )


async def _supply(doors: NodeDoors, _params: Nothing) -> SupplyView:
    def question(reader: Reader) -> SupplyView:
        supply = get_supply(reader.view)
        return SupplyView(
            height=reader.head.height,
            minted=supply.minted,
            circulating=supply.circulating,
            escrowed=supply.escrowed,
            bonded=supply.bonded,
        )

    return await doors.read(question)


LEDGER_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method("account.get", "Returns an account's coins and nonce.", AccountParams, AccountView, _account),
    Method("block.get", "Returns a block by height or id, or the head.", BlockParams, BlockView, _block),
    Method("payload.get", "Returns a payload that blocks refer to.", IdParams, PayloadContent, _payload),
    Method("transaction.submit", "Hands in a signed transaction.", TransactionParams, Done, _submit),
    Method(
        "transaction.send",
        "Has the node sign a transaction body and hand it in, anew or in the place of one that waits.",
        BodyParams,
        Done,
        _send,
        guarded=True,
    ),
    Method("transaction.get", "Returns a transaction, waiting or included.", IdParams, TransactionView, _transaction),
    Method("mempool.get", "Returns what waits for blocks.", MempoolParams, MempoolView, _mempool),
    Method("state.proof", "Returns a state value with its proof.", ProofParams, ProofView, _state_proof),
    Method("supply.get", "Returns where all coins are.", Nothing, SupplyView, _supply),
]
