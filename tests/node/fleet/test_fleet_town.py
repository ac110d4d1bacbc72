"""A fleet in town: each of its devices is a device like any other, to the chain, to peers and to the journal."""

from consensus.queries import get_history
from consensus.state import get_enrolment
from node.notices import BlockRefused, RoleNotice, UpdateRefused
from tests.node.core.plans import halts, is_over, models, submit
from tests.node.core.town import Town
from tests.node.fleet.bands import make_plan, make_town


def refusals(town: Town) -> list[object]:
    """What was called wrong."""
    kinds = (BlockRefused, UpdateRefused, RoleNotice)
    return [notice for house in town.houses for notice in house.notices if isinstance(notice, kinds)]


def test_a_fleet_of_thirty_learns_a_plan_to_its_end() -> None:
    """Two miners and one node of thirty devices: every device registers, joins, answers each task, and is paid."""
    town, house = make_town(miners=2, devices=30)
    plan = submit(town, make_plan(30, rounds=3))
    assert town.run(lambda: is_over(town, plan), 400)
    assert halts(town) == []
    assert refusals(town) == []
    assert len(models(town, plan)) == 1
    fleet = house.core.world.fleet
    assert fleet is not None
    view = town.houses[0].core.chain.view
    assert all(get_enrolment(view, plan, account) is not None for account in fleet.accounts)
    history = get_history(view, plan)
    assert len(history) == 3
    for record in history:
        assert {report.device for report in record.devices} == set(fleet.accounts)
        assert all(report.reward > 0 for report in record.devices)
    losses = [record.loss or 0 for record in history]
    assert losses == sorted(losses, reverse=True)
    entries = list(house.core.world.journal.entries())
    assert len(entries) == len({(entry.task, entry.device) for entry in entries}) == 30 * 2 * 3
