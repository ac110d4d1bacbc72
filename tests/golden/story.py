"""The story that golden chains tell: every kind of transaction, plans that run to their end, stale blocks, a lie.

Written in the words of ``tests.consensus.harness``, but under real headers: the proof-of-work engine prepares and
seals them, and some refer to stale siblings. ``tests.golden.make`` writes what comes of it to files; the tests read
the files and never tell the story again, for the same story told by other code may be another chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from chain.block import Block
from chain.genesis import Genesis, Rules
from chain.genesis_default import default_genesis
from chain.ids import Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import CancelPlan, OpenHoldout, RegisterMiner, RetireMiner, SignedTransaction, Transfer
from chain.update import Attestation, AttestedUpdate
from consensus.context import BlockContext, Execution
from consensus.engines import make_engine
from consensus.headertree import HeaderTree
from consensus.queries import attestations_needed, eligible_miners, expected_opening, get_open_task
from consensus.transition import fill, genesis_block, genesis_execution, make_header
from fl.holdout import commit_holdout
from fl.payload import write_payload
from fl.plan.schema import Dane, FedAvg, Holdout, Timing
from tests.consensus.harness import (
    CHAIN,
    DEVICES,
    MINERS,
    OTHER,
    OWNER,
    START,
    WEALTH,
    Chain,
    make_data,
    make_plan,
    make_rules,
)

BLOCK_MS = 10_000
STALE_AT = (9, 10, 23, 38, 39)
"""Heights at which another block was found too (the last two were not told yet when ``pow-v1`` was written)."""
LIE_AT = 26
"""The height at which somebody also sealed a block whose state root is wrong."""
LENGTH = 48
HOLDOUT = commit_holdout(make_data(OWNER, 30), 3, b"golden")


def make_pow_genesis(*later: Rules) -> Genesis:
    """A genesis of version 1 with real targets, a subsidy that halves, and rules that change at height 30.

    ``later`` are entries of the schedule above that.
    """
    first = make_rules(version=1, stamp_bits=6, subsidy=Amount(1_000_003), subsidy_halving=20)
    second = replace(first, height=Height(30), min_fee_per_byte=2, min_bond=Amount(600), max_block_bytes=3 * 2**19)
    genesis = default_genesis(
        CHAIN,
        {key.account: WEALTH for key in (OWNER, OTHER, *MINERS)},
        time_ms=START,
        block_ms=BLOCK_MS,
        hashes_per_block=64,
        half_life_ms=6 * BLOCK_MS,
        max_reorg=20,
        rules=first,
    )
    return replace(genesis, schedule=(first, second, *later))


def make_upgraded_genesis() -> Genesis:
    """The same network, which goes on under rules version 2 from height 36."""
    last = make_pow_genesis().schedule[-1]
    return make_pow_genesis(replace(last, height=Height(36), version=2))


@dataclass(frozen=True, slots=True)
class Found:
    """A sealed block; ``is_main`` tells whether the story goes on from it."""

    block: Block
    is_main: bool


class GoldenChain(Chain):
    """The harness' chain under headers that its genesis' engine prepared and sealed."""

    def __init__(self, genesis: Genesis) -> None:
        super().__init__()
        self.genesis = genesis
        self.engine = make_engine(genesis)
        self.state, self.blocks = {}, [genesis_block(genesis)]
        self._write(genesis_execution(genesis).delta)
        self.tree = HeaderTree(self.engine, self.blocks[0].header)
        self.found: list[Found] = []

    def _clock(self) -> Millis:
        """A clock that is not even: gaps of 4 to 16 seconds, and one of a minute."""
        height = self.height + 1
        gap = 60_000 if height == 15 else 4_000 + 1_000 * (height * 7 % 13)
        return Millis(self.blocks[-1].header.time_ms + gap)

    def context(self, **changes: object) -> BlockContext:
        parent, height = self.blocks[-1], Height(self.height + 1)
        base = BlockContext(
            chain_id=CHAIN,
            height=height,
            parent_time_ms=parent.header.time_ms,
            time_ms=self.engine.prepare(self.tree, parent.id, self._clock()).time_ms,
            producer=MINERS[height % 3].account,
            beacon=self.engine.beacon(parent.header),
            rules=self.genesis.rules_at(height),
        )
        return replace(base, **changes)

    def mine(self, blocks: int = 1) -> Execution:
        for _ in range(blocks):
            height = self.height + 1
            block, execution = self._seal(self.context(), self.transactions, self.updates)
            if height in STALE_AT or height == LIE_AT:
                other, _ = self._seal(self.context(producer=OTHER.account), (), (), lies=height == LIE_AT)
                self._take(other, is_main=False)
            self._take(block, is_main=True)
            self.transactions, self.updates = [], []
            self._write(execution.delta)
            self.blocks.append(block)
            self.executions.append(execution)
        return self.executions[-1]

    def _seal(
        self,
        context: BlockContext,
        transactions: Sequence[SignedTransaction],
        updates: Sequence[AttestedUpdate],
        *,
        lies: bool = False,
    ) -> tuple[Block, Execution]:
        parent = self.blocks[-1].id
        filling = fill(self, context, transactions, updates, self)
        assert not filling.rejected, filling.rejected
        engine = self.engine.prepare(self.tree, parent, self._clock()).engine
        header = make_header(context, parent, filling.body, filling.execution, engine)
        if lies:
            header = replace(header, state_root=Hash(bytes(31) + b"\1"))
        seal = self.engine.seal(header, lambda: False)
        assert seal is not None
        return Block(replace(header, seal=seal), filling.body), filling.execution

    def _take(self, block: Block, *, is_main: bool) -> None:
        offered = self.tree.accept(block.header, block.header.time_ms)
        assert offered[0].reason == "", offered
        self.found.append(Found(block, is_main))

    # --- what people do ---

    def open_holdout(self, plan: Hash) -> None:
        """The owner opens the chunk that is asked for, if one is."""
        chunk = expected_opening(self, plan, self.context().beacon)
        if chunk is not None:
            ref, number = self.keep(HOLDOUT.payloads[chunk]), self.task(plan).task.round
            self.send(OWNER, OpenHoldout(plan, number, chunk, HOLDOUT.salts[chunk], HOLDOUT.proofs[chunk], ref))

    def work(self, plan: Hash, saboteur: KeyPair | None = None) -> None:
        """Every selected device does its work, attested by the miners whose turn it is; one may do harm."""
        if get_open_task(self, plan) is None:
            return
        for device in self.selected(plan):
            harm = write_payload(np.array([-(9 << 24), 0, 0], dtype=np.int64), 1) if device is saboteur else None
            update, task = self.release(plan, device, harm), self.task(plan)
            eligible = eligible_miners(self, self.context().rules, task, device.account, self.height + 1)
            wanted = eligible[: attestations_needed(self, plan)]
            keys = sorted((key for key in MINERS if key.account in wanted), key=lambda key: key.account)
            self.updates.append(AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in keys)))


def tell(genesis: Genesis) -> GoldenChain:
    """Tell the story on a genesis; every block of it is in ``found``, in the order in which a node hears of them."""
    chain = GoldenChain(genesis)
    chain.send(OWNER, Transfer(OTHER.account, Amount(12_345)))
    chain.send(OWNER, Transfer(OWNER.account, Amount(1)))
    chain.mine()
    for miner in MINERS:
        chain.send(miner, RegisterMiner(Amount(700)))
    chain.mine()
    holdout = Holdout(HOLDOUT.root, 3, 10, Number.of("0.01"))
    plans = [
        chain.submit(make_plan(nonce=1, attestations=1, rounds=2, policies=[Timing(10**6)], blocks=(3, 3, 2)), 77),
        chain.submit(
            make_plan(
                nonce=2,
                algorithm=FedAvg(Number.of("0.1"), 1, 5),
                devices=(2, 3, 4),
                rounds=2,
                policies=[holdout],
                blocks=(3, 3, 3),
            )
        ),
        chain.submit(
            make_plan(
                nonce=3,
                algorithm=Dane(Number.of("0.2"), Number.of(1), Number.of("0.1"), 1),
                rounds=9,
                devices=(1, 2, 3),
                blocks=(3, 2, 2),
            )
        ),
    ]
    chain.mine()
    chain.register(*DEVICES[:5])
    chain.mine()
    chain.join(plans[0], *DEVICES[:4])
    chain.join(plans[1], *DEVICES[:4])
    chain.join(plans[2], *DEVICES[3:5])
    chain.mine()
    while chain.height < LENGTH:
        height = chain.height + 1
        if height == 18:
            chain.send(MINERS[2], RetireMiner())
        if height == 17:
            chain.send(OWNER, CancelPlan(plans[2]))
        if height % 5 == 0:
            chain.send(OTHER, Transfer(DEVICES[height % 8].account, Amount(height)))
        for plan in plans:
            chain.open_holdout(plan)
            if plan != plans[2] or height < 16:
                chain.work(plan, DEVICES[3] if plan == plans[1] else None)
        chain.mine()
    return chain
