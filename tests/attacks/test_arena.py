"""The arena is the federation: without attackers it gives the bits of ``train_federated``, and refuses nobody."""

import pytest

from attacks.measures import drops
from attacks.verifiers import Miners
from chain.hashing import DOMAIN_DRAW, digest
from chain.ids import ZERO_HASH, AccountId, Hash
from consensus.auditing import NOT_VERIFIED
from fl.plan.dimensions import audit_policy
from fl.task import Task
from fl.train import train_federated
from tests.attacks.worlds import fight, problem, world


@pytest.mark.parametrize("defence", ["none", "median", "multi-krum", "norm-clip", "audit", "combined"])
def test_without_attackers_the_arena_trains_the_federation_to_the_bit(defence: str) -> None:
    """Drop-outs included; under audits every honest opening is looked at, and none is refused."""
    absent = drops(world().seed)
    compiled, _ = problem(defence)
    ended = fight("", defence, thorough=True, drops=absent)
    expected = train_federated(compiled, world().devices, seed=world().seed, drops=absent)
    assert (ended.model == expected.model).all()
    assert ended.rounds == compiled.plan.stopping.rounds
    assert (ended.honest.refused, ended.hostile.sent) == (0, 0)


def test_leaving_out_honest_openings_changes_nothing() -> None:
    """What honest devices would show always passes, so runs without it are the same runs."""
    whole, short = fight("edge", "audit", thorough=True), fight("edge", "audit", thorough=False)
    assert (whole.model == short.model).all()
    assert (whole.honest, whole.hostile) == (short.honest, short.hostile)


def test_all_rewards_of_a_round_are_paid_by_the_chains_split() -> None:
    """Nothing is minted: what both sides get is the pool, less what rounding leaves."""
    pool = problem("bounds")[0].plan.rewards.devices
    ended = fight("rider", "bounds")
    assert pool - 100 <= ended.honest.paid + ended.hostile.paid <= pool


def test_a_plan_without_enough_updates_ends_where_it_is() -> None:
    """A phase is tried again, then given up: no model from too few."""
    ended = fight("", "bounds", drops=lambda number, _, name: number == 2 and name > "device-02")
    assert ended.rounds == 2


def _task() -> Task:
    zero = ZERO_HASH
    return Task(plan=zero, round=0, attempt=0, phase=0, model=zero, carry=zero, selected=zero, beacon=zero)


def test_friends_who_are_the_majority_of_an_updates_verifiers_let_it_pass_and_no_others() -> None:
    """Of three verifiers drawn from twenty, ten friends are a majority for about half of the updates."""
    policy = audit_policy(problem("audit")[0].plan)
    assert policy is not None
    devices = [AccountId(digest(DOMAIN_DRAW, b"device", bytes([number]))) for number in range(200)]
    beacon = Hash(digest(DOMAIN_DRAW, b"beacon"))

    def passing(friends: int) -> int:
        miners = Miners.of(b"seed", friends)
        faults = [miners.audit_fault(policy, _task(), each, beacon, "false", liar=True) for each in devices]
        assert NOT_VERIFIED not in faults
        return faults.count("")

    assert passing(0) == 0
    assert 70 <= passing(10) <= 130
    assert passing(20) == 200


def test_friends_vouch_for_nobody_else_and_honest_miners_dispute_what_they_vouched_for() -> None:
    """A false update under replay passes only with a friend assigned and no honest miner looking."""
    devices = [AccountId(digest(DOMAIN_DRAW, b"device", bytes([number]))) for number in range(200)]
    miners, task = Miners.of(b"seed", 6), _task()
    vouched = [each for each in devices if miners.is_attested(1, task, each, is_true=False, liar=True)]
    assert 30 <= len(vouched) <= 90
    assert not any(miners.is_attested(1, task, each, is_true=False, liar=False) for each in devices)
    assert sum(miners.is_disputed(task, each) for each in devices) > 120
