"""Where to connect, as people write it: ``HOST:PORT``, or ``ACCOUNT@HOST:PORT`` if only that node will do.

The network knows keys and no prefixes, so it is given the key's hexadecimal digits before the ``@``.
"""

from chain.address import parse_account
from chain.errors import AddressError
from node.addresses import split_target


def read_target(text: str, prefix: str) -> str:
    """Return the network's text for a target. ``ValueError`` says what is wrong with it."""
    account, address = split_target(text)
    if not account:
        return address
    try:
        return f"{parse_account(account, prefix).hex()}@{address}"
    except AddressError as error:
        raise ValueError(f"{text!r}: {error}") from None
