"""A stateful test of the whole ledger: many accounts act at random on several plans, blocks come and are taken back.

After every block: no coin is made or lost, the root is the tree's, and every plan stands where its deadlines allow. In
the end every plan comes to its end by itself, within the blocks its deadlines add up to.
"""

from collections import Counter
from typing import get_args

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chain.fixedpoint import VALUE_MAX
from chain.ids import Amount, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import CancelPlan, OpenHoldout, RegisterMiner, RetireMiner, Transfer
from chain.update import Attestation, AttestedUpdate
from consensus.events import (
    AuditOpened,
    AuditReported,
    BudgetLowered,
    DisputeDecided,
    DisputeOpened,
    LedgerEvent,
    MaskShared,
    MinerSlashed,
    StakeEvent,
    SumDecrypted,
    UpdateCommitted,
)
from consensus.queries import (
    attestations_needed,
    eligible_miners,
    expected_opening,
    get_miner,
    get_open_task,
    get_plan_document,
    get_supply,
    list_plans,
)
from consensus.state import get_active
from consensus.tree import get_root
from consensus.treeupdate import update
from consensus.view import EmptyView, Overlay
from fl.holdout import commit_holdout
from fl.payload import write_payload
from fl.plan.schema import FedAvg, Holdout, Timing
from tests.consensus.harness import DEVICES, MINERS, OTHER, OWNER, Chain, make_data, make_plan

HOLDOUT = commit_holdout(make_data(OTHER, 12), 3, b"secret")
FEDAVG = FedAvg(Number.of("0.1"), 1, 5)
PLANS = (
    {"devices": (2, 3, 4), "over_select": 130},
    {"devices": (1, 2, 3), "attestations": 1, "rounds": 1, "policies": (Timing(1),)},
    {
        "devices": (2, 2, 2),
        "algorithm": FEDAVG,
        "retries": 2,
        "policies": (Holdout(HOLDOUT.root, 3, 4, Number.of("0.1")),),
    },
)
LONGEST = 4 + 3 * 3 * (3 + 2) * 2 + 10
"""Blocks after which every plan above has ended: enrolment, then rounds × attempts × steps × phases, and some."""
SEEN: Counter[object] = Counter()
"""What happened in all runs: kinds of events, ends of plans, blocks taken back."""
KEYS = st.sampled_from([OWNER, OTHER, *MINERS, *DEVICES])


