"""What a device shares before it reveals: its task key's and self-mask's commitments, and everybody's shares, sealed.

    key        32·(n + 1)   commitment to the task key s (``fl.secure.feldman``); its first point S = s·B
    self       32·(n + 1)   commitment to the self-mask b
    throw_away 32           E = e·B: half of the boxes' keys
    boxes      64·n         for device i: its shares of s and of b, under a pad that only e or i's account key gives
    proof      64           a Schnorr signature under S of all this, its sender and group: R, z

The pad needs no tag: a share that comes out wrong shows against its commitment. All secrets follow from 32 bytes, so
the same message is made again. The proof keeps a message of another task, group or device from being taken for this
one, and shows that the sender knows s.

Rules of this file: sizes first; what strangers send gives a fault in words or None, never an exception.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import shake_256
from typing import Final

from chain.hashing import digest
from chain.ids import AccountId
from chain.keys import KeyPair
from fl.secure import feldman
from fl.secure.curve import (
    ORDER,
    POINT_BYTES,
    Random,
    add,
    hash_scalar,
    random_scalar,
    read_scalar,
    scalar_bytes,
    times,
    times_base,
)
from fl.secure.masks.group import Group

_BOX_BYTES: Final = 64
_PROOF_BYTES: Final = 64
_DOMAIN_SECRET: Final = b"fedchain/mask-secret"
_DOMAIN_STREAM: Final = b"fedchain/mask-stream"
_DOMAIN_PAD: Final = b"fedchain/mask-pad"
_DOMAIN_NONCE: Final = b"fedchain/mask-proof-nonce"
_DOMAIN_PROOF: Final = b"fedchain/mask-proof"


@dataclass(frozen=True, slots=True)
class ShareMessage:
    """The parts of a message."""

    key: bytes
    own: bytes
    throw_away: bytes
    boxes: bytes
    proof: bytes

    def box(self, number: int) -> bytes:
        """Return what is sealed for the device with this number, 1 … n."""
        return self.boxes[_BOX_BYTES * (number - 1) : _BOX_BYTES * number]


@dataclass(frozen=True, slots=True)
class TaskSecrets:
    """A device's secrets for one task."""

    key: int
    own: int
    throw_away: int
    coins: Random


def message_bytes(count: int) -> int:
    """Return the size of a message among ``count`` devices."""
    return 2 * feldman.commitment_bytes(count) + POINT_BYTES + _BOX_BYTES * count + _PROOF_BYTES


def derive_secret(group: Group, key: KeyPair) -> bytes:
    """Return 32 bytes of a device's own for a group: the same ones whenever it asks, so nothing has to be kept.

    A device that draws them at random and forgets them after the task keeps its updates closed to whoever gets its
    account's key later.
    """
    return digest(_DOMAIN_SECRET, key.seed, group.name)


def get_secrets(group: Group, secret: bytes) -> TaskSecrets:
    """Return the secrets that follow from a device's 32 bytes."""
    coins = _stream(digest(_DOMAIN_STREAM, secret, group.name))
    key, own, throw_away = (random_scalar(coins) for _ in range(3))
    return TaskSecrets(key, own, throw_away, coins)


