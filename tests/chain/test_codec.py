"""The canonical codec: one value, one encoding, and nothing but ``CodecError`` for anything else."""

import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chain.block import Block
from chain.codec import MAX_DEPTH, Record, decode, encode, unpack
from chain.errors import CodecError
from chain.number import Number
from chain.transaction import SignedTransaction, Transaction, Transfer
from tests.strategies import EDGES, RECORDS, TRANSACTION_BODIES, accounts, amounts, blocks, plain_values, transactions

RECORD_VALUES = st.sampled_from(list(RECORDS)).flatmap(lambda kind: st.tuples(st.just(kind), RECORDS[kind]))


class Nested(Record):
    """A record whose fields a hostile sender can make long."""

    rows: tuple[tuple[int, ...], ...]
    text: str
    blob: bytes


class Fussy(Record):
    """A record that refuses values of its own accord."""

    value: int

    def __post_init__(self) -> None:
        if self.value == 1:
            raise ValueError("one is refused")
        if self.value == 2:
            raise TypeError("two is refused")


def plain(value: object) -> Any:
    """Return the lists, numbers, texts and bytes that a record is made of."""
    return sequences(msgspec.to_builtins(value, builtin_types=(bytes,)), list)


def sequences(value: object, kind: type[list[Any]] | type[tuple[Any, ...]]) -> Any:
    """Return the value with its sequences, however deep, made lists or tuples."""
    return kind(sequences(item, kind) for item in value) if isinstance(value, list | tuple) else value


@given(RECORD_VALUES)
def test_what_is_encoded_decodes_to_itself(drawn: tuple[type[Record], Record]) -> None:
    """Decoding gives back an equal record, whose encoding is the same bytes."""
    kind, value = drawn
    decoded = decode(encode(value), kind)
    assert decoded == value
    assert encode(decoded) == encode(value)


@pytest.mark.parametrize("kind", list(RECORDS), ids=lambda kind: kind.__name__)
def test_every_record_has_its_own_round_trip(kind: type[Record]) -> None:
    """No record is left to chance: each kind goes there and back."""
    seen = []

    @given(RECORDS[kind])
    def there_and_back(value: Record) -> None:
        seen.append(value)
        assert decode(encode(value), kind) == value

    there_and_back()
    assert seen


@pytest.mark.parametrize("kind", list(TRANSACTION_BODIES), ids=lambda kind: kind.__name__)
def test_every_kind_of_transaction_keeps_its_kind(kind: type[Record]) -> None:
    """The tag in the bytes brings back the class that was encoded."""

    @given(transactions(bodies=TRANSACTION_BODIES[kind]))
    def there_and_back(value: Transaction) -> None:
        assert type(decode(encode(value), Transaction).body) is kind

    there_and_back()


@given(RECORD_VALUES)
def test_another_messagepack_library_gives_the_same_bytes(drawn: tuple[type[Record], Record]) -> None:
    """The format is MessagePack in its shortest form, not one library's habit."""
    _, value = drawn
    assert msgpack.packb(plain(value), use_bin_type=True) == encode(value)


@given(plain_values())
def test_plain_values_are_packed_alike_and_unpack_to_themselves(value: object) -> None:
    """``unpack`` and the other library agree on values without a record."""
    data = encode(value)
    assert msgpack.packb(value, use_bin_type=True) == data
    assert unpack(data) == value


@given(RECORD_VALUES)
def test_records_unpack_without_their_class(drawn: tuple[type[Record], Record]) -> None:
    """A tool without the record still sees every field."""
    _, value = drawn
    assert unpack(encode(value)) == sequences(plain(value), tuple)


@given(st.binary(max_size=400), st.sampled_from([*RECORDS, Nested]))
def test_any_bytes_are_refused_or_canonical(data: bytes, kind: type[Record]) -> None:
    """No bytes raise anything but ``CodecError``; what is accepted encodes to the very same bytes."""
    for read in (lambda: decode(data, kind), lambda: unpack(data)):
        try:
            value = read()
        except CodecError:
            continue
        assert encode(value) == data


