"""Network endpoints: ``host:port`` texts, and what an IP address says about where it belongs.

Peers exchange IP addresses alone; names are for the operator's own configuration.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from chain.ids import AccountId
from p2p.errors import EndpointError
from p2p.events import PeerId
from p2p.messages import PeerAddress

MAX_HOST: Final = 253
"""Characters of a host name (RFC 1035 §2.3.4, in text form)."""


class Reach(IntEnum):
    """How far an address reaches. A source may only tell of addresses that reach as far as its own."""

    LOOPBACK = 0
    PRIVATE = 1
    GLOBAL = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host, as a name or an IP address in its shortest text, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to dial, and who has to be there (None: whoever is)."""

    endpoint: Endpoint
    peer: PeerId | None = None


def parse_target(text: str) -> Target:
    """Return the target of ``host:port`` or ``KEY@host:port``, the key as 64 hexadecimal digits. ``EndpointError``."""
    key, separator, rest = text.rpartition("@")
    if not separator:
        return Target(parse_endpoint(text))
    if len(key) != 64 or not all(digit in "0123456789abcdef" for digit in key):
        raise EndpointError(f"{text!r:.160}: before the @ there must be a key of 64 hexadecimal digits")
    return Target(parse_endpoint(rest), AccountId(bytes.fromhex(key)))


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint of ``host:port`` or ``[ipv6]:port``. ``EndpointError`` says what is wrong."""
    host, separator, digits = text.rpartition(":")
    if not separator or not host:
        raise EndpointError(f"{text!r:.80} is no address: it must be HOST:PORT")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 1 <= int(digits) <= 65535):
        raise EndpointError(f"{text!r:.80} has no port from 1 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if bracketed != (_ip(host) is not None and ":" in host):
        raise EndpointError(f"{text!r:.80}: an IPv6 address, and nothing else, stands in brackets")
    return Endpoint(parse_host(host), int(digits))


def parse_host(text: str) -> str:
    """Return a host's one text: an IP address in its shortest form, or a name in lower case. ``EndpointError``."""
    ip = _ip(text)
    if ip is None and not _is_name(text):
        raise EndpointError(f"{text!r:.80} is no valid host name")
    return text.lower() if ip is None else str(ip)


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= MAX_HOST and all(
        0 < len(label) <= 63 and label.isascii() and label.replace("-", "").replace("_", "").isalnum()
        for label in labels
    )


@lru_cache(maxsize=4096)
def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


@lru_cache(maxsize=4096)
def reach_of(host: str) -> Reach:
    """Return how far the host reaches; a name counts as global."""
    ip = _ip(host)
    if ip is None:
        return Reach.GLOBAL
    if ip.is_loopback:
        return Reach.LOOPBACK
    return Reach.GLOBAL if ip.is_global else Reach.PRIVATE


def group_of(host: str) -> bytes:
    """Return the network a host belongs to, of which one attacker may hold many addresses: /16 for IPv4, /32 for IPv6.

    Loopback is one group; a name is its own.
    """
    ip = _ip(host)
    if ip is None:
        return b"name:" + host.encode()
    if ip.is_loopback:
        return b"loopback"
    return b"4" + ip.packed[:2] if isinstance(ip, IPv4Address) else b"6" + ip.packed[:4]


def site_of(host: str) -> str:
    """Return the host itself; of a global IPv6 address the /64 it is in, as its lowest address.

    A /64 is what one customer is given: whoever has one address there has 2⁶⁴, so they count as one host.
    """
    ip = _ip(host)
    if not isinstance(ip, IPv6Address) or not ip.is_global:
        return host
    return str(IPv6Address(ip.packed[:8] + bytes(8)))


def placement_of(endpoint: Endpoint) -> bytes:
    """Return what decides an endpoint's buckets: its group, but itself where all hosts are one operator's."""
    return group_of(endpoint.host) if reach_of(endpoint.host) is Reach.GLOBAL else str(endpoint).encode()


def to_wire(endpoint: Endpoint) -> PeerAddress | None:
    """Return the endpoint as peers tell it; None for a name."""
    ip = _ip(endpoint.host)
    return None if ip is None else PeerAddress(ip.packed, endpoint.port)


def from_wire(address: PeerAddress) -> Endpoint | None:
    """Return the endpoint a peer told of; None if nobody can listen there (unspecified, multicast, reserved)."""
    host = _listener(address.ip)
    return None if host is None else Endpoint(host, address.port)


@lru_cache(maxsize=4096)
def _listener(packed: bytes) -> str | None:
    ip = _ip(str(ip_address(packed)))
    if ip is None or ip.is_unspecified or ip.is_multicast or ip.is_reserved:
        return None
    return str(ip)
