"""A sharing group: small devices, the gateways they send to, and what a reading is. One file that all of them have.

    name = "north"
    mode = "shares"            # or "sealed": the one gateway sees every reading
    threshold = 2              # gateways who together can reconstruct, and no fewer
    least = 2                  # fewest devices of a sum: gateways add up no fewer
    devices = ["fed1…", "fed1…"]

    [[gateways]]               # the first is the collector, who learns the sums
    account = "fed1…"
    url = "http://127.0.0.1:7401"

    [[fields]]                 # columns of a reading, in this order
    name = "PM2.5"
    low = 0
    high = 1000
    decimals = 0

Rules of this file: pure; a fault names the key, what stands there and what is allowed.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from chain.address import parse_account
from chain.codec import encode
from chain.errors import ChainError
from chain.hashing import digest
from chain.ids import AccountId, Hash
from fl.errors import ShareError

MAX_GATEWAYS: Final = 32
MAX_DEVICES: Final = 1024
MAX_FIELDS: Final = 16
SCALAR_BITS: Final = 252
"""Bits of a number that is below the group's order whatever they are."""
_DOMAIN: Final = b"fedchain/sharing-group"
_KEYS: Final = {"name", "mode", "threshold", "least", "devices", "gateways", "fields"}


@dataclass(frozen=True, slots=True)
class Field:
    """A column of readings: numbers ``low`` … ``high`` with so many decimals. Units of 10**-decimals below."""

    name: str
    low: int
    high: int
    decimals: int

    @property
    def span(self) -> int:
        """The largest number of units above the lowest."""
        return (self.high - self.low) * int(10**self.decimals)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A device of the network that small devices send to."""

    account: AccountId
    url: str


@dataclass(frozen=True, slots=True)
class SharingGroup:
    """See the file's head. ``id`` is a digest of all but the URLs: everything that is sent is bound to it."""

    name: str
    mode: Literal["shares", "sealed"]
    threshold: int
    least: int
    devices: tuple[AccountId, ...]
    gateways: tuple[Gateway, ...]
    fields: tuple[Field, ...]
    id: Hash = field(init=False)

    def __post_init__(self) -> None:
        holders = tuple(gateway.account for gateway in self.gateways)
        columns = tuple((each.name, each.low, each.high, each.decimals) for each in self.fields)
        said = self.name, self.mode, self.threshold, self.least, self.devices, holders, _signed(columns)
        object.__setattr__(self, "id", digest(_DOMAIN, encode(said)))

    @property
    def collector(self) -> AccountId:
        """The gateway that learns the sums."""
        return self.gateways[0].account

    def number_of(self, gateway: AccountId) -> int | None:
        """Return a gateway's number, 1 … n; None if it is none of the group's."""
        return next((number for number, each in enumerate(self.gateways, 1) if each.account == gateway), None)

    @property
    def slots(self) -> tuple[int, ...]:
        """Bits of each field in a sum of all devices' readings: ranges add up without running into the next."""
        return tuple((each.span * len(self.devices)).bit_length() for each in self.fields)


def _signed(columns: tuple[tuple[str, int, int, int], ...]) -> tuple[tuple[str, str, str, str], ...]:
    """Return the columns as texts: the codec's numbers end at 63 bits."""
    return tuple((name, str(low), str(high), str(decimals)) for name, low, high, decimals in columns)


def read_group(text: str) -> SharingGroup:
    """Return the group that a TOML text describes. ``ShareError`` says what is wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ShareError(f"the group is no TOML: {error}") from None
    strange = set(table) - _KEYS
    if strange or set(table) != _KEYS:
        raise ShareError(f"a group has the keys {', '.join(sorted(_KEYS))}; here are {', '.join(sorted(table))}")
    group = SharingGroup(
        _text(table, "name"),
        "sealed" if _text(table, "mode") == "sealed" else "shares",
        _number(table, "threshold"),
        _number(table, "least"),
        tuple(_account(each, "devices") for each in _list(table, "devices")),
        tuple(_gateway(each) for each in _list(table, "gateways")),
        tuple(_field(each) for each in _list(table, "fields")),
    )
    if table["mode"] != group.mode:
        raise ShareError(f'mode = {table["mode"]!r}: "shares" or "sealed" is allowed')
    _check(group)
    return group


def _check(group: SharingGroup) -> None:
    holders, senders, columns = len(group.gateways), len(group.devices), [each.name for each in group.fields]
    accounts = [gateway.account for gateway in group.gateways]
    _need(0 < len(group.name) <= 64, f"name = {group.name!r}: 1 to 64 characters are allowed")
    _need(1 <= senders <= MAX_DEVICES, f"{senders} devices: 1 to {MAX_DEVICES} are allowed")
    _need(len(set(group.devices)) == senders, "a device is named twice")
    _need(len(set(accounts)) == holders, "a gateway is named twice")
    _need(1 <= len(columns) <= MAX_FIELDS, f"{len(columns)} fields: 1 to {MAX_FIELDS} are allowed")
    _need(len(set(columns)) == len(columns) and "time" not in columns, 'a field is named twice, or "time"')
    if group.mode == "sealed":
        _need(holders == 1 == group.threshold, 'mode = "sealed": exactly one gateway, and threshold = 1')
        return
    _need(2 <= holders <= MAX_GATEWAYS, f'mode = "shares": 2 to {MAX_GATEWAYS} gateways are needed, not {holders}')
    allowed = f"above half of the {holders} gateways, at most all; else few of them could read every reading"
    _need(max(holders // 2 + 1, 2) <= group.threshold <= holders, f"threshold = {group.threshold}: {allowed}")
    _need(2 <= group.least <= senders, f"least = {group.least}: 2 to the {senders} devices; a sum of one is no sum")
    bits = sum(group.slots)
    told = f"a sum of all devices' readings takes {bits} bits; {SCALAR_BITS} are there: fewer fields, or narrower ones"
    _need(bits <= SCALAR_BITS, told)


def _need(holds: bool, told: str) -> None:
    if not holds:
        raise ShareError(told)


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise ShareError(f"{key} = {value!r}: a text is needed")
    return value


def _number(table: Mapping[str, object], key: str) -> int:
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise ShareError(f"{key} = {value!r}: a whole number up to 10^9 is needed")
    return value


def _list(table: Mapping[str, object], key: str) -> Sequence[object]:
    value = table[key]
    if not isinstance(value, list):
        raise ShareError(f"{key}: a list is needed")
    return value


def _account(value: object, key: str) -> AccountId:
    try:
        return parse_account(str(value))
    except ChainError as error:
        raise ShareError(f"{key}: {error}") from None


def _gateway(value: object) -> Gateway:
    if not isinstance(value, dict) or set(value) != {"account", "url"}:
        raise ShareError("[[gateways]] needs account and url, and nothing else")
    url = _text(value, "url")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ShareError(f"url = {url!r}: http://HOST:PORT or https://HOST:PORT is needed")
    return Gateway(_account(value["account"], "account"), url.rstrip("/"))


def _field(value: object) -> Field:
    if not isinstance(value, dict) or set(value) != {"name", "low", "high", "decimals"}:
        raise ShareError("[[fields]] needs name, low, high and decimals, and nothing else")
    found = Field(_text(value, "name"), _number(value, "low"), _number(value, "high"), _number(value, "decimals"))
    if not found.name or not found.low < found.high or not 0 <= found.decimals <= 9:
        raise ShareError(f"field {found.name!r}: low < high and 0 to 9 decimals are needed")
    return found
