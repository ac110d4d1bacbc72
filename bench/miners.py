"""Miners in virtual time: the real engine's header rules, drawn block times, and lines that take as long as they take.

Nothing but headers: no bodies, peers or nodes, so that thousands of blocks among several miners take seconds. Finding a
block is drawn (it has no memory), its seal is then searched for in earnest at a difficulty that costs microseconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import exp
from random import Random
from typing import Final

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.genesis import Genesis
from chain.genesis_default import default_genesis, default_rules
from chain.ids import AccountId, Hash, Height, Millis
from consensus.engine import Engine
from consensus.engines import make_engine
from consensus.headertree import HeaderTree, Outcome
from consensus.transition import genesis_block

START: Final = 1_700_000_000_000
HASHES: Final = 64
"""Hashes a block takes at first, in earnest: nothing."""


def make_genesis(version: int, block_ms: int, half_life_blocks: int = 288) -> Genesis:
    """Return a network whose first target fits the miners of ``run_miners`` together."""
    return default_genesis(
        "miners",
        {},
        time_ms=START,
        block_ms=block_ms,
        hashes_per_block=HASHES,
        half_life_ms=half_life_blocks * block_ms,
        max_reorg=10**6,
        rules=replace(default_rules(), version=version),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A block that somebody found."""

    id: Hash
    height: int
    time_ms: float
    parent: Hash
    weight: int
    """The hashes it takes on average."""


@dataclass(frozen=True, slots=True)
class Run:
    """All blocks that were found, in order, and the ids of the main chain's."""

    found: tuple[Found, ...]
    main: frozenset[Hash]
    miners: int
    delay_ms: float

    def after(self, height: int) -> "Run":
        """Return the part above a height: what is measured when all has settled."""
        return Run(tuple([one for one in self.found if one.height > height]), self.main, self.miners, self.delay_ms)

    def span_ms(self) -> float:
        """Return the time that this part took."""
        return self.found[-1].time_ms - self.found[0].time_ms

    def interval_ms(self) -> float:
        """Return the mean time between two blocks of the main chain."""
        return self.span_ms() / sum(one.id in self.main for one in self.found)

    def stale_share(self) -> float:
        """Return the share of the blocks found that are not on the main chain."""
        return sum(one.id not in self.main for one in self.found) / len(self.found)

    def fork_rate(self) -> float:
        """Return the share of the main chain's heights at which more than one block was found."""
        heights: dict[int, int] = {}
        for one in self.found:
            heights[one.height] = heights.get(one.height, 0) + 1
        return sum(count > 1 for count in heights.values()) / len(heights)

    def chain(self) -> list[Found]:
        """Return the main chain's blocks, the lowest first."""
        return [one for one in self.found if one.id in self.main]

    def expected_fork_rate(self) -> float:
        """Return 1 − e^(−λ(N−1)δ): the chance that another miner finds a block before it hears of one."""
        return 1 - exp(-self.rate_of_one() * (self.miners - 1) * self.delay_ms)

    def rate_of_one(self) -> float:
        """Return λ: the blocks that one miner finds in a ms."""
        return len(self.found) / self.span_ms() / self.miners


class Miner:
    """Somebody with a share of the hashing power and a view of its own."""

    def __init__(self, number: int, engine: Engine, genesis: Genesis) -> None:
        self.account = AccountId(number.to_bytes(32, "big"))
        self.tree = HeaderTree(engine, genesis_block(genesis).header)
        self.engine = engine
        self.genesis = genesis
        self.search = 0

    def draft(self, now_ms: float) -> Header:
        """Return the candidate it works on now."""
        parent = self.tree.best()
        above = self.tree.header(parent)
        assert above is not None
        prepared = self.engine.prepare(self.tree, parent, Millis(int(now_ms)))
        height = Height(above.height + 1)
        return replace(
            above,
            version=self.genesis.rules_at(height).version,
            height=height,
            parent=parent,
            time_ms=prepared.time_ms,
            producer=self.account,
            engine=prepared.engine,
            seal=b"",
        )

    def hear(self, header: Header, now_ms: float) -> bool:
        """Take a header; is the best chain another one now?"""
        before = self.tree.best()
        offered = self.tree.accept(header, Millis(int(now_ms)))
        assert offered[0].outcome in (Outcome.ADDED, Outcome.ORPHAN), offered[0]
        return self.tree.best() != before


def run_miners(
    genesis: Genesis,
    *,
    miners: int,
    delay_ms: float,
    blocks: int,
    seed: int,
    power: Callable[[int], float] = lambda height: 1.0,
) -> Run:
    """Let equal miners find a main chain of so many blocks; a block is with all others after ``delay_ms``.

    All miners together find a block in ``block_ms`` at the first target; ``power`` multiplies that by height.
    """
    random = Random(seed)
    engine = make_engine(genesis)
    crew = [Miner(number + 1, engine, genesis) for number in range(miners)]
    rate = HASHES / genesis.engine.block_ms / miners
    queue: list[tuple[float, int, int, Header | None, int]] = []
    found: list[Found] = []
    order = 0

    def put(at: float, miner: int, header: Header | None, search: int) -> None:
        nonlocal order
        order += 1
        heappush(queue, (at, order, miner, header, search))

    def begin(miner: int, now: float) -> None:
        crew[miner].search += 1
        draft = crew[miner].draft(now)
        mean = engine.fork_weight(draft) / (rate * power(draft.height))
        put(now + random.expovariate(1 / mean), miner, None, crew[miner].search)

    for number in range(miners):
        begin(number, float(START))
    highest = 0
    while highest < blocks:
        now, _, number, header, search = heappop(queue)
        miner = crew[number]
        if header is not None:
            if miner.hear(header, now):
                begin(number, now)
        elif search == miner.search:
            draft = miner.draft(now)
            seal = engine.seal(draft, lambda: False)
            assert seal is not None
            block = replace(draft, seal=seal)
            found.append(Found(block_id(block), block.height, now, Hash(block.parent), engine.fork_weight(block)))
            highest = max(highest, block.height)
            miner.hear(block, now)
            begin(number, now)
            for other in range(miners):
                if other != number:
                    put(now + delay_ms, other, block, 0)
    return Run(tuple(found), _main_chain(found), miners, delay_ms)


def _main_chain(found: Sequence[Found]) -> frozenset[Hash]:
    """Return the ids of the longest chain's blocks."""
    by_id = {one.id: one for one in found}
    one = max(found, key=lambda each: each.height)
    main = {one.id}
    while one.parent in by_id:
        one = by_id[one.parent]
        main.add(one.id)
    return frozenset(main)
