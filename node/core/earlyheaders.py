"""Headers that no certificate bears out yet: they wait outside the header tree.

What a header weighs is its view, and a leader can seal one on any old block: in the tree it would be heavier than the
true chain until the next block, and be fetched and executed by everybody. So beside what the agreement admits, which is
justified, only views that a certificate says have a block come in, and of such a view only that block. Whatever is
final settles the rest.

A leader can also seal any number of headers for a view of its own. So few of a view are taken, unless one stands below
another that is: what the chain was built on comes with what was built on it. One that was left out comes again so.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from chain.block import Header, block_id
from chain.errors import CodecError
from chain.ids import Hash
from consensus.pos.agreement import Agreement
from consensus.pos.engine import PosEngine
from consensus.pos.fields import SEAL_BYTES, PosFields, read_fields
from consensus.pos.votes import SignatureJudge, find_seal_fault

MAX_EARLY: Final = 4096
"""Kept at most; the one that waits longest makes room. It comes again when peers are asked for headers again."""
MAX_SIBLINGS: Final = 8
"""Headers of one view that are taken without more: an honest leader seals one; sealing costs a hostile one nothing."""
_COUNTED_VIEWS: Final = 16_384
_MAX_ENGINE_BYTES: Final = 512
"""More than fields of any numbers take."""


class EarlyHeaders:
    """Keeps back what came too early."""

    def __init__(
        self,
        engine: PosEngine,
        agreement: Agreement,
        signatures: SignatureJudge,
        find_last_view: Callable[[int], int | None],
    ) -> None:
        """``find_last_view`` returns the view of the last block of an epoch that is over, None if it is not known."""
        self._find_last_view = find_last_view
        self._taken: OrderedDict[tuple[int, int], set[Hash]] = OrderedDict()
        self._engine = engine
        self._agreement = agreement
        self._signatures = signatures
        self._waiting: OrderedDict[Hash, tuple[Header, PosFields]] = OrderedDict()

    def __contains__(self, id: object) -> bool:
        return id in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def let_in(self, headers: Sequence[Header]) -> Sequence[Header]:
        """Return the headers that may be judged now, those among them that the engine will refuse; keep the others."""
        inside: list[Header] = []
        parents: set[Hash] = set()
        for header in reversed(headers):
            fields = self._read(header)
            id = block_id(header)
            if fields is not None and self._is_beyond_the_end(fields):
                continue
            if fields is not None and not self._is_due(id, fields):
                self._waiting[id] = header, fields
            elif fields is None or id in parents or self._has_room(id, fields):
                inside.append(header)
                parents.add(header.parent)
        while len(self._waiting) > MAX_EARLY:
            self._waiting.popitem(last=False)
        return inside[::-1]

    def _has_room(self, id: Hash, fields: PosFields) -> bool:
        """Take note of a header of a view; is it one of the first few?"""
        place = fields.epoch, fields.view
        taken = self._taken.setdefault(place, set())
        if len(taken) < MAX_SIBLINGS:
            taken.add(id)
        if len(self._taken) > _COUNTED_VIEWS:
            self._taken.popitem(last=False)
        return id in taken

    def _read(self, header: Header) -> PosFields | None:
        """Return the fields of a header that may be kept unjudged; None for what the engine is to say the fault of."""
        if len(header.seal) != SEAL_BYTES or len(header.engine) > _MAX_ENGINE_BYTES:
            return None
        try:
            fields = read_fields(header)
        except CodecError:
            return None
        set = self._engine.sets.get(fields.epoch)
        is_sealed = set is None or find_seal_fault(set, header, fields, self._signatures) is None
        return fields if is_sealed else None

    def _is_beyond_the_end(self, fields: PosFields) -> bool:
        """Is this a view that its epoch, which is over, did not come to with a block?"""
        epoch = self._agreement.epoch
        last = self._find_last_view(fields.epoch) if epoch is not None and fields.epoch < epoch else None
        return last is not None and fields.view > last

    def _is_due(self, id: Hash, fields: PosFields) -> bool:
        epoch = self._agreement.epoch
        if epoch is None or fields.epoch != epoch:
            return epoch is not None and fields.epoch < epoch
        return self._agreement.bears_out(fields.view, id)

    def release(self) -> list[Header]:
        """Remove and return, lowest first, the headers that may be judged now."""
        if not self._waiting:
            return []
        due = [id for id, (_, fields) in self._waiting.items() if self._is_due(id, fields)]
        released = sorted([self._waiting.pop(id)[0] for id in due], key=lambda header: header.height)
        return list(self.let_in(released))
