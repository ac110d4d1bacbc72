"""What a small device sends to a gateway: readings in the clear or shares of them, sealed for it, signed and numbered.

    Delivery   group, device, gateway, number, body, signature by the device over all of it
    body       ``chain.sealing`` for the gateway alone, of
      Rows     (mode "sealed")   label and numbers of each reading
      Shares   (mode "shares")   label, commitment and this gateway's share of each reading

A label says what a reading is of, as a rule its time; a device has one reading for a label. Numbers of deliveries only
rise, and a gateway takes each once (``node.gateway``). A gateway answers with its signature of the delivery.

Rules of this file: pure; sizes first; what strangers send gives a fault in words, never an exception.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import AccountField, AccountId, Hash, HashField, Natural, SignatureField
from chain.keys import KeyPair, verify
from chain.sealing import seal, unseal
from fl.errors import DataError
from fl.secure import pedersen
from fl.secure.curve import Random, read_scalar, scalar_bytes
from fl.secure.feldman import commitment_bytes
from fl.sharing.group import MAX_GATEWAYS, SharingGroup
from fl.sharing.readings import pack

MAX_DELIVERY_BYTES: Final = 1 << 20
MAX_READINGS: Final = 512
"""Readings of one delivery."""
MAX_LABEL: Final = 32
_LABEL: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z:+._ -]*")
_DOMAIN: Final = b"fedchain/reading-delivery"
_DOMAIN_RECEIPT: Final = b"fedchain/reading-receipt"

Label = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL)]
ScalarField = Annotated[bytes, Meta(min_length=32, max_length=32)]


@dataclass(frozen=True, slots=True)
class Reading:
    """A device's reading: numbers in units above each field's lowest, None where it has none."""

    label: str
    numbers: tuple[int | None, ...]


class Row(Record):
    """A reading in the clear."""

    label: Label
    numbers: tuple[Natural | None, ...]


class SharedReading(Record):
    """A gateway's share of a reading, with the commitment that all gateways get."""

    label: Label
    commitment: Annotated[bytes, Meta(max_length=32 * (MAX_GATEWAYS + 1))]
    value: ScalarField
    hiding: ScalarField


class Rows(Record, tag="rows"):
    """Readings in the clear."""

    rows: Annotated[tuple[Row, ...], Meta(min_length=1, max_length=MAX_READINGS)]


class Shares(Record, tag="shares"):
    """Shares of readings."""

    readings: Annotated[tuple[SharedReading, ...], Meta(min_length=1, max_length=MAX_READINGS)]


