"""Encrypted sums that everybody can check: packed Paillier ciphertexts, decrypted by a threshold of a committee.

    key          the committee's key, and what anybody can check of it
    dealing      makes a key
    packing      signed values in plaintexts
    ciphertext   encrypts vectors, checks and adds them
    threshold    members decrypt a sum, everybody checks it
    linear       linear algebra on ciphertexts, one number each
    openings     what is in ciphertexts, shown by whoever knows it, and checked for all of them at once
    own          a committee without a dealer: devices share values between members' own keys
    member       such a key: made of its account's, shown, checked

Formulas: N = pq, Enc(M; r) = (1 + MN)·r^N mod N² (Paillier 1999). Who decrypts learns (M, r), and shows both.
"""

from fl.secure.paillier.ciphertext import add, aggregate_bytes, body_bytes, check, encrypt
from fl.secure.paillier.dealing import deal, open_share
from fl.secure.paillier.key import PublicKey, check_key, shared_factor
from fl.secure.paillier.packing import Packing, unpack, unpack_any
from fl.secure.paillier.threshold import (
    Opening,
    check_opening,
    check_partial,
    combine,
    opening_bytes,
    part_bytes,
    partial,
    read_opening,
)

__all__ = [
    "Opening",
    "Packing",
    "PublicKey",
    "add",
    "aggregate_bytes",
    "body_bytes",
    "check",
    "check_key",
    "check_opening",
    "check_partial",
    "combine",
    "deal",
    "encrypt",
    "open_share",
    "opening_bytes",
    "part_bytes",
    "partial",
    "read_opening",
    "shared_factor",
    "unpack",
    "unpack_any",
]
