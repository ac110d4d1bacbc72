"""What a light node's device is given to read: the proven state, its own pools, and whether to act on them at all.

Rules of this file: reading alone. Reading what is not proven yet raises ``UnknownKeyError``.
"""

from dataclasses import dataclass, replace

from chain.block import Header
from chain.genesis import PosParameters, Rules
from chain.ids import ZERO_HASH, AccountId, Hash, Height
from chain.transaction import Body
from consensus.state import get_account
from consensus.view import StateView
from node.light.proven import ProvenState, UnknownKeyError
from node.light.source import TrustedHeaders
from node.light.statedesk import StateDesk
from node.mempool import Mempool
from node.roles.base import has_waiting
from node.world import World
from p2p.network import PeerNetwork


class Nothing:
    """The state before any block could be looked at: every key is unknown."""

    def get(self, key: bytes, /) -> bytes | None:
        """Raise ``UnknownKeyError``."""
        raise UnknownKeyError(key)


_NOTHING = Nothing()


class LightChain:
    """The block after which the state is looked at, and that state (``node.roles.base.DeviceChain``)."""

    def __init__(self, world: World, source: TrustedHeaders, desk: StateDesk) -> None:
        self._world = world
        self._source = source
        self._desk = desk

    @property
    def view(self) -> StateView:
        """The state as far as it is proven."""
        return _NOTHING if self._desk.state is None else self._desk.state

    @property
    def height(self) -> Height:
        """The block's height; 0 before there is one."""
        return Height(0) if self._desk.state is None else self._desk.state.point.header.height

    @property
    def head(self) -> Header:
        """The block's header; the best trusted one before there is one."""
        return self._source.best if self._desk.state is None else self._desk.state.point.header

    @property
    def head_id(self) -> Hash:
        """The block's id; zero before there is one."""
        return Hash(ZERO_HASH) if self._desk.state is None else self._desk.state.point.id

    @property
    def rules(self) -> Rules:
        """The rules of the next block."""
        return self._world.genesis.rules_at(Height(self.height + 1))

    @property
    def proven(self) -> ProvenState | None:
        """What is proven of that state; None before there is a block."""
        return self._desk.state

    def nonce(self, account: AccountId) -> int:
        """Return the nonce the account's next included transaction must carry. ``UnknownKeyError``."""
        return get_account(self.view, account).nonce


@dataclass(frozen=True, slots=True)
class LightSurroundings:
    """``node.roles.base.DeviceSurroundings`` of a light node."""

    world: World
    chain: LightChain
    source: TrustedHeaders
    network: PeerNetwork
    mempool: Mempool

    def in_world(self, world: World) -> "LightSurroundings":
        """Return the same surroundings in another world."""
        return replace(self, world=world)

    @property
    def account(self) -> AccountId:
        """This node's account."""
        return self.world.key.account

    def is_waiting(self, kind: type[Body], plan: bytes | None = None, task: bytes | None = None) -> bool:
        """Does a transaction of this kind (for this plan and task, if named) of this node's wait for a block?"""
        return has_waiting(self.mempool, self.account, kind, plan, task)

    @property
    def has_votes(self) -> bool:
        """Do votes make blocks final on this network?"""
        return isinstance(self.world.genesis.engine, PosParameters)

    @property
    def final_height(self) -> Height:
        """The height up to which the chain is final."""
        return self.source.final_height

    @property
    def shares_data(self) -> bool:
        """Can this node publish its data when a plan repeats trainings? A payload of a join needs a full node."""
        return False

    @property
    def opens_audits(self) -> bool:
        """Can this node open its training? Who is drawn to verify it takes reading the whole register of miners."""
        return False

    @property
    def may_act(self) -> bool:
        """Is there a state worth acting on, and somebody to tell?"""
        is_followed = self.source.is_past_checkpoint and self.source.find_stop() is None
        return is_followed and self.chain.head_id != ZERO_HASH and bool(self.network.peers())