@given(RECORD_VALUES, st.data())
def test_damaged_records_are_refused_or_another_value(drawn: tuple[type[Record], Record], data: st.DataObject) -> None:
    """Changed, cut or lengthened bytes never decode to the value they were damaged from."""
    kind, value = drawn
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = data.draw(
        st.sampled_from((good[:at], good + good[at:], good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :]))
        | st.binary(max_size=9).map(lambda noise: good[:at] + noise + good[at + 1 :])
    )
    assume(damaged != good)
    try:
        decoded = decode(damaged, kind)
    except CodecError:
        return
    assert decoded != value
    assert encode(decoded) == damaged


def widened(value: object) -> list[bytes]:
    """Return every MessagePack encoding of a value that is longer than it need be; a list's items keep theirs."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        unsigned = ((b"\xcc", 1), (b"\xcd", 2), (b"\xce", 4), (b"\xcf", 8))
        signed = ((b"\xd0", 1), (b"\xd1", 2), (b"\xd2", 4), (b"\xd3", 8))
        made = [head + value.to_bytes(size, "big") for head, size in unsigned if 0 <= value < 256**size]
        made += [
            head + value.to_bytes(size, "big", signed=True)
            for head, size in signed
            if -(256**size) <= 2 * value < 256**size
        ]
        return [data for data in made if data != encode(value)]
    if isinstance(value, bytes):
        heads = ((b"\xc4", 1), (b"\xc5", 2), (b"\xc6", 4))
        return lengthened(value, len(value), heads, encode(value))
    if isinstance(value, str):
        heads = ((b"\xd9", 1), (b"\xda", 2), (b"\xdb", 4))
        return lengthened(value.encode(), len(value.encode()), heads, encode(value))
    assert isinstance(value, list)
    content = b"".join(map(encode, value))
    return lengthened(content, len(value), ((b"\xdc", 2), (b"\xdd", 4)), encode(value))


def lengthened(content: bytes, length: int, heads: tuple[tuple[bytes, int], ...], good: bytes) -> list[bytes]:
    made = [head + length.to_bytes(size, "big") + content for head, size in heads if length < 256**size]
    return [data for data in made if data != good]


@given(RECORD_VALUES, st.data())
def test_longer_encodings_of_the_same_value_are_refused(
    drawn: tuple[type[Record], Record], data: st.DataObject
) -> None:
    """MessagePack lets a length or a number take more bytes than it needs; the chain does not."""
    kind, value = drawn
    fields = plain(value)
    at = data.draw(st.integers(-1, len(fields) - 1))
    choices = widened(fields if at < 0 else fields[at])
    assume(choices)
    other = data.draw(st.sampled_from(choices))
    parts = [encode(field) for field in fields]
    bad = other if at < 0 else bytes([0x90 + len(fields)]) + b"".join([*parts[:at], other, *parts[at + 1 :]])
    assume(len(fields) < 16 or at < 0)
    assert msgpack.unpackb(bad, use_list=True) == fields, "the test itself must spell the same value"
    with pytest.raises(CodecError, match="canonical"):
        decode(bad, kind)
    with pytest.raises(CodecError, match="canonical"):
        unpack(bad)


@given(accounts(), amounts())
def test_fields_out_of_range_are_refused(account: bytes, amount: int) -> None:
    """A decoded field obeys the range of its type, whatever the sender's library lets through."""
    assert decode(encode(("transfer", account, amount)), Transfer).amount == amount
    wrong = (
        ("transfer", account, -1),
        ("transfer", account, 2**63),
        ("transfer", account, 1.0),
        ("transfer", account, True),
        ("transfer", account[:31], amount),
        ("transfer", account + b"0", amount),
        ("transfer", account.hex(), amount),
        ("transfer", account),
        ("transfer", account, amount, 0),
        ("transfers", account, amount),
        {"to": account, "amount": amount},
        None,
    )
    for value in wrong:
        with pytest.raises(CodecError):
            decode(encode(value), Transfer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # a byte MessagePack never uses
        b"\xcb" + bytes(8),  # a float
        b"\x80",  # a map
        b"\x81\x90\x01",  # a map with an array for a key
        b"\xd6\xff" + bytes(4),  # a timestamp
        b"\xc7\x00\x05",  # an extension
        b"\xa1\xff",  # text that is not UTF-8
        b"\xa3\xed\xa0\x80",  # half a surrogate pair
        b"\x01\x01",  # two values
    ],
)
def test_what_does_not_exist_on_the_chain_is_refused(data: bytes) -> None:
    """No maps, floats, times or extensions, no broken text, nothing after the value."""
    with pytest.raises(CodecError):
        unpack(data)
    with pytest.raises(CodecError):
        decode(b"\x93\x90" + data + b"\xc4\x00", Nested)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 5000, 200_000])
