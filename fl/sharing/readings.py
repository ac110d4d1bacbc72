"""A reading as whole numbers: each field in units above its lowest, all of them packed into one scalar.

The scalars of several devices' readings add up to the scalar of their sums, since each slot is as wide as the sum of
all devices takes (``SharingGroup.slots``). The first field has the lowest bits.

Rules of this file: exact; a text that is no number in the field's range is refused by name, nothing is cut or guessed.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from fl.errors import DataError, ShareError
from fl.sharing.group import Field, SharingGroup

MISSING: Final = frozenset({"", "?", "NA", "NaN", "nan", "null"})
_MAX_DIGITS: Final = 28
"""Of a cell: as many as decimal arithmetic keeps, so that nothing is rounded twice."""


def read_number(column: Field, text: str) -> int | None:
    """Return a cell in the field's units above its lowest, decimals beyond the field's rounded half to even.

    None for a missing one. ``DataError`` for no number, or one out of range.
    """
    cell = text.strip()
    if cell in MISSING:
        return None
    try:
        value = Decimal(cell) if len(cell) <= _MAX_DIGITS else Decimal("nan")
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or not column.low <= value <= column.high:
        raise DataError(
            f"{column.name} = {cell[:_MAX_DIGITS]!r}: a number from {column.low} to {column.high} is needed"
        )
    units = int(value.scaleb(column.decimals).to_integral_value(ROUND_HALF_EVEN))
    return units - column.low * _one(column)


def _one(column: Field) -> int:
    """Return how many units 1 is."""
    return int(10**column.decimals)


def show_number(column: Field, total: int, count: int) -> str:
    """Return the mean of ``count`` readings that add up to ``total`` units above the lowest, two decimals more."""
    places = column.decimals + 2 if count > 1 else column.decimals
    more = 100 if count > 1 else 1
    scaled = round(Fraction(total * more, count)) + column.low * _one(column) * more
    return f"{Decimal(scaled).scaleb(-places):f}"


def pack(group: SharingGroup, numbers: Sequence[int]) -> int:
    """Return the scalar of a reading; ``ShareError`` if a number is out of its field's range."""
    scalar, place = 0, 0
    for column, bits, number in zip(group.fields, group.slots, numbers, strict=True):
        if not 0 <= number <= column.span:
            raise ShareError(f"{column.name}: {number} units; 0 to {column.span} are allowed")
        scalar |= number << place
        place += bits
    return scalar


def unpack(group: SharingGroup, scalar: int, count: int) -> tuple[int, ...]:
    """Return the sums that a scalar of ``count`` readings holds. ``ShareError`` if they can't be sums of right ones."""
    sums = []
    for column, bits in zip(group.fields, group.slots, strict=True):
        sums.append(scalar & ((1 << bits) - 1))
        scalar >>= bits
        if sums[-1] > column.span * count:
            raise ShareError(f"{column.name}: the sum of {count} readings is out of range; a device shared a wrong one")
    if scalar:
        raise ShareError(f"the sum of {count} readings has bits beyond the last field; a device shared a wrong one")
    return tuple(sums)
