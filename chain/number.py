"""Exact decimal numbers for plans: what a person typed is what every node computes with."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from msgspec import Meta

from chain.codec import Record
from chain.errors import CodecError


class Number(Record):
    """``mantissa * 10**exponent`` in lowest form: the mantissa is 0 with exponent 0, or not a multiple of 10."""

    mantissa: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    exponent: Annotated[int, Meta(ge=-18, le=18)]

    def __post_init__(self) -> None:
        zero = self.mantissa == 0 and self.exponent == 0
        if not zero and (self.mantissa == 0 or self.mantissa % 10 == 0 and self.exponent < 18):
            raise ValueError(f"number {self.mantissa}e{self.exponent} is not in lowest form")

    @classmethod
    def of(cls, value: int | Decimal | str) -> "Number":
        """Return the number for an int, a ``Decimal`` or a decimal text; ``CodecError`` if it does not fit.

        At most 15 significant digits (|mantissa| <= 2**53) and exponents -18 … 18.
        """
        try:
            decimal = Decimal(value)
        except ArithmeticError:
            raise CodecError(f"{value!r} is not a decimal number") from None
        if not decimal.is_finite():
            raise CodecError(f"{value} is not a finite number")
        sign, digits, exponent = decimal.as_tuple()
        assert isinstance(exponent, int)
        mantissa = int("".join(map(str, digits)) or "0")
        while mantissa and mantissa % 10 == 0 and exponent < 18:
            mantissa, exponent = mantissa // 10, exponent + 1
        if mantissa == 0:
            return cls(0, 0)
        while exponent > 18 and mantissa <= 2**53:
            mantissa, exponent = mantissa * 10, exponent - 1
        if mantissa > 2**53 or not -18 <= exponent <= 18:
            raise CodecError(f"{value} needs more than 53 bits or an exponent beyond 18")
        return cls(-mantissa if sign else mantissa, exponent)

    def fraction(self) -> Fraction:
        """Return the exact value."""
        return Fraction(self.mantissa) * Fraction(10) ** self.exponent

    def __float__(self) -> float:
        """Return the nearest float64, correctly rounded, the same on every machine."""
        return float(self.fraction())

    def __str__(self) -> str:
        return f"{Decimal(self.mantissa).scaleb(self.exponent):f}"