def test_deep_nesting_is_refused_without_a_crash(depth: int) -> None:
    """Arrays in arrays end in ``CodecError``, however deep."""
    with pytest.raises(CodecError):
        unpack(b"\x91" * depth + b"\x01")
    with pytest.raises(CodecError):
        decode(b"\x93" + b"\x91" * depth + b"\x01" + b"\xa0\xc4\x00", Nested)


def test_the_deepest_nesting_allowed_is_read() -> None:
    """The limit itself is inside."""
    assert unpack(b"\x91" * MAX_DEPTH + b"\x01")


@pytest.mark.parametrize(
    "data",
    [
        b"\x93" + b"\xdd\xff\xff\xff\xff" * 2,
        b"\x93\xdd\xff\xff\xff\xff" + bytes(50_000),
        b"\x93\xdd\x00\x00\xc3\x50" * 30 + bytes(50_000),
        b"\x93\x90\xdb\xff\xff\xff\xffabc",
        b"\x93\x90\xa0\xc6\xff\xff\xff\xffabc",
        b"\x93\x90\xc6\xff\xff\xff\xffabc",
    ],
)
def test_a_claimed_length_takes_no_memory(data: bytes) -> None:
    """What a length promises is not allocated before it has arrived."""
    for read in (lambda: decode(data, Nested), lambda: unpack(data)):
        with pytest.raises(CodecError):
            read()
        tracemalloc.start()
        try:
            with pytest.raises(CodecError):
                read()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100 * len(data) + 100_000


def test_bytes_over_the_limit_are_not_looked_at() -> None:
    """The size is checked before anything is decoded."""
    data = encode(Transfer(bytes(32), 5))  # type: ignore[arg-type]
    assert decode(data, Transfer, len(data))
    with pytest.raises(CodecError, match="at most"):
        decode(data, Transfer, len(data) - 1)
    with pytest.raises(CodecError, match="at most"):
        unpack(data, len(data) - 1)


def test_a_record_that_refuses_a_value_gives_a_codec_error() -> None:
    """Checks of a record's own surface as ``CodecError`` with their reason."""
    assert decode(b"\x91\x00", Fussy) == Fussy(0)
    with pytest.raises(CodecError, match="one is refused"):
        decode(b"\x91\x01", Fussy)
    with pytest.raises(CodecError, match="two is refused"):
        decode(b"\x91\x02", Fussy)
    with pytest.raises(CodecError, match="lowest form"):
        decode(encode((10, 0)), Number)


def test_errors_do_not_repeat_what_a_stranger_sent_at_length() -> None:
    """An unknown tag of a megabyte does not end in a log of a megabyte."""
    with pytest.raises(CodecError) as caught:
        decode(encode(("x" * 10**6, bytes(32), 5)), Transfer)
    assert len(str(caught.value)) < 400


@given(st.sampled_from(EDGES))
def test_records_never_change(value: int) -> None:
    """A record has no setters and equals another with the same fields."""
    record = Number(value or 1, 18)
    with pytest.raises(AttributeError):
        record.mantissa = 3  # type: ignore[misc]
    assert hash(record) == hash(Number(value or 1, 18))


@given(blocks(max_items=2))
def test_whole_blocks_and_their_parts_agree(block: Block) -> None:
    """A block's bytes are its header's and its body's, so that either can travel alone."""
    assert encode(block) == b"\x92" + encode(block.header) + encode(block.body)
    for signed in block.body.transactions:
        assert decode(encode(signed), SignedTransaction) == signed
