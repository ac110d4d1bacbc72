"""Statements about devices: what a registrar vouches for, signed, for plans that take no device without one.

Rules of this file: form and signature; which statements a plan takes is ``consensus.statements``'s.
"""

from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, encode
from chain.hashing import DOMAIN_STATEMENT, digest
from chain.ids import AccountField, AccountId, Hash, HeightField, ShortText, SignatureField
from chain.keys import KeyPair, verify

MAX_MEASUREMENT_BYTES: Final = 512


class StatementText(Record):
    """What is signed: on this chain and up to this height, this device is as the kind of statement says.

    ``measurement``: what was measured, as the kind understands it; of a software statement whatever the registrar
    writes, the digest of an installed image say.
    """

    chain_id: ShortText
    device: AccountField
    kind: ShortText
    expiry: HeightField
    measurement: Annotated[bytes, Meta(max_length=MAX_MEASUREMENT_BYTES)]

    @property
    def digest(self) -> Hash:
        """SHA-256 of the canonical bytes under the statement domain."""
        return digest(DOMAIN_STATEMENT, encode(self))


class DeviceStatement(Record):
    """A registrar's statement about the device that carries it."""

    kind: ShortText
    registrar: AccountField
    expiry: HeightField
    measurement: Annotated[bytes, Meta(max_length=MAX_MEASUREMENT_BYTES)]
    signature: SignatureField

    def text(self, chain_id: str, device: AccountId) -> StatementText:
        """Return what the registrar has signed if this is a statement about ``device``."""
        return StatementText(chain_id, device, self.kind, self.expiry, self.measurement)

    def is_signed(self, chain_id: str, device: AccountId) -> bool:
        """Has the registrar signed this statement about this device on this chain?"""
        return verify(self.registrar, self.signature, self.text(chain_id, device).digest)


def state(key: KeyPair, text: StatementText) -> DeviceStatement:
    """Return a registrar's statement."""
    return DeviceStatement(text.kind, key.account, text.expiry, text.measurement, key.sign(text.digest))
