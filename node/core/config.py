"""The core's settings, already checked: ``node.config`` reads them from a file, the simulator makes them."""

from dataclasses import dataclass, field
from typing import Final, Literal

from chain.ids import Hash
from node.core.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """The miner role. ``bond`` 0 = the rules' least; ``max_hashrate`` in hashes a second, 0 = all the threads can.

    ``dispute_percent`` of the updates that others attested are repeated, and disputed if they are false. ``hold_ms``: a
    leader holds a block back for so long, at most Δ, while it would lack updates that a task waits for.
    """

    bond: int = 0
    register: bool = True
    max_hashrate: int = 0
    threads: int = 1
    rebuild_delay_ms: int = 50
    dispute_percent: int = 10
    hold_ms: int = 0


Strictness = Literal["off", "if-known", "required"]
"""How much a condition matters: not at all; where the machine can tell; always, so it must be known to hold."""
STRICT: Final[tuple[Strictness, ...]] = ("off", "if-known", "required")


@dataclass(frozen=True, slots=True)
class WorkConditions:
    """What must hold for a device to train: the machine idle, on power, its network unmetered.

    ``idle_percent``: what programs other than this node may use of all processors while the machine counts as idle.
    """

    when_idle: Strictness = "off"
    on_power: Strictness = "off"
    unmetered: Strictness = "off"
    idle_percent: int = 25

    @property
    def are_any(self) -> bool:
        """Is there anything to look at?"""
        return {self.when_idle, self.on_power, self.unmetered} != {"off"}


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """The device role: which plans it may serve with its data.

    ``consent`` must be given by the data's holder: without it nothing is ever trained or joined. ``plans`` lists
    plan ids; ``any_plan`` serves every open plan whose schema the data fit. ``role`` is the plan role it takes,
    empty = the plan's only one. ``resend_blocks``: gossip an update again if no block took it for so long.
    ``share``: the holder agrees that the rows themselves are published, for plans that repeat trainings.
    ``conditions``: what the machine must be like while a task is trained.
    """

    consent: bool
    plans: tuple[Hash, ...] = ()
    any_plan: bool = False
    role: str = ""
    lifetime_budget: int = 0
    resend_blocks: int = 6
    share: bool = False
    conditions: WorkConditions = WorkConditions()


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """The fleet role: which plans the devices that this node hosts may serve. Each field is as in ``DeviceConfig``."""

    consent: bool
    plans: tuple[Hash, ...] = ()
    any_plan: bool = False
    role: str = ""
    lifetime_budget: int = 0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What waits for blocks at most: transactions, their bytes, those of one sender, devices' free ones; updates."""

    transactions: int = 20_000
    transaction_bytes: int = 32 * 1024 * 1024
    per_sender: int = 64
    sender_bytes: int = 4 * 1024 * 1024
    free_transactions: int = 2_000
    expiry_ms: int = 3 * 3600 * 1000
    updates: int = 8_192
    update_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of blocks that are final, in blocks below the final height; 0 = everything, for ever.

    ``payloads`` of settled rounds; ``bodies`` with their events and transactions. Undo goes as soon as neither a
    reorganisation nor a served state can need it, unless ``archive``, which keeps all.
    """

    archive: bool = False
    payloads: int = 0
    bodies: int = 0


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """The core's settings. A role that is None is not played.

    ``batch_blocks``: blocks one execution job takes at most; ``deep_blocks``: so many where a reorganisation needs
    them to outweigh the head (where it needs more, the head is lighter on the way);
    ``ahead_blocks``: bodies asked for ahead of the head; ``stall_ms``: without progress for so long, behind a
    heavier chain, the node calls itself stalled.
    ``checkpoint``: the only block accepted at its height. ``state_blocks``: a node so far behind takes the state of a
    final block from peers instead of executing every block; 0 = never. ``snapshot_blocks``: the states after final
    blocks at multiples of this height are served; 0 = none. ``retention``: what is pruned.
    ``minimum_work``: headers of a chain that is not proven to weigh that much are not stored. ``state_networks``: under
    work, without one and without a checkpoint, dialled peers of so many networks must bear out the chain whose state is
    taken; 0 = none. ``accuses_at_a_loss``: evidence is brought to the chain though its fee exceeds what it earns.
    ``has_reorg_limit``:
    False lets the node follow a heavier chain however deep it branches off (proof of work; the operator's decision).
    """

    miner: MinerConfig | None = None
    device: DeviceConfig | None = None
    fleet: FleetConfig | None = None
    owner: bool = False
    pools: PoolLimits = field(default_factory=PoolLimits)
    batch_blocks: int = 64
    deep_blocks: int = 256
    ahead_blocks: int = 256
    stall_ms: int = 30_000
    verify_jobs: int = 2
    checkpoint: Checkpoint | None = None
    state_blocks: int = 0
    snapshot_blocks: int = 1_000
    minimum_work: int = 0
    state_networks: int = 0
    accuses_at_a_loss: bool = False
    has_reorg_limit: bool = True
    retention: Retention = field(default_factory=Retention)
