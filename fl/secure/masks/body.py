"""A device's update under masks: y = x + PRG(b) + Σ_{others after it} PRG(k) - Σ_{others before it} PRG(k), modulo 2^M.

k is what two devices agree on by their task keys (s_j·S_k = s_k·S_j, hashed), so the masks between two devices that
reveal cancel in the sum; "after" goes by account. M is ``slot_bits``: a sum of n numbers of ``value_bits`` bits, sign
included, lies within n·2^(v-1) <= 2^(M-1) of 0 where M = v + ⌈log2 n⌉, so modulo 2^M nothing of it is lost.

    body       ⌈d·M/8⌉ bytes    coordinate i in bits i·M … (i + 1)·M - 1, least first; the last byte's rest is 0

PRG is AES-256-CTR, its key a digest of the secret, the group and the two devices: no stream is used for two tasks.

Rules of this file: pure; sizes first. Sums are of unsigned numbers of 64 bits that wrap; their lowest M are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from chain.fixedpoint import Int64Vector
from chain.hashing import digest
from chain.ids import AccountId
from fl.errors import MaskError
from fl.secure import feldman
from fl.secure.curve import scalar_bytes, times, times_base
from fl.secure.masks.group import Group
from fl.secure.masks.message import get_secrets, read_message

MAX_SLOT_BITS: Final = 63
_DOMAIN_PAIR: Final = b"fedchain/mask-pair"
_DOMAIN_SELF: Final = b"fedchain/mask-self"
_CHUNK: Final = 1 << 16
"""Coordinates packed at a time; a multiple of 8, so that each chunk is whole bytes."""

Uint64Vector = NDArray[np.uint64]


def get_slot_bits(value_bits: int, count: int) -> int:
    """Return M for numbers of ``value_bits`` bits, sign included, of at most ``count`` devices; at most 63."""
    bits = value_bits + (count - 1).bit_length()
    if value_bits < 2 or count < 1 or bits > MAX_SLOT_BITS:
        raise MaskError(f"values of {value_bits} bits of {count} devices need {bits}; 2 to {MAX_SLOT_BITS} are allowed")
    return bits


def body_bytes(dimension: int, slot_bits: int) -> int:
    """Return the size of a body of ``dimension`` coordinates."""
    return -(-dimension * slot_bits // 8)


def pair_seed(group: Group, one: AccountId, other: AccountId, common: bytes) -> bytes:
    """Return the seed of the mask between two devices; ``common`` is the point both can make."""
    return digest(_DOMAIN_PAIR, group.name, min(one, other), max(one, other), common)


def self_seed(group: Group, device: AccountId, own: int) -> bytes:
    """Return the seed of a device's own mask, of its self-mask secret."""
    return digest(_DOMAIN_SELF, group.name, device, scalar_bytes(own))


def stream(seed: bytes, dimension: int) -> Uint64Vector:
    """Return ``dimension`` numbers of 64 bits, that nobody tells from random ones without the seed."""
    encryptor = Cipher(algorithms.AES256(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * dimension)), dtype="<u8")


def protect(
    group: Group,
    device: AccountId,
    secret: bytes,
    messages: Mapping[AccountId, bytes],
    values: Int64Vector,
    slot_bits: int,
) -> bytes:
    """Return a device's update under its masks with all that shared.

    ``secret``: what it made its message with. ``values``: int64 (d,), each within 2^(slot_bits-1) / n, so that no sum
    wraps. ``messages``: of all that shared, as the chain has them. To be called once a task: two updates under the
    same masks show their difference. ``MaskError`` says what does not fit.
    """
    _require_room(values, slot_bits, len(group.devices))
    secrets = get_secrets(group, secret)
    said = messages.get(device)
    if said is None or feldman.get_point(read_message(group, said).key, 0) != times_base(secrets.key):
        raise MaskError("this device did not share for this task with this secret; without that it can't be masked")
    total = values.astype(np.int64).view(np.uint64)
    total += stream(self_seed(group, device, secrets.own), len(values))
    for other, message in messages.items():
        if other != device:
            common = times(secrets.key, feldman.get_point(read_message(group, message).key, 0))
            if common is None:
                raise MaskError(f"the message of {other.hex()} has no key; check_share_message refuses it")
            add_pair(total, device, other, stream(pair_seed(group, device, other, common), len(values)))
    return pack(total, slot_bits)


def _require_room(values: Int64Vector, slot_bits: int, count: int) -> None:
    half = 1 << (slot_bits - 1)
    least, most = -(half // count), (half - 1) // count
    if len(values) and not (least <= int(values.min()) and int(values.max()) <= most):
        raise MaskError(f"a value does not fit: {least} to {most} of {count} devices add up within {slot_bits} bits")


def add_pair(total: Uint64Vector, device: AccountId, other: AccountId, mask: Uint64Vector) -> None:
    """Add the mask between two devices to the first one's numbers, in place, with its sign."""
    if device < other:
        total += mask
    else:
        total -= mask


def pack(numbers: Uint64Vector, slot_bits: int) -> bytes:
    """Return the lowest ``slot_bits`` bits of each number, one after the other."""
    parts = []
    for start in range(0, len(numbers), _CHUNK):
        raw = numbers[start : start + _CHUNK].astype("<u8").view(np.uint8)
        bits = np.unpackbits(raw, bitorder="little").reshape(-1, 64)
        parts.append(np.packbits(bits[:, :slot_bits], bitorder="little").tobytes())
    return b"".join(parts)


def unpack(body: bytes, dimension: int, slot_bits: int) -> Uint64Vector:
    """Return the numbers of a body of the right size."""
    numbers = np.zeros(dimension, np.uint64)
    for start in range(0, dimension, _CHUNK):
        count, first = min(_CHUNK, dimension - start), start * slot_bits // 8
        raw = np.frombuffer(body, np.uint8, body_bytes(count, slot_bits), first)
        bits = np.zeros((count, 64), np.uint8)
        taken = np.unpackbits(raw, count=count * slot_bits, bitorder="little")
        bits[:, :slot_bits] = taken.reshape(count, slot_bits)
        numbers[start : start + count] = np.packbits(bits, axis=None, bitorder="little").view("<u8")
    return numbers


def check_protected(body: bytes, dimension: int, slot_bits: int) -> str | None:
    """Return what is wrong with a body, None if nothing is that anybody could see."""
    size = body_bytes(dimension, slot_bits)
    if len(body) != size:
        return f"{len(body)} bytes; {dimension} coordinates of {slot_bits} bits have {size}"
    unused = 8 * size - dimension * slot_bits
    if unused and body[-1] >> (8 - unused):
        return "bits after the last coordinate are not 0"
    return None


def combine(bodies: Sequence[bytes], dimension: int, slot_bits: int) -> bytes:
    """Return the sum of bodies that passed ``check_protected``, as a body; their order does not matter."""
    total = np.zeros(dimension, np.uint64)
    for body in bodies:
        total += unpack(body, dimension, slot_bits)
    return pack(total, slot_bits)
