"""Fetches single values of the state from full nodes, each with its proof, and notes who lies.

    aim      the state is looked at after the best trusted block that peers have executed; when that moves on, and
             nothing is missing any more after the one before, the keys read there are asked for anew, all at once
    ask      up to six keys a question; a question unanswered for a while goes to another peer as well
    large    what is too long for a proof comes in slices, one value at a time, no longer than it can be (``sizes``)
    judge    an answer that does not prove itself condemns its sender; "not here" sets it aside for this block, and
             for a while if it says so again and again

Rules of this file: nothing unproven leaves it. Whether the block is to be trusted is the headers' question.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chain.ids import Hash, Millis
from node.core.largevalue import LargeValue
from node.core.parts import MAX_PROOF_KEYS, AskProof, AskValue, read_question, read_values, write
from node.core.turn import Turn
from node.events import Started, Tick
from node.light.liars import Liars
from node.light.proven import Point, ProvenState
from node.light.sizes import find_document_key, find_most_bytes
from node.light.source import TipMoved, TrustedHeaders
from node.world import World
from p2p.events import HeadersArrived, PartArrived, PeerDown, PeerId, PeerInfo, PeerServes, PeerUp
from p2p.limits import MAX_QUESTION_BYTES, PART_ANSWER_MS
from p2p.network import PeerNetwork

_QUESTION_BYTES: Final = MAX_QUESTION_BYTES - 32
"""Of keys, the rest of a question deducted."""
_KEY_BYTES: Final = 4
"""What a key takes beside itself."""
_HEDGE_MS: Final = 1_500
"""Unanswered for so long, a question goes to another peer as well, and who owes the answer is set aside."""
_AGAIN_MS: Final = 1_000
"""Before peers that did not have the block's state are asked for it again: they may have executed it by now."""
_STUCK_MS: Final = 3_000
"""With nobody to ask for so long, the state is looked at after another block."""
_SLOW_MS: Final = PART_ANSWER_MS + 1_000
"""And with questions under way and no answer for so long."""
_AVOID_MS: Final = 10_000
_MAX_MISSES: Final = 8
"""Times in a row that a peer may not have what it should; then it is set aside."""
_ASIDE_MS: Final = 60_000
"""For a peer that keeps others waiting; it is asked if there is nobody else."""
_MAX_NOTED: Final = 256


class StateGained:
    """All keys that were missing are here; whoever waited may read again."""


