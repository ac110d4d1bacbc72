"""Plans compiled for execution, kept by their ids: compiling is pure, so a cache cannot change a verdict.

A plan's id is the digest of its bytes. Keeping by id spares a block that carries thousands of updates of a long plan
the reading and comparing of its bytes for every one of them.
"""

from collections import OrderedDict
from functools import lru_cache
from threading import Lock

from chain.ids import Hash
from consensus.state import need_bytes
from consensus.statekeys import document_key
from consensus.view import StateView
from fl.plan.schema import decode_plan
from fl.problem import Problem, compile_problem

_KEPT_PROBLEMS = 1024
_KEPT_BYTES = 1 << 26
"""Bytes of the plans that are kept compiled, all together; compiled they take up to twenty times as much."""


@lru_cache(maxsize=8)
def compile_document(document: bytes) -> Problem:
    """Return the compiled problem of a plan's canonical bytes. Raises ``FLError`` for a plan that cannot be."""
    return compile_problem(decode_plan(document))


class ProblemCache:
    """Compiled problems of plans on the chain, least recently used first out; threads may share it."""

    def __init__(self, most: int = _KEPT_PROBLEMS, most_bytes: int = _KEPT_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[Hash, tuple[Problem, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self._last: tuple[Hash, Problem] | None = None
        """The one used last: it stands at the end of the row."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, view: StateView, plan: Hash) -> Problem:
        """Return the compiled problem of a plan on the chain; ``LookupError`` for one that is not."""
        last = self._last
        if last is not None and last[0] == plan:
            return last[1]
        with self._lock:
            found = self._kept.get(plan)
            if found is not None:
                self._kept.move_to_end(plan)
                self._last = plan, found[0]
                return found[0]
        document = need_bytes(view, document_key(plan))
        problem = compile_document(document)
        with self._lock:
            if plan not in self._kept:
                self._kept[plan] = problem, len(document)
                self._bytes += len(document)
            self._last = plan, problem
            while len(self._kept) > self._most or (self._bytes > self._most_bytes and len(self._kept) > 1):
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return problem


_CACHE = ProblemCache()


def get_problem(view: StateView, plan: Hash) -> Problem:
    """Return the compiled problem of a plan that is known to be on the chain."""
    return _CACHE.get(view, plan)
