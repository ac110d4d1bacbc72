"""The text of an account: read back exactly, and no typing error gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.address import _BECH32M, DEFAULT_PREFIX, _expand, _polymod, format_account, parse_account
from chain.errors import AddressError
from chain.ids import AccountId
from tests.strategies import KEYS, accounts, prefixes

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@given(accounts(), prefixes())
def test_an_account_is_read_back(account: AccountId, prefix: str) -> None:
    """In lower and in upper case, under its own prefix."""
    text = format_account(account, prefix)
    assert len(text) == len(prefix) + 59
    assert parse_account(text, prefix) == account
    assert parse_account(text.upper(), prefix) == account


def bech32m_checksum_holds(text: str) -> bool:
    """BIP 350's check written the long way, over polynomials with coefficients in GF(32)."""
    prefix, _, data = text.rpartition("1")
    values = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    values += [ALPHABET.index(char) for char in data]

    def times(a: int, b: int) -> int:  # GF(32) of BIP 173: x⁵ = x³ + 1
        product = 0
        for bit in range(5):
            if b >> bit & 1:
                product ^= a << bit
        for bit in range(8, 4, -1):
            if product >> bit & 1:
                product ^= 0b101001 << bit - 5
        return product

    generator = (29, 22, 20, 21, 29, 18)  # x⁶ + 29x⁵ + 22x⁴ + 20x³ + 21x² + 29x + 18
    remainder = [1]
    for value in values:
        remainder.append(value)
        if len(remainder) > 6:
            top = remainder.pop(0)
            remainder = [r ^ times(top, g) for r, g in zip(remainder, generator, strict=True)]
    number = 0
    for value in remainder:
        number = number << 5 | value
    return number == 0x2BC830A3


@pytest.mark.parametrize("text", ["a1lqfn3a", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "?1v759aa"])
def test_the_slow_checksum_knows_the_published_strings(text: str) -> None:
    """The oracle of the next test accepts the valid strings of BIP 350."""
    assert bech32m_checksum_holds(text)


@given(accounts(), prefixes())
def test_the_checksum_is_that_of_bip_350(account: AccountId, prefix: str) -> None:
    """An implementation over polynomials finds every address right."""
    assert bech32m_checksum_holds(format_account(account, prefix))


@given(accounts(), prefixes(), st.data())
def test_up_to_four_substituted_characters_are_found(account: AccountId, prefix: str, data: st.DataObject) -> None:
    """No address with one to four wrong characters is read as an account."""
    text = format_account(account, prefix)
    places = data.draw(st.lists(st.integers(len(prefix) + 1, len(text) - 1), min_size=1, max_size=4, unique=True))
    wrong = list(text)
    for place in places:
        wrong[place] = data.draw(st.sampled_from([char for char in ALPHABET if char != text[place]]))
    with pytest.raises(AddressError, match="checksum"):
        parse_account("".join(wrong), prefix)


@given(accounts(), prefixes(), prefixes())
def test_an_account_of_another_network_is_refused(account: AccountId, prefix: str, other: str) -> None:
    """The prefix is part of the address, also where another is put in its place."""
    text = format_account(account, prefix)
    if prefix != other:
        with pytest.raises(AddressError, match=f"must start with {other}1"):
            parse_account(text, other)
        with pytest.raises(AddressError, match="checksum"):
            parse_account(other + text[len(prefix) :], other)


@given(st.text(max_size=120) | st.text("1" + ALPHABET, max_size=95).map(lambda rest: DEFAULT_PREFIX + "1" + rest))
def test_any_text_is_refused_or_an_account(text: str) -> None:
    """Only ``AddressError`` is raised; what is read is written the same."""
    try:
        account = parse_account(text)
    except AddressError:
        return
    assert format_account(account) == text.lower()


def test_mixed_case_and_letters_that_only_look_alike_are_refused() -> None:
    """Upper and lower case do not mix, and the Kelvin sign is no k."""
    text = next(text for text in (format_account(key.account) for key in KEYS) if "k" in text)
    with pytest.raises(AddressError, match="mixes"):
        parse_account(text[:-1] + text[-1].swapcase() if text[-1].isalpha() else "F" + text[1:])
    with pytest.raises(AddressError, match="outside"):
        parse_account(text.upper().replace("K", "\N{KELVIN SIGN}"))


def test_padding_that_is_not_zero_is_refused() -> None:
    """The four spare bits of the last group must be clear, or an account would have sixteen addresses."""
    data = [ALPHABET.index(char) for char in format_account(KEYS[0].account)[len(DEFAULT_PREFIX) + 1 : -6]]
    data[-1] |= 1
    checksum = _polymod([*_expand(DEFAULT_PREFIX), *data, *[0] * 6]) ^ _BECH32M
    data += [checksum >> 5 * (5 - group) & 31 for group in range(6)]
    with pytest.raises(AddressError, match="padding"):
        parse_account(DEFAULT_PREFIX + "1" + "".join(ALPHABET[value] for value in data))


def test_a_megabyte_is_refused_in_a_short_message() -> None:
    """The message does not repeat what was sent."""
    with pytest.raises(AddressError) as caught:
        parse_account("fed1" + "q" * 10**6)
    assert len(str(caught.value)) < 100
