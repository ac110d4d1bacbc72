"""A device's commitment to its data: a salted digest, so that the chain learns nothing and the rows are frozen.

The salt comes from the device's secret key and the plan, so it need not be kept beside the data.
"""

from typing import Final

from chain.hashing import digest
from chain.ids import Hash
from chain.keys import KeyPair
from fl.dataset import Dataset, DenseData

_DOMAIN_COMMITMENT: Final = b"fedchain/data-commitment"
_DOMAIN_AUDIT: Final = b"fedchain/audit-secret"
_DOMAIN_SALT: Final = b"fedchain/data-salt"


def audit_secret(key: KeyPair, plan: Hash) -> bytes:
    """Return the 32 bytes behind the salts of a device's rows and states under an audited plan."""
    return digest(_DOMAIN_AUDIT, key.seed, plan)


def commit_to_data(data: Dataset, key: KeyPair, plan: Hash) -> Hash:
    """Return the digest of the encoded rows under the salt that this key and plan give."""
    salt = digest(_DOMAIN_SALT, key.seed, plan)
    if isinstance(data, DenseData):
        parts = [data.x.tobytes(), data.y.tobytes()]
    else:
        parts = [data.indptr.tobytes(), data.indices.tobytes(), data.values.tobytes(), data.y.tobytes()]
    return digest(_DOMAIN_COMMITMENT, salt, *parts)
