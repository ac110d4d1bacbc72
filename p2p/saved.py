"""What a node writes down of its peers for its next run: the address book, its anchors, who is banned.

    file    8 bytes "fedpeer1", SHA-256 of the rest, then one canonical ``SavedPeers``

The file is the node's own, but it is read as if a stranger had written it: bounded before it is decoded, every field
checked, one encoding for one content.
"""

from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import MillisField, Natural
from p2p.endpoints import MAX_HOST, parse_endpoint
from p2p.errors import EndpointError, SavedPeersError
from p2p.limits import ANCHORS, BUCKET_SIZE, MAX_BANS, MAX_REASON, NEW_BUCKETS, TRIED_BUCKETS

MAGIC: Final = b"fedpeer1"
MAX_ADDRESSES_SAVED: Final = (NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE
MAX_SAVED_BYTES: Final = 8 * 1024 * 1024
"""No file of a node's own is longer: host names are at most 253 characters, and addresses 45."""
_HostText = Annotated[str, Meta(min_length=1, max_length=MAX_HOST)]
_EndpointText = Annotated[str, Meta(min_length=3, max_length=MAX_HOST + 8)]


class SavedAddress(Record):
    """One address of the book: who told of it, whether it worked, when it was last told of and last worked."""

    address: _EndpointText
    source: _HostText
    is_tried: bool
    heard_at: MillisField
    worked_at: MillisField
    failures: Natural

    def __post_init__(self) -> None:
        _check_endpoint(self.address)


class SavedBan(Record):
    """A ban: ``subject`` is a host, or an identity as 64 hexadecimal digits; until when (ms, UTC); why."""

    subject: _HostText
    until: MillisField
    reason: Annotated[str, Meta(max_length=MAX_REASON)]


class SavedPeers(Record, tag="saved_peers"):
    """Everything remembered. ``secret`` places addresses in buckets; ``anchors`` are dialled first."""

    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]
    addresses: Annotated[tuple[SavedAddress, ...], Meta(max_length=MAX_ADDRESSES_SAVED)]
    anchors: Annotated[tuple[_EndpointText, ...], Meta(max_length=ANCHORS)]
    bans: Annotated[tuple[SavedBan, ...], Meta(max_length=MAX_BANS)]

    def __post_init__(self) -> None:
        for anchor in self.anchors:
            _check_endpoint(anchor)


def _check_endpoint(text: str) -> None:
    try:
        if str(parse_endpoint(text)) != text:
            raise ValueError(f"{text!r} is not the shortest text of this address")
    except EndpointError as error:
        raise ValueError(str(error)) from None


def write_saved(saved: SavedPeers) -> bytes:
    """Return a file's bytes."""
    data = encode(saved)
    return MAGIC + sha256(data).digest() + data


def read_saved(data: bytes) -> SavedPeers:
    """Return what a file holds. ``SavedPeersError`` says what is wrong with it."""
    head = len(MAGIC) + 32
    if len(data) > MAX_SAVED_BYTES:
        raise SavedPeersError(f"{len(data)} bytes; at most {MAX_SAVED_BYTES} are allowed")
    if data[: len(MAGIC)] != MAGIC:
        raise SavedPeersError("no list of peers")
    if sha256(data[head:]).digest() != data[len(MAGIC) : head]:
        raise SavedPeersError("damaged: its checksum does not match")
    try:
        return decode(data[head:], SavedPeers, MAX_SAVED_BYTES)
    except CodecError as error:
        raise SavedPeersError(str(error)) from None
