"""Plans compiled for execution, kept by their bytes: compiling is pure, so a cache cannot change a verdict."""

from functools import lru_cache

from chain.ids import Hash
from consensus.state import document_key, need_bytes
from consensus.view import StateView
from fl.plan.schema import decode_plan
from fl.problem import Problem, compile_problem

_KEPT_PROBLEMS = 64


@lru_cache(maxsize=_KEPT_PROBLEMS)
def compile_document(document: bytes) -> Problem:
    """Return the compiled problem of a plan's canonical bytes. Raises ``FLError`` for a plan that cannot be."""
    return compile_problem(decode_plan(document))


def get_problem(view: StateView, plan: Hash) -> Problem:
    """Return the compiled problem of a plan on the chain; ``LookupError`` for an unknown plan."""
    return compile_document(need_bytes(view, document_key(plan)))
