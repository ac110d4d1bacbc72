"""What peers may see of this node: its chain, its pools, its payloads. Read-only (``p2p.access.ChainAccess``)."""

from collections.abc import Sequence

from chain.block import Body, Header
from chain.ids import Hash, Height
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from node.core.chain import Chain
from node.core.headstates import HeadStates
from node.core.presync import HeaderTrial, work_needed
from node.core.refused import RefusedItems
from node.core.snapshots import SnapshotDesk
from node.core.waymarks import Waymarks
from node.mempool import Mempool
from node.updatepool import UpdatePool
from node.world import World
from p2p.access import HeaderTrial as Trial
from p2p.events import Kind, StateOffer


class Serving:
    """Answers the peer network's questions."""

    def __init__(
        self,
        world: World,
        chain: Chain,
        mempool: Mempool,
        updates: UpdatePool,
        refused: RefusedItems,
        snapshots: SnapshotDesk,
        heads: HeadStates,
        marks: Waymarks,
        minimum_work: int = 0,
    ) -> None:
        self._world = world
        self._marks = marks
        self._minimum_work = minimum_work
        self._chain = chain
        self._mempool = mempool
        self._updates = updates
        self._refused = refused
        self._snapshots = snapshots
        self._heads = heads

    @property
    def chain_id(self) -> str:
        """The chain's name in genesis."""
        return self._world.genesis.chain_id

    @property
    def genesis_id(self) -> Hash:
        """The digest of the genesis document."""
        return self._world.genesis.id

    def head(self) -> Hash:
        """Return the id of the head."""
        return self._chain.head_id

    def height(self) -> Height:
        """Return the head's height."""
        return self._chain.height

    def weight(self) -> int:
        """Return the weight of the head's chain."""
        return self._chain.tree.weight(self._chain.head_id)

    def header_weight(self) -> int:
        """Return the weight of the best chain of headers."""
        return self._chain.tree.weight(self._chain.tree.best())

    def has_header(self, id: Hash) -> bool:
        """Is this header in the tree?"""
        return id in self._chain.tree

    def locator(self) -> tuple[Hash, ...]:
        """Return ids of the best chain of headers, dense at its end, down to genesis."""
        return self._chain.tree.locator()

    def trial(self) -> Trial:
        """Return a new trial of a peer's headers, by the work that is needed now, or on the way to a checkpoint."""
        if not self._marks.is_reached:
            return self._marks.trial()
        tree = self._chain.tree
        return HeaderTrial(
            self._world.genesis, self._world.engine, tree, work_needed(self._world, tree, self._minimum_work)
        )

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        """Return the main chain's headers after the locator, with the stale ones they refer to."""
        return self._chain.tree.headers_after(locator, limit)

    def epoch_proofs(self, first: int, limit: int) -> tuple[bytes, ...]:
        """Return the proofs of how the epochs from ``first`` on ended, up to the first that is not here."""
        proofs: list[bytes] = []
        while len(proofs) < limit:
            proof = self._world.store.certificates.epoch_proof(first + len(proofs))
            if proof is None:
                break
            proofs.append(proof)
        return tuple(proofs)

    def has(self, kind: Kind, id: Hash) -> bool:
        """Is there no need to fetch this?"""
        if kind is Kind.TRANSACTION:
            known = id in self._mempool or id in self._refused
            return known or self._world.store.transaction_place(id) is not None
        if kind is Kind.UPDATE:
            return id in self._updates or id in self._refused
        if kind is Kind.BODY:
            return self._world.store.has_body(id)
        return self._world.payloads.has(id)

    def body(self, id: Hash) -> Body | None:
        """Return a block's body."""
        return self._world.store.body(id)

    def served_states(self) -> tuple[StateOffer, ...]:
        """Return the states of which peers may fetch parts."""
        return self._snapshots.served()

    def state_part(self, block: Hash, question: bytes) -> bytes | None:
        """Return a part of the state after a block."""
        found = self._heads.part(block, question)
        return self._snapshots.part(block, question) if found is None else found

    def payload(self, id: Hash) -> bytes | None:
        """Return a payload."""
        return self._world.payloads.get(id)

    def transaction(self, id: Hash) -> SignedTransaction | None:
        """Return a transaction in waiting."""
        return self._mempool.get(id)

    def update(self, id: Hash) -> AttestedUpdate | None:
        """Return an update in waiting with all its attestations.

        Only verified ones are announced; the others are shown so that attestations which arrive while the update is
        still being checked are seen as news.
        """
        entry = self._updates.get(id)
        return None if entry is None else entry.attested()

    def update_version(self, id: Hash) -> Hash | None:
        """Return the digest of an update in waiting with all its attestations."""
        entry = self._updates.get(id)
        return None if entry is None else entry.version()
