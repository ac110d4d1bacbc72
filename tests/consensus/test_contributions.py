"""Rewards by contribution: conserved, nothing for copies, and many identities have no more to gain than one."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.payload import PayloadRef
from chain.transaction import OpenHoldout
from chain.update import AttestedUpdate
from consensus.contributions import get_rank
from consensus.queries import expected_opening, get_history
from consensus.records import RevealedUpdate, RoundContributions, RoundRecord
from consensus.rewards import compute_capped_split, get_contribution_weight
from consensus.state import get_contributions
from fl.dataset import DenseData
from fl.holdout import commit_holdout
from fl.payload import write_payload
from fl.plan.schema import BySamples, FedAvg, Holdout, LeaveOneOut, Plan, RewardRule, Shapley, decode_plan
from tests.consensus.harness import DEVICES, OWNER, Chain, make_plan, make_rules

FOUR = DEVICES[:4]
X = np.random.default_rng(7).uniform(-1, 1, (60, 2))
HOLDOUT = commit_holdout(DenseData(X, (X[:, 0] > 0).astype(np.float64)), 3, b"owner's secret")
EXACT = Shapley(2, Number.of(0), 300)
RULES: list[RewardRule] = [LeaveOneOut(300), EXACT]
SHARE = 10**6

WEIGHTS = st.lists(st.tuples(st.integers(0, 2**61), st.integers(0, 2**32 - 1)), min_size=1, max_size=12)


# --- dividing a share ------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1), WEIGHTS, st.integers(100, 100_000))
def test_a_capped_split_never_pays_more_than_the_share(share: int, each: list[tuple[int, int]], cap: int) -> None:
    """Nor more than a device's cap, nor more than without caps; what is cut off is paid to nobody."""
    weights, samples = [weight for weight, _ in each], [count for _, count in each]
    parts = compute_capped_split(share, weights, samples, cap)
    assert sum(parts) <= share
    for part, weight, count in zip(parts, weights, samples, strict=True):
        assert part * sum(weights) <= share * weight
        assert part * 100 * sum(samples) <= share * count * cap


@given(st.integers(0, 2**40), WEIGHTS, WEIGHTS, st.integers(100, 1000))
def test_whatever_several_identities_send_they_get_no_more_than_the_cap_of_their_samples(
    share: int, own: list[tuple[int, int]], others: list[tuple[int, int]], cap: int
) -> None:
    """The cap of one identity with all their samples: more identities raise it by nothing."""
    weights, samples = zip(*own, *others, strict=True)
    together = sum(compute_capped_split(share, weights, samples, cap)[: len(own)])
    assert together * 100 * sum(samples) <= share * cap * sum(count for _, count in own)


@given(st.integers(0, 2**40), WEIGHTS, WEIGHTS, st.integers(100, 1000))
def test_parts_whose_weights_are_the_wholes_get_no_more_than_the_whole(
    share: int, parts: list[tuple[int, int]], others: list[tuple[int, int]], cap: int
) -> None:
    """A cap by samples favours who does not split: what one part has to spare another can't use."""
    assume(any(weight for weight, _ in [*parts, *others]))
    whole = (sum(weight for weight, _ in parts), sum(count for _, count in parts))
    one = compute_capped_split(share, *zip(whole, *others, strict=True), cap)
    many = compute_capped_split(share, *zip(*parts, *others, strict=True), cap)
    assert sum(many[: len(parts)]) <= one[0]
    assert many[len(parts) :] == one[1:]


def test_harm_weighs_nothing() -> None:
    """No device pays for what it spoilt, and none can be made to pay another by spoiling more."""
    assert [get_contribution_weight(value) for value in (-5, 0, 7, None)] == [0, 0, 7, 0]


