"""Frames and messages as bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from p2p.errors import FrameError, MessageError, ProtocolError
from p2p.events import Kind
from p2p.frames import HEAD_BYTES, Frame, FrameDecoder, encode_frame
from p2p.limits import CHUNK_BYTES, CLASSES, MAX_BODIES, MAX_HEADERS, MAX_IDS, MAX_LOCATOR, MessageClass
from p2p.messages import (
    CLASS_OF,
    AnnounceTransactions,
    AnnounceUpdates,
    Bye,
    GetBodies,
    GetHeaders,
    GetTransactions,
    GetUpdates,
    NotFound,
    PayloadChunk,
    PeerAddress,
    UpdateNotice,
    decode_message,
    encode_message,
)
from tests.p2p.strategies import messages

LONG = 1 << 20


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return ``data`` in pieces, cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def read_all(decoder: FrameDecoder, pieces: list[bytes]) -> list[Frame]:
    frames: list[Frame] = []
    for piece in pieces:
        decoder.feed(piece)
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    return frames


@given(st.lists(messages(), max_size=6), st.lists(st.integers(0, 2**31)))
def test_messages_survive_any_cutting_of_the_stream(sent: list[object], places: list[int]) -> None:
    """However the transport cuts, the messages come out whole and in order."""
    stream = b"".join(encode_message(message) for message in sent)  # type: ignore[arg-type]
    frames = read_all(FrameDecoder(lambda _: LONG), cut(stream, places))
    assert [decode_message(frame) for frame in frames] == sent


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_frames_or_a_frame_error(pieces: list[bytes]) -> None:
    """A stream of anything gives frames, or one FrameError, and never holds more than it was given."""
    decoder = FrameDecoder(lambda _: 1000)
    try:
        frames = read_all(decoder, pieces)
    except FrameError:
        return
    assert sum(HEAD_BYTES + len(frame.data) for frame in frames) + len(decoder) == sum(map(len, pieces))


@given(st.sampled_from(MessageClass), st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_message_error(message_class: MessageClass, data: bytes) -> None:
    """Bytes that are a message of the class encode to themselves; all others raise."""
    try:
        message = decode_message(Frame(message_class, data))
    except MessageError:
        return
    assert encode(message) == data
    assert CLASS_OF[type(message)] is message_class


@given(messages(), st.data())
def test_a_message_with_a_byte_changed_is_another_or_none(message: object, data: st.DataObject) -> None:
    """No two encodings mean the same message."""
    frame = encode_message(message)  # type: ignore[arg-type]
    place = data.draw(st.integers(HEAD_BYTES, len(frame) - 1))
    changed = bytearray(frame)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_message(Frame(CLASS_OF[type(message)], bytes(changed[HEAD_BYTES:])))  # type: ignore[index]
    except ProtocolError:
        return
    assert other != message


@given(messages(), st.sampled_from(MessageClass))
def test_a_message_in_another_class_is_refused(message: object, message_class: MessageClass) -> None:
    """A message can't use another class's limits."""
    frame = Frame(message_class, encode(message))
    if CLASS_OF[type(message)] is message_class:  # type: ignore[index]
        assert decode_message(frame) == message
    else:
        with pytest.raises(MessageError):
            decode_message(frame)


def test_a_length_beyond_the_limit_is_refused_from_the_head_alone() -> None:
    """Five bytes are enough to refuse: nothing is kept for what they promise."""
    decoder = FrameDecoder(lambda each: 100 if each is MessageClass.CONTROL else 10)
    decoder.feed((101).to_bytes(4, "big") + bytes([MessageClass.CONTROL]))
    with pytest.raises(FrameError, match="a control message of 101 bytes; at most 100 are allowed now"):
        decoder.next_frame()


def test_an_unknown_class_is_refused() -> None:
    """Class bytes have no spare meanings."""
    decoder = FrameDecoder(lambda _: LONG)
    decoder.feed(bytes([0, 0, 0, 0, len(MessageClass)]))
    with pytest.raises(FrameError, match=f"message class {len(MessageClass)} does not exist"):
        decoder.next_frame()


def test_the_longest_lists_fit_their_frames() -> None:
    """What a list may hold at most fits the frame of its class, so that two limits can't contradict each other."""
    id = bytes(32)
    longest = [
        GetHeaders((id,) * MAX_LOCATOR),
        GetBodies((id,) * MAX_BODIES),
        AnnounceTransactions((id,) * MAX_IDS),
        GetTransactions((id,) * MAX_IDS),
        AnnounceUpdates((UpdateNotice(id, id),) * MAX_IDS),
        GetUpdates((UpdateNotice(id, id),) * MAX_IDS),
        NotFound(Kind.TRANSACTION, (id,) * 64),
        Bye("x" * 200),
    ]
    for message in longest:
        assert len(encode(message)) <= CLASSES[CLASS_OF[type(message)]].frame_bytes
    assert len(encode(PayloadChunk(id, 0, bytes(CHUNK_BYTES)))) <= CLASSES[MessageClass.PAYLOADS].answer_bytes
    with pytest.raises(MessageError):
        decode_message(Frame(MessageClass.CONSENSUS, encode(GetBodies((id,) * (MAX_BODIES + 1)))))
    assert MAX_HEADERS == 2000


@pytest.mark.parametrize("text", ["line\nbreak", "\x1b[31mred", "caf\xe9"])
def test_what_goes_to_the_others_log_is_plain_text(text: str) -> None:
    """A Bye can't carry control characters; ours are made printable."""
    frame = encode_frame(MessageClass.CONTROL, encode(Bye(text)))
    with pytest.raises(MessageError):
        decode_message(Frame(MessageClass.CONTROL, frame[HEAD_BYTES:]))
    assert decode_message(Frame(MessageClass.CONTROL, encode(Bye.of(text))))


def test_an_ip_address_has_four_or_sixteen_bytes() -> None:
    """Nothing between is an address."""
    with pytest.raises(ValueError, match="4 or 16"):
        PeerAddress(bytes(5), 1)
