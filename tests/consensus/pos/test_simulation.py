"""The agreement under attack: validators on a virtual network that loses, doubles, delays and cuts, and some that lie.

``FEDCHAIN_SEEDS=500`` runs that many worlds beside those that Hypothesis chooses.
"""

import os
from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import AccountId
from consensus.errors import ConsensusError
from consensus.pos import rules
from consensus.pos.effects import Effect
from consensus.pos.live import LiveEpoch
from consensus.pos.validators import ValidatorSet
from tests.consensus.pos.people import BLOCK_MS, DELTA_MS, START
from tests.consensus.pos.world import Scenario, World

SEEDS = int(os.environ.get("FEDCHAIN_SEEDS", "6"))
MAX_PATIENCE_MS = 3 * 32 * DELTA_MS
MAX_KEPT = 900
"""Records that four to seven validators may make a machine keep: 17 views, and certificates since finality."""


def pick_byzantine(powers: tuple[int, ...], order: list[int]) -> frozenset[int]:
    """As many validators in this order as have less than a third of the stake together."""
    chosen: set[int] = set()
    for number in order:
        if 3 * (sum(powers[other] for other in chosen) + powers[number]) < sum(powers):
            chosen.add(number)
    return frozenset(chosen)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Worlds of four to seven validators, at most the tolerated share of them hostile, with every kind of fault."""
    powers = tuple(draw(st.lists(st.integers(1, 4), min_size=4, max_size=7)))
    order = draw(st.permutations(range(len(powers))))
    groups = st.frozensets(st.integers(0, len(powers) - 1), min_size=1, max_size=len(powers) // 2)
    moments = st.integers(0, 30)
    partition = st.tuples(moments, moments, groups).map(lambda cut: (cut[0], cut[0] + cut[1], cut[2]))
    crash = st.tuples(st.integers(0, len(powers) - 1), moments, st.integers(1, 15))
    crashes = draw(st.lists(crash, max_size=2, unique_by=lambda crash: crash[0]))
    return Scenario(
        seed=draw(st.integers(0, 2**32 - 1)),
        powers=powers,
        byzantine=pick_byzantine(powers, order[: draw(st.integers(0, 3))]),
        epoch_blocks=draw(st.integers(1, 6)),
        heal=draw(st.integers(0, 50)),
        lost=draw(st.sampled_from((0.0, 0.1, 0.4))),
        doubled=draw(st.sampled_from((0.0, 0.2))),
        slow=draw(st.sampled_from((0.0, 0.3))),
        partitions=tuple(draw(st.lists(partition, max_size=2))),
        crashes=tuple(crashes),
        has_observer=draw(st.booleans()),
        is_two_faced=draw(st.booleans()),
    )


def make_scenario(seed: int) -> Scenario:
    """A world with everything at once, by a number."""
    powers = ((1, 1, 1, 1), (1, 2, 3, 1, 2), (3, 1, 1, 1, 1, 1, 2))[seed % 3]
    order = [seed % len(powers), (seed // 3) % len(powers)]
    cut = frozenset({(seed + 1) % len(powers)}) if seed % 2 else frozenset(range(seed % len(powers), len(powers), 2))
    return Scenario(
        seed=seed,
        powers=powers,
        byzantine=pick_byzantine(powers, order),
        epoch_blocks=1 + seed % 5,
        heal=40,
        lost=0.1,
        doubled=0.1,
        slow=0.2,
        partitions=((2, 20, cut),),
        crashes=(((seed + 2) % len(powers), 10, 12),),
        has_observer=seed % 2 == 0,
        is_two_faced=seed % 4 == 0,
    )


def run(scenario: Scenario) -> World:
    """Run a world through its faults and until it must have made progress. Safety is asserted all the way."""
    world = World(scenario)
    world.run(world.heal_ms)
    honest = list(world.machines.values())
    # Whoever is an epoch behind catches up first: until then it is neither in the old epoch nor in the new.
    deadline = world.heal_ms + 40 * DELTA_MS + MAX_PATIENCE_MS
    world.run(world.heal_ms + 10 * DELTA_MS)
    world.run(deadline, lambda: len({machine.epoch for machine in honest}) == 1)
    epoch = max(machine.epoch for machine in honest)
    top = max(machine.agreement.view for machine in honest if machine.epoch == epoch)
    set = world.set_of(epoch)
    hostile = {world.adversary.keys[i].account for i in range(len(world.adversary.keys))}
    view = next(view for view in range(top + 1, top + 1000) if set.leader(view) not in hostile)
    bound = world.now + (view - top + 1) * (MAX_PATIENCE_MS + 8 * DELTA_MS + BLOCK_MS)

    def is_past(machine) -> bool:
        return (machine.epoch, machine.agreement.view) > (epoch, view)

    world.run(bound, lambda: all(is_past(machine) for machine in honest))
    world.run(world.now + 4 * DELTA_MS)
    for machine in honest:
        has_final = machine.epoch > epoch or machine.agreement.final_view >= view
        assert has_final, (
            f"machine {machine.number}: view {view} of an honest leader is not final after the network healed"
        )
        assert machine.agreement.count() <= MAX_KEPT
    return world


@settings(max_examples=20, deadline=None)
@given(scenarios())
def test_honest_machines_agree_and_go_on_whatever_happens(scenario):
    """No two final blocks at a height; the first honest leader's view after the network heals is final; nobody honest
    can be accused; memory stays bounded."""
    run(scenario)


def test_many_worlds_with_everything_at_once():
    """The same, by numbered seeds; and each kind of fault, and each way through the protocol, did happen."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += run(make_scenario(seed)).count
    wanted = {
        *("lost", "doubled", "slow", "crash", "own seen", "nullified", "reproposal", "epoch"),
        *("hostile vote", "hostile proposal", "replay", "completed", "abandoned", "split", "forged", "fault"),
        *("double proposal", "double notarize", "double finalize", "finalize and nullify"),
    }
    assert {kind for kind in wanted if not seen[kind]} == set()


