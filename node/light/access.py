"""What peers may see of a light node: its own transactions, updates and payloads, and nothing of the chain.

It claims no height and no weight, so that nobody asks it for what it does not have. Read-only
(``p2p.access.ChainAccess``).
"""

from collections.abc import Sequence

from chain.block import Body, Header, block_id
from chain.ids import Hash, Height
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from node.light.source import TrustedHeaders
from node.mempool import Mempool
from node.updatepool import UpdatePool
from node.world import World
from p2p.access import HeaderTrial
from p2p.events import Kind, StateOffer


class LightAccess:
    """Answers the peer network's questions."""

    def __init__(self, world: World, source: TrustedHeaders, mempool: Mempool, updates: UpdatePool) -> None:
        self._world = world
        self._source = source
        self._mempool = mempool
        self._updates = updates

    @property
    def chain_id(self) -> str:
        """The chain's name in genesis."""
        return self._world.genesis.chain_id

    @property
    def genesis_id(self) -> Hash:
        """The digest of the genesis document."""
        return self._world.genesis.id

    def head(self) -> Hash:
        """Return the best trusted block: that it moves tells whether peers are worth keeping."""
        return block_id(self._source.best)

    def height(self) -> Height:
        """Return 0: no block is here."""
        return Height(0)

    def weight(self) -> int:
        """Return 0: no block is here."""
        return 0

    def header_weight(self) -> int:
        """Return the weight from which on a peer's headers are asked for."""
        return self._source.header_weight()

    def has_header(self, id: Hash) -> bool:
        """Is there no need to ask for this header?"""
        return self._source.has_header(id)

    def locator(self) -> tuple[Hash, ...]:
        """Return ids of the trusted headers."""
        return self._source.locator()

    def trial(self) -> HeaderTrial:
        """Return a new trial of a peer's headers."""
        return self._source.trial()

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        """Return nothing."""
        return ()

    def epoch_proofs(self, first: int, limit: int) -> tuple[bytes, ...]:
        """Return nothing."""
        return ()

    def has(self, kind: Kind, id: Hash) -> bool:
        """Is there no need to fetch this? Never is anything fetched by its id."""
        return True

    def body(self, id: Hash) -> Body | None:
        """Return nothing."""
        return None

    def served_states(self) -> tuple[StateOffer, ...]:
        """Return nothing."""
        return ()

    def state_part(self, block: Hash, question: bytes) -> bytes | None:
        """Return nothing."""
        return None

    def payload(self, id: Hash) -> bytes | None:
        """Return the payload of an own release."""
        return self._world.payloads.get(id)

    def transaction(self, id: Hash) -> SignedTransaction | None:
        """Return an own transaction in waiting."""
        return self._mempool.get(id)

    def update(self, id: Hash) -> AttestedUpdate | None:
        """Return an own update in waiting."""
        entry = self._updates.get(id)
        return None if entry is None else entry.attested()

    def update_version(self, id: Hash) -> Hash | None:
        """Return its version."""
        entry = self._updates.get(id)
        return None if entry is None else entry.version()
