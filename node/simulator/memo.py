"""What machines of one world would compute alike, computed once: blocks executed on equal states.

Rules of this file: only pure results are kept, under everything they depend on. A machine whose state is not the one
the first had (its root differs) or whose payloads are not all there computes for itself. That a world without this
memory runs alike, effect for effect, is a test.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, cast

from chain.ids import Hash
from consensus.tree import get_root
from node.jobs.control import JobControl
from node.jobs.results import BranchExecuted, JobResult
from node.jobs.run import run_job
from node.jobs.specs import ExecuteBranch
from node.world import World
from storage.base import PayloadStore

_KEPT: Final = 4096

_Key = tuple[Hash, Hash, tuple[bytes, ...], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class _Known:
    """A result, and the payloads that were read for it."""

    result: BranchExecuted
    payloads: frozenset[Hash]


class _Noting:
    """The payloads as an execution asks for them, with a note of which."""

    def __init__(self, payloads: PayloadStore) -> None:
        self.asked: set[Hash] = set()
        self._payloads = payloads

    def payload(self, id: Hash, /) -> bytes | None:
        """Return the payload."""
        self.asked.add(id)
        return self._payloads.payload(id)


class Memo:
    """The memory of one world. ``hits`` counts what was not computed again."""

    def __init__(self) -> None:
        self.hits = 0
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    def run(self, spec: ExecuteBranch, world: World, control: JobControl) -> JobResult:
        """Return what ``run_job`` does."""
        with world.store.view() as view:
            if view.tip != spec.base:
                return run_job(spec, world, control)
            key = (get_root(view), Hash(spec.base), spec.undo, spec.blocks)
        known = self._known.get(key)
        if known is not None and all(map(world.payloads.has, known.payloads)):
            self.hits += 1
            return known.result
        noting = _Noting(world.payloads)
        result = run_job(spec, replace(world, payloads=cast(PayloadStore, noting)), control)
        if isinstance(result, BranchExecuted) and result.lacking is None:
            self._known[key] = _Known(result, frozenset(noting.asked))
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return result
