"""Sums under masks for tests: devices by number, and every message of a task that went as the protocol says."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.secure import masks
from fl.secure.masks.message import read_message, sign

TASK = Hash(b"t" * 32)
VALUE_BITS = 24
TORSION = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point of order 8: added to another one it makes one that is not of prime order."""


def coins(seed: bytes) -> Callable[[int], bytes]:
    """Return a source of bytes that follow from a seed."""
    calls = iter(range(1 << 30))
    return lambda count: shake_256(seed + next(calls).to_bytes(4, "big")).digest(count)


@cache
def key_of(number: int) -> KeyPair:
    """Return the key of the device with this number."""
    return KeyPair(bytes([number]) * 32)


@cache
def group_of(count: int, task: Hash = TASK, threshold: int | None = None) -> masks.Group:
    """Return devices 1 … count as a group."""
    return masks.Group.of(task, [key_of(number).account for number in range(1, count + 1)], threshold)


@cache
def message_of(group: masks.Group, number: int) -> bytes:
    """Return what the device with this number shares."""
    key = key_of(number)
    return masks.share(group, key.account, masks.derive_secret(group, key))


def forged_message(group: masks.Group, number: int, victims: Collection[int]) -> bytes:
    """Return a device's message, signed anew, whose boxes for some devices hold other bytes."""
    key, said = key_of(number), read_message(group, message_of(group, number))
    boxes = bytearray(said.boxes)
    for victim in victims:
        boxes[64 * (victim - 1)] ^= 1
        boxes[64 * (victim - 1) + 32] ^= 1
    parts = said.key, said.own, said.throw_away, bytes(boxes)
    return b"".join(parts) + sign(group, key.account, masks.derive_secret(group, key), parts)


def values_of(number: int, dimension: int) -> Int64Vector:
    """Return a device's numbers of ``VALUE_BITS`` bits; of device 1 the least ones, of device 2 the largest."""
    if number in (1, 2):
        return np.full(dimension, -(1 << (VALUE_BITS - 1)) if number == 1 else (1 << (VALUE_BITS - 1)) - 1)
    return np.arange(1, dimension + 1) * 7919 * number**5 % (1 << VALUE_BITS) - (1 << (VALUE_BITS - 1))


@dataclass(frozen=True)
class Run:
    """One task: who shared what, who revealed, who helped."""

    group: masks.Group
    messages: Mapping[AccountId, bytes]
    bodies: Mapping[AccountId, bytes]
    parts: Mapping[AccountId, bytes]
    dimension: int
    slot_bits: int

    def open(self, **changed: Mapping[AccountId, bytes]) -> Int64Vector:
        """Return the sum; ``messages``, ``bodies`` or ``parts`` may be others than the run's."""
        bodies = changed.get("bodies", self.bodies)
        total = masks.combine(list(bodies.values()), self.dimension, self.slot_bits)
        return masks.open_sum(
            self.group,
            changed.get("messages", self.messages),
            bodies.keys(),
            total,
            changed.get("parts", self.parts),
            self.dimension,
            self.slot_bits,
        )

    def part_of(self, number: int) -> bytes:
        """Return the part of the device with this number."""
        return part_of(self.group, number, self.messages, self.bodies.keys())


def part_of(
    group: masks.Group, number: int, messages: Mapping[AccountId, bytes], revealed: Collection[AccountId]
) -> bytes:
    """Return the part of the device with this number."""
    question = masks.admit(group, messages, revealed, None)
    return masks.unmask(group, key_of(number), messages, revealed, question)


def run_task(
    count: int,
    sharing: Collection[int],
    revealing: Collection[int],
    helping: Collection[int],
    forged: Mapping[int, Collection[int]] | None = None,
    dimension: int = 5,
    task: Hash = TASK,
) -> Run:
    """Return the messages of a task; ``forged``: whom a device seals wrong shares for."""
    group, slot_bits = group_of(count, task), masks.get_slot_bits(VALUE_BITS, count)
    messages = {
        key_of(number).account: forged_message(group, number, forged[number])
        if forged and number in forged
        else message_of(group, number)
        for number in sharing
    }
    bodies = {}
    for number in revealing:
        key = key_of(number)
        secret = masks.derive_secret(group, key)
        values = values_of(number, dimension)
        bodies[key.account] = masks.protect(group, key.account, secret, messages, values, slot_bits)
    parts = {key_of(number).account: part_of(group, number, messages, bodies.keys()) for number in helping}
    return Run(group, messages, bodies, parts, dimension, slot_bits)
