"""The certificates in the chain database: what is final and why, and what the epoch under way needs to go on.

Every write is synced: a validator that forgot a certificate it acted on could be left alone with its vote.
"""

from collections.abc import Mapping
from typing import Final

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import content_id
from storage.base import FinalBlock
from storage.database import Database
from storage.layout import EPOCH, LIVE, META_FINAL, Writer, live_key, number_key

_EPOCH_AND_VIEW: Final = 16


class LevelCertificateStore:
    """A ``CertificateStore`` in a LevelDB that the chain store owns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_final(self, final: FinalBlock, live: tuple[int, int] | None = None) -> None:
        """Keep the certificate of the highest final block, and of the epoch under way: one write, one wait."""
        known, items = self.latest_final(), dict[bytes, bytes]()
        if known is None or final.height > known.height:
            items[META_FINAL] = encode(final)
        if live is not None:
            items[_live_name(*live, final.certificate)] = final.certificate
        self._put(items)

    def latest_final(self) -> FinalBlock | None:
        """Return the highest final block that was kept."""
        encoded = self._database.get(META_FINAL)
        if encoded is None:
            return None
        try:
            return decode(encoded, FinalBlock, len(encoded))
        except CodecError as error:
            raise self._database.damage(f"the certificate of the highest final block is {error}") from None

    def keep_epoch(self, epoch: int, proof: bytes) -> None:
        """Keep for ever what proves how this epoch ended."""
        self._put({number_key(EPOCH, epoch): proof})

    def epoch_proof(self, epoch: int) -> bytes | None:
        """Return the proof that was kept for this epoch."""
        return self._database.get(number_key(EPOCH, epoch))

    def keep_live(self, epoch: int, view: int, message: bytes) -> None:
        """Keep a message of the epoch under way."""
        self._put({_live_name(epoch, view, message): message})

    def live(self) -> tuple[bytes, ...]:
        """Return the messages that are kept, in ascending order of epoch and view."""
        return tuple([message for _, message in self._database.scan(LIVE)])

    def forget_live(self, epoch: int, view: int) -> None:
        """Keep no longer what is earlier."""
        end = live_key(epoch, view)
        over = [key for key, _ in self._database.scan(LIVE) if key[:_EPOCH_AND_VIEW] < end]

        def fill(writer: Writer) -> None:
            for key in over:
                writer.delete(LIVE + key)

        if over:
            self._database.write(fill, sync=False)

    def _put(self, items: Mapping[bytes, bytes]) -> None:
        def fill(writer: Writer) -> None:
            for key, value in items.items():
                writer.put(key, value)

        if items:
            self._database.write(fill, sync=True)


def _live_name(epoch: int, view: int, message: bytes) -> bytes:
    return LIVE + live_key(epoch, view) + content_id(message)
