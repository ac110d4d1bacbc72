"""What a device gives for the sum: one share for each device that shared, of its key or of its self-mask, never both.

    for each device that shared, in the group's order:
    kind       1       0: a share; 1: a complaint
    share      32      of the task key if the device did not reveal, of the self-mask if it did
    complaint  96      the box's common point Q, and the proof (c, z) that it is the right one

A complaint shows a box whose share is wrong: it opens that one box to everybody, with a proof (Chaum and Pedersen,
1992) that log_B(account) = log_E(Q), so the device that sealed it is named, and nobody can be accused falsely. Shares
are at most n - t short for a sum to open; a complaint says whose fault it was if they are more.

Rules of this file: pure; a device's part follows from its key and the chain alone, so it is the same whenever asked;
what strangers send gives a fault in words.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from fl.errors import MaskError
from fl.secure import feldman
from fl.secure.curve import ORDER, add, hash_scalar, read_scalar, scalar_bytes, scalar_of, times, times_base
from fl.secure.masks.group import Group
from fl.secure.masks.message import ShareMessage, open_box, read_message

_SHARE, _COMPLAINT = b"\0", b"\1"
_DOMAIN_QUESTION: Final = b"fedchain/mask-question"
_DOMAIN_NONCE: Final = b"fedchain/mask-complaint-nonce"
_DOMAIN_COMPLAINT: Final = b"fedchain/mask-complaint"


@dataclass(frozen=True, slots=True)
class Part:
    """What one device gives, read: shares by the device they are of, and the devices it complains about."""

    shares: Mapping[AccountId, int]
    accused: tuple[AccountId, ...]


def get_question(group: Group, messages: Mapping[AccountId, bytes], revealed: Collection[AccountId]) -> Hash:
    """Return the digest of what the unmask step asks of every device: who shared what, and who revealed."""
    said = (device + digest(_DOMAIN_QUESTION, messages[device]) for device in group.devices if device in messages)
    who = (device for device in group.devices if device in revealed)
    return digest(_DOMAIN_QUESTION, group.name, b"".join(said), b"".join(who))


def admit(
    group: Group, messages: Mapping[AccountId, bytes], revealed: Collection[AccountId], answered: Hash | None
) -> Hash:
    """Return the question that a device may answer, to be kept durably *before* its part leaves it.

    ``answered`` is what it kept for this task before, None if it has not answered. ``MaskError`` if it answered
    another question of this task (the chain took another branch): with both answers together one device could be read;
    and if fewer revealed than the threshold, whose sum says too much about each.
    """
    _require_asked(group, messages, revealed)
    question = get_question(group, messages, revealed)
    if answered is not None and answered != question:
        raise MaskError(
            "this device has answered for this task with other devices revealed; it answers one question only"
        )
    return question


def _require_asked(group: Group, messages: Mapping[AccountId, bytes], revealed: Collection[AccountId]) -> None:
    strangers = [device for device in (*messages, *revealed) if device not in group.devices]
    if strangers or any(device not in messages for device in revealed):
        raise MaskError("a device revealed that did not share for this task, or was not drawn")
    if len(set(revealed)) < group.threshold:
        raise MaskError(f"{len(set(revealed))} devices revealed; a sum is opened of {group.threshold} or more")


def unmask(
    group: Group, key: KeyPair, messages: Mapping[AccountId, bytes], revealed: Collection[AccountId], answered: Hash
) -> bytes:
    """Return a device's part. ``answered``: the question it has kept durably (``admit``), which must be this one."""
    if admit(group, messages, revealed, answered) != answered:
        raise MaskError("the question is not the one that was kept")
    if group.number_of(key.account) is None:
        raise MaskError("this device was not drawn for this task: nothing was sealed for it")
    scalar, parts = scalar_of(key), []
    for sender in _senders(group, messages):
        said = read_message(group, messages[sender])
        common = times(scalar, said.throw_away)
        if common is None:
            raise MaskError(f"the message of {sender.hex()} has no throw-away key; check_share_message refuses it")
        share = open_box(group, sender, key.account, said, common)[sender in revealed]
        parts.append(_complain(group, sender, key, said, common) if share is None else _SHARE + scalar_bytes(share))
    return b"".join(parts)


