"""The proof-of-work search: a compiled SHA-256d over 40 bytes, chunk by chunk.

The message is the seal digest (32 bytes) and the nonce (8 bytes, big-endian), padded to one block; the second hash
takes the first's 32 bytes, padded to one block. The first eight rounds of the first hash depend on the seal digest
alone and are done once a chunk. Equal to ``consensus.pow.reference`` nonce by nonce (a test).

Rules of this file: pure functions without clock or callbacks; the compiled part releases the GIL.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from fl.kernels.compiled import kernel, types  # first: it keeps Numba from loading SciPy

# isort: split
from numba import njit

Words = npt.NDArray[np.uint32]
uint32: Final = types.uint32

MAX_NONCE: Final = 2**64 - 1

_ROUND_CONSTANTS: Final = np.array(
    # FIPS 180-4 §4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes
    [
        0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
        0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
        0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
        0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
        0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
        0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
        0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
        0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
    ],
    dtype=np.uint32,
)  # fmt: skip
_INITIAL: Final = np.array(
    # FIPS 180-4 §5.3.3: of the square roots of the first 8 primes
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19],
    dtype=np.uint32,
)


@njit(inline="always")
def _rotate(x: np.uint32, bits: int) -> np.uint32:
    return uint32((x >> uint32(bits)) | (x << uint32(32 - bits)))


@kernel
def _rounds(state: Words, schedule: Words, first: int, last: int) -> None:
    """Apply rounds ``first`` … ``last`` - 1 of SHA-256 to the eight working words in place."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    e, f, g, h = state[4], state[5], state[6], state[7]
    for i in range(first, last):
        big1 = _rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)
        t1 = uint32(h + big1 + (g ^ (e & (f ^ g))) + _ROUND_CONSTANTS[i] + schedule[i])
        big0 = _rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)
        t2 = uint32(big0 + ((a & b) | (c & (a | b))))
        h, g, f, e = g, f, e, uint32(d + t1)
        d, c, b, a = c, b, a, uint32(t1 + t2)
    state[0], state[1], state[2], state[3] = a, b, c, d
    state[4], state[5], state[6], state[7] = e, f, g, h


@kernel
def _expand(schedule: Words) -> None:
    """Fill words 16 … 63 of the message schedule from the first sixteen."""
    for i in range(16, 64):
        w15, w2 = schedule[i - 15], schedule[i - 2]
        small0 = _rotate(w15, 7) ^ _rotate(w15, 18) ^ (w15 >> uint32(3))
        small1 = _rotate(w2, 17) ^ _rotate(w2, 19) ^ (w2 >> uint32(10))
        schedule[i] = uint32(schedule[i - 16] + small0 + schedule[i - 7] + small1)


@kernel
def _is_at_most(words: Words, bound: Words) -> bool:
    """Compare two 256-bit big-endian numbers."""
    for i in range(8):
        if words[i] != bound[i]:
            return bool(words[i] < bound[i])
    return True


@kernel
def _search(digest: Words, target: Words, start: np.uint64, count: int) -> int:
    """Return the offset of the first nonce that meets the target, or -1."""
    first, second = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    prefix, state = _INITIAL.copy(), np.empty(8, np.uint32)
    first[:8] = digest
    _rounds(prefix, first, 0, 8)
    first[10], first[15] = uint32(0x80000000), uint32(320)
    second[8], second[15] = uint32(0x80000000), uint32(256)
    for offset in range(count):
        nonce = np.uint64(start) + np.uint64(offset)
        first[8], first[9] = uint32(nonce >> np.uint64(32)), uint32(nonce & np.uint64(0xFFFFFFFF))
        _expand(first)
        state[:] = prefix
        _rounds(state, first, 8, 64)
        for i in range(8):
            second[i] = uint32(state[i] + _INITIAL[i])
        _expand(second)
        state[:] = _INITIAL
        _rounds(state, second, 0, 64)
        for i in range(8):
            state[i] = uint32(state[i] + _INITIAL[i])
        if _is_at_most(state, target):
            return offset
    return -1


def _words(data: bytes) -> Words:
    return np.frombuffer(data, dtype=">u4").astype(np.uint32)


def search_chunk(seal_digest: bytes, target: int, start_nonce: int, count: int) -> int | None:
    """Return the first of ``count`` nonces from ``start_nonce`` on (below 2**64) whose hash is at most ``target``.

    ``seal_digest`` has 32 bytes, ``target`` is 0 … 2**256 - 1. Two million hashes a second on one core.
    """
    if len(seal_digest) != 32:
        raise ValueError(f"a seal digest has 32 bytes, not {len(seal_digest)}")
    count = min(count, MAX_NONCE - start_nonce + 1)
    if count <= 0:
        return None
    offset = _search(_words(seal_digest), _words(target.to_bytes(32, "big")), np.uint64(start_nonce), count)
    return None if offset < 0 else start_nonce + int(offset)


def warm_up() -> None:
    """Compile the search, or load it from Numba's cache, so that the first block does not wait for it."""
    search_chunk(bytes(32), 2**256 - 1, 0, 1)
