"""State sync: a node that is far behind takes the state after a final block from its peers, not every block before it.

    waiting     headers come first; far behind, nothing is executed until it is known which states peers serve
    gathering   pieces of one state come from all peers that serve it, each is checked beside the core against the
                root in the block's header, and kept on disk with a mark; a killed node goes on where it was
    done        the state was adopted in one synced step, or is not needed, or nobody serves one that can be trusted

Trusted is a state after a block of the best chain of headers that is final there (``Engine.finalized``), agrees with
the operator's checkpoint, and is borne out by enough peers (``node.core.witnesses``). Pieces need no trust: they prove
themselves. Whoever sends one that does not is let go.

Memory: the topmost node of each piece (some hundred bytes for 64 KiB of state), what is in flight, one large value.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from chain.hashing import content_id
from chain.ids import Hash, Height, Millis
from consensus.snapshot import MAX_INLINE_BYTES, Prefix, assemble, missing
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.importer import Importer
from node.core.largevalue import LargeValue
from node.core.messages import StateAdopted, StateGrew
from node.core.parts import AskChunk, AskValue, read_question, write
from node.core.turn import Turn
from node.core.witnesses import Witnesses, Word
from node.events import Started, Tick
from node.jobs.results import JobResult, PieceChecked, PieceRefused
from node.jobs.specs import CheckPiece
from node.notices import RoleNotice, StateSynced
from node.world import World
from p2p.events import PartArrived, PeerDown, PeerId, PeerServes, PeerUp, StateOffer, Verdict
from p2p.network import PeerNetwork

_ASK_AGAIN_MS: Final = 5_000
_GIVE_UP_MS: Final = 30_000
"""Without a state to fetch, or without anybody who still serves the one that is being fetched."""
_REST_MS: Final = 1_000
"""A peer that had no answer is not asked for so long, twice as long each time until it gives something true."""
_MAX_REST_DOUBLINGS: Final = 6
_SWEPT: Final = 2_000
_MAX_UNFINISHED: Final = 16
"""Pieces that wait for their large values: no more are asked for beyond."""
_CRUMB_ENTRIES: Final = 8
_MAX_CRUMBS: Final = 32
"""Pieces much smaller than they might be that a peer may send more than proper ones."""


class Phase(Enum):
    """Where state sync is."""

    WAITING = "waiting"
    GATHERING = "gathering"
    DONE = "done"


class StateSync:
    """Owns the staged state, and with the importer the head: it sets it once, to the adopted block."""

    def __init__(
        self, world: World, config: CoreConfig, chain: Chain, network: PeerNetwork, importer: Importer
    ) -> None:
        self._world = world
        self._config = config
        self._chain = chain
        self._network = network
        self._importer = importer
        self._phase = Phase.WAITING if config.state_blocks else Phase.DONE
        self._offers: dict[PeerId, tuple[StateOffer, ...]] = {}
        self._asked_at: Millis | None = None
        self._lonely_since: Millis | None = None
        self._target: Hash | None = None
        self._done: dict[Prefix, bytes | None] = {}
        self._pending: dict[Prefix, None] = {}
        self._flying: dict[bytes, PeerId] = {}
        self._checking: dict[Prefix, PeerId] = {}
        self._unfinished: dict[Prefix, tuple[PieceChecked, dict[bytes, Hash]]] = {}
        self._value: LargeValue | None = None
        self._crumbs: dict[PeerId, int] = {}
        self._resting: dict[PeerId, tuple[int, Millis]] = {}  # who had no answer: how often, and until when it rests
        self._has_given_up = False
        self._witnesses = Witnesses(config, chain, network)

    @property
    def witnesses(self) -> Witnesses:
        """Who bears out the chain whose state is taken, to be read."""
        return self._witnesses

    @property
    def phase(self) -> Phase:
        """Where state sync is."""
        return self._phase

    def is_holding(self) -> bool:
        """Is the importer to fetch and execute nothing?"""
        return self._phase is Phase.GATHERING or (self._phase is Phase.WAITING and self._is_far_behind())

    def progress(self) -> tuple[Height, int] | None:
        """Return the height of the state being gathered and how much of it is here, in millionths; None if none is."""
        if self._target is None:
            return None
        parts = sum(1 << (64 - min(64, prefix.depth)) for prefix in self._done)
        return self._chain.tree.height(self._target), parts * 1_000_000 >> 64

    def _is_far_behind(self) -> bool:
        """Is the head far below the best headers? On a stale branch it is not: it has to come off that first.

        The importer sees to it. A state is adopted on top of the head, for nothing is taken back there.
        """
        tree = self._chain.tree
        best = tree.best()
        is_far = tree.height(best) - self._chain.height >= self._config.state_blocks
        return is_far and self._leads_to(best)

    def _leads_to(self, id: Hash) -> bool:
        return self._chain.tree.ancestor_id(id, self._chain.height) == self._chain.head_id

    # --- what comes in ----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Go on with what an earlier run began."""
        target = self._world.store.staging.target()
        if target is None:
            return
        if self._phase is Phase.DONE or target not in self._chain.tree:
            self._world.store.staging.drop()
            return
        self._gather(target)
        for mark, node in self._world.store.staging.marks():
            self._done[Prefix(int.from_bytes(mark[:2], "big"), mark[2:])] = node or None
        self._pending = dict.fromkeys(missing(self._done))

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Ask a new peer which states it serves, if that matters."""
        if self.is_holding():
            turn.network(self._network.ask_served(turn.now))

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Count no longer on a peer that left."""
        self._offers.pop(down.peer, None)
        self._resting.pop(down.peer, None)
        self._crumbs.pop(down.peer, None)

    def on_serves(self, serves: PeerServes, turn: Turn) -> None:
        """Note which states a peer serves."""
        self._offers[serves.peer] = serves.offers
        self.on_tick(Tick(), turn)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Go on."""
        if self._phase is Phase.WAITING and self._is_far_behind():
            self._look_around(turn)
        if self._phase is Phase.GATHERING:
            self._go_on(turn)

    # --- which state ------------------------------------------------------------------------------

    def _look_around(self, turn: Turn) -> None:
        """Find a state to fetch, once all headers are here."""
        if self._network.is_asking():
            self._asked_at = self._lonely_since = None
            return
        if self._asked_at is None or turn.now - self._asked_at >= _ASK_AGAIN_MS:
            self._asked_at = turn.now
            turn.network(self._network.ask_served(turn.now))
        target = self._choose(turn)
        if target is not None:
            word = self._witnesses.ask(self._chain.tree.height(target), turn.now)
            if word is Word.DOUBTED:
                asked = f"of fewer networks than sync.state_networks, {self._witnesses.needed},"
                text = f"peers {asked} bear out the heaviest chain, and others tell another: every block is executed"
                turn.publish(RoleNotice("node", b"", text))
                self._end(turn)
            if word is not Word.ENOUGH:
                return
            if self._world.store.staging.sweep(_SWEPT):
                self._world.store.staging.begin(target)
                self._gather(target)
                self._pending = dict.fromkeys(missing(()))
            return
        if self._lonely_since is None:
            self._lonely_since = turn.now
        elif turn.now - self._lonely_since >= _GIVE_UP_MS and self._offers:
            self._end(turn)

    def _choose(self, turn: Turn) -> Hash | None:
        """Return the best state offered: final, as far behind as it is worth, of the most peers, the latest.

        Once one that was promised was not given, any peer's best: however many promise the same, it may be one liar.
        """
        counts: dict[StateOffer, int] = {}
        good: list[list[StateOffer]] = []
        for peer, offers in self._offers.items():
            trusted = [offer for offer in offers if self._is_trusted(offer)]
            if trusted and not self._rests(peer, turn.now):
                good.append(trusted)
                for offer in trusted:
                    counts[offer] = counts.get(offer, 0) + 1
        if not good:
            return None
        among = self._world.random.choice(good) if self._has_given_up else list(counts)
        return max(among, key=lambda offer: (counts[offer], offer.height)).block

    def _rests(self, peer: PeerId, now: Millis) -> bool:
        """Did this peer have no answer lately, so that it is not asked now?"""
        return peer in self._resting and now < self._resting[peer][1]

    def _let_rest(self, peer: PeerId, now: Millis) -> None:
        """Take note that a peer had no answer; of several at the same time as of one."""
        count, until = self._resting.get(peer, (0, Millis(0)))
        if now >= until:
            self._resting[peer] = count + 1, Millis(now + (_REST_MS << min(count, _MAX_REST_DOUBLINGS)))

    def _is_trusted(self, offer: StateOffer) -> bool:
        tree = self._chain.tree
        best = tree.best()
        if offer.height <= self._chain.height or tree.ancestor_id(best, offer.height) != offer.block:
            return False
        if not self._leads_to(offer.block):
            return False  # the head left the best chain meanwhile
        point = self._config.checkpoint
        if point is not None and tree.ancestor_id(best, point.height) != point.block:
            return False  # the chain that the operator trusts has not been seen yet
        return offer.height <= self._world.engine.finalized(tree, best)

    def _gather(self, target: Hash) -> None:
        self._phase, self._target, self._lonely_since = Phase.GATHERING, target, None
        self._done, self._pending, self._unfinished, self._value = {}, {}, {}, None

    def _give_up(self, turn: Turn) -> None:
        """Let go of a state that nobody serves any more, or whose block is not on the best chain; look for another."""
        self._world.store.staging.drop()
        self._has_given_up = True
        self._phase, self._target, self._lonely_since, self._asked_at = Phase.WAITING, None, None, None
        self._done, self._pending, self._unfinished, self._value = {}, {}, {}, None
        if not self.is_holding():
            self._importer.resume(turn)

    def _end(self, turn: Turn) -> None:
        self._phase, self._target = Phase.DONE, None
        self._importer.resume(turn)

    # --- pieces -----------------------------------------------------------------------------------

    def _go_on(self, turn: Turn) -> None:
        """Ask for what is missing; adopt the state when nothing is."""
        assert self._target is not None
        if not self._is_trusted(StateOffer(self._chain.tree.height(self._target), self._target)):
            self._give_up(turn)  # another chain is the best by now, or the operator has named a checkpoint meanwhile
            return
        if not self._pending and not self._unfinished:
            self._adopt(turn)
            return
        promised = [peer for peer, offers in self._offers.items() if self._serves(offers)]
        servers = [peer for peer in promised if not self._rests(peer, turn.now)]
        if servers:
            self._lonely_since = None
            self._ask(servers, turn)
        elif self._lonely_since is None:
            self._lonely_since = turn.now
            turn.network(self._network.ask_served(turn.now))
        elif turn.now - self._lonely_since >= _GIVE_UP_MS:
            self._give_up(turn)

    def _serves(self, offers: Iterable[StateOffer]) -> bool:
        return any(offer.block == self._target for offer in offers)

    def _ask(self, servers: list[PeerId], turn: Turn) -> None:
        """Give every server as many questions as it takes."""
        self._world.random.shuffle(servers)
        if self._value is None:
            self._begin_value(servers[0])
        if self._value is not None:
            if self._value.peer not in servers:
                self._value = self._value.anew(servers[0])
            for question in self._value.questions(self._flying):
                self._send(self._value.peer, question, turn)
        if len(self._unfinished) >= _MAX_UNFINISHED:
            return
        for prefix in self._pending:
            question = write(AskChunk(prefix))
            if question in self._flying or prefix in self._checking or prefix in self._unfinished:
                continue
            while servers and not self._send(servers[0], question, turn):
                servers.pop(0)
            if not servers:
                return
            servers.append(servers.pop(0))  # they take turns

    def _send(self, peer: PeerId, question: bytes, turn: Turn) -> bool:
        assert self._target is not None
        outputs = self._network.ask_part(peer, self._target, question, turn.now)
        if outputs is None:
            return False
        self._flying[question] = peer
        turn.network(outputs)
        return True

    def on_part(self, arrived: PartArrived, turn: Turn) -> None:
        """Have a piece checked, or add to a large value."""
        self._flying.pop(arrived.question, None)
        if arrived.block != self._target or self._phase is not Phase.GATHERING:
            return
        if arrived.data is None:
            self._let_rest(arrived.peer, turn.now)
        asked = read_question(arrived.question)
        if isinstance(asked, AskChunk) and arrived.data is not None:
            root = self._root()
            self._checking[asked.prefix] = arrived.peer
            turn.start(CheckPiece(root, asked.prefix, arrived.data))
        elif isinstance(asked, AskValue):
            self._on_slice(asked, arrived, turn)
        self._go_on(turn)

    def _root(self) -> Hash:
        assert self._target is not None
        header = self._chain.tree.header(self._target)
        assert header is not None  # it was chosen from the tree
        return header.state_root

    def on_checked(self, spec: CheckPiece, result: JobResult, turn: Turn) -> None:
        """Keep what is true; let go who sent what is not."""
        peer = self._checking.pop(spec.asked, None)
        if self._phase is not Phase.GATHERING or peer is None or spec.root != self._root():
            return
        if isinstance(result, PieceRefused):
            self._condemn(peer, result.reason, turn)
        elif isinstance(result, PieceChecked):
            self._resting.pop(peer, None)
            self._weigh(peer, spec.asked, result, turn)
            absent = {key: digest for key, digest in result.large if not self._has_value(key, digest)}
            if absent:
                self._unfinished[spec.asked] = (result, absent)
            else:
                self._keep(spec.asked, result)
                turn.tell(StateGrew())
        self._go_on(turn)

    def _condemn(self, peer: PeerId, reason: str, turn: Turn) -> None:
        self._offers.pop(peer, None)
        turn.network(self._network.verdict(peer, Verdict.REJECT, f"part of a state: {reason}", turn.now))

    def _weigh(self, peer: PeerId, asked: Prefix, piece: PieceChecked, turn: Turn) -> None:
        """Let go who cuts the state into crumbs: a piece may be small, but not one after the other."""
        is_crumb = piece.prefix.depth > asked.depth and len(piece.entries) < _CRUMB_ENTRIES and not piece.large
        count = max(0, self._crumbs.get(peer, 0) + (1 if is_crumb else -1))
        self._crumbs[peer] = count
        if count > _MAX_CRUMBS:
            self._condemn(peer, "it comes in crumbs", turn)

    def _keep(self, asked: Prefix, piece: PieceChecked) -> None:
        """Put a piece on disk with its mark, and note what of the question it leaves open."""
        prefix = piece.prefix
        mark = prefix.depth.to_bytes(2, "big") + prefix.path
        self._world.store.staging.put(piece.entries, (mark, piece.node or b""))
        self._done[prefix] = piece.node
        self._unfinished.pop(asked, None)
        for pending in [each for each in self._pending if prefix.covers(each)]:
            del self._pending[pending]
        if self._pending.pop(asked, False) is None:
            while asked != prefix:
                halves = asked.halves()
                asked = halves[not halves[0].covers(prefix)]
                self._pending[halves[asked == halves[0]]] = None

    # --- large values -----------------------------------------------------------------------------

    def _has_value(self, key: bytes, digest: Hash) -> bool:
        value = self._world.store.staging.get(key)
        return value is not None and len(value) > MAX_INLINE_BYTES and content_id(value) == digest

    def _begin_value(self, peer: PeerId) -> None:
        for _, absent in self._unfinished.values():
            for key, digest in absent.items():
                self._value = LargeValue(key, digest, peer)
                return

    def _on_slice(self, asked: AskValue, arrived: PartArrived, turn: Turn) -> None:
        """Add a slice; when the value is whole and right, the pieces that waited for it are too."""
        value = self._value
        if value is None or value.key != asked.key or value.peer != arrived.peer:
            return
        if arrived.data is None:
            self._value = None
            return
        fault = value.add(asked.offset, arrived.data)
        if fault is not None:
            self._value = None
            self._condemn(arrived.peer, fault, turn)
        elif value.is_whole:
            self._value = None
            self._world.store.staging.put(((value.key, value.content()),))
            for prefix, (piece, absent) in list(self._unfinished.items()):
                if absent.get(value.key) == value.digest:
                    del absent[value.key]
                if not absent:
                    self._keep(prefix, piece)

    # --- the end ----------------------------------------------------------------------------------

    def _adopt(self, turn: Turn) -> None:
        """Make the gathered state the node's. Invariant: disk first, in one step; memory after it."""
        if self._importer.is_busy:
            return
        target = self._target
        assert target is not None
        undo, path = self._chain.tree.path(self._chain.head_id, target)
        root, top = assemble(self._done)
        if root != self._root() or undo:
            self._give_up(turn)  # pieces were lost on disk, or the head left the chain meanwhile
            return
        self._world.store.adopt(path, top)
        self._chain.tree.adopt(target)
        header = self._chain.tree.header(target)
        assert header is not None
        self._chain.follow(header)
        turn.publish(StateSynced(header.height, target, len(self._done)))
        turn.tell(StateAdopted(header))
        self._end(turn)
