"""The sum of what was revealed, out of the bodies' sum and the devices' parts: every node makes it, exactly.

Self-masks of those that revealed are taken away, and the masks between them and those that shared but dropped out.

Rules of this file: pure; any ``threshold`` right parts give the same sum, whichever they are.
"""

from collections.abc import Collection, Mapping

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.ids import AccountId
from fl.errors import MaskError, ShareError
from fl.secure import feldman
from fl.secure.curve import times
from fl.secure.masks.body import add_pair, body_bytes, pair_seed, self_seed, stream, unpack
from fl.secure.masks.group import Group
from fl.secure.masks.message import read_message
from fl.secure.masks.unmask import Part, read_part


def open_sum(
    group: Group,
    messages: Mapping[AccountId, bytes],
    revealed: Collection[AccountId],
    total: bytes,
    parts: Mapping[AccountId, bytes],
    dimension: int,
    slot_bits: int,
) -> Int64Vector:
    """Return the exact sum, int64 (d,), of what ``revealed`` put in.

    ``total``: their bodies added up (``combine``). ``parts``: what devices gave, each through ``check_unmask``.
    ``MaskError`` says how many parts are missing, or whose sealed shares were wrong.
    """
    if len(total) != body_bytes(dimension, slot_bits):
        raise MaskError(f"{len(total)} bytes are no sum of {dimension} coordinates of {slot_bits} bits")
    read = {device: read_part(group, messages, part) for device, part in parts.items()}
    if len(read) < group.threshold:
        raise MaskError(f"{len(read)} devices gave their part; {group.threshold} of {len(group.devices)} are needed")
    numbers = unpack(total, dimension, slot_bits)
    for device in group.devices:
        if device not in messages:
            continue
        secret = _get_secret(group, messages, device, device in revealed, read)
        if device in revealed:
            numbers -= stream(self_seed(group, device, secret), dimension)
            continue
        for other in revealed:
            common = times(secret, feldman.get_point(read_message(group, messages[other]).key, 0))
            if common is None:
                raise MaskError(f"the message of {other.hex()} has no key; check_share_message refuses it")
            # The one that revealed added it with its sign; the other's sign takes it away.
            add_pair(numbers, device, other, stream(pair_seed(group, device, other, common), dimension))
    shift = 64 - slot_bits
    opened: Int64Vector = (numbers << np.uint64(shift)).view(np.int64) >> shift
    return opened


def _get_secret(
    group: Group, messages: Mapping[AccountId, bytes], device: AccountId, is_own: bool, parts: Mapping[AccountId, Part]
) -> int:
    """Return a device's self-mask, or its task key, out of the shares given."""
    said = read_message(group, messages[device])
    shares = {
        number: part.shares[device]
        for number, helper in enumerate(group.devices, 1)
        if (part := parts.get(helper)) is not None and device in part.shares
    }
    try:
        return feldman.reconstruct(shares, group.threshold, said.own if is_own else said.key)
    except ShareError as error:
        accusers = sum(device in part.accused for part in parts.values())
        shown = f"; {accusers} devices have shown that it sealed wrong shares for them" if accusers else ""
        raise MaskError(f"{'the self-mask' if is_own else 'the key'} of {device.hex()}: {error}{shown}") from None


def find_cheats(
    group: Group, messages: Mapping[AccountId, bytes], parts: Mapping[AccountId, bytes]
) -> tuple[AccountId, ...]:
    """Return the devices that a true complaint in these checked parts shows to have sealed a wrong share."""
    accused = {device for part in parts.values() for device in read_part(group, messages, part).accused}
    return tuple(device for device in group.devices if device in accused)
