"""What a sum under masks costs a device and a node: 10,000 numbers of 24 bits, of 10 devices and of 100.

One device in ten drops out after it has shared, so both ways to take masks off are in the sum; the sum is compared
with the right one. Seconds are the process's own (user and system), so other work on the machine counts little.
``device`` rows are what one device does for one task, ``node`` rows what every node does for one message or, for
"open", once a task. The peer of the bytes is the same update as it travels in the clear, 8 bytes a number.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from bench.measure import interleaved, timed
from bench.report import Row, publish, row
from chain.ids import Hash
from chain.keys import KeyPair
from fl.secure import masks

DIMENSION: Final = 10_000
VALUE_BITS: Final = 24
COUNTS: Final = (10, 100)


def measure(count: int) -> list[Row]:
    """Return the rows of a cohort of ``count`` devices."""
    keys = [KeyPair(number.to_bytes(32, "big")) for number in range(1, count + 1)]
    group, slot_bits = masks.Group.of(Hash(bytes(32)), [key.account for key in keys]), masks.get_slot_bits(24, count)
    values = np.random.default_rng(1).integers(-(1 << 23), 1 << 23, (count, DIMENSION))
    secrets = {key.account: masks.derive_secret(group, key) for key in keys}
    messages = {account: masks.share(group, account, secret) for account, secret in secrets.items()}
    revealing = keys[: count - count // 10]
    bodies = {
        key.account: masks.protect(group, key.account, secrets[key.account], messages, values[place], slot_bits)
        for place, key in enumerate(revealing)
    }
    question = masks.admit(group, messages, bodies.keys(), None)
    parts = {
        key.account: masks.unmask(group, key, messages, bodies.keys(), question) for key in revealing[: group.threshold]
    }
    total, own = masks.combine(list(bodies.values()), DIMENSION, slot_bits), keys[0]
    opening = group, messages, bodies.keys(), total, parts, DIMENSION, slot_bits
    if masks.open_sum(*opening).tolist() != values[: len(revealing)].sum(axis=0).tolist():
        raise AssertionError("the sum under masks is not the sum")
    me, secret, message = own.account, secrets[own.account], messages[own.account]
    runs: dict[str, Callable[[], object]] = {
        "device: share": lambda: masks.share(group, me, secret),
        "device: protect": lambda: masks.protect(group, me, secret, messages, values[0], slot_bits),
        "device: unmask": lambda: masks.unmask(group, own, messages, bodies.keys(), question),
        "node: check a share": lambda: masks.check_share_message(group, me, message),
        "node: check a part": lambda: masks.check_unmask(group, me, messages, bodies.keys(), parts[me]),
        "node: add up": lambda: masks.combine(list(bodies.values()), DIMENSION, slot_bits),
        "node: open": lambda: masks.open_sum(*opening),
    }
    taken = interleaved({name: timed(run, time.process_time) for name, run in runs.items()}, 5)
    rows = [row(f"{count} devices", name, "ms", 1000 * seconds, {}) for name, seconds in taken.items()]
    plain = 8 * DIMENSION
    sizes = {"share": len(message), "masked update": len(bodies[me]), "part": len(parts[me])}
    rows += [row(f"{count} devices", f"bytes: {name}", "bytes", size, {}) for name, size in sizes.items()]
    return [
        *rows,
        row(f"{count} devices", "bytes: a device, in all", "bytes", sum(sizes.values()), {"in the clear": plain}),
    ]


def main() -> int:
    """Measure, write ``build/bench/masks.json``, print the table."""
    rows = [found for count in COUNTS for found in measure(count)]
    note = f"d = {DIMENSION}, {VALUE_BITS} bits; t = two thirds and one; one in ten dropped out; CPU time of one core"
    publish("masks", rows, ["pynacl", "cryptography", "numpy"], note=note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
