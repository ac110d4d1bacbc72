"""What a signing journal knows: what was signed in the latest epoch, and what must not be signed beside it. No I/O."""

from typing import Final

from chain.ids import Hash
from storage.errors import JournalError
from storage.own import SignedKind, SigningIntent

_EXCLUDES: Final[dict[SignedKind, SignedKind]] = {"finalize": "nullify", "nullify": "finalize"}


class Signatures:
    """The index of a signing journal."""

    __slots__ = ("_blocks", "_epoch", "_view")

    def __init__(self) -> None:
        self._epoch = 0
        self._view = 0
        self._blocks: dict[tuple[int, SignedKind], Hash] = {}

    def signed(self, epoch: int, view: int, kind: SignedKind) -> Hash | None:
        """Return the block for which a message of this kind was signed in this view."""
        return self._blocks.get((view, kind)) if epoch == self._epoch else None

    def latest(self) -> tuple[int, int] | None:
        """Return the epoch and the highest view in which anything was signed."""
        return (self._epoch, self._view) if self._blocks else None

    def entries(self) -> tuple[SigningIntent, ...]:
        """Return the intents of the latest epoch in the order they were added."""
        return tuple([SigningIntent(self._epoch, view, kind, block) for (view, kind), block in self._blocks.items()])

    def is_new(self, intent: SigningIntent) -> bool:
        """Is this intent to be added? ``JournalError`` if it must not be."""
        if self._blocks and intent.epoch < self._epoch:
            raise JournalError(
                f"asked to sign in epoch {intent.epoch} after having signed in epoch {self._epoch}: "
                "that epoch is over, and what was signed in it is not known any more"
            )
        where = f"view {intent.view} of epoch {intent.epoch}"
        known = self.signed(intent.epoch, intent.view, intent.kind)
        if known is not None and known != intent.block:
            raise JournalError(
                f"asked to {intent.kind} block {intent.block.hex()} in {where}, after {known.hex()}: "
                "two such signatures are an offence that costs stake"
            )
        excluded = _EXCLUDES.get(intent.kind)
        if excluded is not None and self.signed(intent.epoch, intent.view, excluded) is not None:
            raise JournalError(f"asked to {intent.kind} in {where} after a {excluded}: both are an offence")
        return known is None

    def begins_epoch(self, intent: SigningIntent) -> bool:
        """Is this the first of a later epoch than was signed in before?"""
        return bool(self._blocks) and intent.epoch > self._epoch

    def add(self, intent: SigningIntent) -> None:
        """Take note of an intent that ``is_new``."""
        if intent.epoch > self._epoch:
            self._blocks.clear()
            self._view = 0
        self._epoch = intent.epoch
        self._view = max(self._view, intent.view)
        self._blocks[intent.view, intent.kind] = intent.block
