"""The text form of an account: Bech32m (BIP 350) of the public key, its prefix naming the network.

The checksum catches any typing error in up to four characters, the prefix an account of another network.
"""

from collections.abc import Iterable
from functools import reduce
from operator import xor
from typing import Final

from chain.errors import AddressError
from chain.ids import AccountId

DEFAULT_PREFIX: Final = "fed"
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_MAX_TEXT: Final = 90
"""The longest Bech32 text: up to here the checksum finds any four substitutions."""
_BECH32M: Final = 0x2BC830A3
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_REMAINDERS: Final = tuple(
    [reduce(xor, [part for bit, part in enumerate(_GENERATOR) if top >> bit & 1], 0) for top in range(32)]
)
"""What the five bits that leave the checksum put back into it."""


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _REMAINDERS[top]
    return checksum


def _expand(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def format_account(account: AccountId, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the account's text, for example ``fed1…`` (32 bytes make 52 data characters, then 6 of checksum)."""
    number = int.from_bytes(account, "big") << 4  # 256 bits padded to 52 groups of 5
    data = [number >> 5 * (51 - group) & 31 for group in range(52)]
    checksum = _polymod([*_expand(prefix), *data, 0, 0, 0, 0, 0, 0]) ^ _BECH32M
    data += [checksum >> 5 * (5 - group) & 31 for group in range(6)]
    return prefix + "1" + "".join(_ALPHABET[value] for value in data)


def parse_account(text: str, prefix: str = DEFAULT_PREFIX) -> AccountId:
    """Return the account that ``text`` names. ``AddressError`` says what is wrong with it."""
    if len(text) > _MAX_TEXT:
        raise AddressError(f"an account has {len(prefix) + 59} characters, not {len(text)}")
    if not text.isascii():  # some letters beyond ASCII become ASCII ones in lower case
        raise AddressError(f"account {text!r} has a character outside {_ALPHABET}")
    lower = text.lower()
    if text not in (lower, text.upper()):
        raise AddressError(f"account {text!r} mixes upper and lower case")
    name, separator, rest = lower.rpartition("1")
    if not separator or name != prefix:
        raise AddressError(f"account {text!r} is not of this network: it must start with {prefix}1")
    try:
        data = [_ALPHABET.index(char) for char in rest]
    except ValueError:
        raise AddressError(f"account {text!r} has a character outside {_ALPHABET}") from None
    if len(data) != 58 or _polymod([*_expand(name), *data]) != _BECH32M:
        raise AddressError(f"account {text!r} has a typing error: its checksum does not match")
    number = 0
    for value in data[:52]:
        number = number << 5 | value
    if number & 15:
        raise AddressError(f"account {text!r} has nonzero padding")
    return AccountId((number >> 4).to_bytes(32, "big"))
