"""Frames: how messages are cut out of a stream of bytes.

A frame is 4 bytes of length (big-endian, of the message alone), 1 byte of message class, and the message. The length
is checked against the class as soon as the five bytes of the head are there, before anything is kept for the message.

Rules of this file: bytes and classes; it does not know what a message is.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from p2p.errors import FrameError
from p2p.limits import MessageClass

HEAD_BYTES: Final = 5


_HEAD: Final = Struct(">IB")
_CLASSES: Final = {int(each): each for each in MessageClass}


class Frame(NamedTuple):
    """One message's class and its bytes. One is made for every message that comes in."""

    message_class: MessageClass
    data: bytes


def encode_frame(message_class: MessageClass, data: bytes) -> bytes:
    """Return the frame that carries ``data``."""
    return len(data).to_bytes(4, "big") + bytes([message_class]) + data


class FrameDecoder:
    """Cuts a stream into frames. Holds what was fed and not yet taken, which never is more than one frame begun.

    ``limit_of`` says how long a message of a class may be at this moment.
    """

    __slots__ = ("_buffer", "_limit_of", "_start")

    def __init__(self, limit_of: Callable[[MessageClass], int]) -> None:
        self._limit_of = limit_of
        self._buffer: bytes | bytearray = b""
        self._start = 0  # bytes of the buffer that were taken already

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrive. All frames they complete must be taken before more is fed."""
        buffer, start = self._buffer, self._start
        self._start = 0
        if start == len(buffer):  # as nearly always: whole frames came, and were taken
            self._buffer = bytes(data)
            return
        if not isinstance(buffer, bytearray):
            buffer = self._buffer = bytearray(buffer)
        if start:
            del buffer[:start]
        buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next complete frame. ``FrameError`` for an unknown class or a length beyond its limit."""
        buffer, begin = self._buffer, self._start + HEAD_BYTES
        if len(buffer) < begin:
            return None
        size, number = _HEAD.unpack_from(buffer, self._start)
        message_class = _CLASSES.get(number)
        if message_class is None:
            raise FrameError(f"message class {number} does not exist")
        limit = self._limit_of(message_class)
        if size > limit:
            raise FrameError(f"a {message_class.name.lower()} message of {size} bytes; at most {limit} are allowed now")
        end = begin + size
        if len(buffer) < end:
            return None
        self._start = end
        return Frame(message_class, bytes(buffer[begin:end]))

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._buffer) - self._start
