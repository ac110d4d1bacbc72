"""Proof of work without blocks: the heaviest chain of headers, its last few hundred in memory.

Every header is judged by the engine like a full node's; what a light node can't see is whether the blocks follow the
ledger's rules: it trusts that the most work stands behind ones that do. A lighter chain, or one that is withheld, fools
it only while every peer tells the same tale: headers are asked of all who claim more weight, and the state is looked at
only after blocks that a peer says it has executed.

Memory: headers down to the reorganisation limit and ``KEPT_BELOW_FINAL``, and ``_ARCHIVED`` below, which the engine's
windows reach.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chain.block import Header, block_id
from chain.codec import decode, encode
from chain.ids import Hash, Height
from chain.upgrades import find_unknown
from consensus.engine import VALID_HEADER
from consensus.headertree import KEPT_BELOW_FINAL, HeaderTree, Outcome
from node.core.checkpoint import Checkpoint
from node.core.outdated import find_stop
from node.core.presync import HeaderTrial, work_needed
from node.core.turn import Turn
from node.light.kept import MAX_HEADERS, WorkTail
from node.light.liars import Liars
from node.light.source import TipMoved
from node.world import World
from p2p.events import EngineArrived, EpochsArrived, HeadersArrived, PeerDown, PeerInfo, PeerUp
from p2p.network import PeerNetwork

_ARCHIVED: Final = 512
_NEAR: Final = 64
"""A peer whose head is lower than the best header by more than this tells nothing new."""


class RecentHeaders:
    """The last headers that the tree let go, and genesis (a ``consensus.past.HeaderArchive``)."""

    def __init__(self, genesis: Header) -> None:
        self._genesis = block_id(genesis), genesis
        self._headers: OrderedDict[Hash, bytes] = OrderedDict()
        self._ids: dict[int, Hash] = {}

    def put(self, id: Hash, header: Header) -> None:
        """Take the main chain's next header."""
        self._headers[id] = encode(header)
        self._ids[header.height] = id
        if len(self._headers) > _ARCHIVED:
            old = self._headers.popitem(last=False)[1]
            del self._ids[decode(old, Header).height]

    def header(self, id: Hash) -> Header | None:
        """Return a header that is kept."""
        if id == self._genesis[0]:
            return self._genesis[1]
        data = self._headers.get(id)
        return None if data is None else decode(data, Header)

    def block_id_at(self, height: Height) -> Hash | None:
        """Return the id of the main chain's header at a height, if it is kept."""
        return self._genesis[0] if height == 0 else self._ids.get(height)


