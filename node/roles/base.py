"""What every role is given to read: its node's chain, pools and settings. Roles act through the turn alone."""

from dataclasses import dataclass
from typing import Protocol

from chain.codec import Record
from chain.genesis import PosParameters, Rules
from chain.ids import AccountId, Height, Natural
from chain.transaction import Body
from consensus.view import StateView
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.monitor import Monitor
from node.mempool import Mempool
from node.updatepool import UpdatePool
from node.world import World


class MinerStatus(Record):
    """What the miner does: blocks and attestations since the start, the height it works on (0 = it rests)."""

    blocks: Natural
    attestations: Natural
    height: Natural
    registered: bool
    paused: bool


class DeviceChain(Protocol):
    """What a device reads of the chain: the state after a block, and where that block stands."""

    @property
    def view(self) -> StateView:
        """The state."""
        ...

    @property
    def height(self) -> Height:
        """The height of the block after which it is the state."""
        ...

    @property
    def rules(self) -> Rules:
        """The rules of the next block."""
        ...


class DeviceSurroundings(Protocol):
    """What the device role is given to read, by a node with a chain (``Surroundings``) or without (``node.light``)."""

    @property
    def world(self) -> World:
        """What the node stands in."""
        ...

    @property
    def chain(self) -> DeviceChain:
        """The state to act on."""
        ...

    @property
    def account(self) -> AccountId:
        """This node's account."""
        ...

    def is_waiting(self, kind: type[Body], plan: bytes | None = None, task: bytes | None = None) -> bool:
        """Does a transaction of this kind (for this plan and task, if named) of this node's wait for a block?"""
        ...

    @property
    def has_votes(self) -> bool:
        """Do votes make blocks final on this network?"""
        ...

    @property
    def final_height(self) -> Height:
        """The height up to which the chain is final."""
        ...

    @property
    def may_act(self) -> bool:
        """Is the state worth acting on?"""
        ...

    @property
    def opens_audits(self) -> bool:
        """Can this node open its training when a plan audits it?"""
        ...

    @property
    def shares_data(self) -> bool:
        """Can this node publish its data when a plan repeats trainings?"""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts of the core that roles may read."""

    world: World
    config: CoreConfig
    chain: Chain
    mempool: Mempool
    updates: UpdatePool
    monitor: Monitor

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
        """The height up to which the head's chain is final."""
        return self.world.engine.finalized(self.chain.tree, self.chain.head_id)

    @property
    def opens_audits(self) -> bool:
        """Can this node open its training when a plan audits it?"""
        return True

    @property
    def shares_data(self) -> bool:
        """Can this node publish its data when a plan repeats trainings?"""
        return True

    @property
    def may_act(self) -> bool:
        """Is the head worth acting on: the best that peers know, or is there nobody to ask?"""
        return self.monitor.state in ("synced", "offline") or self.monitor.is_withheld


def has_waiting(
    mempool: Mempool, account: AccountId, kind: type[Body], plan: bytes | None = None, task: bytes | None = None
) -> bool:
    """Does a transaction of this kind (for this plan and task, if named) of an account wait for a block?"""
    bodies = [signed.transaction.body for signed in mempool.of(account) if isinstance(signed.transaction.body, kind)]
    named = [body for body in bodies if plan in (None, getattr(body, "plan", None))]
    return any(task in (None, getattr(body, "task", None)) for body in named)