@pytest.mark.parametrize("epoch_blocks", [1, 3, 50])
def test_a_quiet_network_finalises_every_block_in_time(epoch_blocks):
    """With no fault a block comes every interval, is final before the next is due, and no view is nullified."""
    world = World(Scenario(seed=3, epoch_blocks=epoch_blocks))
    for block in range(1, 12):
        world.run(START + (block + 1) * BLOCK_MS - 1 + 2 * DELTA_MS)
        assert max(world.finals) >= block
    assert world.count["nullified"] == 0


def test_a_third_of_the_stake_silent_stops_nothing():
    """One of four validators never comes: views it leads are nullified, the others' blocks become final."""
    world = World(Scenario(seed=1, crashes=((2, 0, 10**6),), heal=10**5))
    world.run(START + 60 * BLOCK_MS)
    assert world.count["nullified"] > 0
    assert max(world.finals) > 20


def test_without_two_thirds_nothing_becomes_final():
    """Two of four gone: no certificate, no view, no growing memory, until one comes back."""
    world = World(Scenario(seed=1, crashes=((1, 5, 200), (2, 5, 10**6)), heal=10**6))
    world.run(START + 15 * DELTA_MS)
    before, kept = dict(world.finals), [machine.agreement.count() for machine in world.machines.values()]
    world.run(START + 190 * DELTA_MS)
    assert world.finals == before
    assert [machine.agreement.count() for machine in world.machines.values()] <= [count + 8 for count in kept]
    world.run(START + 600 * DELTA_MS)
    assert max(world.finals) > max(before, default=0)


def test_a_world_repeats_itself():
    """Equal inputs, equal effects: the same scenario gives the same blocks and the same messages."""
    first, second = World(make_scenario(4)), World(make_scenario(4))
    for world in (first, second):
        world.run(START + 40 * DELTA_MS)
    assert (first.finals, first.count) == (second.finals, second.count)


TWO_FACED = Scenario(
    seed=1,
    powers=(1,) * 7,
    byzantine=frozenset({0, 1}),
    heal=30,
    partitions=((0, 28, frozenset({2, 3})),),
    is_two_faced=True,
)
"""Two of seven support both sides of a cut, each with its own blocks: four here, five there."""


def test_who_supports_both_sides_of_a_cut_divides_nobody():
    """The smaller side makes no quorum, however the hostile vote there."""
    run(TWO_FACED)


def accept_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: power * 2 > self.total)


def skip_justification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveEpoch, "is_justified", lambda self, message: True)


def forget_nullifying(monkeypatch: pytest.MonkeyPatch) -> None:
    def finalize(live: LiveEpoch, account: AccountId) -> list[Effect]:
        casts = dict(live.casts)
        live.casts = {view: replace(cast, is_nullified=False) for view, cast in casts.items()}
        effects = rules.finalize(live, account)
        for view, cast in casts.items():
            cast.is_finalized = live.casts[view].is_finalized
        live.casts = live.casts | casts
        return effects

    monkeypatch.setattr("consensus.pos.rules.CASTING", (rules.propose, rules.notarize, rules.nullify, finalize))


def skip_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.pos.agreement.find_certificate_fault", lambda set, certificate, judge: None)


def never_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.pos.rules.CASTING", (rules.propose, rules.notarize, rules.finalize))


@pytest.mark.parametrize(
    "break_rule", [accept_half, skip_justification, forget_nullifying, skip_signatures, never_give_up]
)
def test_a_broken_rule_is_caught(break_rule, monkeypatch):
    """The simulation can fail: with this rule broken some world ends in a contradiction, or stands still."""
    break_rule(monkeypatch)
    with pytest.raises((AssertionError, ConsensusError)):
        deque(map(run, (TWO_FACED, *map(make_scenario, range(8)))))