def _senders(group: Group, messages: Mapping[AccountId, bytes]) -> list[AccountId]:
    return [device for device in group.devices if device in messages]


def _complain(group: Group, sender: AccountId, key: KeyPair, said: ShareMessage, common: bytes) -> bytes:
    # The nonce follows from the key and all that the challenge is made of: never the same one for two challenges.
    nonce = hash_scalar(_DOMAIN_NONCE, key.seed, group.name, sender, said.throw_away, common)
    heads = times_base(nonce), times(nonce, said.throw_away) or b""
    challenge = _challenge(group, sender, key.account, said, common, heads)
    answer = (nonce + challenge * scalar_of(key)) % ORDER
    return _COMPLAINT + common + scalar_bytes(challenge) + scalar_bytes(answer)


def _challenge(
    group: Group, sender: AccountId, reader: AccountId, said: ShareMessage, common: bytes, heads: tuple[bytes, bytes]
) -> int:
    return hash_scalar(_DOMAIN_COMPLAINT, group.name, sender, reader, said.throw_away, common, *heads)


def check_unmask(
    group: Group,
    device: AccountId,
    messages: Mapping[AccountId, bytes],
    revealed: Collection[AccountId],
    part: bytes,
) -> str | None:
    """Return what is wrong with a device's part, None if every share in it is right and every complaint true."""
    number = group.number_of(device)
    if number is None:
        return "the sender was not drawn for this task"
    read = _split(group, messages, part)
    if isinstance(read, str):
        return read
    for sender, (kind, content) in read.items():
        said, is_own = read_message(group, messages[sender]), sender in revealed
        if kind == _SHARE:
            value = read_scalar(content)
            if value is None or not feldman.check_share(number, value, said.own if is_own else said.key):
                return f"its share of {'the self-mask' if is_own else 'the key'} of {sender.hex()} is not the right one"
        else:
            fault = _check_complaint(group, sender, device, said, is_own, content)
            if fault is not None:
                return f"its complaint about {sender.hex()} {fault}"
    return None


def _split(
    group: Group, messages: Mapping[AccountId, bytes], part: bytes
) -> dict[AccountId, tuple[bytes, bytes]] | str:
    senders = _senders(group, messages)
    if not 33 * len(senders) <= len(part) <= 97 * len(senders):
        return f"{len(part)} bytes; for {len(senders)} devices it has {33 * len(senders)} to {97 * len(senders)}"
    found, place = {}, 0
    for sender in senders:
        kind = part[place : place + 1]
        size = {_SHARE: 32, _COMPLAINT: 96}.get(kind)
        if size is None or len(part) < place + 1 + size:
            return f"what it says about {sender.hex()} is neither a share nor a complaint"
        found[sender] = kind, part[place + 1 : place + 1 + size]
        place += 1 + size
    return found if place == len(part) else f"{len(part) - place} bytes after the last device"


def _check_complaint(
    group: Group, sender: AccountId, reader: AccountId, said: ShareMessage, is_own: bool, content: bytes
) -> str | None:
    common, challenge, answer = content[:32], read_scalar(content[32:64]), read_scalar(content[64:])
    if challenge is None or answer is None:
        return "has a number that is not below the group's order"
    minus_reader, minus_common = times(-challenge, reader), times(-challenge, common)
    thrown = times(answer, said.throw_away)
    if minus_reader is None or minus_common is None or thrown is None:
        return "names no point of prime order"
    heads = add(times_base(answer), minus_reader), add(thrown, minus_common)
    if _challenge(group, sender, reader, said, common, heads) != challenge:
        return "does not prove that this is what the box is closed with"
    if open_box(group, sender, reader, said, common)[is_own] is not None:
        return "is false: the share is right"
    return None


def read_part(group: Group, messages: Mapping[AccountId, bytes], part: bytes) -> Part:
    """Return a part that passed ``check_unmask``, read. ``MaskError`` for bytes that did not."""
    read = _split(group, messages, part)
    if isinstance(read, str):
        raise MaskError(read)
    shares = {sender: int.from_bytes(content, "little") for sender, (kind, content) in read.items() if kind == _SHARE}
    return Part(shares, tuple(sender for sender, (kind, _) in read.items() if kind == _COMPLAINT))
