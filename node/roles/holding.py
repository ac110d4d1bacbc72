"""What a device does with data that grow: each plan is trained on the rows as of its join, until it has ended.

Rules of this file: it asks the data; the rows themselves, and how they are kept, are the source's business.
"""

from chain.ids import Hash
from consensus.state import get_enrolment, get_plan
from fl.data.sources import GrowingSource
from node.roles.base import DeviceSurroundings


def has_growing_data(around: DeviceSurroundings) -> bool:
    """May there be other rows tomorrow?"""
    return isinstance(around.world.data, GrowingSource)


def hold_rows(around: DeviceSurroundings, plan: Hash) -> bool:
    """Keep the rows that were read for a plan, durably; False if some went meanwhile: they are to be read again.

    ``DataError`` if they can't serve this device.
    """
    data = around.world.data
    return data.hold(plan, around.account) if isinstance(data, GrowingSource) else True


def release_rows(around: DeviceSurroundings, blocks: int) -> None:
    """Let rows go that are held for plans that ended ``blocks`` ago, or that began so long ago without this device."""
    data, view = around.world.data, around.chain.view
    if not isinstance(data, GrowingSource):
        return
    for plan in sorted(data.held()):
        entry = get_plan(view, plan)
        if entry is None:
            continue
        is_over = 0 < entry.closed <= around.chain.height - blocks
        is_missed = entry.enrol_deadline <= around.chain.height - blocks
        if is_over or (is_missed and get_enrolment(view, plan, around.account) is None):
            data.release(plan)
