"""The scalar types every room speaks: identifiers, heights, times, amounts.

``NewType`` keeps a height from being passed as a time; the ``…Field`` aliases carry the range checks
that the canonical codec enforces when a record is decoded.
"""

from typing import Annotated, Final, NewType

from msgspec import Meta

AccountId = NewType("AccountId", bytes)
"""An Ed25519 public key, 32 bytes."""
Hash = NewType("Hash", bytes)
"""A SHA-256 digest, 32 bytes."""
Height = NewType("Height", int)
"""A block's distance from genesis; genesis has height 0."""
Millis = NewType("Millis", int)
"""Milliseconds since the Unix epoch (a time) or between two times (a span)."""
Amount = NewType("Amount", int)
"""A number of the smallest coin unit, 0 … 2**63 - 1."""

INT_MAX: Final = 2**63 - 1
ZERO_HASH: Final = Hash(bytes(32))

_NATURAL = Meta(ge=0, le=INT_MAX)
_BYTES32 = Meta(min_length=32, max_length=32)

Natural = Annotated[int, _NATURAL]
AccountField = Annotated[AccountId, _BYTES32]
HashField = Annotated[Hash, _BYTES32]
HeightField = Annotated[Height, _NATURAL]
MillisField = Annotated[Millis, _NATURAL]
AmountField = Annotated[Amount, _NATURAL]
SignatureField = Annotated[bytes, Meta(min_length=64, max_length=64)]
ShortText = Annotated[str, Meta(max_length=200)]
