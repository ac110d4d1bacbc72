"""A sum under members' own keys (``fl.secure.paillier.own``): what it takes where nobody deals a key.

The same values, devices and sizes as ``bench.bench_he``; processor seconds. ``WrongSumError`` unless the sum is exact.
"""

from functools import partial
from typing import Final

import numpy as np

from bench.phe_side import timed
from bench.report import Row, row
from chain.fixedpoint import Int64Vector
from chain.keys import KeyPair
from fl.privacy.randomness import SystemRandom
from fl.secure.paillier import unpack
from fl.secure.paillier.member import draw_factors, show_key
from fl.secure.paillier.own import (
    OwnKeys,
    add_shares,
    check_own,
    check_own_keys,
    check_shares,
    combine_own,
    encrypt_shares,
    get_packing,
    open_own,
    opened_bytes,
    shares_bytes,
)

CASE: Final = "no dealer"


class WrongSumError(Exception):
    """A proof was refused, or the sum is not exact: nothing is published."""


def measure(vectors: list[Int64Vector], value_bits: int, bits: int, members: int, threshold: int) -> list[Row]:
    """Return what each part takes, and its bytes."""
    source, devices = SystemRandom(), len(vectors)
    factors, drawing = timed(lambda: [draw_factors(bits, source) for _ in range(members)])
    accounts = [KeyPair.generate() for _ in range(members)]
    shown = [show_key(each, key, bytes(32)) for each, key in zip(factors, accounts, strict=True)]
    keys = OwnKeys(threshold, tuple(shown))
    packing = get_packing(keys, value_bits, devices, len(vectors[0]))
    faults: list[str | None] = [check_own_keys(keys, bits)]
    bodies, encrypting = timed(lambda: [encrypt_shares(keys, packing, each, b"device", source) for each in vectors])
    found, checking = timed(lambda: [check_shares(keys, packing, body, b"device") for body in bodies])
    totals, adding = timed(partial(add_shares, keys, packing, bodies))
    parts, opening = timed(lambda: {place: open_own(factors[place], totals[place]) for place in range(threshold)})
    seen, part_checking = timed(lambda: [check_own(keys, totals[place], place, part) for place, part in parts.items()])
    plaintexts, combining = timed(partial(combine_own, keys, packing, parts))
    if plaintexts is None or any((*faults, *found, *seen)):
        raise WrongSumError(f"refused: {faults} {found} {seen}")
    if not np.array_equal(unpack(packing, plaintexts, devices), np.sum(vectors, axis=0)):
        raise WrongSumError("the sum is not exact")
    everything = sum(part[0] for part in (encrypting, checking, adding, opening, part_checking, combining))
    return [
        row(CASE, "encrypt, sum, decrypt: processor", "s", everything, {}),
        row(CASE, "… a device encrypts", "s", encrypting[0] / devices, {}),
        row(CASE, "… a node checks an update", "s", checking[0] / devices, {}),
        row(CASE, "… a member opens its sum", "s", opening[0] / threshold, {}),
        row(CASE, "… a node checks that", "s", part_checking[0] / threshold, {}),
        row(CASE, "… a node adds up, and has the sum of the parts", "s", adding[0] + combining[0], {}),
        row(CASE, "drawing a key, once", "s", drawing[0] / members, {}),
        row(CASE, "an encrypted update", "kB", shares_bytes(keys, packing) / 1e3, {}),
        row(CASE, "a member's part", "kB", opened_bytes(keys, packing) / 1e3, {}),
    ]
