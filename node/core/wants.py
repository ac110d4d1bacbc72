"""Which payloads are being fetched, and for what: blocks, updates and transactions may need the same one.

A payload is fetched until it arrives or nothing needs it any more. So an update whose payload nobody has costs
nothing after its task has closed, and dropping it never takes a payload from a block that waits for it too.
"""

from collections.abc import Iterable
from typing import NamedTuple

from chain.ids import Hash
from chain.payload import PayloadRef
from node.core.messages import PayloadsLost, PayloadStored
from node.core.turn import Turn
from p2p.events import Kind, PeerId, Want
from p2p.network import PeerNetwork
from storage.base import PayloadStore


class Lack(NamedTuple):
    """A payload that is not here, the id of who needs it, and the peers it is best fetched from."""

    needer: Hash
    ref: PayloadRef
    sources: tuple[PeerId, ...]


class PayloadWants:
    """Counts who needs what; asks the network for the first, and calls it off after the last."""

    def __init__(self, payloads: PayloadStore, network: PeerNetwork) -> None:
        self._payloads = payloads
        self._network = network
        self._needers: dict[Hash, dict[Hash, None]] = {}
        self._needs: dict[Hash, dict[Hash, None]] = {}

    def __len__(self) -> int:
        return len(self._needers)

    def want(self, needer: Hash, refs: Iterable[PayloadRef], sources: tuple[PeerId, ...], turn: Turn) -> None:
        """Fetch those of ``refs`` that are not stored, for ``needer`` (an id), best from ``sources``."""
        self.want_all([Lack(needer, ref, sources) for ref in refs], turn)

    def want_all(self, lacks: Iterable[Lack], turn: Turn) -> None:
        """Fetch payloads for many needers, of those that are not stored, in as few questions as may be."""
        wants: list[Want] = []
        for needer, ref, sources in lacks:
            if not self._payloads.has(ref.id):
                self._needers.setdefault(ref.id, {})[needer] = None
                self._needs.setdefault(needer, {})[ref.id] = None
                wants.append(Want(Kind.PAYLOAD, ref.id, ref.size, sources))
        if wants:
            turn.network(self._network.want(wants, turn.now))

    def on_payloads_lost(self, lost: PayloadsLost, turn: Turn) -> None:
        """Fetch again what was lost."""
        self.want(lost.head, lost.refs, (), turn)

    def release(self, needer: Hash, turn: Turn) -> None:
        """Take note that ``needer`` needs nothing any more."""
        idle: list[Hash] = []
        for payload in self._needs.pop(needer, {}):
            needers = self._needers[payload]
            del needers[needer]
            if not needers:
                del self._needers[payload]
                idle.append(payload)
        if idle:
            turn.network(self._network.unwant(idle, turn.now))

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Forget who needed a payload that is here."""
        for needer in self._needers.pop(stored.id, {}):
            needs = self._needs[needer]
            del needs[stored.id]
            if not needs:
                del self._needs[needer]