class StateDesk:
    """The state to act on, and the questions under way."""

    def __init__(self, world: World, source: TrustedHeaders, network: PeerNetwork, liars: Liars) -> None:
        self._world = world
        self._source = source
        self._network = network
        self._liars = liars
        self.state: ProvenState | None = None
        self._wanted: dict[bytes, None] = {}
        self._flying: dict[bytes, dict[PeerId, Millis]] = {}
        self._large: LargeValue | None = None
        self._absent: dict[PeerId, Millis] = {}
        self._misses: dict[PeerId, int] = {}
        self._aside: dict[PeerId, Millis] = {}
        self._avoided: OrderedDict[Hash, Millis] = OrderedDict()
        self._moved = Millis(0)

    # --- what others read -------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Is there a state, and nothing wanted of it missing?"""
        return self.state is not None and not self._wanted

    def waiting_since(self) -> Millis | None:
        """Return since when nothing has come that is wanted; None if nothing is."""
        return None if self.is_whole else self._moved

    def need(self, keys: Iterable[bytes], turn: Turn) -> None:
        """Have these keys proven after the block looked at; ``StateGained`` is told when all are here."""
        for key in keys:
            if self.state is not None and key not in self.state and key not in self._wanted:
                self._wanted[key] = None
                self._moved = turn.now
        self._ask(turn)

    # --- what comes in ----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._moved = turn.now

    def on_tip(self, moved: TipMoved, turn: Turn) -> None:
        """Look whether there is a better state to look at."""
        self._aim(turn)

    def on_peer_up(self, up: PeerUp, turn: Turn) -> None:
        """Ask one more."""
        self._aim(turn)
        self._ask(turn)

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Forget what a peer did not have."""
        self._absent.pop(down.peer, None)
        self._misses.pop(down.peer, None)

    def on_headers(self, arrived: HeadersArrived, turn: Turn) -> None:
        """A peer has a new head: it may be one to look at."""
        self._aim(turn)

    def on_serves(self, serves: PeerServes, turn: Turn) -> None:
        """Nothing: whole states are of no use here."""

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Ask again what nobody answered; look elsewhere when stuck."""
        self._absent = {peer: at for peer, at in self._absent.items() if turn.now - at < _AGAIN_MS}
        self._avoided = OrderedDict((id, until) for id, until in self._avoided.items() if until > turn.now)
        state = self.state
        waited = turn.now - self._moved
        if state is not None and self._wanted and waited >= (_SLOW_MS if self._flying else _STUCK_MS):
            self._avoided[state.point.id] = Millis(turn.now + _AVOID_MS)
        self._aim(turn)
        self._ask(turn)

    # --- which state ------------------------------------------------------------------------------

    def _aim(self, turn: Turn) -> None:
        """Look at the state after the best block, unless that after the present one is still being fetched."""
        state = self.state
        is_lost = state is not None and (
            state.point.id in self._avoided or self._source.find_trusted(state.point.id) is None
        )
        if state is not None and self._wanted and not is_lost:
            return
        best = next((each for each in self._candidates() if each.id not in self._avoided), None)
        if best is None or (state is not None and best.id == state.point.id):
            return
        if state is not None and not is_lost and best.header.height <= state.point.header.height:
            return
        self.state = ProvenState(best, state)
        self._wanted = dict.fromkeys([] if state is None else [*sorted(state.read), *self._wanted])
        self._absent.clear()
        self._flying.clear()
        self._moved = turn.now
        self._ask(turn)
        if not self._wanted:
            turn.tell(StateGained())

    def _candidates(self) -> Iterable[Point]:
        return map(Point.of, self._source.choose(self._network.peers()))

    # --- asking -----------------------------------------------------------------------------------

    def _ask(self, turn: Turn) -> None:
        """Put the questions that are not under way, or for too long."""
        state = self.state
        if state is None or not self._wanted:
            return
        for key in state.pending:
            document = find_document_key(key)
            if document is not None and document not in state:
                self._wanted[document] = None
        flying = {key for question in self._flying for key in _keys_of(question)}
        missing = [key for key in self._wanted if not state.is_proven(key) and key not in flying]
        for question in _in_questions(missing):
            self._send(question, turn)
        for question, asked in list(self._flying.items()):
            if _keys_of(question) and turn.now - max(asked.values()) >= _HEDGE_MS:
                for peer in asked:
                    self._set_aside(peer, turn)
                self._send(question, turn)
        self._ask_large(state, turn)

    def _ask_large(self, state: ProvenState, turn: Turn) -> None:
        """Go on fetching one large value, all of it from one peer; the others wait, so that memory holds one."""
        able = self._able(turn)
        large = self._large
        if large is None or state.pending.get(large.key) != large.digest:
            large = self._large = self._begin_large(state, able)
        if large is None or not able:
            return
        if large.peer not in able:
            large = self._large = large.anew(self._world.random.choice(able))
        for question in list(large.questions(self._flying)):
            self._put(large.peer, question, turn)

    def _begin_large(self, state: ProvenState, able: list[PeerId]) -> LargeValue | None:
        """Return the large value to fetch next: one of which it is known how long it can be."""
        for key, digest in state.pending.items():
            most = find_most_bytes(key, state)
            if most is not None and able:
                return LargeValue(key, digest, self._world.random.choice(able), most)
        return None

    def _able(self, turn: Turn) -> list[PeerId]:
        """Return who may be asked about the present block: who says it has executed it, and was not set aside.

        If there is nobody like that, others: they may be quicker than they say, or better than they were.
        """
        here = [each for each in self._network.peers() if each.peer not in self._absent]
        ready = [each.peer for each in here if self._has_claimed(each)]
        good = [peer for peer in ready if self._aside.get(peer, turn.now) <= turn.now]
        return good or ready or [each.peer for each in here]

    def _has_claimed(self, peer: PeerInfo) -> bool:
        """Does the peer say that it has executed the present block, or a higher one?"""
        assert self.state is not None
        point = self.state.point
        return peer.head == point.id or peer.height > point.header.height

    def _send(self, question: bytes, turn: Turn) -> None:
        """Ask a peer that was not asked this before."""
        asked = self._flying.get(question, {})
        able = [peer for peer in self._able(turn) if peer not in asked]
        self._world.random.shuffle(able)
        for peer in able:
            if self._put(peer, question, turn):
                return

    def _put(self, peer: PeerId, question: bytes, turn: Turn) -> bool:
        assert self.state is not None
        outputs = self._network.ask_part(peer, self.state.point.id, question, turn.now)
        if outputs is None:
            return False
        self._flying.setdefault(question, {})[peer] = turn.now
        turn.network(outputs)
        return True

    # --- judging ----------------------------------------------------------------------------------

    def on_part(self, arrived: PartArrived, turn: Turn) -> None:
        """Take the end of a question."""
        state = self.state
        if state is None or arrived.block != state.point.id:
            return  # of a block that is not looked at any more
        asked = self._flying.get(arrived.question)
        if asked is not None:
            asked.pop(arrived.peer, None)
            if not asked:
                del self._flying[arrived.question]
        if arrived.data is None:
            self._note_miss(arrived.peer, turn)
        else:
            fault = self._judge(arrived, arrived.data, state)
            if fault is not None:
                self._condemn(arrived.peer, fault, state, turn)
            else:
                self._misses.pop(arrived.peer, None)
                self._moved = turn.now
        self._go_on(state, turn)

    def _go_on(self, state: ProvenState, turn: Turn) -> None:
        """Ask on; say so if nothing is missing any more."""
        had = bool(self._wanted)
        self._wanted = {key: None for key in self._wanted if key not in state}
        if had and not self._wanted:
            state.close()
            self._large = None
            turn.tell(StateGained())
        self._ask(turn)

    def _judge(self, arrived: PartArrived, data: bytes, state: ProvenState) -> str | None:
        """Take what is proven; return what is wrong with the rest."""
        question = read_question(arrived.question)
        if isinstance(question, AskProof):
            answer = read_values(data)
            if answer is None or len(answer.values) != len(question.keys):
                return "an answer that does not fit the question"
            for key, value in zip(question.keys, answer.values, strict=True):
                fault = None if state.is_proven(key) else state.take(key, value)
                if fault is not None:
                    return f"what stands under {key!r}: {fault}"
            return None
        assert isinstance(question, AskValue)  # nothing else is asked here
        large = self._large
        if large is None or large.key != question.key or large.peer != arrived.peer:
            return None  # it came too late
        if state.pending.get(large.key) != large.digest:
            return None
        fault = large.add(question.offset, data)
        if fault is None and large.is_whole:
            state.take_large(question.key, large.content())
            self._large = None
        return fault

    def _note_miss(self, peer: PeerId, turn: Turn) -> None:
        """A peer did not have the state, or did not answer."""
        self._absent[peer] = turn.now
        if not any(each.peer == peer and self._has_claimed(each) for each in self._network.peers()):
            return  # it never said that it would know
        if len(self._misses) > _MAX_NOTED:
            self._misses.clear()
        self._misses[peer] = self._misses.get(peer, 0) + 1
        if self._misses[peer] >= _MAX_MISSES:
            self._misses.pop(peer)
            self._set_aside(peer, turn)

    def _set_aside(self, peer: PeerId, turn: Turn) -> None:
        """Ask this peer no more for a while, unless there is nobody else."""
        self._aside = {each: until for each, until in self._aside.items() if until > turn.now}
        self._aside[peer] = Millis(turn.now + _ASIDE_MS)

    def _condemn(self, peer: PeerId, fault: str, state: ProvenState, turn: Turn) -> None:
        """A peer lied: part with it, and remember."""
        height = state.point.header.height
        if self._large is not None and self._large.peer == peer:
            self._large = None
        about = f"the state after block {state.point.id.hex()} (height {height}): "
        self._liars.condemn(peer, height, fault, self._network, turn, about)


def _keys_of(question: bytes) -> tuple[bytes, ...]:
    asked = read_question(question)
    return asked.keys if isinstance(asked, AskProof) else ()


def _in_questions(keys: list[bytes]) -> list[bytes]:
    """Return questions for these keys, as few as hold them."""
    questions: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for key in sorted(keys):
        if batch and (len(batch) == MAX_PROOF_KEYS or size + len(key) + _KEY_BYTES > _QUESTION_BYTES):
            questions.append(write(AskProof(tuple(batch))))
            batch, size = [], 0
        batch.append(key)
        size += len(key) + _KEY_BYTES
    return [*questions, write(AskProof(tuple(batch)))] if batch else questions
