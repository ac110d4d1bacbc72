"""Registration stamps: the small proof of work that registering a device costs, so that devices need no coins.

A stamp is bound to the chain and the device; what it costs is 2**bits hashes on average (``Rules.stamp_bits``).
"""

from collections.abc import Callable

from chain.hashing import DOMAIN_STAMP, digest
from chain.ids import INT_MAX, AccountId

_STRIDE = 4096
"""Stamps tried between two looks at ``cancel``."""


def is_stamp(chain_id: str, device: AccountId, bits: int, stamp: int) -> bool:
    """Does the digest of chain, device and stamp start with ``bits`` zero bits?"""
    found = digest(DOMAIN_STAMP, chain_id.encode(), device, stamp.to_bytes(8, "big"))
    return int.from_bytes(found, "big") >> (256 - bits) == 0


def find_stamp(
    chain_id: str, device: AccountId, bits: int, start: int = 0, cancel: Callable[[], bool] = lambda: False
) -> int | None:
    """Return the first stamp from ``start`` up to 2**63 − 1; ``None`` if ``cancel`` says yes before one is found."""
    stamp = start
    while stamp <= INT_MAX:
        if (stamp - start) % _STRIDE == 0 and cancel():
            return None
        if is_stamp(chain_id, device, bits, stamp):
            return stamp
        stamp += 1
    return None
