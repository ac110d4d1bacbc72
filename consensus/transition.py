"""The transition: what a block does to the state, as a pure function (DESIGN §2.2).

``execute`` reads like the definition: every transaction, every local update, then every plan's clock, then the
coins the block created. ``apply`` adds what a header claims. ``fill`` builds the body of a new block from what a
pool offers, by the same steps. Nothing writes to the view: what changes comes back as a ``Delta``.

Rules of this file: ``Invalid`` is a verdict, ``MissingPayload`` a request; any other exception is a fault of this
node and must stop it. Invalid input leaves no trace, because nothing is written before everything is checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain.block import Block, Body
from chain.genesis import Genesis
from chain.ids import Hash
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate, LocalUpdate
from consensus.context import BlockContext, Execution
from consensus.errors import Invalid
from consensus.signatures import SignatureCache
from consensus.view import PayloadView, StateView

__all__ = ["BlockContext", "Execution", "Filling", "SignatureCache"]


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
    raise NotImplementedError


def apply(
    view: StateView,
    block: Block,
    context: BlockContext,
    payloads: PayloadView,
    *,
    signatures: SignatureCache | None = None,
) -> Execution:
    """Return what a block does: ``execute``, and the header's roots, the sizes, the state root compared.

    Raises ``BodyMismatch`` if the body is not the header's, ``Invalid``, or ``MissingPayload``.
    """
    raise NotImplementedError


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

    Raises ``MissingPayload`` only if a phase that is due to settle lacks payloads: no block can be built then.
    """
    raise NotImplementedError


def check_transaction(
    view: StateView,
    context: BlockContext,
    signed: SignedTransaction,
    payloads: PayloadView | None = None,
    *,
    signatures: SignatureCache | None = None,
) -> None:
    """Check a transaction for a pool at the head. Raises ``Invalid`` or ``MissingPayload``.

    A transaction whose nonce is still to come is checked for form, signature and fee alone: what it may do depends
    on those before it.
    """
    raise NotImplementedError


def check_local_update(
    view: StateView,
    context: BlockContext,
    update: LocalUpdate,
    payload: bytes,
    *,
    signatures: SignatureCache | None = None,
) -> None:
    """Check a local update as a block would, attestations aside: what a miner does before it attests.

    ``context`` is the next block's, ``payload`` the update's bytes. Raises ``Invalid``.
    """
    raise NotImplementedError


def genesis_execution(genesis: Genesis) -> Execution:
    """Return the first state: a delta over nothing."""
    raise NotImplementedError


def genesis_block(genesis: Genesis) -> Block:
    """Return the block at height 0: empty, unsealed, with the first state's root; the same for everybody."""
    raise NotImplementedError
