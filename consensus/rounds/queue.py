"""The lists that plans stand in: all that are active, those with a deadline at a height, those that wait to settle.

A block looks at the last two alone. The active plans are a ring of links, deadlines stand under counted keys by
height: to enter or to leave costs the same however many plans there are.
"""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from chain.ids import ZERO_HASH, Hash, Height
from consensus.ledger import Ledger
from consensus.state import Ids, get_link, get_ready, need_bytes, put_record
from consensus.statekeys import READY_KEY, active_key, due_at_key, due_key, number_key


def enter_active(ledger: Ledger, plan: Hash) -> None:
    """Put a new plan at the end of the active plans."""
    end = get_link(ledger.view, ZERO_HASH)
    _link(ledger, end.before, plan)
    _link(ledger, plan, ZERO_HASH)


def leave_active(ledger: Ledger, plan: Hash) -> None:
    """Take a plan that has ended out of the active plans."""
    place = get_link(ledger.view, plan)
    _link(ledger, place.before, place.after)
    ledger.view.put(active_key(plan), None)


def _link(ledger: Ledger, first: Hash, second: Hash) -> None:
    """Make two plans neighbours."""
    put_record(ledger.view, active_key(first), replace(get_link(ledger.view, first), after=second))
    put_record(ledger.view, active_key(second), replace(get_link(ledger.view, second), before=first))


def put_due(ledger: Ledger, plan: Hash, height: Height) -> None:
    """Note that a plan has a deadline at a height to come. It is never taken back: it may be overtaken."""
    count = int.from_bytes(ledger.view.get(due_key(height)) or b"", "big")
    ledger.view.put(due_at_key(height, count), plan)
    ledger.view.put(due_key(height), number_key(count + 1))


def take_due(ledger: Ledger) -> list[Hash]:
    """Return the plans that have (had) a deadline at this block's height, and remove the note of it."""
    height = ledger.context.height
    count = int.from_bytes(ledger.view.get_once(due_key(height)) or b"", "big")
    plans = [Hash(need_bytes(ledger.view, due_at_key(height, number))) for number in range(count)]
    for number in range(count):
        ledger.view.put(due_at_key(height, number), None)
    ledger.view.put(due_key(height), None)
    return plans


def put_ready(ledger: Ledger, plans: Sequence[Hash]) -> None:
    """Put plans among those that wait to settle; all at once, for the list is rewritten."""
    if plans:
        put_record(ledger.view, READY_KEY, Ids(tuple(sorted([*get_ready(ledger.view), *plans]))))


def drop_ready(ledger: Ledger, plans: Collection[Hash]) -> None:
    """Take plans off those that wait to settle; their phases have settled."""
    if plans:
        left = tuple([other for other in get_ready(ledger.view) if other not in plans])
        put_record(ledger.view, READY_KEY, Ids(left))
