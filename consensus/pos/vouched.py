"""Headers that a finality certificate vouches for by their links alone: more than two thirds of the stake had them.

A header's id covers its parent's id, so whoever trusts the id of an epoch's last block trusts every header down to the
one it stands on that is known. No seal is checked for them, no VRF: that is what makes a long way quick.
"""

from collections.abc import Callable, Sequence

from chain.block import Header, block_id
from chain.ids import Hash


def find_vouched(
    headers: Sequence[Header],
    epoch_blocks: int,
    boundary_at: Callable[[int], Hash | None],
    noted_at: Callable[[int], Hash | None] = lambda height: None,
) -> frozenset[Hash]:
    """Return the ids of those headers that a final boundary block among them is, or stands on.

    ``boundary_at`` returns the id of the final block at a boundary height, None if none is proven; ``noted_at`` that of
    a block at any height that is trusted for another reason. The headers stand in ascending order, as peers send them.
    """
    vouched: set[Hash] = set()
    linked: Hash | None = None
    for header in reversed(headers):
        at_boundary = header.height > 0 and header.height % epoch_blocks == 0
        noted = noted_at(header.height)
        if linked is None and not at_boundary and noted is None:
            continue
        id = block_id(header)
        if id in (linked, noted) or (at_boundary and boundary_at(header.height) == id):
            vouched.add(id)
            linked = header.parent
    return frozenset(vouched)
