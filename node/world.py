"""The injected world: everything the core and its jobs use that is not an event.

The core alone writes (store, payloads, journal), in its own thread; jobs only read, and see the chain through
a snapshot that does not move under them. Time is not in here: it is the ``now`` of an event.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from chain.genesis import Genesis
from chain.ids import Hash
from chain.keys import KeyPair
from chain.statement import DeviceStatement
from consensus.engine import Engine
from consensus.signatures import SignatureCache
from fl.data.sources import DataSource
from fl.plan.schema import Plan
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource
from node.fleet.hosted import HostedFleet
from node.jobs.built import BuiltBlocks
from node.jobs.fresh import FreshPayloads
from node.jobs.shelf import DataShelf
from node.signer import ValidatorSigner
from storage.base import ChainStore, PayloadStore
from storage.own import ReleaseJournal, ResidualStore
from storage.pledges import MemoryPledges, PledgeJournal
from storage.residuals import MemoryResiduals
from storage.sharedsets import MemorySharedSets, SharedSets


@dataclass(frozen=True, slots=True)
class OpenedChunk:
    """One chunk of a holdout set as its owner reveals it."""

    salt: bytes
    proof: tuple[Hash, ...]
    payload: bytes


class HoldoutSource(Protocol):
    """The owner's holdout sets: kept where only the owner can read them until a chunk is opened."""

    def open(self, plan: Plan, chunk: int) -> OpenedChunk | None:
        """Return a chunk of the plan's holdout set; None if this owner does not hold that set."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What a node stands in.

    ``key`` is the node's account: peers know it by this key, and its roles (miner, device, owner) sign with it.
    ``data`` is what the device role trains on, ``holdout`` what the owner role opens; None without that role.
    ``random`` is for choices nobody has to agree on (which peer to ask); never for consensus or keys.
    ``noise`` is what devices' noise is drawn from: the operating system's randomness, but in a simulation.
    ``fleet`` are the devices that the fleet role plays, with keys of their own; None without that role.
    ``signer`` holds the key and the journal of a validator; the engine was made with it. None for others.
    ``residuals`` is what the device keeps from round to round, under plans that send the largest coordinates alone.
    ``shared_sets`` are the randomised copies of its tables that the device has made.
    ``pledges`` is what this node's key has helped to decrypt.
    ``statement`` is what a registrar says about this device, for plans that ask for it.
    ``signatures``, ``built``, ``fresh`` and ``shelf`` are memories that change no result.
    """

    genesis: Genesis
    engine: Engine
    store: ChainStore
    payloads: PayloadStore
    journal: ReleaseJournal
    key: KeyPair
    random: Random
    data: DataSource | None = None
    holdout: HoldoutSource | None = None
    fleet: HostedFleet | None = None
    signer: ValidatorSigner | None = None
    noise: RandomSource = SYSTEM_RANDOM
    residuals: ResidualStore = field(default_factory=MemoryResiduals)
    shared_sets: SharedSets = field(default_factory=MemorySharedSets)
    pledges: PledgeJournal = field(default_factory=MemoryPledges)
    statement: DeviceStatement | None = None
    signatures: SignatureCache = field(default_factory=SignatureCache)
    built: BuiltBlocks = field(default_factory=BuiltBlocks)
    fresh: FreshPayloads = field(default_factory=FreshPayloads)
    shelf: DataShelf = field(default_factory=DataShelf)
