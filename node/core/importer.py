"""The importer: from headers, bodies and payloads in any order to one main chain.

Headers go into the tree as the engine judges them. For the best chain known, bodies and then payloads are fetched.
Where the best complete chain is not the head's, one job at a time runs the next stretch of it; what comes of it
goes to disk in ONE commit, or nothing does.

Blame: a header the engine refuses and a body that is not its header's are the sender's fault. A block that
breaks a rule is condemned itself, with everything on it; the sender of its body could not know.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from chain.block import Body, Header, block_id, has_matching_body
from chain.ids import Hash, Height
from chain.payload import PayloadRef
from consensus.errors import ConflictingFinality
from consensus.headertree import Offered, Outcome
from consensus.queries import needed_payloads
from consensus.state import get_active
from node.core.chain import Chain
from node.core.commit import make_batch, take_back
from node.core.completeness import Completeness
from node.core.config import CoreConfig
from node.core.messages import (
    BlockCondemned,
    BlockMade,
    ConnectedBlock,
    HeadChanged,
    HeaderAdmitted,
    PayloadStored,
)
from node.core.payloads import body_payloads
from node.core.turn import Turn
from node.core.wants import PayloadWants
from node.events import Started, Tick
from node.jobs.results import BranchExecuted, BrokenRule, ExecutedBlock, JobResult
from node.jobs.specs import ExecuteBranch
from node.notices import BlockMined, BlockRefused, HeadMoved, LedgerNotice
from node.world import World
from p2p.events import BodyArrived, HeadersArrived, Kind, PayloadArrived, PeerId, Verdict, Want
from p2p.network import PeerNetwork
from storage.base import StateChanges

CALL_PEOPLE: Final = (
    "more than a third of the stake broke the protocol, or a node has a fault: keep this data directory as it is, and "
    "agree with the operators of other nodes on a checkpoint before you start it again"
)
_REFILL_DIVISOR: Final = 2
"""More bodies are asked for when this part of the last request has arrived."""
_RIVALS: Final = 8
"""So many chains beside the best are fetched with it, the next blocks of each: the best one may be withheld, and
whoever waits for it alone follows nobody meanwhile."""
_RIVAL_BLOCKS: Final = 16


class Importer:
    """Owns the header tree and the main chain: nobody else writes them."""

    def __init__(
        self, world: World, config: CoreConfig, chain: Chain, network: PeerNetwork, wants: PayloadWants
    ) -> None:
        self._world = world
        self._config = config
        self._chain = chain
        self._tree = chain.tree
        self._network = network
        self._wants = wants
        self._incomplete = Completeness()
        self._wanted: dict[Hash, None] = {}
        self._wanted_for: Hash = chain.head_id
        self._held: dict[Hash, PayloadRef] = {}
        self._mending: dict[Hash, None] = {}
        self._job: int | None = None
        self.is_held: Callable[[], bool] = lambda: False
        """Are the blocks not wanted now, because the state after a later one is being fetched?"""
        self._likely: dict[Hash, tuple[PeerId, ...]] = {}
        self.head_patience_ms = 0
        """So long a head may wait for what the engine says of it before peers are told."""
        self.let_in: Callable[[Sequence[Header]], Sequence[Header]] = lambda headers: headers
        self.find_vouched: Callable[[Sequence[Header]], frozenset[Hash]] = lambda headers: frozenset()
        """Which of the headers a peer sent may be judged now? An engine with views lets none in before its view."""

    @property
    def is_busy(self) -> bool:
        """Is a stretch of the chain being executed?"""
        return self._job is not None

    def awaits_tick(self) -> bool:
        """Do headers wait for their time, or is there something better than the head?"""
        return self._tree.has_waiting or not self._chain.is_caught_up()

    # --- what comes in ---------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Go on where the last run was."""
        self._mend(get_active(self._chain.view), turn)
        self._advance(turn)

    def _mend(self, plans: Iterable[Hash], turn: Turn) -> None:
        """Fetch what a power cut took of the payloads that open tasks settle with: no block can be built without."""
        for plan in plans:
            self._wants.release(plan, turn)
            lost = [ref for ref in needed_payloads(self._chain.view, plan) if not self._world.payloads.has(ref.id)]
            if lost:
                self._mending[plan] = None
                self._wants.want(plan, lost, (), turn)
            else:
                self._mending.pop(plan, None)

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """Put headers into the tree, and go on asking for those that follow."""
        headers = arrived.headers
        ids = [block_id(header) for header in headers]
        if all(id in self._tree for id in ids):  # as most: every peer tells of every head
            self._gain_source(ids, (arrived.peer,), turn)
            turn.network(self._network.sync(turn.now))
            return
        vouched = self.find_vouched(headers)
        if vouched:
            rest = self.let_in([header for header in headers if block_id(header) not in vouched])
            headers = (*[header for header in headers if block_id(header) in vouched], *rest)
        else:
            headers = tuple(self.let_in(headers))
        offered: list[Offered] = []
        for header in headers:
            accept = self._tree.accept_vouched if block_id(header) in vouched else self._tree.accept
            offered += accept(header, turn.now)
        self._keep_headers(offered)
        self._gain_source([result.id for result in offered], (arrived.peer,), turn)
        for result in offered:
            if result.outcome is Outcome.INVALID:
                reason = f"header {result.id.hex()}: {result.reason or 'it stands on an invalid block'}"
                turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, reason, turn.now))
                break
        turn.network(self._network.sync(turn.now))
        self._advance(turn)

    def _gain_source(self, ids: Iterable[Hash], sources: tuple[PeerId, ...], turn: Turn) -> None:
        """Whoever announces a block that is being fetched has it."""
        wants = [Want(Kind.BODY, id, 0, sources) for id in ids if id in self._wanted]
        if wants:
            turn.network(self._network.want(wants, turn.now))

    def on_admitted(self, admitted: HeaderAdmitted, turn: Turn) -> None:
        """Put a header into the tree that the agreement found justified."""
        offered = self._tree.accept(admitted.header, turn.now)
        self._keep_headers(offered)
        id = block_id(admitted.header)
        self._gain_source((id,), admitted.sources, turn)
        self._likely = {id: admitted.sources}
        self._advance(turn)
        self._likely = {}

    def judge_again(self, turn: Turn) -> None:
        """Judge the headers again that waited for the validators of their epoch."""
        self._keep_headers(self._tree.accept_again(turn.now))
        self._advance(turn)

    def decide(self, block: Hash) -> None:
        """Take note that a block in the tree is final by a certificate; ``ConflictingFinality`` if another is.

        Nothing is done yet: the certificate is to be kept first, and one that contradicts is not to be kept at all.
        """
        self._tree.finalize(block)

    def follow(self, turn: Turn) -> None:
        """Act on what was decided."""
        self._advance(turn)

    def set_aside(self, blocks: Iterable[Hash], turn: Turn) -> None:
        """Choose these blocks no more: certificates say that their views have other blocks, or none."""
        self._tree.set_aside([block for block in blocks if block in self._tree])
        self._advance(turn)

    def take_back(self, block: Hash, turn: Turn) -> None:
        """Let a block be chosen again: it was notarised."""
        if block in self._tree:
            self._tree.take_back(block)
            self._advance(turn)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Judge again the headers whose time has come; go on with what is better than the head, if nothing else did."""
        offered = self._tree.accept_due(turn.now)
        if offered:
            self._keep_headers(offered)
        if offered or not self._chain.is_caught_up():
            self._advance(turn)

    def on_body(self, arrived: BodyArrived, turn: Turn) -> None:
        """Store a body if it is the one its header commits to."""
        self._wanted.pop(arrived.id, None)
        header = self._tree.header(arrived.id)
        if header is None or arrived.id not in self._tree or self._world.store.has_body(arrived.id):
            return  # a branch may have been let go meanwhile: its headers are in the archive alone
        if not has_matching_body(header, arrived.body):
            reason = f"body of block {arrived.id.hex()} is not the one its header commits to"
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, reason, turn.now))
            self._want_bodies((arrived.id,), turn)
            return
        self._world.store.put_body(arrived.id, arrived.body)
        self._examine(arrived.id, arrived.body, (arrived.peer,), turn)
        self._advance(turn)

    def on_payload(self, arrived: PayloadArrived, turn: Turn) -> None:
        """Store a payload (the network has checked that it is what its reference says)."""
        self._world.payloads.put(arrived.payload)
        self._world.fresh.put(arrived.ref.id, arrived.payload)
        turn.tell(PayloadStored(arrived.ref.id))

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Complete the blocks that waited for this payload."""
        was_held = self._held.pop(stored.id, None) is not None
        completed = self._incomplete.arrived(stored.id)
        for id in completed:
            if id in self._tree:
                self._tree.mark_complete(id)
        if was_held or completed:
            self._advance(turn)

    def on_block_made(self, made: BlockMade, turn: Turn) -> None:
        """Import this node's own block like any other."""
        id = block_id(made.header)
        self._keep_headers(self._tree.accept(made.header, turn.now))
        if id not in self._tree:
            return  # its time has not come, or its branch is out: the miner goes on with the head as it is
        turn.publish(BlockMined(id, made.header.height))
        self._world.store.put_body(id, made.body)
        self._examine(id, made.body, (), turn)
        self._advance(turn)

    def _keep_headers(self, offered: list[Offered]) -> None:
        """Store the headers that the tree now holds; parents come before their children.

        It also holds those of branches just below the limit: headers that can be chosen may refer to them.
        """
        kept = (Outcome.ADDED, Outcome.TOO_DEEP)
        added = [self._tree.header(result.id) for result in offered if result.outcome in kept]
        headers = [header for header in added if header is not None]
        self._world.store.put_headers(headers)
        self._tree.stored(map(block_id, headers))

    def _examine(self, id: Hash, body: Body, sources: tuple[PeerId, ...], turn: Turn) -> None:
        """Complete a block whose body is here, or fetch its payloads."""
        refs = {ref.id: ref for ref in body_payloads(body) if not self._world.payloads.has(ref.id)}
        if not refs:
            self._tree.mark_complete(id)
            return
        self._incomplete.wait(id, refs.values())
        self._wants.want(id, refs.values(), sources, turn)

    # --- what is fetched --------------------------------------------------------------------------

    def _want_bodies(self, ids: tuple[Hash, ...], turn: Turn) -> None:
        self._wanted.update(dict.fromkeys(ids))
        wants = [Want(Kind.BODY, id, 0, self._likely.get(id, ())) for id in ids]
        turn.network(self._network.want(wants, turn.now))

    def _refill(self, turn: Turn) -> None:
        """Ask for the next bodies of the best chain, and of those beside it that may have to do."""
        best = self._tree.best()
        if best == self._wanted_for and len(self._wanted) > self._config.ahead_blocks // _REFILL_DIVISOR:
            return
        if best == self._wanted_for and not self._wanted and self._tree.best_complete() == best:
            return
        missing = self._tree.missing_blocks(self._config.ahead_blocks)
        missing = tuple(dict.fromkeys(missing + self._tree.missing_of_rivals(_RIVALS, _RIVAL_BLOCKS)))
        if best != self._wanted_for:
            self._wanted_for = best
            self._abandon([id for id in self._wanted if id not in missing], turn)
        ids = [id for id in missing if id not in self._wanted and not self._incomplete.is_waiting(id)]
        absent = [id for id in ids if not self._examine_stored(id, turn)]
        if absent:
            self._want_bodies(tuple(absent), turn)

    def _examine_stored(self, id: Hash, turn: Turn) -> bool:
        """Examine a block whose body an earlier run left here, on whatever branch; is there one?"""
        body = self._world.store.body(id)
        if body is not None:
            self._examine(id, body, (), turn)
        return body is not None

    def _abandon(self, ids: list[Hash], turn: Turn) -> None:
        """Stop fetching bodies of a chain that is not the best any more."""
        if ids:
            for id in ids:
                del self._wanted[id]
            turn.network(self._network.unwant(ids, turn.now))

    # --- what is executed -------------------------------------------------------------------------

    def _advance(self, turn: Turn) -> None:
        """Fetch what the best chain lacks; if the best complete chain is not the head's, run its next stretch."""
        if self.is_held():
            return
        self._refill(turn)
        target = self._tree.best_complete()
        if self._job is not None or self._held or target == self._chain.head_id or self._chain.find_stop():
            return
        undo, apply = self._tree.path(self._chain.head_id, self._stretch_to(target))
        if apply:
            self._job = turn.start(ExecuteBranch(self._chain.head_id, undo, apply))
        else:
            # The head was set aside, and nothing stands yet on what it stood on. What is taken back here is short:
            # nobody builds on a block that no certificate bears out.
            self._commit(undo, take_back(self._world.store, undo), (), target, turn)

    def _stretch_to(self, target: Hash) -> Hash:
        """Return the block to go to now: a batch further on, and one that weighs more than the head if there is one.

        In a deep reorganisation there is none near: then the head goes on by batches, lighter for a while than it was,
        because what is held in memory must not grow with the depth. If a block of the new branch breaks a rule, the
        old one is the heaviest again, and the node goes back the same way.
        """
        head = self._chain.head_id
        fork = self._tree.height(self._tree.common_ancestor(head, target))
        first = fork + self._config.batch_blocks
        last = max(first, fork + self._config.deep_blocks)
        for height in range(first, min(self._tree.height(target), last)):
            id = self._tree.ancestor_id(target, Height(height))
            if id is not None and self._tree.weight(id) > self._tree.weight(head):
                return id
        if self._tree.height(target) <= last:
            return target
        return self._tree.ancestor_id(target, Height(first)) or target

    def resume(self, turn: Turn) -> None:
        """Go on from what is the head now: it may be another one since blocks were held back."""
        self._abandon([id for id in self._wanted if self._tree.height(id) <= self._chain.height], turn)
        self._mend(get_active(self._chain.view), turn)
        self._advance(turn)

    def on_executed(self, spec: ExecuteBranch, result: JobResult, turn: Turn) -> None:
        """Commit what applied, if it makes a better chain; condemn the block that broke a rule."""
        self._job = None
        if not isinstance(result, BranchExecuted):
            raise TypeError(f"the state moved under an execution: {type(result).__name__}")
        if result.executed and self._is_better(spec, result):
            self._commit(spec.undo, result.undone, result.executed, result.executed[-1].id, turn)
        if result.invalid is not None:
            self._condemn(result.invalid, turn)
        if result.lacking is not None:
            lacking = [ref for ref in result.lacking.refs if not self._world.payloads.has(ref.id)]
            self._held = {ref.id: ref for ref in lacking}
            self._wants.want(result.lacking.id, lacking, (), turn)
        self._advance(turn)

    def _is_better(self, spec: ExecuteBranch, result: BranchExecuted) -> bool:
        """Did the whole stretch apply, or a part of it that weighs more than the head? Is it still to be chosen?"""
        end = result.executed[-1].id
        if end not in self._tree or not (self._tree.may_be_head(end) or self._tree.may_be_passed(end)):
            return False
        return end == spec.blocks[-1] or self._tree.weight(end) > self._tree.weight(self._chain.head_id)

    def _commit(
        self,
        undo: tuple[Hash, ...],
        undone: StateChanges,
        executed: tuple[ExecutedBlock, ...],
        tip: Hash,
        turn: Turn,
    ) -> None:
        """Move the head to ``tip``. Invariant: disk first, memory after it, then everybody hears of it."""
        disconnected = self._taken_back(undo)
        blocks = tuple([self._connected(block) for block in executed])
        self._world.store.commit(make_batch(tip, undo, undone, executed, blocks))
        self._tree.set_head(tip)
        header = self._header(tip)
        self._chain.follow(header)
        self._publish(header, blocks, len(undo), turn)
        if blocks:
            announce = self._network.announce_block  # who claims to be ahead is not told
            turn.network(announce(header, turn.now, self.head_patience_ms, blocks[-1].body))
        turn.tell(HeadChanged(header, blocks, disconnected))
        self._mend(tuple(self._mending), turn)
        self._let_go(turn)

    def _let_go(self, turn: Turn) -> None:
        """Fetch no payload any more for blocks of branches that the tree has let go."""
        for id in [id for id in self._incomplete.waiting() if id not in self._tree]:
            self._incomplete.forget(id)
            self._wants.release(id, turn)

    def _taken_back(self, undo: tuple[Hash, ...]) -> tuple[Body, ...]:
        """Return the bodies that are taken back, the old head's first; of very many those next to the fork.

        Their transactions wait for a block again; more than the pool holds would be read for nothing.
        """
        bodies: list[Body] = []
        count = 0
        for id in reversed(undo):
            bodies.append(self._body(id))
            count += len(bodies[-1].transactions) + len(bodies[-1].updates)
            if count > self._config.pools.transactions:
                break
        return tuple(bodies[::-1])

    def _connected(self, block: ExecutedBlock) -> ConnectedBlock:
        return ConnectedBlock(block.id, self._header(block.id), self._body(block.id), block.events)

    def _header(self, id: Hash) -> Header:
        header = self._tree.header(id)
        if header is None:
            raise LookupError(f"executed block {id.hex()} is not in the tree")
        return header

    def _body(self, id: Hash) -> Body:
        body = self._world.store.body(id)
        if body is None:
            raise LookupError(f"block {id.hex()} has no body in the store")
        return body

    def _condemn(self, broken: BrokenRule, turn: Turn) -> None:
        """Mark a block invalid for ever, if it may still be chosen."""
        if broken.id not in self._tree:
            return
        reason = f"{broken.rule}: {broken.detail}"
        height = self._tree.height(broken.id)
        try:
            self._tree.mark_invalid(broken.id, reason)
        except ConflictingFinality as error:
            turn.halt(f"{error}; {CALL_PEOPLE}")
            return
        self._world.store.mark_invalid(broken.id, reason)
        turn.tell(BlockCondemned(broken.id))
        turn.publish(BlockRefused(broken.id, height, broken.rule, broken.detail))

    def _publish(self, header: Header, blocks: tuple[ConnectedBlock, ...], undone: int, turn: Turn) -> None:
        body = blocks[-1].body if blocks else self._world.store.body(block_id(header))
        turn.publish(_head_moved(header, body, len(blocks), undone))
        for block in blocks:
            for event in block.events:
                turn.publish(LedgerNotice(block.id, block.header.height, event))


def _head_moved(header: Header, body: Body | None, connected: int, undone: int) -> HeadMoved:
    """Tell of a new head. Its body is not here if the state after it came from peers and it is the head again."""
    return HeadMoved(
        height=header.height,
        id=block_id(header),
        state_root=header.state_root,
        producer=header.producer,
        time_ms=header.time_ms,
        transactions=0 if body is None else len(body.transactions),
        updates=0 if body is None else len(body.updates),
        connected=connected,
        undone=undone,
    )
