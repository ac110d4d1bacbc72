"""What is fuzzed of encrypted sums: committees' keys as plans bring them, ciphertexts, members' parts and openings.

All under keys of 512 bits, which hide nothing and are quick.

Rules of this file: those of ``tests.fuzz.targets``.
"""

from functools import cache
from typing import Final

import numpy as np

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.keys import KeyPair
from fl.privacy.randomness import SeededRandom
from fl.secure.paillier.member import MemberKeys, derive_factors, make_member_key
from fl.secure.paillier.own import (
    OwnKeys,
    add_shares,
    check_own,
    check_own_keys,
    check_shares,
    encrypt_shares,
    get_packing,
    open_own,
)
from fl.secure.paillier.packing import Packing

BITS: Final = 512
MEMBERS: Final = tuple(KeyPair(bytes([number]) * 32) for number in (1, 2))
CONTEXT: Final = b"a device and a task"


@cache
def keys() -> OwnKeys:
    """Return the keys of two members."""
    return OwnKeys(2, tuple(make_member_key(member, bytes(32), BITS) for member in MEMBERS))


@cache
def packing() -> Packing:
    """Return how fifteen values of two devices become plaintexts: two of them."""
    return get_packing(keys(), 24, 2, 15)


@cache
def body() -> bytes:
    """Return an honest update."""
    values = np.arange(15, dtype=np.int64) - 7
    return encrypt_shares(keys(), packing(), values, CONTEXT, SeededRandom(b"fuzz"))


@cache
def totals() -> tuple[bytes, ...]:
    """Return the sums under the members' keys."""
    return add_shares(keys(), packing(), [body(), body()])


@cache
def part() -> bytes:
    """Return the first member's honest part."""
    return open_own(derive_factors(MEMBERS[0], bytes(32), BITS), totals()[0])


def member_keys(data: bytes) -> None:
    """The keys that a plan brings: refused in words, or the very bytes that their members signed."""
    try:
        found = decode(data, MemberKeys)
    except CodecError:
        return
    assert encode(found) == data
    fault = check_own_keys(OwnKeys(2, found.members), BITS)
    assert fault or set(found.members) == set(keys().keys), "nobody but the two can have signed"


def encrypted_updates(data: bytes) -> None:
    """An update under members' keys: what is taken is the honest one, whose proof nobody else can make."""
    fault = check_shares(keys(), packing(), data, CONTEXT)
    assert fault or data == body()


def opened_sums(data: bytes) -> None:
    """A member's part: what is taken is what is in the sum."""
    assert check_own(keys(), totals()[0], 0, data) or data == part()


SECRETS: Final = (member_keys, encrypted_updates, opened_sums)
