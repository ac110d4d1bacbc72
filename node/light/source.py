"""What every way of following a chain without its blocks offers the rest of a light node.

Two ways: under proof of work the heaviest chain of headers (``workheaders``), under proof of stake the blocks that
certificates made final (``finalheaders``). Rules of this file: types alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from chain.block import Header
from chain.ids import Hash, Height
from node.core.turn import Turn
from p2p.access import HeaderTrial
from p2p.events import EngineArrived, EpochsArrived, HeadersArrived, PeerDown, PeerInfo, PeerUp


@dataclass(frozen=True, slots=True)
class TipMoved:
    """The best block that is trusted is another one."""


class TrustedHeaders(Protocol):
    """The headers that a light node trusts."""

    @property
    def best(self) -> Header:
        """The best one."""
        ...

    @property
    def final_height(self) -> Height:
        """The height up to which nothing can be taken back."""
        ...

    @property
    def is_past_checkpoint(self) -> bool:
        """Has the chain been seen to hold the operator's checkpoint, if there is one?"""
        ...

    def find_trusted(self, id: Hash) -> Header | None:
        """Return the header with this id if it is trusted: on the best chain and not far below its end."""
        ...

    def choose(self, peers: Iterable[PeerInfo]) -> list[Header]:
        """Return the blocks after which to look at the state, the best first, given who is connected."""
        ...

    def find_stop(self) -> str | None:
        """Return why this program can't follow the chain any further, and what to do; None if it can."""
        ...

    def says(self) -> str:
        """Say in words what is trusted."""
        ...

    # --- for the peer network ---------------------------------------------------------------------

    def has_header(self, id: Hash) -> bool:
        """Is there no need to ask for this header?"""
        ...

    def header_weight(self) -> int:
        """Return the weight from which on a peer's headers are worth asking for."""
        ...

    def locator(self) -> tuple[Hash, ...]:
        """Return ids from the best header back to the genesis block."""
        ...

    def trial(self) -> HeaderTrial:
        """Return a new trial of a peer's headers."""
        ...

    # --- what comes in ----------------------------------------------------------------------------

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """Take headers."""
        ...

    def on_engine(self, arrived: EngineArrived, turn: Turn) -> None:
        """Take a message of the engine."""
        ...

    def on_epochs(self, arrived: EpochsArrived, turn: Turn) -> None:
        """Take proofs of how epochs ended."""
        ...

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Hear of a new peer."""
        ...

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Hear of a peer that left."""
        ...