def test_the_earlier_block_goes_before_the_place_in_the_draw() -> None:
    """Who copies from a block comes a block later, wherever the draw has put it."""
    ref = PayloadRef.of(b"")
    one, two = (
        RevealedUpdate(ZERO_HASH, AccountId(bytes(32)), Hash(ZERO_HASH), ref, 1, 0, 0, blocks, ()) for blocks in (3, 2)
    )
    assert get_rank(two, 9) < get_rank(one, 0) < get_rank(one, 1)


# --- on a chain ------------------------------------------------------------------------------------


def a_plan(rule: RewardRule, devices: int = 4, rounds: int = 1) -> Plan:
    policy = Holdout(HOLDOUT.root, 3, HOLDOUT.rows, Number.of(2))
    plan = make_plan(devices=(1, devices, devices), rounds=rounds, policies=[policy], pools=(SHARE * rounds, 0))
    return replace(plan, version=2, contribution=rule)


class PaidChain(Chain):
    """A chain that runs a plan whose rewards go by contribution."""

    def __init__(self, rule: RewardRule, devices: Sequence[KeyPair] = FOUR, rounds: int = 1, **changes: object) -> None:
        super().__init__(make_rules(version=3, policies=("bounds", "holdout")))
        self.plan = self.start(replace(a_plan(rule, len(devices), rounds), **changes), devices)

    def open_chunk(self) -> None:
        asked = expected_opening(self, self.plan, self.context().beacon)
        assert asked is not None
        ref, number = self.keep(HOLDOUT.payloads[asked]), self.task(self.plan).task.round
        self.send(OWNER, OpenHoldout(self.plan, number, asked, HOLDOUT.salts[asked], HOLDOUT.proofs[asked], ref))
        self.mine()

    def run_round(self, *devices: KeyPair, is_opened: bool = True) -> RoundRecord:
        """Both exchanges of these devices, then the chunk."""
        phases = 1 if isinstance(a_plan_of(self).algorithm, FedAvg) else 2
        for _ in range(phases):
            self.reveal(self.plan, *devices)
            self.mine()
        if is_opened:
            self.open_chunk()
        else:
            self.mine(3)
        return get_history(self, self.plan)[-1]

    def contributions(self, number: int = 0) -> RoundContributions:
        found = get_contributions(self, self.plan, number)
        assert found is not None
        return found

    def paid(self) -> dict[bytes, int]:
        return {report.device: report.reward for report in get_history(self, self.plan)[-1].devices}


def a_plan_of(chain: PaidChain) -> Plan:
    return decode_plan(chain.state[b"s/document/" + chain.plan])


