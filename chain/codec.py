"""The canonical codec: one value, one encoding.

Every object of the chain is a ``Record``: a frozen struct that travels as a MessagePack array of fixed
arity. MessagePack allows several encodings of one value (a 1 in one byte or in nine), so ``decode``
accepts bytes only if encoding the result gives the same bytes again. There are no maps and no floats.

Rules of this file: no I/O, no knowledge of what a record means; every failure on hostile bytes is a
``CodecError``, never another exception.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar, dataclass_transform

import msgpack
import msgspec

from chain.errors import CodecError

MAX_OBJECT_BYTES: Final = 8 * 1024 * 1024
"""Largest encoding that ``decode`` looks at unless the caller sets a smaller limit."""
MAX_UNTYPED_BYTES: Final = 1024 * 1024
"""Largest encoding that ``unpack`` looks at unless told otherwise: a value takes up to 80 times its bytes."""
MAX_DEPTH: Final = 32
"""Deepest nesting of arrays that ``unpack`` follows."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(
    msgspec.Struct,
    array_like=True,
    frozen=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """Base of every encoded object: immutable, fixed arity, compared by value."""


R = TypeVar("R")

Value: TypeAlias = bool | int | bytes | str | tuple["Value", ...] | None
"""What ``unpack`` returns and ``encode`` takes, records aside."""

_encoder = msgspec.msgpack.Encoder()
_untyped = msgspec.msgpack.Decoder()
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
_making = threading.Lock()
"""Held while a decoder is made. What msgspec knows of a record is kept with the class, and it can be seen by another
thread while it is still half filled: decoding by it then takes the process down (tests/chain/test_codec_threads.py)."""


def prepare(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Learn how to decode a ``kind``, once, and return its decoder.

    Whoever reads a record by other means of msgspec than this file's (``convert``, JSON) calls this first.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        with _making:
            decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return decoder


def encode(value: object) -> bytes:
    """Return the canonical bytes of a record or of a value made of int, bool, bytes, str, None, tuples."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[R], max_bytes: int = MAX_OBJECT_BYTES, encoded: Callable[[R], bytes] = encode) -> R:
    """Return the ``kind`` that ``data`` encodes.

    ``kind`` is a ``Record`` class or a union of tagged ones. ``encoded`` gives a value's one encoding where that is
    not the record's own: records that have had fewer fields in an earlier form. Raises ``CodecError`` for bytes that
    are too long, truncated, of the wrong shape, out of a field's range, followed by more, or not canonical.
    """
    if len(data) > max_bytes:
        raise CodecError(f"object of {len(data)} bytes; at most {max_bytes} are allowed")
    try:
        value: R = prepare(kind).decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CodecError(f"not a {_name(kind)}: {_short(error)}") from None
    except RecursionError:
        raise CodecError(f"not a {_name(kind)}: nested too deeply") from None
    if encoded(value) != data:
        raise CodecError(f"not the canonical encoding of a {_name(kind)}")
    return value


def decode_own(data: bytes, kind: type[R]) -> R:
    """Return the ``kind`` that ``encode`` wrote on this machine, or that a checked state root commits to.

    So it is canonical, and that is not looked at again. ``CodecError`` if it is damaged so that it can't be read.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        return decode(data, kind)
    try:
        value: R = decoder.decode(data)
    except msgspec.MsgspecError:
        return decode(data, kind)  # which says what is wrong
    return value


def _name(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))


def _short(error: Exception) -> str:
    """Return the error's text, cut: it may quote what a stranger sent."""
    text = str(error)
    return text if len(text) <= 200 else text[:200] + "…"


def unpack(data: bytes, max_bytes: int = MAX_UNTYPED_BYTES) -> Value:
    """Return the untyped value of canonical bytes.

    For tools that show objects they have no record for. What is canonical is judged by the format's own library here,
    so that the two encoders watch each other. Raises ``CodecError``.
    """
    if len(data) > max_bytes:
        raise CodecError(f"object of {len(data)} bytes; at most {max_bytes} are allowed")
    try:
        value = _plain(_untyped.decode(data), MAX_DEPTH)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise CodecError(f"not canonical MessagePack: {_short(error)}") from None
    if msgpack.packb(value, use_bin_type=True) != data:
        raise CodecError("not canonical MessagePack: the value has another, shorter encoding")
    return value


def _plain(value: object, depth: int) -> Value:
    if isinstance(value, list):
        if depth == 0:
            raise CodecError(f"arrays nested deeper than {MAX_DEPTH}")
        return tuple([_plain(item, depth - 1) for item in value])
    if value is None or isinstance(value, bool | int | bytes | str):
        return value
    raise CodecError(f"{type(value).__name__} values do not exist on the chain")