class LedgerMachine(RuleBasedStateMachine):
    """Accounts, plans and blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain()
        self.plans: list[Hash] = []
        self.snapshots: list[dict[bytes, bytes]] = []

    # --- accounts ---

    @initialize()
    def enrol(self) -> None:
        """Two plans that have begun and a miner, so that short runs reach rounds, openings and retirements too."""
        holdout = dict(PLANS[2], devices=(2, 3, 3))
        self.plans = [
            self.chain.submit(make_plan(nonce=98, devices=(2, 3, 4))),
            self.chain.submit(make_plan(**holdout)),
        ]
        self.chain.send(MINERS[0], RegisterMiner(Amount(700)))
        self.mine()
        self.chain.register(*DEVICES[:4])
        self.chain.join(self.plans[0], *DEVICES[:4])
        self.chain.join(self.plans[1], *DEVICES[:3])
        self.mine()

    @rule(kind=st.integers(0, len(PLANS) - 1), extra=st.integers(0, 99))
    def submit(self, kind: int, extra: int) -> None:
        if len(self.plans) < 5:
            self.plans.append(self.chain.submit(make_plan(nonce=len(self.plans), **PLANS[kind]), extra))

    @rule(sender=KEYS, to=KEYS, amount=st.integers(0, 10**6) | st.just(10**15))
    def transfer(self, sender, to, amount) -> None:
        self.chain.send(sender, Transfer(to.account, Amount(amount)))

    @rule(data=st.data(), devices=st.sets(st.sampled_from(range(8)), min_size=1))
    def join(self, data, devices) -> None:
        keys = [DEVICES[number] for number in sorted(devices)]
        self.chain.register(*keys)
        self.chain.join(data.draw(st.sampled_from(self.plans)), *keys, samples=data.draw(st.sampled_from([0, 7, 20])))

    @rule(miner=st.sampled_from(MINERS))
    def register_or_retire(self, miner) -> None:
        known = get_miner(self.chain, miner.account) is not None
        self.chain.send(miner, RetireMiner() if known else RegisterMiner(Amount(700)))

    @rule(data=st.data())
    def cancel(self, data) -> None:
        if data.draw(st.integers(0, 3)) == 0:
            self.chain.send(OWNER, CancelPlan(data.draw(st.sampled_from(self.plans))))

    @rule(data=st.data())
    def open_holdout(self, data) -> None:
        self.open_chunk(data.draw(st.sampled_from(self.plans)))

    def open_chunk(self, plan: Hash) -> None:
        chunk = expected_opening(self.chain, plan, self.chain.context().beacon)
        if chunk is not None:
            number, payload = self.chain.task(plan).task.round, self.chain.keep(HOLDOUT.payloads[chunk])
            body = OpenHoldout(plan, number, chunk, HOLDOUT.salts[chunk], HOLDOUT.proofs[chunk], payload)
            self.chain.send(OWNER, body)

    # --- devices ---

    @rule(data=st.data())
    def reveal_some(self, data) -> None:
        """Some selected devices of some plan release: honestly, or what a saboteur would."""
        plan = data.draw(st.sampled_from(self.plans))
        if get_open_task(self.chain, plan) is not None:
            for device in self.chain.selected(plan)[: data.draw(st.integers(1, 4))]:
                self.reveal(plan, device, None if data.draw(st.integers(0, 2)) else self.sabotage(data, plan))

    @rule(data=st.data(), saboteurs=st.booleans())
    def reveal_all(self, data, saboteurs) -> None:
        """Every device does its work, maybe with a saboteur a plan, the owner too, and a block carries it."""
        for plan in self.plans:
            self.open_chunk(plan)
            if get_open_task(self.chain, plan) is not None:
                for number, device in enumerate(self.chain.selected(plan)):
                    harms = saboteurs and number == 0
                    self.reveal(plan, device, self.sabotage(data, plan) if harms else None)
        self.mine()
        if saboteurs:  # judged while there is something to judge: short runs would seldom come to it
            for plan in self.plans:
                self.open_chunk(plan)
            self.mine()

    def reveal(self, plan: Hash, device: KeyPair, payload: bytes | None) -> None:
        update, task = self.chain.release(plan, device, payload), self.chain.task(plan)
        height = self.chain.height + 1
        miners = eligible_miners(self.chain, self.chain.context().rules, task, device.account, height)
        wanted = attestations_needed(self.chain, plan)
        keys = [key for key in MINERS if key.account in miners[:wanted]]
        self.chain.updates.append(AttestedUpdate(update, tuple(Attestation.of(update.id, key) for key in keys)))

    def sabotage(self, data, plan: Hash) -> bytes:
        """A payload of the right shape with a vector at the edge of the clip, or far out, and absurd counts."""
        task = self.chain.task(plan).task
        limit = data.draw(st.sampled_from([-10 << 24, -10 << 24, 200 << 24, VALUE_MAX]))
        vector = np.array([limit, 0, 0], dtype=np.int64)
        if get_plan_document(self.chain, plan).algorithm == FEDAVG:
            return write_payload(vector, 2**62)
        if task.phase == 0:
            return write_payload(vector, data.draw(st.sampled_from([0, 2**62])), np.array([0, 20], dtype=np.int64))
        return write_payload(vector)

    # --- blocks ---

    def mine(self) -> None:
        self.snapshots.append(dict(self.chain.state))
        self.chain.mine()

    @rule(blocks=st.integers(1, 2))
    def mine_some(self, blocks) -> None:
        for _ in range(blocks):
            self.mine()

    @precondition(lambda self: len(self.snapshots) > 2)
    @rule(data=st.data())
    def take_back(self, data) -> None:
        """Undo some blocks: the state is that of before, to the byte, tree nodes too."""
        for _ in range(data.draw(st.integers(1, min(3, len(self.snapshots) - 2)))):
            self.chain.undo()
            assert self.chain.state == self.snapshots.pop()
            SEEN["undone"] += 1
        self.plans = [entry.plan for entry in list_plans(self.chain)]
        self.chain.transactions, self.chain.updates = [], []

    # --- what always holds ---

    @invariant()
    def no_coin_is_made_or_lost(self) -> None:
        assert self.chain.audit().is_conserved
        assert get_supply(self.chain).minted == 5 * 10**12 + 1000 * self.chain.height

    @invariant()
    def the_root_is_the_trees(self) -> None:
        assert get_root(self.chain) == self.chain.root

    @invariant()
    def every_plan_stands_where_its_deadlines_allow(self) -> None:
        height = self.chain.height
        dues = [int.from_bytes(key[6:], "big") for key in self.chain.state if key.startswith(b"s/due/")]
        assert all(due > height for due in dues)
        entries = list_plans(self.chain)
        assert list(get_active(self.chain)) == [e.plan for e in entries if e.status in ("enrolling", "running")]
        for entry in entries:
            task, plan = get_open_task(self.chain, entry.plan), get_plan_document(self.chain, entry.plan)
            assert (task is not None) == (entry.status == "running")
            assert entry.rounds <= plan.stopping.rounds
            if entry.status == "enrolling":
                assert height < entry.enrol_deadline
                assert entry.enrolled < plan.participation.max_devices
            elif task is not None:
                assert task.step in ("reveal", "open")  # the work limit has room for all these plans
                assert height < task.deadline
                assert task.task.attempt <= plan.participation.retries
                assert task.step != "reveal" or len(task.revealed) < task.goal
            else:
                assert entry.funds.total == 0

    def teardown(self) -> None:
        """Nothing is ever stuck: without any further message every plan ends, and the escrow is empty."""
        for _ in range(LONGEST):
            if not get_active(self.chain):
                break
            self.mine()
        assert get_active(self.chain) == ()
        SEEN.update(entry.status for entry in list_plans(self.chain))
        SEEN.update(type(event) for execution in self.chain.executions for event in execution.events)
        self.no_coin_is_made_or_lost()
        assert get_supply(self.chain).escrowed == 0
        fresh = Overlay(EmptyView())
        values = {key: value for key, value in self.chain.state.items() if key.startswith(b"s/")}
        assert update(fresh, values) == self.chain.root


def test_the_ledger_holds_whatever_accounts_do():
    """The machine runs, and in its runs every kind of thing that can happen to plans has happened."""
    SEEN.clear()
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))
    elsewhere = {*get_args(StakeEvent), AuditOpened, AuditReported}  # tests/consensus/staking, test_audits.py
    elsewhere |= {DisputeOpened, DisputeDecided, MinerSlashed}  # test_replays.py
    elsewhere |= {UpdateCommitted}  # test_commitments.py
    elsewhere |= {MaskShared, SumDecrypted}  # test_encryption.py
    elsewhere |= {BudgetLowered}  # test_privacy.py
    assert set(get_args(LedgerEvent)) - elsewhere <= SEEN.keys()
    assert {"finished", "cancelled", "undone"} <= SEEN.keys()
