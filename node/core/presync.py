"""Proof of work before storing: a stranger's chain of headers is judged in passing until it is worth keeping.

A header costs its sender next to nothing where the target is easy, at the beginning of a chain above all; kept, it
costs memory and disk for good. So headers are stored only if the chain they belong to is proven to weigh what is
needed: nearly as much as the head's, or a configured minimum. (The idea is Bitcoin Core's since version 24.)

    first time    each header is judged by the engine against a window of the last ones and forgotten again; of every
                  ``RUN`` headers the last id is noted. A chain that ends too light leaves nothing behind.
    second time   the same headers are asked for again, and handed on a run at a time, once the run ends in the id that
                  was noted: by its links it is the chain that was judged.

Where the first answer already proves enough, as it does for every honest peer of a node that is not far behind, what it
proves is handed on at once. Memory: the window, 32 bytes a run, and in the second pass one run.
"""

from collections import OrderedDict
from typing import Final

from chain.block import Header, block_id
from chain.genesis import Genesis, PowParameters
from chain.ids import Hash, Height, Millis
from consensus.engine import Engine, Verdict
from consensus.headertree import HeaderTree
from consensus.otherrules import find_rules_gap
from consensus.past import NO_HEADERS
from node.world import World
from p2p.access import TrialStep

RUN: Final = 1024
"""Headers of the chain between two ids that are noted."""
MAX_RUNS: Final = 16_384
"""Runs at most: a chain of 16 million headers that is still too light is given up."""
SLACK_BLOCKS: Final = 144
"""A branch may weigh less than the head's chain by what so many of its last blocks weigh (Bitcoin Core's number)."""
_WINDOW: Final = 1024
"""Headers that are at hand in the first pass; an engine looks 128 back and at siblings beside the last ones."""
_MAX_BUFFER: Final = 4 * RUN
"""Headers of one run at most, with the siblings named in it."""


def work_needed(world: World, tree: HeaderTree, minimum: int) -> int:
    """Return what a chain of headers must weigh to be stored; 0 under an engine whose headers voters vouch for."""
    if not isinstance(world.genesis.engine, PowParameters):
        return 0
    height = max(0, tree.height(tree.head) - SLACK_BLOCKS)
    return max(minimum, tree.weight_at(Height(height)))


