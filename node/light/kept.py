"""What a light node writes down of the headers it trusts, so that its next run asks for new ones alone.

    file    8 bytes "fedlight", SHA-256 of the rest, then one canonical ``Kept``

Under proof of work the end of the heaviest chain, as far down as a reorganisation or a rule may reach, and the work
below it; under proof of stake the set of validators of the live epoch and the last final headers. No block, no state.

Rules of this file: the file is the node's own, and what it says was judged when it was written. It is read as if a
stranger had written it all the same: bounded before it is decoded, every field checked, links and checkpoint compared.
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from chain.block import Header, block_id
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.genesis import Genesis, PosParameters
from chain.ids import HashField, HeightField, Natural
from consensus.otherrules import find_rules_gap
from consensus.pos.validators import ValidatorSet
from node.core.checkpoint import Checkpoint
from node.errors import KeptError

MAGIC: Final = b"fedlight"
MAX_HEADERS: Final = 8192
"""Of a longer end nothing is kept: such a network lets chains be reorganised by days."""
MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
MAX_FINAL: Final = 16
"""Final headers remembered: peers serve the state after as many."""
_Weight = Annotated[bytes, Meta(min_length=1, max_length=64)]


class WorkTail(Record, tag="work"):
    """Proof of work: headers of the heaviest chain, each on the one before, the last one its tip.

    Below ``lowest`` nothing is taken back; ``weight`` is the chain's up to the header there, big-endian. ``siblings``
    are the stale headers that these refer to: a later one may be judged by them.
    """

    headers: Annotated[tuple[Header, ...], Meta(min_length=1, max_length=MAX_HEADERS)]
    siblings: Annotated[tuple[Header, ...], Meta(max_length=MAX_HEADERS)]
    lowest: HeightField
    weight: _Weight


class FinalTail(Record, tag="final"):
    """Proof of stake: the newest set of validators, the block it begins after, and the last final headers.

    ``headers`` ascend; the last one was made final in ``epoch`` and ``view``.
    """

    validators: ValidatorSet
    boundary: HashField
    boundary_height: HeightField
    epoch: Natural
    view: Natural
    headers: Annotated[tuple[Header, ...], Meta(min_length=1, max_length=MAX_FINAL)]


class Kept(Record):
    """One of the two, of which network, and under which checkpoint (HEIGHT:HASH, or empty) it was gathered."""

    genesis: HashField
    checkpoint: Annotated[str, Meta(max_length=96)]
    tail: WorkTail | FinalTail

    @property
    def best(self) -> Header:
        """The best header that was trusted."""
        return self.tail.headers[-1]


def write_kept(kept: Kept) -> bytes:
    """Return a file's bytes."""
    data = encode(kept)
    return MAGIC + sha256(data).digest() + data


def read_kept(data: bytes, genesis: Genesis, checkpoint: Checkpoint | None) -> Kept:
    """Return what a file holds, if this node can go on from there. ``KeptError`` says why not."""
    head = len(MAGIC) + 32
    if len(data) > MAX_KEPT_BYTES:
        raise KeptError(f"{len(data)} bytes; at most {MAX_KEPT_BYTES} are allowed")
    if data[: len(MAGIC)] != MAGIC:
        raise KeptError("no headers of a light device")
    if sha256(data[head:]).digest() != data[len(MAGIC) : head]:
        raise KeptError("damaged: its checksum does not match")
    try:
        kept = decode(data[head:], Kept, MAX_KEPT_BYTES)
    except CodecError as error:
        raise KeptError(str(error)) from None
    fault = find_fault(kept, genesis, checkpoint)
    if fault is not None:
        raise KeptError(fault)
    return kept


def find_fault(kept: Kept, genesis: Genesis, checkpoint: Checkpoint | None) -> str | None:
    """Return why a node of this network, with this checkpoint, can't go on from there; None if it can."""
    tail = kept.tail
    if kept.genesis != genesis.id:
        return f"headers of another network, whose genesis is {kept.genesis.hex()}"
    if isinstance(tail, FinalTail) is not isinstance(genesis.engine, PosParameters):
        return "headers of another engine"
    gap = next((header for header in tail.headers if find_rules_gap(genesis, header) is not None), None)
    if gap is not None:
        return f"header {gap.height} follows rules version {gap.version}, and other rules hold there now"
    fault = _find_final_fault(tail) if isinstance(tail, FinalTail) else _find_work_fault(tail)
    return fault or _find_contradiction(kept, checkpoint)


def _find_work_fault(tail: WorkTail) -> str | None:
    first, last = tail.headers[0].height, tail.headers[-1].height
    if any(child.parent != block_id(parent) or child.height != parent.height + 1 for parent, child in _pairs(tail)):
        return "its headers do not stand on each other"
    places = {header.parent: header.height for header in tail.headers}
    if any(places.get(each.parent) != each.height or each.height <= tail.lowest for each in tail.siblings):
        return "a stale sibling in it does not stand on its headers"
    return None if first <= tail.lowest <= last else f"it begins at {first} and ends at {last}, but names {tail.lowest}"


def _find_final_fault(tail: FinalTail) -> str | None:
    if any(first.height >= second.height for first, second in _pairs(tail)):
        return "its final headers do not ascend"
    if tail.headers[-1].height < tail.boundary_height:
        return "its final headers end below the epoch"
    return tail.validators.find_fault()


def _pairs(tail: WorkTail | FinalTail) -> Sequence[tuple[Header, Header]]:
    return list(pairwise(tail.headers))


def _find_contradiction(kept: Kept, checkpoint: Checkpoint | None) -> str | None:
    """Return how the operator's checkpoint speaks against these headers, or that they can't tell."""
    if checkpoint is None or kept.checkpoint == str(checkpoint):
        return None
    tail = kept.tail
    checked = tail.boundary_height if isinstance(tail, FinalTail) else tail.headers[-1].height
    if checkpoint.height > checked:
        return None  # it is looked at when the chain gets there
    contradiction = next(filter(None, map(checkpoint.find_contradiction, tail.headers)), None)
    if contradiction is not None:
        return contradiction
    if isinstance(tail, FinalTail) and checkpoint.height == tail.boundary_height:
        return None if checkpoint.block == tail.boundary else f"its epoch does not begin after checkpoint {checkpoint}"
    is_shown = any(header.height == checkpoint.height for header in tail.headers)
    return None if is_shown else f"it does not reach down to checkpoint {checkpoint}"
