"""A node's TLS identity: a self-signed certificate that is a function of its Ed25519 seed, and the way back.

Nothing in the certificate but the key means anything: peers pin it by its hash and prove themselves in the handshake.
It is the same bytes at every start, so that its hash can be written down.
"""

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from chain.ids import AccountId
from p2p.errors import IdentityError

MAX_CERTIFICATE_BYTES: Final = 4096
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedchain node")])
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280 §4.1.2.5: the date of a certificate that never expires."""


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """The certificate as peers see it, and with its key in the PEM texts that TLS libraries load. The key is secret."""

    der: bytes
    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"NodeCertificate({len(self.der)} bytes)"


def make_certificate(seed: bytes) -> NodeCertificate:
    """Return the certificate of the key pair made from this 32-byte seed; the same seed gives the same bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key()
    serial = int.from_bytes(public.public_bytes(Encoding.Raw, PublicFormat.Raw)[:16], "big") | 1
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(key, algorithm=None)
    )
    return NodeCertificate(
        certificate.public_bytes(Encoding.DER),
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


@lru_cache(maxsize=256)
def certificate_account(der: bytes) -> AccountId:
    """Return the account whose key the certificate carries. ``IdentityError`` if it carries no Ed25519 key."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise IdentityError(f"a certificate of {len(der)} bytes; at most {MAX_CERTIFICATE_BYTES} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what the parser only tolerates is refused
            key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm, Warning) as error:
        raise IdentityError(f"not a certificate: {str(error)[:200]}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise IdentityError("the certificate's key is not an Ed25519 key")
    return AccountId(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
