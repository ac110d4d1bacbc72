"""Payloads: the bytes of updates and holdout chunks, addressed by their content, kept beside blocks."""

from base64 import b32encode
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record
from chain.hashing import content_id
from chain.ids import HashField

MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
_CID_HEAD: Final = bytes([0x01, 0x55, 0x12, 0x20])
"""CID version 1, codec "raw", multihash SHA2-256 of 32 bytes (multiformats/cid)."""


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


def cid(ref: PayloadRef) -> str:
    """Return the IPFS CIDv1 text (raw codec, lower-case base32) under which IPFS finds the same bytes.

    IPFS gives a file that id when it is one raw block, as files of up to 1 MiB are with ``--raw-leaves``.
    """
    return "b" + b32encode(_CID_HEAD + ref.id).decode("ascii").rstrip("=").lower()
