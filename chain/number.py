"""Exact decimal numbers for plans: what a person typed is what every node computes with."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record
from chain.errors import CodecError

_MAX_DIGITS: Final = 16


@lru_cache(maxsize=1024)
def _fraction(mantissa: int, exponent: int) -> Fraction:
    return Fraction(mantissa) * Fraction(10) ** exponent


class Number(Record):
    """``mantissa * 10**exponent`` in lowest form: the mantissa is 0 with exponent 0, or not a multiple of 10."""

    mantissa: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    exponent: Annotated[int, Meta(ge=-18, le=18)]

    def __post_init__(self) -> None:
        zero = self.mantissa == 0 and self.exponent == 0
        if not zero and (self.mantissa == 0 or (self.mantissa % 10 == 0 and self.exponent < 18)):
            raise ValueError(f"number {self.mantissa}e{self.exponent} is not in lowest form")

    @classmethod
    def of(cls, value: int | Decimal | str) -> "Number":
        """Return the number for an int, a ``Decimal`` or a decimal text; ``CodecError`` if it does not fit.

        15 significant digits always fit, 16 if |mantissa| <= 2**53; exponents are -18 … 18.
        """
        try:
            decimal = Decimal(value)
        except ArithmeticError:
            raise CodecError(f"{value!r:.60} is not a decimal number") from None
        if not decimal.is_finite():
            raise CodecError(f"{value} is not a finite number")
        if decimal.is_zero():
            return cls(0, 0)
        sign, digits, exponent = decimal.as_tuple()
        assert isinstance(exponent, int)  # it is a letter only for what is not finite
        text = "".join(map(str, digits)).rstrip("0")
        exponent += len(digits) - len(text)
        if len(text.lstrip("0")) > _MAX_DIGITS:
            raise CodecError(f"a number of {len(text)} digits needs more than 53 bits")
        mantissa = int(text)
        while exponent > 18 and mantissa <= 2**53:
            mantissa, exponent = mantissa * 10, exponent - 1
        if mantissa > 2**53 or not -18 <= exponent <= 18:
            raise CodecError(f"{decimal:.17g} needs more than 53 bits or an exponent beyond 18")
        return cls(-mantissa if sign else mantissa, exponent)

    def fraction(self) -> Fraction:
        """Return the exact value."""
        return _fraction(self.mantissa, self.exponent)

    def __float__(self) -> float:
        """Return the nearest float64, correctly rounded, the same on every machine."""
        return float(f"{self.mantissa}e{self.exponent}")  # Python reads decimals correctly rounded

    def __str__(self) -> str:
        digits = tuple(map(int, str(abs(self.mantissa))))
        return f"{Decimal((int(self.mantissa < 0), digits, self.exponent)):f}"
