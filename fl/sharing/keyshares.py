"""A key kept by several: any ``threshold`` of the shares give it back to its owner, fewer say nothing.

What is shared is a random scalar (``fl.secure.feldman``), whose digest closes the key's seed (AES-256-GCM); the closed
seed goes with every share. So a wrong share is found out, and its holder named, before the key is made of it.

Rules of this file: pure; what strangers send gives a fault in words or ``ShareError``.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import AccountField, AccountId
from chain.keys import SEED_BYTES, KeyPair
from fl.errors import ShareError
from fl.secure import feldman
from fl.secure.curve import Random, random_scalar, read_scalar, scalar_bytes
from fl.sharing.group import MAX_GATEWAYS

_DOMAIN: Final = b"fedchain/key-share"
_LOCKED: Final = SEED_BYTES + 16
MAX_SHARE_BYTES: Final = 2048


class KeyShare(Record):
    """One share of a key, and all that is needed to check it."""

    account: AccountField
    threshold: Annotated[int, Meta(ge=2, le=MAX_GATEWAYS)]
    commitment: Annotated[bytes, Meta(max_length=32 * (MAX_GATEWAYS + 1))]
    locked: Annotated[bytes, Meta(min_length=_LOCKED, max_length=_LOCKED)]
    number: Annotated[int, Meta(ge=1, le=MAX_GATEWAYS)]
    share: Annotated[bytes, Meta(min_length=32, max_length=32)]


def split_key(key: KeyPair, threshold: int, count: int, random: Random) -> list[bytes]:
    """Return ``count`` shares of a key. ``ShareError`` unless 2 <= threshold <= count <= 32."""
    if not 2 <= threshold <= count <= MAX_GATEWAYS:
        raise ShareError(
            f"{threshold} of {count} shares are to give the key back: it must be 2 or more, for one alone is the key, "
            f"of at most {MAX_GATEWAYS}"
        )
    secret = random_scalar(random)
    shares, commitment = feldman.split(secret, threshold, count, random)
    locked = AESGCM(_key(secret, key.account)).encrypt(bytes(12), key.seed, None)
    return [
        encode(KeyShare(key.account, threshold, commitment, locked, number, scalar_bytes(share)))
        for number, share in enumerate(shares, 1)
    ]


def _key(secret: int, account: AccountId) -> bytes:
    """Return the key that closes a seed: it closes nothing else, so a constant nonce does."""
    return digest(_DOMAIN, scalar_bytes(secret), account)


def read_key_share(data: bytes) -> KeyShare | str:
    """Return a share that is right by its own commitment; a fault in words for anything else."""
    try:
        share = decode(data, KeyShare, MAX_SHARE_BYTES)
    except CodecError as error:
        return str(error)
    count = len(share.commitment) // 32 - 1
    if not feldman.is_commitment(share.commitment, share.threshold, count):
        return "its commitment gives no single secret"
    value = read_scalar(share.share)
    if value is None or not feldman.check_share(share.number, value, share.commitment):
        return f"the share with number {share.number} is wrong"
    return share


def join_key(shares: Sequence[tuple[str, bytes]]) -> KeyPair:
    """Return the key of enough right shares, each with the name of who gave it. ``ShareError`` names who gave none."""
    read = [(name, read_key_share(data)) for name, data in shares]
    faults = [f"{name}: {found}" for name, found in read if isinstance(found, str)]
    right = [(name, found) for name, found in read if not isinstance(found, str)]
    sharings = Counter((one.account, one.threshold, one.commitment, one.locked) for _, one in right)
    if not sharings:
        raise ShareError("; ".join(["no right share", *faults]))
    (account, threshold, commitment, locked), _ = sharings.most_common(1)[0]
    faults += [f"{name}: a share of something else" for name, one in right if one.commitment != commitment]
    kept = {one.number: int.from_bytes(one.share, "little") for _, one in right if one.commitment == commitment}
    if len(kept) < threshold:
        raise ShareError("; ".join([f"{len(kept)} right shares of {threshold} that are needed", *faults]))
    secret = feldman.reconstruct(kept, threshold, commitment)
    try:
        key = KeyPair(AESGCM(_key(secret, AccountId(account))).decrypt(bytes(12), locked, None))
    except InvalidTag:
        raise ShareError("the shares do not open what is closed with them: it was exchanged") from None
    if key.account != account:
        raise ShareError("the shares hold the key of another account than they say")
    return key
