"""The search in plain Python: what ``consensus.pow.search`` must equal, readable and slow."""

from hashlib import sha256

from consensus.pow.fields import SEAL_BYTES


def compute_work_hash(seal_digest: bytes, nonce: int) -> bytes:
    """Return SHA-256(SHA-256(seal digest ‖ nonce)): the id of the block that this nonce would seal."""
    return sha256(sha256(seal_digest + nonce.to_bytes(SEAL_BYTES, "big")).digest()).digest()


def search_chunk(seal_digest: bytes, target: int, start_nonce: int, count: int) -> int | None:
    """Return the first of ``count`` nonces from ``start_nonce`` on (below 2**64) whose hash is at most ``target``."""
    for nonce in range(start_nonce, min(start_nonce + count, 2**64)):
        if int.from_bytes(compute_work_hash(seal_digest, nonce), "big") <= target:
            return nonce
    return None
