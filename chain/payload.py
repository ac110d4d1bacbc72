"""Payloads: the bytes of updates and holdout chunks, addressed by their content, kept beside blocks."""

from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record
from chain.hashing import content_id
from chain.ids import HashField

MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024


class PayloadRef(Record):
    """Where a payload is: its SHA-256 and its size in bytes."""

    id: HashField
    size: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES)]

    @classmethod
    def of(cls, payload: bytes) -> "PayloadRef":
        """Return the reference of these bytes."""
        return cls(content_id(payload), len(payload))

    def is_of(self, payload: bytes) -> bool:
        """Are these the bytes the reference names?"""
        return len(payload) == self.size and content_id(payload) == self.id