class WorkHeaders:
    """The header tree of a node without blocks: every valid header counts as complete."""

    def __init__(
        self, world: World, checkpoint: Checkpoint | None, minimum_work: int, liars: Liars, kept: WorkTail | None = None
    ) -> None:
        genesis = world.store.header(world.store.tip())
        assert genesis is not None  # a light node's store holds genesis and nothing else
        self._world = world
        self._checkpoint = checkpoint
        self._minimum_work = minimum_work
        self._liars = liars
        self._archive = RecentHeaders(genesis)
        self._genesis = block_id(genesis)
        self._lowest = 0 if kept is None else int(kept.lowest)
        self.tree = self._plant(genesis) if kept is None else self._replant(kept)
        self.network: PeerNetwork | None = None

    def _plant(self, first: Header, weight: int | None = None) -> HeaderTree:
        point = self._checkpoint
        pin = None if point is None else (point.height, point.block)
        return HeaderTree(self._world.engine, first, checkpoint=pin, archive=self._archive, weight=weight)

    def _replant(self, kept: WorkTail) -> HeaderTree:
        """Return the tree as an earlier run left it: these headers were judged then."""
        below = kept.lowest - kept.headers[0].height
        for header in kept.headers[:below]:
            self._archive.put(block_id(header), header)
        first, *rest = kept.headers[below:]
        tree = self._plant(first, int.from_bytes(kept.weight, "big"))
        for header in rest:
            tree.insert(header, VALID_HEADER)
            tree.mark_complete(block_id(header))
        for sibling in kept.siblings:
            tree.insert(sibling, VALID_HEADER)
            tree.mark_complete(block_id(sibling))
        tree.set_head(block_id(kept.headers[-1]))
        return tree

    def keep(self) -> WorkTail | None:
        """Return what the next run is to begin with; None if it is too much, or nothing yet."""
        best = self.best
        first = max(min(1, self._lowest), self._lowest - _ARCHIVED)
        if best.height == 0 or best.height - first >= MAX_HEADERS:
            return None
        found = [self.tree.ancestor(self.tree.head, Height(height)) for height in range(first, best.height + 1)]
        weight = self.tree.weight_at(Height(self._lowest))
        headers = tuple([header for header in found if header is not None])
        siblings = self._siblings_of(headers)
        if len(siblings) > MAX_HEADERS:
            return None
        size = max(1, (weight.bit_length() + 7) // 8)
        return WorkTail(headers, siblings, Height(self._lowest), weight.to_bytes(size, "big"))

    def _siblings_of(self, headers: Iterable[Header]) -> tuple[Header, ...]:
        """Return the stale headers in the tree that these refer to."""
        references = self._world.engine.references
        named = [self.tree.header(id) for header in headers for id in references(header) if id in self.tree]
        return tuple([each for each in named if each is not None and each.height > self._lowest])

    # --- what is trusted --------------------------------------------------------------------------

    @property
    def best(self) -> Header:
        """The tip of the heaviest chain."""
        header = self.tree.header(self.tree.head)
        assert header is not None
        return header

    @property
    def final_height(self) -> Height:
        """The height up to which no reorganisation goes."""
        return self.tree.final_height

    @property
    def is_past_checkpoint(self) -> bool:
        """Is the best chain as long as the checkpoint is high? Then it holds it."""
        return self._checkpoint is None or self.best.height >= self._checkpoint.height

    def find_trusted(self, id: Hash) -> Header | None:
        """Return a header of the best chain's end."""
        header = self.tree.header(id) if id in self.tree else None
        if header is None or self.best.height - header.height > _NEAR:
            return None
        return header if self.tree.ancestor_id(self.tree.head, header.height) == id else None

    def choose(self, peers: Iterable[PeerInfo]) -> list[Header]:
        """Return the blocks of the best chain that peers say they have executed, the highest first."""
        found = {peer.head: header for peer in peers if (header := self.find_trusted(peer.head)) is not None}
        return sorted(found.values(), key=lambda header: -header.height)

    def find_stop(self) -> str | None:
        """Return why the heaviest chain can't be followed."""
        genesis = self._world.genesis
        return find_stop(genesis, find_unknown(genesis), self.tree, self.best.height)

    def says(self) -> str:
        """Say what is trusted."""
        start = "genesis" if self._checkpoint is None else f"checkpoint {self._checkpoint}"
        return f"light: the heaviest chain of headers from {start}, and state proofs"

    # --- for the peer network ---------------------------------------------------------------------

    def has_header(self, id: Hash) -> bool:
        """Is it in the tree?"""
        return id in self.tree

    def header_weight(self) -> int:
        """Return the best chain's weight."""
        return self.tree.weight(self.tree.best())

    def locator(self) -> tuple[Hash, ...]:
        """Return ids of the best chain, dense at its end, down to the lowest in memory, and genesis."""
        tip, ids, step = self.tree.best(), list[Hash](), 1
        height = int(self.tree.height(tip))
        while height > self._lowest:
            id = self.tree.ancestor_id(tip, Height(height))
            assert id is not None
            ids.append(id)
            step *= 2 if len(ids) >= 10 else 1
            height -= step
        lowest = self.tree.ancestor_id(tip, Height(self._lowest))
        return tuple(dict.fromkeys([*ids, *([] if lowest is None else [lowest]), self._genesis]))

    def trial(self) -> HeaderTrial:
        """Return a trial by the work that is needed now."""
        return HeaderTrial(
            self._world.genesis, self._world.engine, self.tree, work_needed(self._world, self.tree, self._minimum_work)
        )

    # --- what comes in ----------------------------------------------------------------------------

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """Judge headers, follow the heaviest chain, and go on asking."""
        assert self.network is not None
        for header in arrived.headers:
            for result in self.tree.accept(header, turn.now):
                if result.outcome is Outcome.ADDED:
                    self.tree.mark_complete(result.id)
                elif result.outcome is Outcome.INVALID:
                    reason = f"header {result.id.hex()}: {result.reason or 'it stands on an invalid block'}"
                    self._liars.condemn(arrived.peer, header.height, reason, self.network, turn)
                    self._follow(turn)
                    return
            self._follow_far()
        self._follow(turn)
        turn.network(self.network.sync(turn.now))

    def _follow_far(self) -> None:
        """In the middle of many headers: let memory not grow with them."""
        if self.tree.height(self.tree.best()) - self.tree.height(self.tree.head) >= KEPT_BELOW_FINAL:
            self._move()

    def _follow(self, turn: Turn) -> None:
        if self.tree.best_complete() != self.tree.head:
            self._move()
            turn.tell(TipMoved())

    def _move(self) -> None:
        """Make the best header the head; keep what the tree lets go for a while."""
        best = self.tree.best_complete()
        final = self._world.engine.finalized(self.tree, best)
        lowest = max(self._lowest, final - KEPT_BELOW_FINAL)
        for height in range(self._lowest, lowest):
            id = self.tree.ancestor_id(best, Height(height))
            header = None if id is None else self.tree.header(id)
            if id is not None and header is not None and height:
                self._archive.put(id, header)
        self._lowest = lowest
        self.tree.set_head(best)

    def on_engine(self, arrived: EngineArrived, turn: Turn) -> None:
        """Reject who votes where nobody does."""
        assert self.network is not None
        reason = "an engine message on a network without votes"
        self._liars.condemn(arrived.peer, self.best.height, reason, self.network, turn)

    def on_epochs(self, arrived: EpochsArrived, turn: Turn) -> None:
        """Nothing: there are no epochs, and nobody was asked for any."""

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Nothing: headers are asked of whoever claims more weight."""

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Nothing."""
