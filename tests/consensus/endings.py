"""How plans end in tests: what happened, and that nothing is left of a plan that is over."""

from chain.ids import Hash
from consensus.events import LedgerEvent
from consensus.queries import get_open_task, get_supply
from tests.consensus.harness import Chain


def kinds(events: tuple[LedgerEvent, ...]) -> list[type]:
    """Return the kinds of events, in order."""
    return [type(event) for event in events]


def ended(chain: Chain, plan: Hash, status: str, reason: str) -> None:
    """The plan has ended so, and nothing of its escrow or its open task is left."""
    entry = chain.entry(plan)
    assert (entry.status, entry.reason) == (status, reason)
    assert (entry.funds.total, get_supply(chain).escrowed) == (0, 0)
    assert get_open_task(chain, plan) is None
    left = {key.split(b"/")[1] for key in chain.state if key.startswith(b"s/") and plan in key}
    assert left <= {b"plan", b"document", b"model", b"enrolment", b"enrolled", b"history"}
    assert chain.audit().is_conserved
