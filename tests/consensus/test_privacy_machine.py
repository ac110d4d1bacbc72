"""A stateful test of the privacy ledger against a small model of it: devices, plans side by side, forks, lost journals.

The model knows nothing of records and keys: what each device has signed and had carried, what each open plan may still
cost it, and the rule of two lines by which an update fits. The chain must agree with it after every block, and no
lifetime budget is ever overspent, whatever devices sign.
"""

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

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
from msgspec.structs import replace

from chain.ids import ZERO_HASH, Hash
from chain.keys import KeyPair
from chain.transaction import CancelPlan, JoinPlan, LowerBudget, SubmitPlan
from chain.update import LocalUpdate
from consensus.privacy import get_charges, is_open
from consensus.queries import get_open_task, get_plan
from consensus.state import get_privacy
from fl.privacy.charges import worst_case
from tests.consensus.harness import DEVICES, OWNER
from tests.consensus.private import LOSS, PrivateChain, laplace_plan, private_plan

HERE = DEVICES[:3]
LIFETIMES = (0, 6 * LOSS, 9 * LOSS)
PLANS = (
    private_plan(devices=(1, 3, 3), blocks=(3, 9, 2), rounds=2, retries=0),
    private_plan(devices=(1, 3, 3), blocks=(3, 9, 2), rounds=1, retries=2),
    laplace_plan("0.1", devices=(1, 2, 3), blocks=(3, 9, 2), rounds=3, retries=0),
)
"""Each release costs 5000: Gaussian noise of multiplier 10, and pure epsilon 0.1."""
LIES = ["honest"] * 5 + ["forgets", "lost", "jumps"]
SEEN: Counter[str] = Counter()


@dataclass
class Told:
    """What the model knows of a device."""

    lifetime: int
    recorded: int = 0
    charged: int = 0
    charges: int = 0
    left: dict[Hash, int] = field(default_factory=dict)

    def take(self, plan: Hash, total: int) -> bool:
        """Charge an update that signs this total, if it fits."""
        after = max(self.recorded, total, self.charged + LOSS)
        if total < LOSS or self.left[plan] < LOSS or (self.lifetime and after > self.lifetime):
            return False
        self.recorded, self.charged, self.charges = after, self.charged + LOSS, self.charges + 1
        self.left[plan] -= LOSS
        return True


