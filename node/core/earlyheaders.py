"""Headers that no certificate bears out yet: they wait outside the header tree.

What a header weighs is its view, and a leader can seal one on any old block: in the tree it would be heavier than the
true chain until the next block, and be fetched and executed by everybody. So beside what the agreement admits, which is
justified, only views that a certificate says have a block come in, and of such a view only that block. Whatever is
final settles the rest.
"""

from collections import OrderedDict
from collections.abc import Sequence
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
_MAX_ENGINE_BYTES: Final = 512
"""More than fields of any numbers take."""


class EarlyHeaders:
    """Keeps back what came too early."""

    def __init__(self, engine: PosEngine, agreement: Agreement, signatures: SignatureJudge) -> None:
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
        for header in headers:
            fields = self._read(header)
            id = block_id(header)
            if fields is None or self._is_due(id, fields):
                inside.append(header)
            else:
                self._waiting[id] = header, fields
        while len(self._waiting) > MAX_EARLY:
            self._waiting.popitem(last=False)
        return inside

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

    def _is_due(self, id: Hash, fields: PosFields) -> bool:
        epoch = self._agreement.epoch
        if epoch is None or fields.epoch != epoch:
            return epoch is not None and fields.epoch < epoch
        return self._agreement.bears_out(fields.view, id)

    def release(self) -> list[Header]:
        """Remove and return, lowest first, the headers that may be judged now."""
        due = [id for id, (_, fields) in self._waiting.items() if self._is_due(id, fields)]
        return sorted([self._waiting.pop(id)[0] for id in due], key=lambda header: header.height)
