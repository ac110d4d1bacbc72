"""The transition: what a block does to the state, as a pure function (docs/ledger.md).

``execute`` reads like the definition: every transaction, every local update, then every plan's clock, then the
coins the block created. ``apply`` adds what a header claims. ``fill`` builds the body of a new block from what a
pool offers, by the same steps. Nothing writes to the view: what changes comes back as a ``Delta``.

Rules of this file: ``Invalid`` is a verdict, ``MissingPayload`` a request; any other exception is a fault of this
node and must stop it. Invalid input leaves no trace, because nothing is written before everything is checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chain.block import Block, Body, Header, has_matching_body, transactions_root, updates_root
from chain.codec import encode
from chain.errors import CodecError
from chain.ids import ZERO_HASH, Hash
from chain.transaction import PAYLOAD_KINDS, SignedTransaction, SubmitPlan, Transfer
from chain.update import AttestedUpdate, LocalUpdate
from consensus.context import BlockContext, Execution, StakeContext
from consensus.errors import BodyMismatch, Invalid, MissingPayload
from consensus.first import genesis_block, genesis_execution
from consensus.ledger import Ledger
from consensus.pos.fields import read_fields
from consensus.rounds.machine import tick
from consensus.rules.plans import get_model_size
from consensus.rules.transactions import check_form, check_nonce, run_transaction
from consensus.rules.updates import check_release, expect_keys, run_update
from consensus.signatures import SignatureCache
from consensus.staking.clock import tick_stake
from consensus.state import get_account
from consensus.statekeys import account_key
from consensus.treeupdate import compute_update
from consensus.view import EmptyView, PayloadView, StateView, join_deltas

__all__ = [
    "BlockContext",
    "Execution",
    "Filling",
    "SignatureCache",
    "apply",
    "check_local_update",
    "check_transaction",
    "execute",
    "fill",
    "genesis_block",
    "genesis_execution",
    "make_header",
]

_BODY_FRAME: Final = 11
"""Bytes of a body around its transactions and updates: three array heads, the inner two of up to five bytes."""


@dataclass(frozen=True, slots=True)
class Filling:
    """A candidate block's body, what executing it gives, and what was refused, by id.

    What is neither in the body nor rejected did not fit or lacks its payload: it may be offered again.
    """

    body: Body
    execution: Execution
    rejected: Mapping[Hash, Invalid]


def execute(
    view: StateView,
    context: BlockContext,
    body: Body,
    payloads: PayloadView,
    *,
    signatures: SignatureCache | None = None,
) -> Execution:
    """Return what a body does to the state in a context. Raises ``Invalid`` or ``MissingPayload``."""
    _check_sizes(context, body)
    ledger = Ledger(view, context, payloads, signatures)
    ledger.overlay.get_all(_expect_keys(body))  # they may lie on disk: read at once, they come sooner
    for transaction in body.transactions:
        run_transaction(ledger, transaction)
    for update in body.updates:
        run_update(ledger, update)
    return _finish(ledger)


def apply(
    view: StateView,
    block: Block,
    context: BlockContext,
    payloads: PayloadView,
    *,
    signatures: SignatureCache | None = None,
) -> Execution:
    """Return what a block does: ``execute``, and the header's claims compared: body roots, sizes, state root.

    Raises ``BodyMismatch`` if the body is not the header's, ``Invalid``, or ``MissingPayload``. Seal and engine fields
    are the engine's to check.
    """
    if not has_matching_body(block.header, block.body):
        raise BodyMismatch(f"the body is not the one that header {block.id.hex()} commits to")
    _check_header(block.header, context)
    execution = execute(view, context, block.body, payloads, signatures=signatures)
    if execution.state_root != block.header.state_root:
        raise Invalid(
            "block.state_root",
            f"the header says {block.header.state_root.hex()}, executing the body gives {execution.state_root.hex()}",
        )
    return execution


def fill(
    view: StateView,
    context: BlockContext,
    transactions: Sequence[SignedTransaction],
    updates: Sequence[AttestedUpdate],
    payloads: PayloadView,
    *,
    signatures: SignatureCache | None = None,
) -> Filling:
    """Return a body of what applies, in the order given and within the block's limits, and its execution.

    Raises ``MissingPayload`` only if a phase that is due to settle or a dispute lacks payloads: no block can be built.
    """
    ledger = Ledger(view, context, payloads, signatures)
    ledger.overlay.get_all(expect_keys([each.update for each in updates]))
    rejected: dict[Hash, Invalid] = {}
    room = _Room(context)
    taken: list[SignedTransaction] = []
    for transaction in transactions:
        sizes = _size_of_transaction(transaction)
        if room.has(*sizes) and _takes(ledger, transaction, rejected):
            room.take(*sizes)
            taken.append(transaction)
    carried: list[AttestedUpdate] = []
    for attested in updates:
        sizes = _size_of_update(attested)
        if room.has(*sizes) and _takes(ledger, attested, rejected):
            room.take(*sizes)
            carried.append(attested)
    return Filling(Body(tuple(taken), tuple(carried)), _finish(ledger), rejected)


def make_header(context: BlockContext, parent: Hash, body: Body, execution: Execution, engine: bytes) -> Header:
    """Return the unsealed header of a block with this body, as ``apply`` expects it."""
    return Header(
        version=context.rules.version,
        chain_id=context.chain_id,
        height=context.height,
        parent=parent,
        time_ms=context.time_ms,
        producer=context.producer,
        tx_root=transactions_root(body.transactions),
        update_root=updates_root(body.updates),
        state_root=execution.state_root,
        engine=engine,
        extension=ZERO_HASH,
        seal=b"",
    )


# --- pools ----------------------------------------------------------------------------------------


def check_transaction(
    view: StateView,
    context: BlockContext,
    signed: SignedTransaction,
    payloads: PayloadView | None = None,
    *,
    signatures: SignatureCache | None = None,
) -> None:
    """Check a transaction for a pool at the head. Raises ``Invalid`` or ``MissingPayload``.

    ``context`` is the next block's. A transaction whose nonce is still to come is checked for form, signature and fee
    alone: what it may do depends on those before it.
    """
    ledger = Ledger(view, context, EmptyView() if payloads is None else payloads, signatures)
    check_form(context, signed, ledger.signatures)
    expected = get_account(view, signed.transaction.sender).nonce
    if signed.transaction.nonce > expected:
        return
    check_nonce(expected, signed.transaction.nonce)
    run_transaction(ledger, signed)


def check_local_update(
    view: StateView,
    context: BlockContext,
    update: LocalUpdate,
    payload: bytes,
    *,
    signatures: SignatureCache | None = None,
    is_named: bool = False,
) -> None:
    """Check a local update as a block would, attestations aside: what a miner does before it attests.

    ``context`` is the next block's, ``payload`` the update's bytes; ``is_named``: they have the digest that it names,
    because a store of payloads gave them. Raises ``Invalid``.
    """
    check_release(view, context, update, payload, signatures or SignatureCache(0), is_named=is_named)


# --- parts ----------------------------------------------------------------------------------------


def _finish(ledger: Ledger) -> Execution:
    """End the block: the clocks of plans and stake tick, the producer is paid, the tree takes in all that changed."""
    tick(ledger)
    tick_stake(ledger)
    ledger.close()
    values = ledger.overlay.delta()
    root, nodes = compute_update(ledger.before, zip(values.keys, values.news, strict=True))
    return Execution(join_deltas(values, nodes), root, tuple(ledger.events))


def _expect_keys(body: Body) -> list[bytes]:
    """Return the keys that a body will read: of senders' accounts, those coins go to, and the updates' devices."""
    found = [account_key(each.transaction.sender) for each in body.transactions]
    found += [account_key(to.to) for each in body.transactions if type(to := each.transaction.body) is Transfer]
    return list(dict.fromkeys([*found, *expect_keys([each.update for each in body.updates])]))


def _check_header(header: Header, context: BlockContext) -> None:
    """Check what a header says against where it stands. ``Invalid`` says what does not fit."""
    claims = (
        ("version", header.version, context.rules.version),
        ("chain", header.chain_id, context.chain_id),
        ("height", header.height, context.height),
        ("time", header.time_ms, context.time_ms),
        ("producer", header.producer.hex(), context.producer.hex()),
        ("extension", header.extension.hex(), ZERO_HASH.hex()),
    )
    for name, claimed, due in claims:
        if claimed != due:
            raise Invalid(f"block.{name}", f"the header says {claimed!r}; {due!r} is due")
    if context.stake is not None:
        _check_place(header, context.stake)


def _check_place(header: Header, due: StakeContext) -> None:
    """Check that the header stands where the context says. Leader, proof and seal are the engine's to judge."""
    try:
        fields = read_fields(header)
    except CodecError as error:
        raise Invalid("block.engine", f"the engine fields are none: {error}") from None
    claimed = (fields.epoch, fields.view, fields.parent_view, fields.mix)
    if claimed != (due.epoch, due.view, due.parent_view, due.mix):
        raise Invalid("block.engine", f"epoch, view and beacon of the header are not those of its place: {claimed}")


