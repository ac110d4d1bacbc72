"""The states after the last few heads: what light nodes ask for, key by key, with proofs against the header's root.

A light node trusts a header, not us: what it gets proves itself, also that there is nothing under a key. It asks about
a block that it heard of a moment ago, so a few states are enough; a branch that lost its race keeps its place among
them until newer heads push it out.

Rules of this file: reading alone. A snapshot costs the disk what is overwritten while it is held, and no memory.
"""

from collections import OrderedDict
from typing import Final

from chain.codec import encode
from chain.hashing import content_id
from chain.ids import Hash
from consensus.snapshot import MAX_INLINE_BYTES, VALUE_PREFIX
from consensus.tree import prove
from node.core.chain import Chain
from node.core.messages import HeadChanged, StateAdopted
from node.core.parts import AskProof, AskValue, ProvenValue, ProvenValues, cut, read_question
from node.core.turn import Turn
from node.events import Shutdown, Started
from node.world import World
from p2p.errors import ProtocolError
from storage.base import StateSnapshot

HELD: Final = 16
"""States held: a light node that fetches a model has so many blocks' time for it before it has to ask anew."""


class HeadStates:
    """Holds the states after the last heads."""

    def __init__(self, world: World, chain: Chain) -> None:
        self._world = world
        self._chain = chain
        self._held: OrderedDict[Hash, StateSnapshot] = OrderedDict()

    def on_started(self, event: Started, turn: Turn) -> None:
        """Hold the head's state."""
        self._hold()

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Hold the new head's state, and let go of the oldest."""
        self._hold()

    def on_adopted(self, adopted: StateAdopted, turn: Turn) -> None:
        """Hold the state that came from peers."""
        self._hold()

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Hold none any more."""
        while self._held:
            self._held.popitem()[1].close()

    def _hold(self) -> None:
        id = self._chain.head_id
        if id in self._held:
            self._held.move_to_end(id)
            return
        self._held[id] = self._world.store.view()
        while len(self._held) > HELD:
            self._held.popitem(last=False)[1].close()

    def part(self, block: Hash, question: bytes) -> bytes | None:
        """Return the answer to a question for single values of the state after ``block``; None if it is not held.

        None for questions of another kind too. ``ProtocolError`` for a key or an offset that is none.
        """
        state = self._held.get(block)
        asked = None if state is None else read_question(question)
        if state is None or not isinstance(asked, AskProof | AskValue):
            return None
        if isinstance(asked, AskProof):
            return encode(ProvenValues(tuple([_prove(state, key) for key in asked.keys])))
        value = state.get(asked.key) if asked.key.startswith(VALUE_PREFIX) else None
        if value is None or asked.offset > len(value):
            raise ProtocolError("a question for a value that the state does not have")
        return cut(value, asked.offset)


def _prove(state: StateSnapshot, key: bytes) -> ProvenValue:
    if not key.startswith(VALUE_PREFIX):
        raise ProtocolError("a question for a key that no state has")
    value = state.get(key)
    if value is None or len(value) <= MAX_INLINE_BYTES:
        return ProvenValue(value, None, prove(state, key))
    return ProvenValue(None, content_id(value), prove(state, key))
