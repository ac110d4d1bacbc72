"""Conditions to work: what must hold of the machine before a device trains and while it does."""

from dataclasses import replace
from itertools import product

import pytest

from node.core.config import CoreConfig, DeviceConfig, WorkConditions
from node.effects import CancelJob
from node.events import MachineSensed
from node.jobs.specs import TrainTask
from node.roles.conditions import find_obstacle
from tests.consensus.harness import make_data
from tests.node.core.lonely import Lonely
from tests.node.core.test_device import GENESIS, ONE, make_forks, released, trainings
from tests.node.core.town import DEVICE, Rows, make_world

GOOD = MachineSensed(3, True, False)
UNKNOWN = MachineSensed(None, None, None)
MODES = ("off", "if-known", "required")


def test_without_conditions_nothing_matters() -> None:
    """Not even whether anybody has looked at the machine."""
    assert find_obstacle(WorkConditions(), None) == ""
    assert find_obstacle(WorkConditions(), MachineSensed(100, False, True)) == ""


@pytest.mark.parametrize("modes", list(product(MODES, repeat=3)))
def test_each_condition_counts_as_strictly_as_it_is_set(modes) -> None:
    """off: never; if-known: where it is broken; required: where it is not known as well."""
    conditions = WorkConditions(*modes)
    broken = {"idle": replace_fact(load_percent=80), "battery": replace_fact(on_power=False)}
    broken["metered"] = replace_fact(is_metered=True)
    assert find_obstacle(conditions, GOOD) == ""
    for mode, (word, facts) in zip(modes, broken.items(), strict=True):
        assert (word in find_obstacle(conditions, facts)) == (mode != "off")
    assert bool(find_obstacle(conditions, UNKNOWN)) == ("required" in modes)
    assert bool(find_obstacle(conditions, None)) == (modes != ("off",) * 3)


def replace_fact(**changes: object) -> MachineSensed:
    facts = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    return MachineSensed(**(facts | changes))


def test_a_busy_machine_is_told_with_its_figures() -> None:
    """Whoever reads the status knows what to change."""
    said = find_obstacle(WorkConditions(when_idle="if-known", idle_percent=10), MachineSensed(11, True, None))
    assert "other programs use 11 % of it, 10 % are allowed" in said


def on_power() -> CoreConfig:
    device = DEVICE.device
    assert isinstance(device, DeviceConfig)
    return replace(DEVICE, device=replace(device, conditions=WorkConditions(on_power="required")))


def make_waiting() -> Lonely:
    """Return a device that works on power alone."""
    return Lonely(GENESIS, make_world(GENESIS, ONE, data=Rows(make_data(ONE))), on_power())


def waiting(lonely: Lonely) -> str:
    status = lonely.core.device_status()
    assert status is not None
    return status.waiting


def test_a_device_waits_for_its_conditions_and_says_why() -> None:
    """It joins, and trains as soon as the machine is as it should be."""
    _, first, left, _, _ = make_forks()
    lonely = make_waiting()
    lonely.give(first, left)
    assert trainings(lonely) == []
    assert waiting(lonely) == "it is not known yet how the machine is"
    lonely.send(MachineSensed(0, False, None))
    assert waiting(lonely) == "the machine runs on its battery"
    assert released(lonely) == []
    lonely.send(GOOD)
    lonely.settle()
    assert waiting(lonely) == ""
    assert len(trainings(lonely)) == len(released(lonely)) == 1


def test_a_training_under_way_is_left_when_the_conditions_end_and_begun_again() -> None:
    """The job is cancelled, what comes of it goes nowhere, and the same task is trained when they hold again."""
    _, first, left, _, _ = make_forks()
    lonely = make_waiting()
    lonely.send(GOOD)
    lonely.give(first)
    lonely.headers(left)
    lonely.body(left)
    while not trainings(lonely):
        lonely.end_job()
    (job,) = [number for number, spec in lonely.jobs.items() if isinstance(spec, TrainTask)]
    lonely.send(MachineSensed(0, False, None))
    assert waiting(lonely) == "the machine runs on its battery"
    assert [effect.job for effect in lonely.effects if isinstance(effect, CancelJob)] == [job]
    lonely.settle()
    assert released(lonely) == []
    lonely.send(GOOD)
    lonely.settle()
    assert [spec.task for spec in trainings(lonely)] == [trainings(lonely)[0].task] * 2
    assert len(released(lonely)) == 1