def _stream(seed: bytes) -> Random:
    """Return a source of the bytes that follow from a seed."""

    def blocks() -> Iterator[bytes]:
        number = 0
        while True:
            yield shake_256(seed + number.to_bytes(8, "big")).digest(64)
            number += 1

    source = blocks()
    return lambda count: b"".join(next(source) for _ in range(-(-count // 64)))[:count]


def share(group: Group, sender: AccountId, secret: bytes) -> bytes:
    """Return a device's message. ``secret``: 32 bytes of its own, for this group alone (``derive_secret``)."""
    secrets, count = get_secrets(group, secret), len(group.devices)
    keys, key_points = feldman.split(secrets.key, group.threshold, count, secrets.coins)
    owns, own_points = feldman.split(secrets.own, group.threshold, count, secrets.coins)
    boxes = []
    for reader, key_share, own_share in zip(group.devices, keys, owns, strict=True):
        common = times(secrets.throw_away, reader)
        # An account whose point is not of prime order can't be written to; it gets nothing, which harms it alone.
        plain = scalar_bytes(key_share) + scalar_bytes(own_share)
        boxes.append(bytes(_BOX_BYTES) if common is None else _pad(group, sender, reader, common, plain))
    parts = key_points, own_points, times_base(secrets.throw_away), b"".join(boxes)
    return b"".join(parts) + sign(group, sender, secret, parts)


def sign(group: Group, sender: AccountId, secret: bytes, parts: tuple[bytes, ...]) -> bytes:
    """Return the proof that goes with a message's other parts."""
    # The nonce follows from all that the challenge is made of: never the same one for two challenges.
    nonce = hash_scalar(_DOMAIN_NONCE, secret, group.name, sender, *parts)
    head = times_base(nonce)
    answer = (nonce + _challenge(group, sender, parts, head) * get_secrets(group, secret).key) % ORDER
    return head + scalar_bytes(answer)


def _pad(group: Group, sender: AccountId, reader: AccountId, common: bytes, box: bytes) -> bytes:
    """Return a box closed or opened: each pad is used once, for these two and this group."""
    pad = shake_256(digest(_DOMAIN_PAD, group.name, sender, reader, common)).digest(_BOX_BYTES)
    return bytes(left ^ right for left, right in zip(pad, box, strict=True))


def _challenge(group: Group, sender: AccountId, parts: tuple[bytes, ...], head: bytes) -> int:
    return hash_scalar(_DOMAIN_PROOF, group.name, sender, *parts, head)


def read_message(group: Group, message: bytes) -> ShareMessage:
    """Return the parts of a message that passed ``check_share_message``."""
    size = feldman.commitment_bytes(len(group.devices))
    boxes = 2 * size + POINT_BYTES
    return ShareMessage(
        message[:size],
        message[size : 2 * size],
        message[2 * size : boxes],
        message[boxes:-_PROOF_BYTES],
        message[-_PROOF_BYTES:],
    )


def check_share_message(group: Group, sender: AccountId, message: bytes) -> str | None:
    """Return what is wrong with a device's message, None if nothing is that anybody could see."""
    count = len(group.devices)
    if group.number_of(sender) is None:
        return "the sender was not drawn for this task"
    if len(message) != message_bytes(count):
        return f"{len(message)} bytes; among {count} devices it has {message_bytes(count)}"
    said = read_message(group, message)
    head, answer = said.proof[:POINT_BYTES], read_scalar(said.proof[POINT_BYTES:])
    if answer is None:
        return "the proof's number is not below the group's order"
    challenge = _challenge(group, sender, (said.key, said.own, said.throw_away, said.boxes), head)
    product = times(challenge, feldman.get_point(said.key, 0))
    if product is None or times(1, head) is None or times_base(answer) != add(head, product):
        return "not signed with the key it shares, for this task, group and sender"
    if times(1, said.throw_away) is None:
        return "the throw-away key is no point of prime order"
    for name, points in (("key", said.key), ("self-mask", said.own)):
        if not feldman.is_commitment(points, group.threshold, count):
            return f"the shares of the {name} do not give one secret to any {group.threshold} of {count}"
    return None


def open_box(
    group: Group, sender: AccountId, reader: AccountId, message: ShareMessage, common: bytes
) -> tuple[int | None, int | None]:
    """Return a reader's shares of the sender's key and self-mask, None for what is none. ``common``: a·E = e·A."""
    number = group.number_of(reader)
    if number is None:
        return None, None
    plain = _pad(group, sender, reader, common, message.box(number))
    found = []
    for half, commitment in ((plain[:32], message.key), (plain[32:], message.own)):
        value = read_scalar(half)
        found.append(value if value is not None and feldman.check_share(number, value, commitment) else None)
    return found[0], found[1]
