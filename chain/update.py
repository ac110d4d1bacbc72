"""Local updates: a device's signed release for one task, and the attestations of miners who verified it."""

from typing import Annotated

from msgspec import Meta

from chain.codec import Record, encode
from chain.hashing import DOMAIN_ATTESTATION, DOMAIN_UPDATE, content_id, digest
from chain.ids import AccountField, Hash, HashField, Natural, ShortText, SignatureField
from chain.keys import KeyPair, verify
from chain.payload import PayloadRef


class PrivacyCharge(Record):
    """What one release costs its device.

    ``mechanism`` is the plan's name for it ("none" releases without noise), ``loss`` and ``total`` are in
    micro-zCDP: this release's and the device's signed cumulative total including this release.
    """

    mechanism: ShortText
    loss: Natural
    total: Natural


class Release(Record):
    """The unsigned local update: everything its device vouches for. Its digest is the update's id."""

    chain_id: ShortText
    plan: HashField
    round: Natural
    phase: Natural
    task: HashField
    device: AccountField
    samples: Natural
    computation_us: Natural
    privacy: PrivacyCharge
    payload: PayloadRef

    @property
    def id(self) -> Hash:
        """SHA-256 of the canonical bytes under the update domain."""
        return digest(DOMAIN_UPDATE, encode(self))

    def sign(self, key: KeyPair) -> "LocalUpdate":
        """Return the local update: this release signed by its device."""
        return LocalUpdate(self, key.sign(self.id))


class LocalUpdate(Record):
    """A release and its device's signature over the release id."""

    release: Release
    signature: SignatureField

    @property
    def id(self) -> Hash:
        """The release's id; the signature is not part of it."""
        return self.release.id

    def is_signed(self) -> bool:
        """Is the signature the device's?"""
        return verify(self.release.device, self.signature, self.release.id)


class Attestation(Record):
    """A miner's signed word that it verified an update by the plan's policies and accepts it."""

    miner: AccountField
    signature: SignatureField

    @staticmethod
    def message(update: Hash) -> Hash:
        """Return what an attesting miner signs for the update with this id."""
        return digest(DOMAIN_ATTESTATION, update)

    @classmethod
    def of(cls, update: Hash, key: KeyPair) -> "Attestation":
        """Return the attestation of ``key`` for the update with this id."""
        return cls(key.account, key.sign(cls.message(update)))

    def is_signed(self, update: Hash) -> bool:
        """Is this the miner's signature for the update with this id?"""
        return verify(self.miner, self.signature, self.message(update))


class AttestedUpdate(Record):
    """A local update as a block carries it, with attestations ordered by miner id, each miner once."""

    update: LocalUpdate
    attestations: Annotated[tuple[Attestation, ...], Meta(max_length=64)]

    @property
    def id(self) -> Hash:
        """The release's id."""
        return self.update.release.id

    @property
    def version(self) -> Hash:
        """SHA-256 of the update as it is now: it gains attestations on its way."""
        return content_id(encode(self))
