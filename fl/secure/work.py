"""What opening an encrypted sum may cost, in work units of about a nanosecond of one core (docs/ledger.md).

Rules of this file: counting only; the figures are those of ``make bench-he`` and ``make bench-masks``, rounded up.
"""

from typing import Final

from chain.codec import decode
from chain.errors import CodecError
from fl.plan.schema import MAX_MEMBERS, Encryption, Paillier, PaillierOwn
from fl.secure.paillier.key import MAX_BITS, PublicKey
from fl.secure.paillier.member import MAX_OWN_BITS, MemberKey, MemberKeys
from fl.secure.paillier.own import FIELD_SPARE

OPEN_WORK: Final = 12 * 10**6
"""Of a ciphertext of 2048 bits that is opened and compared: some powers modulo N². It goes by the cube of the bits."""
ADD_WORK: Final = 5 * 10**4
"""Of a ciphertext of 2048 bits read, checked to be here, and multiplied into the sum. It goes by the square."""
JOIN_WORK: Final = 5 * 10**4
"""Of a ciphertext that a member with a key of its own has opened: read, and joined with what the others opened."""
MASK_WORK: Final = 60
"""Of a coordinate's mask that is made again and taken off."""
PAIR_WORK: Final = 5 * 10**4
"""Of two devices: a share of one that the other holds, read, checked and put together with the rest."""
_BITS: Final = 2048


def opening_cost(spec: Encryption, dimension: int, devices: int) -> int:
    """Return the most that opening the sum of so many devices' vectors may cost."""
    if not isinstance(spec, Paillier | PaillierOwn):
        masks = devices * devices // 4 + devices  # at worst half dropped out, each masked with each that did not
        return MASK_WORK * dimension * masks + PAIR_WORK * devices * devices
    if isinstance(spec, PaillierOwn):
        return _own_cost(spec, dimension, devices)
    bits = _modulus_bits(spec.key)
    slots = max(1, (bits - 2) // (spec.value_bits + (max(devices, 1) - 1).bit_length()))
    ciphertexts = -(-dimension // slots)
    opened = -(-OPEN_WORK * bits**3 // _BITS**3)
    added = -(-ADD_WORK * bits**2 // _BITS**2)
    return ciphertexts * (opened + added * devices)


def _own_cost(spec: PaillierOwn, dimension: int, devices: int) -> int:
    """Return the most where members have keys of their own: their sums are made, and their openings joined."""
    keys = _read_members(spec.key)
    members, bits = len(keys), max((8 * len(key.modulus) for key in keys), default=0)
    if not members:
        members, bits = MAX_MEMBERS, MAX_OWN_BITS
    slots = max(1, (bits - FIELD_SPARE - 2) // (spec.value_bits + (max(devices, 1) - 1).bit_length()))
    added = -(-ADD_WORK * bits**2 // _BITS**2)
    return -(-dimension // slots) * members * (JOIN_WORK + added * devices)


def _read_members(key: bytes) -> tuple[MemberKey, ...]:
    try:
        return decode(key, MemberKeys).members
    except CodecError:
        return ()


def _modulus_bits(key: bytes) -> int:
    """Return the bits of a key's modulus; the most there may be for bytes that are no key."""
    try:
        return max(8 * len(decode(key, PublicKey).modulus), 64)
    except CodecError:
        return MAX_BITS
