"""Addresses as people write them: HOST, HOST:PORT, ACCOUNT@HOST:PORT; IPv6 hosts in brackets.

Rules of this file: texts alone; nothing is looked up.
"""

import ipaddress
import re
from typing import Final

DEFAULT_PORT: Final = 9470
_ACCOUNT: Final = re.compile(r"[a-z0-9]{1,20}1[a-z0-9]{58}")
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\.?")


def is_host(value: object) -> bool:
    """Is this an IP address or a host name?"""
    if not isinstance(value, str) or len(value) > 253:
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _HOST_NAME.fullmatch(value) is not None and not re.fullmatch(r"[\d.]+", value)
    return True


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` (``[HOST]:PORT`` for IPv6). ``ValueError`` says what is wrong."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address goes in brackets, [::1]:{DEFAULT_PORT}")
    if not is_host(host) or not port.isascii() or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return ``HOST:PORT``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_address(value: object) -> bool:
    """Is this a HOST:PORT?"""
    try:
        return isinstance(value, str) and bool(split_address(value))
    except ValueError:
        return False


def split_target(text: str) -> tuple[str, str]:
    """Return the account ("" if there is none) and the address of ``[ACCOUNT@]HOST:PORT``. ``ValueError``."""
    account, separator, address = text.rpartition("@")
    if separator and not _ACCOUNT.fullmatch(account):
        raise ValueError(f"{text!r}: before the @ there must be a node's account, fed1…")
    split_address(address)
    return account, address


def is_target(value: object) -> bool:
    """Is this a HOST:PORT, or an ACCOUNT@HOST:PORT?"""
    try:
        return isinstance(value, str) and bool(split_target(value))
    except ValueError:
        return False