class Window:
    """The last headers of a chain that is not in the tree, as its engine reads them; below them, the tree."""

    def __init__(self, tree: HeaderTree, start: Header) -> None:
        self._tree = tree
        self._start = start
        self._start_id = block_id(start)
        self._headers: OrderedDict[Hash, Header] = OrderedDict()
        self._ids: dict[int, Hash] = {}
        self.tip: Hash = self._start_id

    def add(self, id: Hash, header: Header) -> None:
        """Add a header that was judged; if it stands on the tip, it is the tip."""
        self._headers[id] = header
        if header.parent == self.tip:
            self.tip = self._ids[header.height] = id
        if len(self._headers) > _WINDOW:
            old, dropped = self._headers.popitem(last=False)
            if self._ids.get(dropped.height) == old:
                del self._ids[dropped.height]

    def header(self, id: Hash) -> Header | None:
        """Return a header of the window or the tree."""
        return self._headers.get(id) or self._tree.header(id)

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return the ancestor of a header of the window's chain, or of the tree."""
        own = self._headers.get(id)
        if own is None:
            return self._tree.ancestor(id, height)
        if height > own.height:
            return None
        if height <= self._start.height:
            return self._tree.ancestor(self._start_id, height)
        found = id if height == own.height else self._ids.get(height)
        return None if found is None else self._headers.get(found)

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return nothing: nobody builds here."""
        return ()

    def decided_height(self, id: Hash) -> Height:
        """Return 0: no certificate decides what is not in the tree."""
        return Height(0)


class HeaderTrial:
    """One peer's chain of headers on trial (``p2p.access.HeaderTrial``). ``needed`` is what it must weigh."""

    def __init__(self, genesis: Genesis, engine: Engine, tree: HeaderTree, needed: int) -> None:
        self._genesis = genesis
        self._engine = engine
        self._tree = tree
        self._needed = needed
        self._window: Window | None = None
        self._start: Hash | None = None
        self._weight = 0
        self._count = 0
        self._noted: list[Hash] = []
        self._is_proven = False
        self._buffer: list[Header] = []
        self._beside: dict[Hash, Header] = {}
        self._at: Hash | None = None

    def locator(self) -> tuple[Hash, ...]:
        """Return where to go on asking; nothing if no chain is on trial."""
        if self._start is None:
            return ()
        at = self._at if self._is_proven or self._window is None else self._window.tip
        return (self._start,) if at is None or at == self._start else (at, self._start)

    def take(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        """Take an answer; return what to hand on and whether to go on asking."""
        if self._is_proven:
            return self._release(headers, more)
        if self._window is None:
            step = self._weigh(headers, now)
            if step is not None:
                return step
        return self._judge(headers, more, now)

    # --- does the first answer prove enough? -------------------------------------------------------

    def _weigh(self, headers: tuple[Header, ...], now: Millis) -> TrialStep | None:
        """Hand on what costs enough, if anything does; else None, and the trial begins where they do.

        What one header proves says nothing of those beside it: only what it stands on and refers to comes with it.
        """
        weights: dict[Hash, int] = {}
        start: Hash | None = None
        for header in headers:
            below = weights.get(header.parent)
            if below is None and header.parent in self._tree:
                below, start = self._tree.weight(header.parent), start or header.parent
            if below is None:
                continue  # it waits for another header or is too deep: neither is ever stored for that
            if below < self._needed:
                verdict = self._engine.check_header(NO_HEADERS, header, now)
                if verdict.verdict is Verdict.INVALID:
                    return TrialStep((), fault=f"header {block_id(header).hex()}: {verdict.reason}")
                if find_rules_gap(self._genesis, header) is None:  # of others nobody here can read the work
                    below += self._engine.fork_weight(header)
            weights[block_id(header)] = below
        if start is None:
            return TrialStep(headers)
        heavy = self._find_heavy(headers, weights)
        if heavy:
            return TrialStep(heavy)
        first = self._tree.header(start)
        assert first is not None  # it is in the tree
        self._start, self._window, self._weight = start, Window(self._tree, first), self._tree.weight(start)
        return None

    def _find_heavy(self, headers: tuple[Header, ...], weights: dict[Hash, int]) -> tuple[Header, ...]:
        """Return the headers whose chains weigh enough, with those below them and those that they refer to."""
        needed: set[Hash] = set()
        heavy: list[Header] = []
        for header in reversed(headers):
            id = block_id(header)
            if weights.get(id, -1) >= self._needed or id in needed:
                heavy.append(header)
                needed.update((header.parent, *self._engine.references(header)))
        return tuple(reversed(heavy))

    # --- the first time ---------------------------------------------------------------------------

    def _judge(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        """Judge headers in passing."""
        window = self._window
        assert window is not None
        for header in headers:
            id = block_id(header)
            verdict = self._engine.check_header(window, header, now)
            if verdict.verdict is Verdict.INVALID:
                return TrialStep((), fault=f"header {id.hex()}: {verdict.reason}")
            if not verdict.is_valid:
                return TrialStep(())  # nothing follows that could be judged
            window.add(id, header)
            if window.tip != id:
                continue  # a stale one that the chain refers to
            self._weight += self._engine.fork_weight(header)
            self._count += 1
            if self._count % RUN == 0:
                self._noted.append(id)
            if self._weight >= self._needed:
                self._begin_again(id)
                return TrialStep((), goes_on=True)
        return TrialStep((), goes_on=more and len(self._noted) < MAX_RUNS)

    def _begin_again(self, end: Hash) -> None:
        """Have the chain that was proven from its start once more."""
        if not self._noted or self._noted[-1] != end:
            self._noted.append(end)
        self._noted.reverse()
        self._window = None
        self._is_proven, self._at, self._count = True, self._start, 0

    # --- the second time --------------------------------------------------------------------------

    def _release(self, headers: tuple[Header, ...], more: bool) -> TrialStep:
        """Hand on the runs that end in the id that was noted, with the stale headers that they refer to."""
        released: list[Header] = []
        for header in headers:
            if header.parent != self._at:
                self._beside[block_id(header)] = header
                continue
            self._at = block_id(header)
            named = [self._beside.pop(id, None) for id in self._engine.references(header)]
            self._buffer += [*sorted(filter(None, named), key=lambda each: each.height), header]
            if not self._noted:
                continue  # all is proven: this stands on it
            self._count += 1
            if self._at == self._noted[-1]:
                self._noted.pop()
                released += self._buffer
                self._buffer = []
            elif self._count % RUN == 0:
                return TrialStep(tuple(released))  # another chain than was judged
        if not self._noted:
            return TrialStep((*released, *self._buffer))
        goes_on = more and len(self._buffer) + len(self._beside) <= _MAX_BUFFER
        return TrialStep(tuple(released), goes_on=goes_on)
