"""What several rules ask."""

from chain.genesis import Rules
from chain.ids import Hash
from consensus.errors import Invalid
from consensus.records import PlanEntry
from consensus.state import get_plan
from consensus.view import StateView


def need_plan(view: StateView, plan: Hash, rule: str) -> PlanEntry:
    """Return a plan's standing; ``Invalid`` if the chain has no such plan."""
    entry = get_plan(view, plan)
    if entry is None:
        raise Invalid(rule, f"no plan {plan.hex()} is on this chain", later=True)
    return entry


def check_payload_size(rules: Rules, size: int, rule: str) -> None:
    """Check a payload's size against the rules; ``Invalid`` if it is too large."""
    if size > rules.max_payload_bytes:
        raise Invalid(rule, f"payload of {size} bytes; at most {rules.max_payload_bytes} are allowed")
