"""Ciphertexts add up, are their sender's, for their task, and say so in a proof that strangers' bytes do not pass."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl.errors import PayloadError
from fl.secure.paillier import Packing, add, aggregate_bytes, body_bytes, check, encrypt
from fl.secure.paillier.packing import pack, unpack_digits
from tests.fl.secure.paillier.keys import (
    CONTEXT,
    LARGE,
    SMALL,
    decrypt_textbook,
    large_key,
    modulus_of,
    small_key,
    split,
    stream,
    values_of,
)

WIDTH = 64
PACKING = Packing(24, 4, 50, 512)
BODY = encrypt(small_key(), PACKING, values_of(1, 50, 24), CONTEXT, stream(b"body"))
END = aggregate_bytes(PACKING)


def test_a_body_is_ciphertexts_and_a_proof() -> None:
    """Nineteen slots of 26 bits in a plaintext: three ciphertexts of twice the modulus, and four widths of proof."""
    assert PACKING.ciphertexts == 3
    assert len(BODY) == body_bytes(PACKING) == 3 * 128 + 4 * 64
    assert check(small_key(), PACKING, BODY, CONTEXT) is None


def test_the_textbook_decrypts_what_is_encrypted() -> None:
    """Paillier's own decryption, in Python's numbers, under the full key; the bytes follow from the stream."""
    packing = Packing(24, 10, 200, 2048)
    values = values_of(3, 200, 24)
    body = encrypt(large_key(), packing, values, CONTEXT, stream(b"known"))
    assert decrypt_textbook(LARGE, split(body[: aggregate_bytes(packing)], 512)) == pack(packing, values)
    assert check(large_key(), packing, body, CONTEXT) is None
    assert sha256(body).hexdigest() == KNOWN


KNOWN = "3edfccfadb84f2f312587fa77fbbc97e2c167168652119d237004c845abab78e"
"""Digest of the body above: what follows from N, the proof and the layout stay as they are."""


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_the_sum_of_ciphertexts_decrypts_to_the_sum(seeds: list[int]) -> None:
    """In whatever order they come."""
    vectors = [values_of(seed, 50, 24) for seed in seeds]
    bodies = [
        encrypt(small_key(), PACKING, vector, CONTEXT, stream(b"sum", bytes([place])))
        for place, vector in enumerate(vectors)
    ]
    total = add(small_key(), bodies)
    assert total == add(small_key(), bodies[::-1])
    assert len(total) == aggregate_bytes(PACKING)
    assert (unpack_digits(PACKING, decrypt_textbook(SMALL, split(total, 128))) == sum(vectors)).all()


def test_many_ciphertexts_come_from_the_table_and_are_the_same() -> None:
    """From a dozen on powers come from a table: the textbook decrypts them alike, and the proof holds."""
    packing = Packing(24, 4, 400, 512)
    values = values_of(9, 400, 24)
    body = encrypt(small_key(), packing, values, CONTEXT, stream(b"many"))
    assert packing.ciphertexts > 20
    assert check(small_key(), packing, body, CONTEXT) is None
    assert (
        unpack_digits(packing, decrypt_textbook(SMALL, split(body[: aggregate_bytes(packing)], 128))) == values
    ).all()


def test_the_same_values_are_never_the_same_ciphertexts() -> None:
    """Fresh randomness each time, and within a body: fifty zeros show no two ciphertexts that agree."""
    zeros, source = np.zeros(50, np.int64), stream(b"zeros")
    first, second = (encrypt(small_key(), PACKING, zeros, CONTEXT, source) for _ in range(2))
    assert len({*split(first[:END], 128), *split(second[:END], 128)}) == 6


def test_another_device_can_not_send_these_ciphertexts() -> None:
    """Nor the same device for another task: the proof is bound to its context."""
    fault = check(small_key(), PACKING, BODY, b"another device, or task")
    assert fault == "the proof is wrong: the sender does not know what is in the ciphertexts, or they are another's"


def test_ciphertexts_multiplied_by_a_known_factor_need_a_proof_of_their_own() -> None:
    """c·(1 + N) holds one more than c, whatever that is; its sender can't say what it is."""
    n = modulus_of(small_key())
    moved = [each * (1 + n) % (n * n) for each in split(BODY[:END], 128)]
    forged = b"".join(each.to_bytes(128, "big") for each in moved) + BODY[END:]
    assert check(small_key(), PACKING, forged, CONTEXT) is not None


def test_ciphertexts_in_another_order_are_another_statement() -> None:
    """The weights belong to places."""
    swapped = BODY[128:256] + BODY[:128] + BODY[256:]
    assert check(small_key(), PACKING, swapped, CONTEXT) is not None


def test_ciphertexts_of_another_key_are_refused() -> None:
    """Of the same size, and of another."""
    other = encrypt(large_key(), Packing(24, 4, 50, 2048), values_of(1, 50, 24), CONTEXT, stream(b"other"))
    assert check(small_key(), PACKING, other, CONTEXT) == f"{len(other)} bytes of ciphertexts, not {len(BODY)}"
    assert check(large_key(), PACKING, BODY, CONTEXT) == "a packing for 512 bits under a key of 2048"
    small = Packing(24, 4, 50, 2048)
    padded = bytes(body_bytes(small) - len(BODY)) + BODY
    assert check(large_key(), small, padded, CONTEXT) is not None


@pytest.mark.parametrize(
    "number", [0, SMALL[0], SMALL[0] * SMALL[1], (SMALL[0] * SMALL[1]) ** 2, SMALL[1] ** 2, 2**1024 - 1]
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_is_no_unit_modulo_the_square_is_refused_before_the_proof(number: int, place: int) -> None:
    """0, a factor of N, N itself, N², beyond: in a ciphertext or in the commitment."""
    forged = BODY[: 128 * place] + number.to_bytes(128, "big") + BODY[128 * (place + 1) :]
    fault = check(small_key(), PACKING, forged, CONTEXT)
    assert fault in ("a ciphertext is not below N², or 0", "a ciphertext has no inverse modulo N²")


@pytest.mark.parametrize("number", [0, SMALL[0], SMALL[0] * SMALL[1], 2**512 - 1])
def test_answers_that_are_no_units_are_refused(number: int) -> None:
    """w is a unit below N."""
    fault = check(small_key(), PACKING, BODY[:-64] + number.to_bytes(64, "big"), CONTEXT)
    assert fault is not None
    assert "proof is wrong" not in fault


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
@example(0, 1)
@example(len(BODY) - 1, 1)
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    """Of ciphertexts and of proof: none is left that nothing depends on."""
    forged = bytearray(BODY)
    forged[place] ^= change
    assert check(small_key(), PACKING, bytes(forged), CONTEXT) is not None


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.binary(max_size=800), st.binary(min_size=len(BODY), max_size=len(BODY))))
def test_strangers_bytes_are_a_fault_in_words(body: bytes) -> None:
    """Never an exception."""
    assert check(small_key(), PACKING, body, CONTEXT)


@pytest.mark.parametrize("sizes", [[], [0], [len(BODY), len(BODY) - 128], [len(BODY) - 1], [256]])
def test_what_are_no_bodies_are_not_added(sizes: list[int]) -> None:
    """None, empty, of different sizes, cut, a proof without ciphertexts."""
    with pytest.raises(PayloadError):
        add(small_key(), [bytes(size) for size in sizes])


def test_values_out_of_range_are_not_encrypted() -> None:
    """Before anything is drawn."""
    with pytest.raises(ValueError, match="24 bits"):
        encrypt(small_key(), PACKING, np.full(50, 2**23), CONTEXT, stream(b"none"))
