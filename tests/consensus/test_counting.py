"""Plans that count, in the ledger: charged for each attempt, paid by rows, settled exactly, lies refused by name."""

import numpy as np
import pytest
from msgspec.structs import replace

from chain.fixedpoint import from_bytes
from chain.ids import ZERO_HASH, Hash
from chain.keys import KeyPair
from chain.transaction import JoinPlan
from chain.update import LocalUpdate, PrivacyCharge
from consensus.errors import Invalid
from consensus.privacy import get_charges
from consensus.queries import get_open_task
from consensus.rules.plans import check_document
from consensus.state import get_privacy
from consensus.statekeys import model_key
from fl.algorithms.count import report_rows
from fl.dataset import DenseData
from fl.envelope import read_contribution
from fl.plan.schema import StatisticsPlan, encode_plan
from fl.privacy.charges import phase_charge, worst_case
from fl.privacy.randomness import SeededRandom
from fl.problem import compile_problem
from fl.statistics.estimates import estimate_values
from tests.consensus.harness import DEVICES, make_rules
from tests.consensus.private import PrivateChain
from tests.fl.statistics.plans import KINDS, counting_plan, statistic_of

ROWS = 20
LOSS = 2_000_000
"""Of an answer at ε = 2, in micro-zCDP: ε²/2."""


class CountingChain(PrivateChain):
    """A chain with one plan that counts, which these devices have joined."""

    def __init__(self, plan: StatisticsPlan, *devices: KeyPair) -> None:
        super().__init__()
        self.plan, self.problem = plan, compile_problem(plan)
        for device in devices:
            self.make_device(device, 10**9)
        self.name = self.begin(plan, *devices)

    def join(self, plan: Hash, *devices: KeyPair, samples: int = ROWS) -> None:
        for device in devices:
            self.send(device, JoinPlan(plan, "device", samples, ZERO_HASH))

    def answer(self, device: KeyPair, payload: bytes | None = None, **charge: object) -> LocalUpdate:
        """An honest device's answer: its first half of rows are 0, the others 1; ``payload``: another's."""
        data = DenseData(np.zeros((ROWS, 0)), np.repeat([0.0, 1.0], ROWS // 2))
        made = report_rows(self.problem, data, SeededRandom(device.account + bytes([self.height])))
        wanted = phase_charge(self.plan, 0)
        said = PrivacyCharge(wanted.mechanism, wanted.loss, self.recorded(device) + wanted.loss)
        return self.release(
            self.name,
            device,
            made if payload is None else payload,
            lambda one: replace(one, privacy=replace(said, **charge)),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_counts_and_every_answer_is_charged_and_paid(kind: str) -> None:
    """What settles is n and the exact sum; a device loses ε once, purely; what was reserved for retries is free."""
    plan = counting_plan(kind, statistic=statistic_of(kind), devices=(2, 2, 2))
    chain = CountingChain(plan, *DEVICES[:2])
    assert [chain.standing(device).reserved for device in DEVICES[:2]] == [2 * LOSS, 2 * LOSS] == [worst_case(plan)] * 2
    answers = [chain.answer(device) for device in DEVICES[:2]]
    chain.include(*answers)
    assert not chain.rejected
    chain.mine()
    assert chain.entry(chain.name).status == "finished"
    model = from_bytes(chain.state[model_key(chain.name)], chain.problem.dimension)
    said = [read_contribution(chain.problem, 0, chain.store[one.release.payload.id]).vector for one in answers]
    assert model.tolist() == [2 * ROWS, *(said[0] + said[1]).tolist()]
    assert {each.value for each in estimate_values(plan, chain.name, model)} == {"0", "1"}
    for device in DEVICES[:2]:
        standing = chain.standing(device)
        assert (standing.loss, standing.reserved) == (LOSS, 0)
        (charge,) = get_charges(chain, device.account)
        assert (charge.mechanism, charge.loss, charge.epsilon) == ("local", LOSS, 2_000_000)
        assert get_privacy(chain, device.account).epsilon == 2_000_000
        assert chain.balance(device) == plan.rewards.devices // 2


def test_an_attempt_that_fails_is_charged_and_so_is_the_next_one() -> None:
    """Who answers again draws again: two releases, at the price of two; the first one's answers count for nothing."""
    plan = counting_plan("hcms", devices=(2, 2, 2))
    chain = CountingChain(plan, *DEVICES[:2])
    first = chain.answer(DEVICES[0])
    chain.include(first)
    chain.mine(plan.deadlines.reveal_blocks + 1)
    task = get_open_task(chain, chain.name)
    assert task is not None
    assert task.task.attempt == 1
    second = [chain.answer(device) for device in DEVICES[:2]]
    assert second[0].release.payload != first.release.payload
    chain.include(*second)
    chain.mine()
    assert [chain.standing(device).loss for device in DEVICES[:2]] == [2 * LOSS, LOSS]
    model = from_bytes(chain.state[model_key(chain.name)], chain.problem.dimension)
    said = [read_contribution(chain.problem, 0, chain.store[one.release.payload.id]).vector for one in second]
    assert model.tolist() == [2 * ROWS, *(said[0] + said[1]).tolist()]


def test_a_device_without_room_for_all_attempts_stays_out() -> None:
    """Its lifetime budget has to bear the worst case, retries included."""
    chain = PrivateChain()
    plan = counting_plan("hcms", devices=(1, 1, 1))
    chain.make_device(DEVICES[0], 2 * LOSS - 1)
    name = chain.submit(plan)
    chain.mine()
    body = chain.send(DEVICES[0], JoinPlan(name, "device", ROWS, ZERO_HASH))
    chain.mine()
    assert chain.rejected[body.id].rule == "plan.join.budget"


@pytest.mark.parametrize("charge", [{"loss": LOSS - 1}, {"mechanism": "none", "loss": 0}, {"mechanism": "laplace"}])
def test_an_answer_costs_what_its_plan_says(charge: dict[str, object]) -> None:
    """Not less, and under no other name."""
    chain = CountingChain(counting_plan("olh", devices=(1, 1, 1)), DEVICES[0])
    assert chain.refused(chain.answer(DEVICES[0], **charge)) == "update.privacy"


@pytest.mark.parametrize(
    ("payload", "rule"),
    [(b"", "update.payload"), (bytes(5), "update.payload"), (b"\x15\x00\x00\x00", "update.policy")],
    ids=["none", "too long", "of more rows than the device has"],
)
def test_counters_of_no_reports_are_in_no_block(payload: bytes, rule: str) -> None:
    """Sizes, then what so many reports can add up to."""
    chain = CountingChain(counting_plan("olh", devices=(1, 1, 1)), DEVICES[0])
    assert chain.refused(chain.answer(DEVICES[0], payload)) == rule


def test_chains_of_earlier_rules_take_no_plans_that_count() -> None:
    """They name the version that does."""
    with pytest.raises(Invalid, match=r"plan\.submit\.version"):
        check_document(encode_plan(counting_plan()), make_rules(version=2))
    assert check_document(encode_plan(counting_plan()), make_rules(version=3)) == counting_plan()
