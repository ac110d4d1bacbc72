"""A verifiable random function: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381 over libsodium's curve arithmetic.

The holder of a key turns an input into 64 bytes that nobody else can compute and anybody can check with a proof, and
that no holder can choose: for one key and one input exactly one output verifies (RFC 9381 §3.1, full uniqueness). The
key is the one the account signs with; the VRF hashes under its own suite string and never sees what Ed25519 hashes.

Stricter than the RFC where it leaves room, so that all nodes agree on every proof: public keys and Gamma must be
canonical encodings of points of the prime-order subgroup that are not the identity (the RFC multiplies by the
cofactor instead), s must be below the group order, and neither c nor s may be 0 (an honest proof has chance 2**-128).

Rules of this file: pure functions; no secret, nor anything computed from one, ever stands in an error.
"""

from hashlib import sha512
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from chain.errors import AddressError
from chain.keys import SEED_BYTES

PROOF_BYTES: Final = 80
"""Gamma (32 bytes) ‖ c (16) ‖ s (32)."""
_SUITE: Final = b"\x03"
_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_POINT: Final = 32
_CHALLENGE: Final = 16
_IDENTITY: Final = (1).to_bytes(32, "little")


def prove(seed: bytes, alpha: bytes) -> bytes:
    """Return the proof (80 bytes) for the input ``alpha`` under the key of a 32-byte secret seed (RFC 9381 §5.1).

    Deterministic. Raises ``AddressError`` if the seed has another length.
    """
    if len(seed) != SEED_BYTES:
        raise AddressError(f"a key seed has {SEED_BYTES} bytes, not {len(seed)}")
    hashed = sha512(seed).digest()
    clamped = bytearray(hashed[:32])
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    x: bytes = bindings.crypto_core_ed25519_scalar_reduce(bytes(clamped) + bytes(32))
    public: bytes = bindings.crypto_scalarmult_ed25519_base_noclamp(x)
    h = _hash_to_curve(public, alpha)
    gamma: bytes = bindings.crypto_scalarmult_ed25519_noclamp(x, h)
    k: bytes = bindings.crypto_core_ed25519_scalar_reduce(sha512(hashed[32:] + h).digest())  # §5.4.2.2
    u: bytes = bindings.crypto_scalarmult_ed25519_base_noclamp(k)
    v: bytes = bindings.crypto_scalarmult_ed25519_noclamp(k, h)
    c = _challenge(public, h, gamma, u, v)
    product: bytes = bindings.crypto_core_ed25519_scalar_mul(c + bytes(16), x)
    s: bytes = bindings.crypto_core_ed25519_scalar_add(k, product)
    return gamma + c + s


def verify(public_key: bytes, alpha: bytes, proof: bytes) -> bytes | None:
    """Return the output (64 bytes) if ``proof`` is the key's for the input ``alpha``, else None (RFC 9381 §5.3)."""
    if len(proof) != PROOF_BYTES or not _is_strict_point(public_key):
        return None
    gamma, c, s = proof[:_POINT], proof[_POINT : _POINT + _CHALLENGE], proof[_POINT + _CHALLENGE :]
    if int.from_bytes(s, "little") >= _L or not _is_strict_point(gamma) or not any(c) or not any(s):
        return None
    h = _hash_to_curve(public_key, alpha)
    scalar = c + bytes(16)
    try:
        u = bindings.crypto_core_ed25519_sub(
            bindings.crypto_scalarmult_ed25519_base_noclamp(s),
            bindings.crypto_scalarmult_ed25519_noclamp(scalar, public_key),
        )
        v = bindings.crypto_core_ed25519_sub(
            bindings.crypto_scalarmult_ed25519_noclamp(s, h),
            bindings.crypto_scalarmult_ed25519_noclamp(scalar, gamma),
        )
    except CryptoError:  # libsodium's word for a product that is not a point it works with
        return None
    return compute_output(proof) if _challenge(public_key, h, gamma, u, v) == c else None


def compute_output(proof: bytes) -> bytes:
    """Return the output (64 bytes) of a proof that was verified (RFC 9381 §5.2)."""
    return sha512(_SUITE + b"\x03" + _times_cofactor(proof[:_POINT]) + b"\x00").digest()


def _hash_to_curve(public_key: bytes, alpha: bytes) -> bytes:
    """Return the point of the prime-order subgroup that the input maps to: try and increment (§5.4.1.1)."""
    for counter in range(256):
        candidate = sha512(_SUITE + b"\x01" + public_key + alpha + bytes([counter]) + b"\x00").digest()[:_POINT]
        if not _is_canonical(candidate):
            continue
        try:
            point = _times_cofactor(candidate)
        except CryptoError:  # not on the curve: every other candidate
            continue
        if point != _IDENTITY:
            return point
    raise ValueError("no point found for a VRF input in 256 tries, which has a chance of 2**-256")


def _times_cofactor(point: bytes) -> bytes:
    for _ in range(3):
        point = bindings.crypto_core_ed25519_add(point, point)
    return point


def _challenge(*points: bytes) -> bytes:
    """Return the challenge of the five points Y, H, Gamma, U, V: 16 bytes (§5.4.3)."""
    return sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:_CHALLENGE]


def _is_canonical(encoded: bytes) -> bool:
    """Does RFC 8032 §5.1.3 read these 32 bytes as they stand (y below p, no sign where x = 0)?"""
    number = int.from_bytes(encoded, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    return y < _P and not (sign and y in (1, _P - 1))


def _is_strict_point(encoded: bytes) -> bool:
    """Is this the canonical encoding of a point of the prime-order subgroup other than the identity?"""
    return len(encoded) == _POINT and bool(bindings.crypto_core_ed25519_is_valid_point(encoded))
