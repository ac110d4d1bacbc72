"""A plan owner's holdout sets on disk: one directory a set under ``holdout/``, one file a chunk, for its owner's eyes.

Salts and rows stay secret until the chain asks for a chunk: who knows them can train for the test.
"""

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import MAX_OBJECT_BYTES, Record, decode, encode
from chain.errors import CodecError
from chain.ids import HashField
from chain.payload import MAX_PAYLOAD_BYTES
from fl.holdout import HoldoutSet
from fl.plan.dimensions import holdout_policy
from fl.plan.schema import Plan
from node.world import OpenedChunk
from storage.errors import DamagedError
from storage.files import write_file

DIRECTORY: Final = "holdout"
_MAX_FILE: Final = MAX_PAYLOAD_BYTES + MAX_OBJECT_BYTES


class _KeptChunk(Record):
    salt: Annotated[bytes, Meta(min_length=16, max_length=32)]
    proof: tuple[HashField, ...]
    payload: bytes


def save_holdout(home: Path, holdout: HoldoutSet) -> None:
    """Keep a committed set in a data directory, where the node that submitted its plan finds it. Twice does no harm."""
    directory = home / DIRECTORY / holdout.root.hex()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    chunks = zip(holdout.salts, holdout.proofs, holdout.payloads, strict=True)
    for number, (salt, proof, payload) in enumerate(chunks):
        write_file(_chunk_file(directory, number), encode(_KeptChunk(salt, proof, payload)))


def _chunk_file(directory: Path, number: int) -> Path:
    return directory / f"{number:06d}.chunk"


class FileHoldout:
    """The sets kept in a data directory (``node.world.HoldoutSource``)."""

    def __init__(self, home: Path) -> None:
        self._directory = home / DIRECTORY

    def open(self, plan: Plan, chunk: int) -> OpenedChunk | None:
        """Return a chunk of the plan's holdout set; None if it is not kept here."""
        policy = holdout_policy(plan)
        if policy is None:
            return None
        path = _chunk_file(self._directory / policy.root.hex(), chunk)
        try:
            kept = decode(path.read_bytes(), _KeptChunk, _MAX_FILE)
        except FileNotFoundError:
            return None
        except CodecError as error:
            raise DamagedError(f"{path} is damaged: {error}; make the holdout set again (plan submit)") from None
        return OpenedChunk(kept.salt, kept.proof, kept.payload)
