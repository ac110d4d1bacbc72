"""How long a large value of the state can be, by what stands under its key: who claims more is a liar at once.

Without this a full node could name 64 MiB (the longest payload of any network) for a model of a kilobyte, and be found
out only when all of it is here. A plan's document is as long as a transaction may carry; its model and what a phase
carries over to the next follow from the document, which is fetched before them.

Rules of this file: no peers; it reads what is proven.
"""

from functools import lru_cache
from typing import Final

from chain.ids import ZERO_HASH, Hash
from chain.transaction import MAX_PLAN_BYTES
from consensus.statekeys import carry_key, document_key, model_key
from fl.plan.dimensions import parameter_count
from fl.plan.schema import decode_plan
from node.light.proven import ProvenState

_ID: Final = len(ZERO_HASH)
_DOCUMENT, _MODEL, _CARRY = (key(ZERO_HASH)[:-_ID] for key in (document_key, model_key, carry_key))
_MODEL_BYTES: Final = 8
"""A parameter: an int64."""
_CARRY_BYTES: Final = 32
"""A parameter: a sum of 16 bytes, and two counts of 8 for its feature."""
_CARRY_ROOM: Final = 4096
_OTHERS: Final = 1 << 20
"""For every other value that is too long for a proof: lists of accounts, records of rounds."""


def find_document_key(key: bytes) -> bytes | None:
    """Return the key of the document that says how long the value under ``key`` is; None if none is needed."""
    is_sized_by_plan = key[:-_ID] in (_MODEL, _CARRY)
    return document_key(Hash(key[-_ID:])) if is_sized_by_plan else None


def find_most_bytes(key: bytes, state: ProvenState) -> int | None:
    """Return how long the value under ``key`` can be; None while the document that tells is not here."""
    document = find_document_key(key)
    if document is None:
        return MAX_PLAN_BYTES if key[:-_ID] == _DOCUMENT else _OTHERS
    data = state.known().get(document)
    if data is None:
        return None
    count = _count_parameters(data)
    return count * _MODEL_BYTES if key[:-_ID] == _MODEL else count * _CARRY_BYTES + _CARRY_ROOM


@lru_cache(maxsize=8)
def _count_parameters(document: bytes) -> int:
    return parameter_count(decode_plan(document))
