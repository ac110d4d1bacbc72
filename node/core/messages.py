"""What the core's parts tell each other inside one event. Nothing in here leaves the process."""

from dataclasses import dataclass

from chain.block import Body, Header
from chain.ids import Hash, Height, Millis
from chain.payload import PayloadRef
from chain.transaction import Body as TransactionBody
from chain.transaction import SignedTransaction
from chain.update import Attestation, AttestedUpdate
from consensus.events import LedgerEvent
from node.status import State
from p2p.events import PeerId


@dataclass(frozen=True, slots=True)
class ConnectedBlock:
    """A block that was put on the main chain, with what happened in it."""

    id: Hash
    header: Header
    body: Body
    events: tuple[LedgerEvent, ...]


@dataclass(frozen=True, slots=True)
class HeadChanged:
    """The main chain has a new head: after taking back ``disconnected`` (old head first), ``connected`` stand on it.

    ``connected`` is empty if the head was only taken back, because certificates speak against it.
    """

    head: Header
    connected: tuple[ConnectedBlock, ...]
    disconnected: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class StateGrew:
    """A piece of the state that is being fetched from peers is here."""


@dataclass(frozen=True, slots=True)
class StateAdopted:
    """The head is another one because the state after it came from peers; the blocks up to it are not here."""

    head: Header


@dataclass(frozen=True, slots=True)
class BlockMade:
    """This node's miner sealed a block."""

    header: Header
    body: Body


@dataclass(frozen=True, slots=True)
class HeaderAdmitted:
    """The agreement found this header justified: it may be taken into the tree. ``sources`` may have its body."""

    header: Header
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class BlockCondemned:
    """A block was found to break a rule."""

    id: Hash


@dataclass(frozen=True, slots=True)
class FinalMoved:
    """The block up to which the chain is final by certificates is another one now."""

    height: Height
    id: Hash


@dataclass(frozen=True, slots=True)
class ProposalWanted:
    """This validator leads a view: a block on ``parent`` is wanted, to go out not before a time."""

    epoch: int
    view: int
    parent: Hash
    not_before: Millis


@dataclass(frozen=True, slots=True)
class PayloadStored:
    """A payload is in the store now, whoever brought it."""

    id: Hash


@dataclass(frozen=True, slots=True)
class PayloadsLost:
    """Payloads that this node had, for the state after block ``head`` needs them, and has no more."""

    head: Hash
    refs: tuple[PayloadRef, ...]


@dataclass(frozen=True, slots=True)
class IntakeServed:
    """Peers' transactions may be judged now: all else that came with them has been handled."""


@dataclass(frozen=True, slots=True)
class OwnTransaction:
    """A role wants this done in the node's name."""

    body: TransactionBody


@dataclass(frozen=True, slots=True)
class HostedTransaction:
    """A device that this node hosts has signed this with its own key; it signs it again if it is lost."""

    signed: SignedTransaction


@dataclass(frozen=True, slots=True)
class UpdateReleased:
    """This node's device released an update; its payload is stored and the release journalled."""

    update: AttestedUpdate


@dataclass(frozen=True, slots=True)
class UpdateReady:
    """An update in the pool was verified, or gained attestations."""

    id: Hash


@dataclass(frozen=True, slots=True)
class ChecksWanted:
    """Updates wait to be checked: all those of which one event tells are in the row now."""


@dataclass(frozen=True, slots=True)
class UpdateRepeated:
    """This node's miner repeated the training of an update; what came of it, its verdict says."""

    id: Hash


@dataclass(frozen=True, slots=True)
class AttestationMade:
    """This node's miner vouches for an update in the pool."""

    update: Hash
    attestation: Attestation


@dataclass(frozen=True, slots=True)
class PoolGrew:
    """There is more to put into a block than before."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The node's state (``node.status``) is another one now."""

    state: State