@pytest.mark.parametrize("rule", RULES)
def test_a_round_is_paid_by_contribution_and_every_coin_stays_accounted_for(rule: RewardRule) -> None:
    """Parts are those of the split of the recorded values, the rest goes back to the owner; undoing takes all back."""
    chain = PaidChain(rule)
    before = dict(chain.state)
    record = chain.run_round(*FOUR)
    found = chain.contributions()
    assert found.walks == (1 if isinstance(rule, LeaveOneOut) else 4)
    assert [entry.device for entry in found.devices] == [report.device for report in record.devices]
    assert all(entry.stands for entry in found.devices)
    values = [entry.value for entry in found.devices]
    weights = [get_contribution_weight(value) for value in values]
    assert sum(weight > 0 for weight in weights) > 1
    counted = [report.counted for report in record.devices]
    expected = compute_capped_split(SHARE, weights, counted, 300)
    assert [report.reward for report in record.devices] == expected != [SHARE // 4] * 4
    assert sum(chain.balance(device) for device in FOUR) == sum(expected) <= SHARE
    assert chain.entry(chain.plan).funds.total == 0
    assert chain.audit().is_conserved
    while chain.executions and chain.state != before:
        chain.undo()
    assert chain.state == before


@pytest.mark.parametrize("rule", RULES)
def test_an_exact_copy_earns_nothing_and_costs_the_others_nothing(rule: RewardRule) -> None:
    """Everybody gets to the coin what he gets in the round in which the copier does not reveal its update."""
    victim, copier = FOUR[1], FOUR[3]

    def run(is_copied: bool) -> PaidChain:
        chain = PaidChain(rule)
        chain.reveal(chain.plan, *FOUR)
        chain.mine()
        chain.reveal(chain.plan, *FOUR[:3])
        chain.mine(2)
        if is_copied:
            chain.updates.append(AttestedUpdate(chain.release(chain.plan, copier, chain.train(chain.plan, victim)), ()))
        chain.mine()  # the deadline
        chain.open_chunk()
        return chain

    alone, copied = run(False), run(True)
    assert copied.paid().pop(copier.account) == 0
    assert len(copied.paid()) == 4
    assert {**alone.paid(), copier.account: 0} == copied.paid()
    (entry,) = [each for each in copied.contributions().devices if not each.stands]
    assert (entry.device, entry.value) == (copier.account, None)
    assert alone.paid()[victim.account] > 0
    assert copied.audit().is_conserved


@pytest.mark.parametrize("rule", RULES)
def test_who_does_harm_gets_nothing(rule: RewardRule) -> None:
    """An update the policies let pass can still be one that all would be better off without."""
    chain = PaidChain(rule, algorithm=FedAvg(Number.of("0.1"), 1, 5))
    chain.reveal(chain.plan, *FOUR[:3])
    harm = write_payload(np.array([-(2 << 24), 0, 0], dtype=np.int64), 1)
    chain.updates.append(AttestedUpdate(chain.release(chain.plan, FOUR[3], harm), ()))
    chain.mine()
    chain.open_chunk()
    values = {entry.device: entry.value for entry in chain.contributions().devices}
    assert (values[FOUR[3].account] or 0) < 0
    assert chain.paid()[FOUR[3].account] == 0
    assert sum(chain.paid().values()) > 0
    assert chain.audit().is_conserved


@pytest.mark.parametrize("rule", RULES)
def test_an_owner_who_does_not_open_pays_by_samples(rule: RewardRule) -> None:
    """The devices are not the ones to blame; copies are told all the same."""
    chain = PaidChain(rule)
    record = chain.run_round(*FOUR, is_opened=False)
    assert chain.contributions().walks == 0
    assert [report.reward for report in record.devices] == [SHARE // 4] * 4
    assert chain.audit().is_conserved


def test_rewards_by_samples_keep_no_contributions() -> None:
    """Quality by the holdout set is the first of the three rules, and leaves no record of its own."""
    chain = PaidChain(BySamples())
    chain.run_round(*FOUR)
    assert get_contributions(chain, chain.plan, 0) is None
    assert sum(chain.paid().values()) <= SHARE


def test_orders_are_drawn_after_the_last_reveal() -> None:
    """By the beacon that names the chunk: under others that name the same, the same updates get other values."""
    seen: set[tuple[int | None, ...]] = set()
    for number in range(12):
        chain = PaidChain(Shapley(1, Number.of(0), 300))
        for _ in range(2):
            chain.reveal(chain.plan, *FOUR)
            chain.mine()
        beacon, context = Hash(content_id(bytes([number]))), chain.context
        chain.context = lambda beacon=beacon, context=context, **changes: context(beacon=beacon, **changes)  # type: ignore
        if expected_opening(chain, chain.plan, beacon) == 0:
            chain.open_chunk()
            seen.add(tuple(entry.value for entry in chain.contributions().devices))
    assert len(seen) > 1


def test_a_plan_that_can_not_settle_in_a_block_is_refused_when_it_is_submitted() -> None:
    """Its worst case, every order walked to its end, is charged beforehand."""
    chain = Chain(make_rules(version=3, policies=("bounds", "holdout"), max_block_work=10**8))
    for permutations, refused in ((1, False), (1000, True)):
        plan = a_plan(Shapley(permutations, Number.of(0), 300))
        chain.submit(plan)
        chain.mine()
        rules = [found.rule for found in chain.rejected.values()]
        assert rules == (["plan.submit.work"] if refused else [])
