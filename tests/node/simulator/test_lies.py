"""Worlds in which a share of the machines lies: the honest ones agree, pay the right people and get on."""

from collections import Counter
from dataclasses import replace

import pytest

from node.simulator.byzantine.base import Behaviour
from node.simulator.byzantine.registry import BEHAVIOURS, behaviours_of
from node.simulator.casting import cast_machines
from node.simulator.settings import ENGINES, SimulationSettings
from node.simulator.simulation import simulate

DEVICES = ("forge-updates", "copy-updates", "withhold-payloads")


def world_of(engine: str, name: str) -> SimulationSettings:
    """A little world in which somebody behaves like this."""
    return SimulationSettings(
        seed=7 if name in DEVICES else 4,
        nodes=4 if engine == "pos" else 3,
        devices=4 if name in DEVICES else 0,
        miners=4 if engine == "pos" else 2,
        engine=engine,
        byzantine=0.3,
        behaviours=(name,),
        duration_ms=30_000,  # it has to lead a view, and the censor one beside somebody's transaction
        block_ms=1_000,
        plans=1,
    )


CASES = [(engine, name) for engine in ENGINES for name in behaviours_of(engine)]


@pytest.mark.parametrize(("engine", "name"), CASES, ids=[f"{engine}-{name}" for engine, name in CASES])
def test_honest_machines_bear_with_every_behaviour(engine: str, name: str) -> None:
    """Under either engine: it was done, no invariant broke, one head stands at the end."""
    report = simulate(world_of(engine, name))
    assert report.violations == (), report.command
    assert report.liars > 0
    assert report.acts[name] > 0
    assert report.missing_acts == ()


def test_who_votes_twice_is_slashed() -> None:
    """Evidence of two votes in a view reaches the chain and costs the liar its stake, and no honest one."""
    report = simulate(replace(world_of("pos", "double-vote"), duration_ms=60_000))
    assert report.violations == (), report.command
    assert report.slashed == report.liars == 1
    assert report.checks["no honest validator slashed"] > 0


def test_a_behaviour_asked_for_that_never_acted_is_told() -> None:
    """Nobody forges updates where nobody has data: the report is not good."""
    settings = SimulationSettings(
        nodes=3, devices=0, miners=2, byzantine=0.3, behaviours=("forge-updates",), duration_ms=5_000, plans=1
    )
    report = simulate(settings)
    assert report.violations == ()
    assert report.missing_acts == ("forge-updates",)
    assert not report.is_good


@pytest.mark.parametrize("engine", ENGINES)
def test_the_cast_keeps_to_the_share(engine: str) -> None:
    """Power of liars, honest owner, every behaviour drawn where there are enough liars, under a third of the stake."""
    for seed in range(30):
        settings = SimulationSettings(seed=seed, nodes=60, devices=20, miners=30, engine=engine, byzantine=0.3)
        casting = cast_machines(settings)
        lying = sum(casting.powers[number] for number in casting.liars if number < 30)
        assert lying == pytest.approx(0.3)
        assert sum(casting.powers) == pytest.approx(1)
        assert settings.owner not in casting.liars
        assert casting.plot.victim not in casting.liars
        producers = [number for number in casting.liars if number < 30]
        assert 3 * len(producers) < 30
        drawn = Counter(behaviour.name for behaviour in casting.liars.values())
        assert set(drawn) == set(behaviours_of(engine))


def test_every_behaviour_has_a_name_of_its_own() -> None:
    """The registry names each class once, and none is honest."""
    assert (
        len({behaviour.name for behaviour in BEHAVIOURS.values()}) == len(BEHAVIOURS) == len(set(BEHAVIOURS.values()))
    )
    assert all(behaviour is not Behaviour for behaviour in BEHAVIOURS.values())