class Delivery(Record):
    """See the file's head."""

    group: HashField
    device: AccountField
    gateway: AccountField
    number: Natural
    body: bytes
    signature: SignatureField


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery that is all right, opened. ``name`` is its digest."""

    device: AccountId
    number: int
    name: Hash
    content: Rows | Shares


def is_label(text: str) -> bool:
    """May this name a reading?"""
    return len(text) <= MAX_LABEL and _LABEL.fullmatch(text) is not None


def make_deliveries(
    group: SharingGroup, key: KeyPair, number: int, readings: Sequence[Reading], random: Random
) -> list[bytes]:
    """Return one delivery for each gateway, in the group's order. ``DataError`` for what can't be sent.

    ``number`` is above that of every delivery before. Under shares a reading is whole or not sent: what is missing
    would show in a sum whose it is.
    """
    if not 1 <= len(readings) <= MAX_READINGS:
        raise DataError(f"{len(readings)} readings; a delivery has 1 to {MAX_READINGS}")
    for reading in readings:
        if not is_label(reading.label):
            raise DataError(
                f"time {reading.label[:MAX_LABEL]!r}: up to {MAX_LABEL} letters, digits and : + . _ - are allowed"
            )
    if group.mode == "sealed":
        contents: list[Rows | Shares] = [Rows(tuple(Row(each.label, each.numbers) for each in readings))]
    else:
        contents = _share(group, readings, random)
    return [
        _sign(group, key, gateway.account, number, seal(encode(content), [gateway.account], random(32)))
        for gateway, content in zip(group.gateways, contents, strict=True)
    ]


def _share(group: SharingGroup, readings: Sequence[Reading], random: Random) -> list[Rows | Shares]:
    each_gateways: list[list[SharedReading]] = [[] for _ in group.gateways]
    for reading in readings:
        numbers = [number for number in reading.numbers if number is not None]
        if len(numbers) != len(group.fields):
            raise DataError(f"time {reading.label!r}: a field is missing; a reading is shared whole or not at all")
        shares, commitment = pedersen.split(pack(group, numbers), group.threshold, len(group.gateways), random)
        for kept, (value, hiding) in zip(each_gateways, shares, strict=True):
            kept.append(SharedReading(reading.label, commitment, scalar_bytes(value), scalar_bytes(hiding)))
    return [Shares(tuple(kept)) for kept in each_gateways]


def _sign(group: SharingGroup, key: KeyPair, gateway: AccountId, number: int, body: bytes) -> bytes:
    signature = key.sign(_signed(group, key.account, gateway, number, body))
    return encode(Delivery(group.id, key.account, gateway, number, body, signature))


def _signed(group: SharingGroup, device: AccountId, gateway: AccountId, number: int, body: bytes) -> Hash:
    return digest(_DOMAIN, group.id, device, gateway, number.to_bytes(8, "big"), body)


def read_head(data: bytes) -> Delivery | str:
    """Return the frame of a delivery, to see which group it is for; a fault in words for any other bytes."""
    try:
        return decode(data, Delivery, MAX_DELIVERY_BYTES)
    except CodecError as error:
        return str(error)


def open_delivery(group: SharingGroup, key: KeyPair, data: bytes) -> Received | str:
    """Return what a device sent to this gateway; a fault in words if anything is wrong with it."""
    head, gateway = read_head(data), group.number_of(key.account)
    if isinstance(head, str):
        return head
    if head.group != group.id or gateway is None or head.gateway != key.account:
        return "the delivery is for another group or gateway; both sides need the same group file"
    device = AccountId(head.device)
    if device not in group.devices:
        return "the device is not in the group"
    if not verify(device, head.signature, _signed(group, device, key.account, head.number, head.body)):
        return "the device did not sign this"
    plain = unseal(head.body, key)
    try:
        content: Rows | Shares = decode(b"" if plain is None else plain, Rows | Shares)  # type: ignore[arg-type]
    except CodecError as error:
        return f"the body does not open for this gateway, or holds no readings: {error}"
    fault = _find_fault(group, gateway, content)
    return Received(device, head.number, digest(_DOMAIN, data), content) if fault is None else fault


def _find_fault(group: SharingGroup, gateway: int, content: Rows | Shares) -> str | None:
    if isinstance(content, Rows) != (group.mode == "sealed"):
        return f'the group\'s mode is "{group.mode}", and these are {content.__struct_config__.tag}'
    labels = [each.label for each in (content.rows if isinstance(content, Rows) else content.readings)]
    strange = next((label for label in labels if not is_label(label)), None)
    if strange is not None or len(set(labels)) != len(labels):
        return f"a time is named twice, or is none: {strange!r}"
    if isinstance(content, Rows):
        return next((fault for row in content.rows if (fault := _row_fault(group, row)) is not None), None)
    for reading in content.readings:
        if not _is_share(group, gateway, reading):
            return f"time {reading.label!r}: the share is not what the commitment says"
    return None


def _row_fault(group: SharingGroup, row: Row) -> str | None:
    if len(row.numbers) != len(group.fields):
        return f"time {row.label!r}: {len(row.numbers)} fields; the group has {len(group.fields)}"
    for column, number in zip(group.fields, row.numbers, strict=True):
        if number is not None and number > column.span:
            return f"time {row.label!r}: {column.name} is out of range"
    return None


def _is_share(group: SharingGroup, gateway: int, reading: SharedReading) -> bool:
    value, hiding = read_scalar(reading.value), read_scalar(reading.hiding)
    if value is None or hiding is None or len(reading.commitment) != commitment_bytes(len(group.gateways)):
        return False
    return pedersen.check_share(gateway, (value, hiding), reading.commitment)


def sign_receipt(key: KeyPair, data: bytes) -> bytes:
    """Return a gateway's word that it keeps a delivery."""
    return key.sign(digest(_DOMAIN_RECEIPT, data))


def check_receipt(gateway: AccountId, data: bytes, receipt: bytes) -> bool:
    """Is this the gateway's word that it keeps this delivery?"""
    return verify(gateway, receipt, digest(_DOMAIN_RECEIPT, data))
