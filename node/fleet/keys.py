"""The keys of a fleet's devices: one secret on disk, from which each device has a key of its own.

    key of device NAME  =  Ed25519 key of HKDF-SHA256(secret, info = "fedchain/fleet-device" ‖ NAME)     (RFC 5869)

By name, not by number: data that come or go change nobody else's key. Who knows one device's key learns nothing of
another's. The secret is kept as every key is (``storage.keystore``, named ``fleet``), encrypted if there is a password.
"""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chain.keys import SEED_BYTES, KeyPair

FLEET_KEY: Final = "fleet"
"""The name under which the keystore has a fleet's secret."""
_INFO: Final = b"fedchain/fleet-device"


def device_key(secret: KeyPair, name: str) -> KeyPair:
    """Return the key of the fleet's device of this name."""
    derivation = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=_INFO + name.encode())
    return KeyPair(derivation.derive(secret.seed))
