"""What a Byzantine machine is: a real core, and a behaviour that stands between it and the world.

A behaviour hears every event and message before the core does, and sees every effect and message of the core before
it is done. It may change, drop and add; what it leaves alone happens. Its machine's key is its own to sign with, no
other's is. ``acts`` counts what it did against the rules: a behaviour that never acted has tested nothing.

Rules of these files: no behaviour reads an honest machine's memory; all randomness is the machine's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Protocol

from chain.genesis import Genesis
from chain.ids import Millis
from chain.keys import KeyPair
from consensus.engine import Engine
from node.core.core import NodeCore
from node.effects import Effect
from node.events import Event
from node.world import World
from p2p.messages import Message

ANY, PRODUCER, MINER, DEVICE, VALIDATOR = "any", "producer", "miner", "device", "validator"
"""What a machine must be for a behaviour to make sense; producers are miners or validators."""


def fits(role: str, machine: str) -> bool:
    """Does a behaviour for ``role`` suit a machine that is this: a miner, a validator, a device, or none of them?"""
    return role in (ANY, machine) or (role == PRODUCER and machine in (MINER, VALIDATOR))


@dataclass(slots=True)
class Peer:
    """A connection of this machine, and the machine at its other end; ready once both have proven who they are."""

    connection: int
    machine: int
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """What the Byzantine machines of a world have agreed on before it began: whom to harm."""

    victim: int
    victims: frozenset[bytes]
    accomplices: tuple[int, ...]


class Hands(Protocol):
    """How a behaviour acts by itself."""

    @property
    def now(self) -> Millis:
        """What the machine's clock shows."""
        ...

    @property
    def core(self) -> NodeCore | None:
        """The core of the process that runs."""
        ...

    @property
    def world(self) -> World | None:
        """The world of the process that runs."""
        ...

    def tell(self, connection: int, message: Message) -> None:
        """Send a message behind the core's back."""
        ...

    def throw(self, connection: int, data: bytes) -> None:
        """Send bytes that are no message."""
        ...

    def knock(self, machine: int) -> None:
        """Open a connection that the core does not hear of, and leave it at that."""
        ...

    def order(self, event: Event) -> None:
        """Give the core an event of one's own, soon."""
        ...


@dataclass(slots=True)
class Stage:
    """What a behaviour finds: who it is, whom it is connected to, and its hands."""

    number: int
    key: KeyPair
    genesis: Genesis
    engine: Engine
    random: Random
    plot: Plot
    hands: Hands
    peers: dict[int, Peer] = field(default_factory=dict)

    def ready(self) -> list[Peer]:
        """Return the connections on which messages may be sent."""
        return [peer for peer in self.peers.values() if peer.is_ready]

    def is_misled(self, peer: Peer) -> bool:
        """Does this peer belong to the half of the machines that are told the other thing?"""
        return (peer.machine - self.number) % 4 in (1, 2)


class Behaviour:
    """Honest as it stands; subclasses say what is otherwise."""

    name: ClassVar[str]
    role: ClassVar[str] = ANY
    power: ClassVar[float] = 1.0
    """The part of its hash rate that is left to its core, the rest being spent on what it does besides."""
    clock_offset_ms: int = 0

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.acts = 0

    def started(self) -> None:
        """A new process begins; connections of the old one are gone."""

    def hear(self, event: Event) -> Event | None:
        """Return what the core is to hear in place of an event; None for nothing."""
        return event

    def wish(self, effect: Effect) -> Effect | None:
        """Return what is done in place of an effect other than ``Send``; None for nothing."""
        return effect

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Return what the core is to receive in place of a message; None for nothing."""
        return message

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Return what is sent in place of a message."""
        return (message,)

    def tick(self) -> None:
        """Time passes."""
