"""What proof of stake writes into a header, and the beacon that its producer moves on.

The engine field places a block in its epoch and view and carries the producer's VRF proof. The seal is the leader's
signature. Nothing in here can be chosen freely: the view decides the producer, the producer's key decides the proof.
"""

from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from chain.block import Header, seal_digest
from chain.codec import Record, decode
from chain.genesis import Genesis
from chain.hashing import digest
from chain.ids import Hash, HashField, Natural

_REMEMBERED_BYTES: Final = 512
SEAL_BYTES: Final = 64
"""A seal is an Ed25519 signature."""
PROOF_BYTES: Final = 80
"""An ECVRF proof (RFC 9381)."""
DOMAIN_BEACON: Final = b"fedchain/pos-beacon"
DOMAIN_FIRST_MIX: Final = b"fedchain/pos-first-mix"
DOMAIN_MIX: Final = b"fedchain/pos-mix"
DOMAIN_SEAL: Final = b"fedchain/pos-seal"
DOMAIN_TURN: Final = b"fedchain/pos-turn"


class PosFields(Record):
    """The engine field of a proof-of-stake header.

    epoch        (height − 1) // epoch_blocks
    view         1, 2, … within the epoch; the election names its leader, who alone may produce the block
    parent_view  the parent's view if it is of the same epoch, else 0
    proof        the producer's VRF proof over the epoch's seed and the view
    mix          the beacon's state after this block: the parent's, hashed with the VRF's output
    """

    epoch: Natural
    view: Natural
    parent_view: Natural
    proof: Annotated[bytes, Meta(min_length=PROOF_BYTES, max_length=PROOF_BYTES)]
    mix: HashField


def read_fields(header: Header) -> PosFields:
    """Return a header's fields as they stand. ``CodecError`` if malformed, as those of genesis are: it has none."""
    engine = header.engine
    return _read_again(engine) if len(engine) <= _REMEMBERED_BYTES else decode(engine, PosFields)


@lru_cache(maxsize=256)
def _read_again(engine: bytes) -> PosFields:
    return decode(engine, PosFields)


def compute_first_mix(genesis: Genesis) -> Hash:
    """Return the beacon's state at genesis, which is the seed of epoch 0. Whoever writes the genesis can grind it."""
    return digest(DOMAIN_FIRST_MIX, genesis.id)


def compute_mix(before: Hash, output: bytes) -> Hash:
    """Return the beacon's state after a block whose VRF gave ``output`` (64 bytes)."""
    return digest(DOMAIN_MIX, before, output)


def turn_input(seed: Hash, epoch: int, view: int) -> bytes:
    """Return what the leader of a view puts through its VRF."""
    return digest(DOMAIN_TURN, seed, epoch.to_bytes(8, "big"), view.to_bytes(8, "big"))


@lru_cache(maxsize=256)
def seal_message(seed: Hash, header: Header) -> bytes:
    """Return what the leader signs to seal a header (whatever seal it carries is ignored) in the epoch of ``seed``."""
    return digest(DOMAIN_SEAL, seed, seal_digest(header))
