"""The states that peers may fetch parts of: those after final blocks whose heights are multiples of one number.

So that several nodes serve the same state, and a newcomer can fetch it from all of them at once. When the head stands
on such a block its state is held, as a snapshot of the database, and served once the block is final. A node that has
just started has held none: it takes the last such state from the present one and the undo of the blocks since, if
that is little. Two are served, the latest and the one before: whoever began with that has time to end.

Rules of this file: reading alone. A snapshot costs the disk what is overwritten while it is held, and no memory.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from chain.codec import encode
from chain.ids import Hash, Height
from consensus.snapshot import VALUE_PREFIX, make_chunk
from consensus.undo import Undo, apply_undo, decode_undo
from consensus.view import Overlay
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.messages import HeadChanged
from node.core.parts import AskChunk, AskProof, cut, read_question
from node.core.turn import Turn
from node.events import Shutdown, Started
from node.world import World
from p2p.errors import ProtocolError
from p2p.events import StateOffer
from storage.base import StateSnapshot

_SERVED: Final = 2
_MAX_HELD: Final = 6
_MAX_REWIND_BYTES: Final = 4 * 1024 * 1024
"""Of undo, to find an earlier state."""


class RewoundState:
    """A snapshot with later blocks taken back."""

    def __init__(self, base: StateSnapshot, changes: dict[bytes, bytes | None]) -> None:
        self._base = base
        self._changes = changes
        values = [(sha256(key).digest(), key) for key in changes if key.startswith(VALUE_PREFIX)]
        self._order = sorted(values)

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a state key, or None."""
        return self._changes[key] if key in self._changes else self._base.get(key)

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the values in the order of their keys' digests, from ``digest`` on."""
        changed = ((at, key, self._changes[key]) for at, key in self._order if at >= digest)
        coming = next(changed, None)
        for key, value in self._base.values_from(digest):
            if key in self._changes:
                continue
            at = sha256(key).digest()
            while coming is not None and coming[0] < at:
                if coming[2] is not None:
                    yield coming[1], coming[2]
                coming = next(changed, None)
            yield key, value
        while coming is not None:
            if coming[2] is not None:
                yield coming[1], coming[2]
            coming = next(changed, None)

    def close(self) -> None:
        """Release the snapshot."""
        self._base.close()


HeldState = StateSnapshot | RewoundState


class SnapshotDesk:
    """Holds states, and answers for parts of those that are final."""

    def __init__(self, world: World, config: CoreConfig, chain: Chain) -> None:
        self._world = world
        self._interval = config.snapshot_blocks
        self._chain = chain
        self._held: dict[Height, tuple[Hash, HeldState]] = {}

    # --- what is held -----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Hold the last final state that can be had cheaply."""
        if self._interval:
            final = self._final()
            self._rewind_to(Height(final - final % self._interval))
            self._hold_head()

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Hold the head's state if its height is one of those served."""
        self._hold_head()

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Hold none any more."""
        for height in list(self._held):
            self._release(height)

    def _final(self) -> Height:
        return self._world.engine.finalized(self._chain.tree, self._chain.head_id)

    def _hold_head(self) -> None:
        height = self._chain.height
        if not self._interval or not height or height % self._interval:
            return
        self._put(height, self._world.store.view())

    def _put(self, height: Height, state: HeldState) -> None:
        id = self._chain.tree.ancestor_id(self._chain.head_id, height)
        assert id is not None  # it is on the head's chain
        self._release(height)
        self._held[height] = (id, state)
        self._thin_out()

    def _thin_out(self) -> None:
        """Let go what left the main chain, what is older than those served, and what is too much."""
        for height, (id, _) in list(self._held.items()):
            if self._chain.tree.ancestor_id(self._chain.head_id, height) != id:
                self._release(height)
        served = [offer.height for offer in self.served()]
        final = self._final()
        for height in sorted(self._held):
            if height <= final and height not in served:
                self._release(height)
        ripening = sorted(set(self._held) - set(served))
        for height in ripening[1 : len(ripening) - (_MAX_HELD - _SERVED) + 1]:
            self._release(height)  # the oldest ripens first; of the others the latest are of more use

    def _release(self, height: Height) -> None:
        held = self._held.pop(height, None)
        if held is not None:
            held[1].close()

    def _rewind_to(self, height: Height) -> None:
        """Hold the state at a height below the head, if the undo down to there is here and little."""
        store, size = self._world.store, 0
        if not max(store.base(), store.floor("undo"), 1) <= height < self._chain.height:
            return
        undos: list[Undo] = []
        for above in range(self._chain.height, height, -1):
            id = store.block_id_at(Height(above))
            data = None if id is None else store.undo(id)
            size += 0 if data is None else len(data)
            if data is None or size > _MAX_REWIND_BYTES:
                return
            undos.append(decode_undo(data))
        view = store.view()
        overlay = Overlay(view)
        for undo in undos:
            apply_undo(overlay, undo)
        self._put(height, RewoundState(view, overlay.writes()))

    # --- what is served ---------------------------------------------------------------------------

    def served(self) -> tuple[StateOffer, ...]:
        """Return the states served, the latest first."""
        final = self._final()
        offers = [StateOffer(height, id) for height, (id, _) in self._held.items() if height <= final]
        offers.sort(key=lambda offer: -offer.height)
        return tuple(offers[:_SERVED])

    def part(self, block: Hash, question: bytes) -> bytes | None:
        """Return the answer to a question; None if that state is not served. ``ProtocolError`` for what is none."""
        state = next((state for id, state in self._held.values() if id == block), None)
        if state is None or block not in [offer.block for offer in self.served()]:
            return None
        asked = read_question(question)
        if asked is None:
            raise ProtocolError("a question for a part of a state that is none")
        if isinstance(asked, AskChunk):
            return encode(make_chunk(state, asked.prefix))
        if isinstance(asked, AskProof):
            return None  # whoever asks for single values asks about a head (``headstates``)
        value = state.get(asked.key) if asked.key.startswith(VALUE_PREFIX) else None
        if value is None or asked.offset > len(value):
            raise ProtocolError("a question for a value that the state does not have")
        return cut(value, asked.offset)
