"""The job of a node that fetches a state: check a piece of it against the root that a header commits to."""

from chain.codec import decode
from chain.errors import CodecError
from consensus.snapshot import Chunk, ChunkError, check_chunk
from node.jobs.control import JobControl
from node.jobs.results import JobResult, PieceChecked, PieceRefused
from node.jobs.specs import CheckPiece
from node.world import World

_MAX_BYTES = 256 * 1024


def check_piece(spec: CheckPiece, world: World, control: JobControl) -> JobResult:
    """Return what a piece holds, with the tree's nodes over it, or what is wrong with it."""
    try:
        chunk = decode(spec.data, Chunk, _MAX_BYTES)
        checked = check_chunk(spec.root, spec.asked, chunk)
    except CodecError as error:
        return PieceRefused(f"it is no piece of a state: {error}")
    except ChunkError as error:
        return PieceRefused(str(error))
    return PieceChecked(checked.prefix, checked.node, (*chunk.items, *checked.nodes), chunk.large)
