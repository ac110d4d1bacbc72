"""The questions for parts of a state, and what answers them: what ``p2p.snapshots`` carries as bytes.

Rules of this file: shapes and their limits; both ends use it (``statesync`` asks, ``snapshots`` answers).
"""

from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import Natural
from chain.payload import MAX_PAYLOAD_BYTES
from consensus.snapshot import MAX_KEY_BYTES, Prefix

SLICE_BYTES: Final = 192 * 1024
"""Bytes of a large value in one answer."""
MAX_VALUE_BYTES: Final = MAX_PAYLOAD_BYTES
"""No value of the state is longer: a model fits a payload."""
_MAX_ANSWER: Final = 256 * 1024


class AskChunk(Record, tag="chunk"):
    """Asks for a subtree that begins where ``prefix`` begins; answered by a ``consensus.snapshot.Chunk``."""

    prefix: Prefix


class AskValue(Record, tag="value"):
    """Asks for a piece of the value under a state key; answered by a ``ValueSlice``."""

    key: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    offset: Annotated[int, Meta(ge=0, le=MAX_VALUE_BYTES, multiple_of=SLICE_BYTES)]


Question = AskChunk | AskValue


class ValueSlice(Record):
    """``SLICE_BYTES`` of a value from the offset on, or what is left; ``total`` is the value's length."""

    total: Natural
    data: Annotated[bytes, Meta(max_length=SLICE_BYTES)]


def read_question(data: bytes) -> Question | None:
    """Return the question; None if it is none."""
    try:
        question: Question = decode(data, Question, 512)  # type: ignore[arg-type]
    except CodecError:
        return None
    return question


def read_slice(data: bytes) -> ValueSlice | None:
    """Return the piece of a value; None if it is none, or claims a length that no value has."""
    try:
        piece = decode(data, ValueSlice, _MAX_ANSWER)
    except CodecError:
        return None
    return piece if piece.total <= MAX_VALUE_BYTES else None


def write(record: Question | ValueSlice) -> bytes:
    """Return the bytes of a question or an answer."""
    return encode(record)