def _check_sizes(context: BlockContext, body: Body) -> None:
    """Check the body's bytes and those it adds beside it. ``Invalid`` says which limit is passed."""
    size, allowed = len(encode(body)), context.rules.max_block_bytes
    if size > allowed:
        raise Invalid("block.size", f"a body of {size} bytes; at most {allowed} are allowed")
    load = sum([_load_of_transaction(each) for each in body.transactions])
    load += sum([each.update.release.payload.size for each in body.updates])
    allowed = context.rules.max_block_payload_bytes
    if load > allowed:
        raise Invalid(
            "block.payloads", f"payloads and new models of {load} bytes in one block; at most {allowed} are allowed"
        )


def _size_of_transaction(signed: SignedTransaction) -> tuple[int, int]:
    """Return a transaction's bytes in a body, and those it adds beside it."""
    return len(encode(signed)), _load_of_transaction(signed)


def _load_of_transaction(signed: SignedTransaction) -> int:
    """Return the bytes that a transaction adds beside a body: a payload, or the model of a new plan."""
    body = signed.transaction.body
    if isinstance(body, PAYLOAD_KINDS):
        return body.payload.size
    if isinstance(body, SubmitPlan):
        return get_model_size(body.plan)
    return 0


def _size_of_update(attested: AttestedUpdate) -> tuple[int, int]:
    """Return an update's bytes in a body, and those of its payload."""
    return len(encode(attested)), attested.update.release.payload.size


class _Room:
    """What is left of a block's two size limits while it is filled."""

    def __init__(self, context: BlockContext) -> None:
        self._bytes = context.rules.max_block_bytes - _BODY_FRAME
        self._payload_bytes = context.rules.max_block_payload_bytes

    def has(self, size: int, payload: int) -> bool:
        """Does something of these sizes still fit?"""
        return size <= self._bytes and payload <= self._payload_bytes

    def take(self, size: int, payload: int) -> None:
        """Use up these sizes."""
        self._bytes -= size
        self._payload_bytes -= payload


def _takes(ledger: Ledger, item: SignedTransaction | AttestedUpdate, rejected: dict[Hash, Invalid]) -> bool:
    """Does the ledger take this next? If a rule refuses, note it; if its payload is missing, it is left for later."""
    try:
        with ledger.attempt():
            if isinstance(item, SignedTransaction):
                run_transaction(ledger, item)
            else:
                run_update(ledger, item)
    except Invalid as verdict:
        rejected[item.id] = verdict
        return False
    except MissingPayload:
        return False
    return True
