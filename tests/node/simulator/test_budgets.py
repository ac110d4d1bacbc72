"""Worlds with noise: nobody loses more than its budget, whatever breaks and whoever lies; and the watch has teeth."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chain.codec import encode
from chain.ids import Height
from consensus.records import Device, PrivacyAccount
from consensus.statekeys import device_key, privacy_key
from node.simulator.budgets import BudgetWatch
from node.simulator.byzantine.overspending import Overspending
from node.simulator.settings import CRASH, ENGINES, PARTITION, SimulationSettings
from node.simulator.simulation import Simulation

DEVICE = b"\x05" * 32
HONEST = Device(Height(1), 100, 60)
ACCOUNT = PrivacyAccount(0, 0, 0, 0, Height(0), ())


def world_of(engine: str, **changes: object) -> SimulationSettings:
    wanted: dict[str, object] = {
        "seed": 4,
        "nodes": 4,
        "devices": 4,
        "miners": 4 if engine == "pos" else 2,
        "engine": engine,
        "duration_ms": 30_000,
        "block_ms": 1_000,
        "plans": 1,
        "noise": True,
    }
    return SimulationSettings(**(wanted | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
def test_budgets_hold_where_a_device_overspends(engine: str) -> None:
    """It forgets, says it is cheap, releases twice: refused, or charged; plans end all the same."""
    world = Simulation(world_of(engine, byzantine=0.3, behaviours=("overspend",)))
    report = world.run()
    assert report.violations == (), report.command
    assert report.acts["overspend"] > 0
    assert report.checks["budgets"] > 0
    assert world.invariants.budgets.charges > 0
    liars = [machine.mask.behaviour for machine in world.machines if machine.mask is not None]
    told = {kind for liar in liars if isinstance(liar, Overspending) for kind in liar.told}
    assert {"forgets", "releases twice"} <= told


def test_budgets_hold_through_forks_and_crashes() -> None:
    """What is released on a fork that is gone counts for the device, and is on the chain with its next update."""
    world = Simulation(world_of("pow", seed=1, faults=(PARTITION, CRASH), duration_ms=40_000))
    report = world.run()
    assert report.violations == (), report.command
    assert world.invariants.budgets.charges > 0


def test_the_watch_sees_a_ledger_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the chain to take signed totals alone, a liar's would be below what blocks carried."""
    from consensus.rules import privacy

    def forgetful(recorded: int, charged: int, loss: int, signed: int) -> int:
        return max(recorded, signed)

    monkeypatch.setattr(privacy, "total_after", forgetful)
    report = Simulation(world_of("pow", byzantine=0.3, behaviours=("overspend",))).run()
    assert any(violation.invariant == "budgets" for violation in report.violations)


FAULTS: dict[str, tuple[str, Callable[[Device], Device], int]] = {
    "over budget": ("60 of 50", lambda device: replace(device, lifetime_budget=50), 60),
    "really over budget": ("really lost 101", lambda device: device, 101),
    "recorded what it never released": ("60 recorded, it released 7", lambda device: device, 7),
    "nothing": ("", lambda device: device, 60),
}


@pytest.mark.parametrize(("told", "change", "lost"), FAULTS.values(), ids=FAULTS.keys())
def test_the_watch_knows_what_was_really_lost(told: str, change: Callable[[Device], Device], lost: int) -> None:
    """By each release that was journalled; of a liar it believes the chain alone."""
    watch = BudgetWatch()
    watch._lost[DEVICE] = lost
    items = [(device_key(DEVICE), encode(change(HONEST)))]  # type: ignore[arg-type]
    found = list(watch.find_faults(items, ()))
    assert (told in found[0]) if told else not found
    assert not list(watch.find_faults([(device_key(DEVICE), encode(HONEST))], {DEVICE}))  # type: ignore[arg-type]


def test_the_watch_compares_charges_with_accounts() -> None:
    """A charge that is in one place and not in the other."""
    watch = BudgetWatch()
    watch._lost[DEVICE] = 60
    items = [
        (device_key(DEVICE), encode(HONEST)),  # type: ignore[arg-type]
        (privacy_key(DEVICE), encode(replace(ACCOUNT, charged=61, charges=1))),
    ]
    (first, second) = watch.find_faults(items, ())
    assert "charges of 0, and 61 in its account" in first
    assert "60 recorded, 61 carried by blocks" in second
