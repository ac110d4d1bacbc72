"""The questions for parts of a state, and what answers them: what ``p2p.snapshots`` carries as bytes.

Rules of this file: shapes and their limits; both ends use it. Chunks and slices of a state to be taken whole are asked
for by ``statesync`` and answered by ``snapshots``; proofs of single values, and slices of these, are asked for by light
nodes (``node.light``) and answered by ``headstates``.
"""

from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import HashField, Natural
from chain.payload import MAX_PAYLOAD_BYTES
from consensus.snapshot import MAX_INLINE_BYTES, MAX_KEY_BYTES, Prefix
from consensus.tree import StateProof

SLICE_BYTES: Final = 192 * 1024
"""Bytes of a large value in one answer."""
MAX_VALUE_BYTES: Final = MAX_PAYLOAD_BYTES
"""No value of the state is longer: a model fits a payload."""
MAX_PROOF_KEYS: Final = 6
"""Keys in one question for proofs: six long ones fill it."""
_MAX_QUESTION: Final = 512
_MAX_ANSWER: Final = 256 * 1024


class AskChunk(Record, tag="chunk"):
    """Asks for a subtree that begins where ``prefix`` begins; answered by a ``consensus.snapshot.Chunk``."""

    prefix: Prefix


class AskValue(Record, tag="value"):
    """Asks for a piece of the value under a state key; answered by a ``ValueSlice``."""

    key: Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
    offset: Annotated[int, Meta(ge=0, le=MAX_VALUE_BYTES, multiple_of=SLICE_BYTES)]


class AskProof(Record, tag="proof"):
    """Asks what stands under these state keys, with proofs; answered by ``ProvenValues`` in the same order."""

    keys: Annotated[
        tuple[Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)], ...], Meta(min_length=1, max_length=MAX_PROOF_KEYS)
    ]


Question = AskChunk | AskValue | AskProof


class ProvenValue(Record):
    """What stands under a key: the value, or its SHA-256 if it is longer than ``MAX_INLINE_BYTES``, or neither."""

    value: Annotated[bytes, Meta(max_length=MAX_INLINE_BYTES)] | None
    digest: HashField | None
    proof: StateProof


class ProvenValues(Record):
    """Answers ``AskProof``: one for each key."""

    values: Annotated[tuple[ProvenValue, ...], Meta(max_length=MAX_PROOF_KEYS)]


class ValueSlice(Record):
    """``SLICE_BYTES`` of a value from the offset on, or what is left; ``total`` is the value's length."""

    total: Natural
    data: Annotated[bytes, Meta(max_length=SLICE_BYTES)]


def read_question(data: bytes) -> Question | None:
    """Return the question; None if it is none."""
    try:
        question: Question = decode(data, Question, _MAX_QUESTION)  # type: ignore[arg-type]
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


def read_values(data: bytes) -> ProvenValues | None:
    """Return the proven values; None if these bytes are none."""
    try:
        return decode(data, ProvenValues, _MAX_ANSWER)
    except CodecError:
        return None


def cut(value: bytes, offset: int) -> bytes:
    """Return the answer to a question for a piece of this value."""
    return encode(ValueSlice(len(value), value[offset : offset + SLICE_BYTES]))


def write(record: Question | ValueSlice) -> bytes:
    """Return the bytes of a question or an answer."""
    return encode(record)
