"""Many signed values in one plaintext, so that sums of plaintexts are sums of values.

Values v_i of b bits, -2^(b-1) <= v_i < 2^(b-1), become M = Σ v_i·2^(s·i), i = 0 … n - 1, modulo N; the slot has
s = b + ⌈log2 K⌉ bits for sums of up to K devices.

Head-room. Let S_i be the sum of k <= K values. Then -K·2^(b-1) <= S_i <= K·(2^(b-1) - 1), and K <= 2^(s-b), so
-2^(s-1) <= S_i <= 2^(s-1) - K < 2^(s-1): each sum is a digit of the balanced system of base 2^s. Such digits are
unique: with T = Σ 2^(s-1)·2^(s·i) the number M + T = Σ (S_i + 2^(s-1))·2^(s·i) has the ordinary digits
S_i + 2^(s-1), in 0 … 2^s - 1. And no sum wraps around N: |M| <= T < 2^(sn)·2^(s-1)/(2^s - 1) <= 2/3·2^(sn) as s >= 2,
and s·n <= bits(N) - 2, so |M| < 2^(bits(N)-2) <= N/2: M is what lies in (-N/2, N/2) of all that is M modulo N.

A value outside its range that a device encrypts all the same spills into its neighbour: nobody can see it in a
ciphertext. ``unpack`` refuses sums that no honest devices can have; what stays inside is a liar's update like any
other.

Rules of this file: exact integers; every node gets the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.errors import PayloadError
from fl.secure.paillier.key import PublicKey
from fl.secure.paillier.numbers import as_bytes, number

_SUM_BITS = 63
"""A sum is an int64."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How vectors of one plan become plaintexts.

    value_bits   b, of a value, its sign included: 2 … 62
    devices      K, most whose ciphertexts are added
    dimension    d, values of a vector
    modulus_bits of N
    """

    value_bits: int
    devices: int
    dimension: int
    modulus_bits: int

    def __post_init__(self) -> None:
        if self.value_bits < 2 or self.devices < 1 or self.dimension < 1:
            raise ValueError(f"no packing: {self}")
        if self.slot_bits > _SUM_BITS:
            raise ValueError(f"sums of {self.devices} values of {self.value_bits} bits do not fit {_SUM_BITS} bits")
        if self.slot_bits > self.modulus_bits - 2:
            raise ValueError(f"a modulus of {self.modulus_bits} bits has no room for a slot of {self.slot_bits}")

    @classmethod
    def of(cls, key: PublicKey, value_bits: int, devices: int, dimension: int) -> "Packing":
        """Return the packing under a key. ``ValueError`` where sums can't fit."""
        return cls(value_bits, devices, dimension, int(number(key.modulus)).bit_length())

    @property
    def slot_bits(self) -> int:
        """s: bits of a slot."""
        return self.value_bits + (self.devices - 1).bit_length()

    @property
    def values(self) -> int:
        """n: values of a plaintext."""
        return (self.modulus_bits - 2) // self.slot_bits

    @property
    def ciphertexts(self) -> int:
        """How many ciphertexts a vector takes."""
        return -(-self.dimension // self.values)

    @property
    def limit(self) -> int:
        """2^(b-1): values are -limit … limit - 1."""
        return 1 << (self.value_bits - 1)


def pack(packing: Packing, values: Int64Vector) -> list[int]:
    """Return the plaintexts M, signed, of values (d,). ``ValueError`` if one is out of range or d is another."""
    if values.shape != (packing.dimension,):
        raise ValueError(f"{values.shape} values, not {packing.dimension}")
    if values.size and not (-packing.limit <= int(values.min()) and int(values.max()) < packing.limit):
        raise ValueError(f"a value of {packing.value_bits} bits is -{packing.limit} … {packing.limit - 1}")
    return pack_digits(packing, values)


def pack_digits(packing: Packing, digits: Int64Vector) -> list[int]:
    """Return the numbers with these balanced digits, ``packing.values`` each."""
    slot, half = packing.slot_bits, np.int64(1) << np.int64(packing.slot_bits - 1)
    raised = (digits + half).astype("<i8").view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(raised, axis=1, bitorder="little")[:, :slot]
    plaintexts = []
    for start in range(0, len(bits), packing.values):
        some = bits[start : start + packing.values]
        packed = np.packbits(some.reshape(-1), bitorder="little").tobytes()
        plaintexts.append(number(packed[::-1]) - _raise(packing, len(some)))
    return plaintexts


def _raise(packing: Packing, count: int) -> int:
    """Return T = Σ 2^(s-1)·2^(s·i), which makes balanced digits ordinary ones."""
    slot = packing.slot_bits
    return (1 << (slot - 1)) * (((1 << (slot * count)) - 1) // ((1 << slot) - 1))


def unpack(packing: Packing, plaintexts: Sequence[int], count_devices: int) -> Int64Vector:
    """Return the sums, int64 (d,), of plaintexts modulo N that so many devices' ciphertexts add up to.

    ``PayloadError`` where no honest devices can have such a sum: somebody encrypted what is out of range.
    """
    sums = unpack_digits(packing, plaintexts)
    lowest, highest = -count_devices * packing.limit, count_devices * (packing.limit - 1)
    if not (lowest <= int(sums.min()) and int(sums.max()) <= highest):
        raise PayloadError(f"a sum of {count_devices} values of {packing.value_bits} bits is {lowest} … {highest}")
    return sums


def unpack_any(packing: Packing, plaintexts: Sequence[int]) -> Int64Vector:
    """Return what the slots of any plaintexts hold, int64 (d,): of honest devices' the sums, as ``unpack`` gives them.

    What a liar put beyond a plaintext's last slot is left out, and what overflowed a slot stands in its neighbour.
    """
    slot, folded = packing.slot_bits, []
    for place, plaintext in enumerate(plaintexts):
        count = min(packing.values, packing.dimension - place * packing.values)
        raised = _raise(packing, count)
        folded.append((int(plaintext) + raised) % (1 << (slot * count)) - raised)
    return unpack_digits(packing, folded)


def unpack_digits(packing: Packing, plaintexts: Sequence[int]) -> Int64Vector:
    """Return the balanced digits, int64 (d,), of signed plaintexts. ``PayloadError`` if a number has more digits."""
    if len(plaintexts) != packing.ciphertexts:
        raise PayloadError(f"{len(plaintexts)} plaintexts, not {packing.ciphertexts}")
    slot, parts = packing.slot_bits, []
    for place, plaintext in enumerate(plaintexts):
        count = min(packing.values, packing.dimension - place * packing.values)
        raised = int(plaintext) + _raise(packing, count)
        if not 0 <= raised < 1 << (slot * count):
            raise PayloadError(f"plaintext {place} has no {count} digits of {slot} bits")
        width = -(-slot * count // 8)
        data = np.frombuffer(as_bytes([raised], width)[::-1], np.uint8)
        bits = np.unpackbits(data, bitorder="little")[: slot * count].reshape(count, slot)
        whole = np.zeros((count, 64), np.uint8)
        whole[:, :slot] = bits
        parts.append(np.packbits(whole, axis=1, bitorder="little").view("<i8").reshape(-1))
    half = np.int64(1) << np.int64(slot - 1)
    return (np.concatenate(parts).astype(np.int64) - half).astype(np.int64)