class PrivacyMachine(RuleBasedStateMachine):
    """Devices that release, forget and lie; plans that come and go; blocks that are taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = PrivateChain()
        self.told: dict[bytes, Told] = {}
        self.plans: list[Hash] = []
        self.worst: dict[Hash, int] = {}
        self.journals = dict.fromkeys([key.account for key in HERE], 0)
        self.waiting: list[tuple[KeyPair, Hash, int, LocalUpdate]] = []
        self.past: list[dict[bytes, Told]] = []

    @initialize(order=st.permutations(LIFETIMES))
    def begin(self, order: list[int]) -> None:
        for key, lifetime in zip(HERE, order, strict=True):
            self.chain.make_device(key, lifetime)
            self.told[key.account] = Told(lifetime)
        for kind in (0, 1):
            self.submit(kind)
            self.join(self.plans[-1], *HERE)

    def mine(self) -> None:
        self.past.append(deepcopy(self.told))
        self.chain.mine()

    # --- plans ---

    @precondition(lambda self: len(self.plans) < 5)
    @rule(kind=st.integers(0, len(PLANS) - 1))
    def submit(self, kind: int) -> None:
        plan = replace(PLANS[kind], nonce=len(self.plans))
        self.plans.append(self.chain.submit(plan))
        self.worst[self.plans[-1]] = worst_case(plan)
        self.mine()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if data.draw(st.integers(0, 3)) == 0:
            self.chain.send(OWNER, CancelPlan(data.draw(st.sampled_from(self.plans))))
            self.mine()

    @rule(keys=st.sets(st.sampled_from(HERE), min_size=1))
    def join_latest(self, keys: set[KeyPair]) -> None:
        self.join(self.plans[-1], *sorted(keys, key=lambda key: key.account))

    def join(self, plan: Hash, *keys: KeyPair) -> None:
        """The chain takes a join exactly if the worst case fits beside what is lost and reserved."""
        entry = get_plan(self.chain, plan)
        if entry is None or entry.status != "enrolling":
            return
        expected, sent = [], []
        for key in keys:
            told = self.told[key.account]
            if plan not in told.left:
                reserved = sum(left for each, left in told.left.items() if is_open(self.chain, each))
                expected.append(not told.lifetime or told.recorded + reserved + self.worst[plan] <= told.lifetime)
                sent.append(self.chain.send(key, JoinPlan(plan, "clinic", 20, ZERO_HASH)))
        self.mine()
        for signed, fits in zip(sent, expected, strict=True):
            rejected = self.chain.rejected.get(signed.id)
            assert (rejected is None) is fits, rejected
            assert rejected is None or rejected.rule == "plan.join.budget"
            SEEN["joined" if fits else "join refused"] += 1
            if fits:
                self.told[signed.transaction.sender].left[plan] = self.worst[plan]

    # --- releases ---

    @rule(data=st.data(), keys=st.permutations(HERE), soon=st.booleans())
    def release(self, data: st.DataObject, keys: list[KeyPair], soon: bool) -> None:
        """Devices sign updates for what they are asked, which may reach a block one day."""
        for key in keys:
            for plan in self.plans:
                if self.is_asked(plan, key):
                    self.sign(plan, key, data.draw(st.sampled_from(LIES)))
        if soon and self.waiting:
            self.include(data, back=data.draw(st.booleans()))

    def sign(self, plan: Hash, key: KeyPair, lies: str) -> None:
        if lies == "lost":
            self.journals[key.account] = 0  # restored from a backup: what the chain knows counts
        known = max(self.journals[key.account], self.told[key.account].recorded)
        total = known + LOSS * (3 if lies == "jumps" else 1)
        if lies == "forgets":
            total = LOSS if known > LOSS else LOSS - 1
        else:
            self.journals[key.account] = total
        SEEN[lies] += 1
        self.waiting.append((key, plan, total, self.chain.signed(plan, key, total)))

    def is_asked(self, plan: Hash, key: KeyPair) -> bool:
        task = get_open_task(self.chain, plan)
        return task is not None and key.account in task.selected and key.account not in task.revealed

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), back=st.booleans())
    def include(self, data: st.DataObject, back: bool) -> None:
        """A block carries some of what waits, in some order: exactly what the model takes."""
        count = data.draw(st.sampled_from([len(self.waiting), 1 + len(self.waiting) // 2]))
        some, self.waiting = self.waiting[:count], self.waiting[count:]
        fitting, heard = [], set()
        for key, plan, total, update in reversed(some) if back else some:
            task = get_open_task(self.chain, plan)
            if task is None or update.release.task != task.task.digest or (key, plan) in heard:
                continue
            if key.account in task.revealed:
                continue
            heard.add((key, plan))
            fitting.append((key, plan, total, update))
        self.past.append(deepcopy(self.told))
        expected = {update.id: self.told[key.account].take(plan, total) for key, plan, total, update in fitting}
        self.chain.include(*[update for *_, update in fitting])
        assert {id: id not in self.chain.rejected for id in expected} == expected
        SEEN["charged"] += sum(expected.values())
        SEEN["refused"] += len(expected) - sum(expected.values())
        plans = {(key, plan): place for place, (key, plan, *_) in enumerate(fitting)}
        SEEN["interleaved"] += len({key for key, _ in plans}) < len(plans)

    # --- the rest ---

    @rule(key=st.sampled_from(HERE), budget=st.sampled_from([0, 1, LOSS, 3 * LOSS, 9 * LOSS, 30 * LOSS]))
    def lower(self, key: KeyPair, budget: int) -> None:
        told = self.told[key.account]
        sent = self.chain.send(key, LowerBudget(budget))
        self.mine()
        if sent.id not in self.chain.rejected:
            assert budget > 0
            assert told.lifetime == 0 or budget < told.lifetime
            told.lifetime = budget
            SEEN["lowered"] += 1

    @rule()
    def wait(self) -> None:
        for _ in range(3):
            self.mine()

    @precondition(lambda self: len(self.past) > 8)
    @rule(blocks=st.integers(1, 3))
    def take_back(self, blocks: int) -> None:
        """Another fork: the chain forgets blocks, devices' journals don't."""
        for _ in range(min(blocks, len(self.past) - 8)):
            for signed in self.chain.blocks[-1].body.transactions:
                if isinstance(signed.transaction.body, SubmitPlan):
                    self.plans.pop()
            self.chain.undo()
            self.told = self.past.pop()
            SEEN["undone"] += 1
        self.chain.transactions, self.chain.updates, self.waiting = [], [], []

    @invariant()
    def the_chain_agrees_with_the_model(self) -> None:
        for key in HERE:
            told, standing = self.told.get(key.account), self.chain.standing(key)
            if told is None:
                continue
            left = {plan: left for plan, left in told.left.items() if is_open(self.chain, plan)}
            assert {Hash(each.plan): each.left for each in standing.reservations} == left
            assert (standing.loss, standing.lifetime) == (told.recorded, told.lifetime)
            assert self.chain.charged(key) == told.charged
            charges = get_charges(self.chain, key.account)
            assert len(charges) == told.charges
            assert sum(charge.loss for charge in charges) == told.charged
            assert [charge.total for charge in charges] == sorted(charge.total for charge in charges)
            SEEN["free again"] += sum(told.left.values()) > sum(left.values())

    @invariant()
    def no_budget_is_overspent(self) -> None:
        """What blocks carried and signed is within the budget, unless that was lowered below it since."""
        for key in HERE:
            standing = self.chain.standing(key)
            if standing.lifetime and not get_privacy(self.chain, key.account).lowered:
                assert standing.loss <= standing.lifetime


def test_the_privacy_ledger_agrees_with_its_model() -> None:
    """And in the runs everything has happened that budgets have to stand."""
    SEEN.clear()
    run_state_machine_as_test(PrivacyMachine, settings=settings(max_examples=50, stateful_step_count=30, deadline=None))
    wanted = {"honest", "forgets", "lost", "jumps", "charged", "refused", "interleaved", "lowered", "undone", "joined"}
    assert wanted | {"join refused", "free again"} <= {name for name, count in SEEN.items() if count}
