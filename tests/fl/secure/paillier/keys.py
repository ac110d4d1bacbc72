"""Keys for the tests: a small one, which hides nothing, and a full one of 2048 bits, both with their factors.

Their secrets stand here; nobody may ever use them elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from chain.keys import KeyPair
from fl.secure.paillier import PublicKey, open_share
from fl.secure.paillier.dealing import deal_of

SMALL_BITS = 512
SMALL = (
    0xCF13C9DAF6657AEA0D28D8E66A2E06E61ECF5DF7275567948CA37321C21CF49B,
    0xCD9695D1C1EC24B2846103F2E63F06A85D6E4111B92B31AEABE32BE41B47C3F3,
)
LARGE = (
    int(
        "f07924a1fb42de6a91e849234021918806b36ba1085ab2561115d039b11dd73f1ba6be498e5e21425593192ba1741e8e2650e3d4d794bc76"
        "d44d979fd622721ea262b7de5f0b7c300b476e4e8aecd0d8f4b3a3025318b0415d40be5e1759b9c2b80a2273fe1ce41a529bb19d9b28b504"
        "2b94fe113d80c434c6ffd719deacb303",
        16,
    ),
    int(
        "df5ed702360b2dbbe96ca0d3fffd29cb6930d8b58a0fee96bba6b8752115ac2c8a07764c1379571d45746b6f1409f08b280b0200917c8996"
        "9e36b21d3b1a90886e464fa7044299544143c8dd095446a7651525b4d81479b0e60970bc1d912bac65bc37015c6d2621e121c509f599d529"
        "bac2bd4b149c274b83bed5fffba44a7f",
        16,
    ),
)
MEMBERS = tuple(KeyPair(bytes([number]) * 32) for number in range(1, 6))
THRESHOLD = 3
CONTEXT = b"a device and a task"


@dataclass(slots=True)
class Stream:
    """Random bytes that repeat."""

    seed: bytes
    calls: int = 0

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        self.calls += 1
        return shake_256(self.seed + self.calls.to_bytes(8, "big")).digest(count)


def stream(*labels: bytes) -> Stream:
    """Return the stream of these labels."""
    return Stream(digest(b"tests of paillier", *labels))


@cache
def small_key() -> PublicKey:
    """Return a key of 512 bits, 3 of 5."""
    return deal_of(*SMALL, [each.account for each in MEMBERS], THRESHOLD, stream(b"small"))


@cache
def large_key() -> PublicKey:
    """Return a key of 2048 bits, 3 of 5."""
    return deal_of(*LARGE, [each.account for each in MEMBERS], THRESHOLD, stream(b"large"))


@cache
def share_of(key: PublicKey, member: int) -> bytes:
    """Return a member's share."""
    share = open_share(key, MEMBERS[member])
    assert share is not None
    return share


def modulus_of(key: PublicKey) -> int:
    """Return N."""
    return int.from_bytes(key.modulus, "big")


def decrypt_textbook(primes: tuple[int, int], ciphertexts: Sequence[int]) -> list[int]:
    """Return the plaintexts in (-N/2, N/2) as Paillier (1999) has it, with λ and Python's own numbers."""
    n, order = primes[0] * primes[1], (primes[0] - 1) * (primes[1] - 1)
    plain = [(pow(each, order, n * n) - 1) // n * pow(order, -1, n) % n for each in ciphertexts]
    return [each - n if 2 * each > n else each for each in plain]


def split(data: bytes, width: int) -> list[int]:
    """Return the numbers of so many bytes each."""
    return [int.from_bytes(data[start : start + width], "big") for start in range(0, len(data), width)]


def values_of(seed: int, count: int, bits: int) -> Int64Vector:
    """Return random values of so many bits."""
    return np.random.default_rng(seed).integers(-(1 << (bits - 1)), 1 << (bits - 1), count, dtype=np.int64)
