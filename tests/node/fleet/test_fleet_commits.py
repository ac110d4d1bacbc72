"""A fleet under plans that have devices commit first: commitments follow from the journal, and bind to it."""

from dataclasses import replace as with_fields

import pytest
from msgspec.structs import replace

from chain.genesis import Genesis
from chain.ids import Hash
from chain.transaction import CommitUpdate
from consensus.committing import get_commitment_digest
from consensus.queries import get_history
from consensus.state import get_committed_count, get_round
from fl.plan.schema import Commit, Plan
from node.notices import RoleNotice, UpdateRefused
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.node.core.plans import entry_of, halts, is_over, models, submit
from tests.node.core.town import House, Town
from tests.node.fleet import bands
from tests.node.fleet.bands import FLEET, hosted, make_plan, make_town
from tests.node.fleet.test_fleet_town import Crash, FailingJournal, updates_on_chain

DEVICES = 6


@pytest.fixture(autouse=True)
def commits_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The town's rules know commitments."""
    plain = bands.make_genesis()

    def make() -> Genesis:
        return replace(plain, schedule=(replace(plain.schedule[0], policies=("bounds", "commit")),))

    monkeypatch.setattr(bands, "make_genesis", make)


def committing(*, rounds: int = 1, least: int = DEVICES, blocks: int = 12, reveal: int = 12) -> Plan:
    """Both exchanges of each round have a step of commitments before that of reveals."""
    plan = make_plan(DEVICES, rounds=rounds, least=least, reveal=reveal)
    policies = (*plan.verification.policies, Commit(blocks))
    return replace(plan, verification=replace(plan.verification, policies=policies))


def commitments(house: House) -> dict[tuple[Hash, Hash], Hash]:
    """What a house's chain has of commitments, by task and device; none is made twice."""
    store, found = house.core.world.store, {}
    for height in range(1, store.height() + 1):
        id = store.block_id_at(height)
        body = None if id is None else store.body(id)
        assert body is not None
        for signed in body.transactions:
            if isinstance(signed.transaction.body, CommitUpdate):
                said = signed.transaction.body
                assert (said.task, signed.transaction.sender) not in found
                found[said.task, signed.transaction.sender] = said.commitment
    return found


def refused(town: Town) -> list[str]:
    """What the fleet could not do."""
    return [notice.text for house in town.houses for notice in house.notices if isinstance(notice, RoleNotice)]


def test_a_fleet_commits_before_it_reveals_and_reveals_just_that() -> None:
    """Every device in every step: its commitment is the digest of what its journal has, and that is what it sends."""
    town, house = make_town(miners=1, devices=DEVICES)
    plan = submit(town, committing(rounds=2))
    assert town.run(lambda: is_over(town, plan), 600)
    assert (halts(town), refused(town), len(models(town, plan))) == ([], [], 1)
    journalled = {(entry.task, entry.device): entry for entry in house.core.world.journal.entries()}
    assert len(journalled) == DEVICES * 2 * 2
    said = {key: get_commitment_digest(entry.update) for key, entry in journalled.items()}
    assert commitments(town.houses[0]) == said
    assert updates_on_chain(town.houses[0]) == {key: entry.update.id for key, entry in journalled.items()}
    history = get_history(town.houses[0].core.chain.view, plan)
    assert [len(record.devices) for record in history] == [DEVICES, DEVICES]


def test_a_fleet_that_dies_at_any_write_commits_to_one_thing_and_reveals_it() -> None:
    """What it committed to before it died is what it reveals after."""
    journal = FailingJournal([1, 4, 9, 14, 19, 24])
    town, _ = make_town(miners=1, devices=DEVICES, journal=journal)
    plan, deaths = submit(town, committing(least=DEVICES - 1)), 0
    while True:
        try:
            assert town.run(lambda: is_over(town, plan), 600)
            break
        except Crash:
            deaths += 1
            town.restart(1, FLEET)
    assert deaths >= 5
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    said = {(one.task, one.device): get_commitment_digest(one.update) for one in journal.entries()}
    assert commitments(town.houses[0]).items() <= said.items()
    assert updates_on_chain(town.houses[0]).keys() <= commitments(town.houses[0]).keys()


@pytest.mark.parametrize("has_others", [False, True])
def test_a_fleet_whose_journal_is_lost_after_it_committed_reveals_nothing_else(*, has_others: bool) -> None:
    """Neither what it would train anew, another release of the same rows, nor what a false journal has in its place."""
    town, house = make_town(miners=1, devices=DEVICES)
    plan = submit(town, committing(blocks=30, reveal=8))
    view = lambda: town.houses[0].core.chain.view  # noqa: E731
    assert town.run(lambda: get_round(view(), plan) is not None, 300)
    assert town.run(lambda: get_committed_count(view(), plan) == DEVICES, 300)
    world = house.core.world
    false = MemoryReleaseJournal()
    for entry in world.journal.entries() if has_others else ():
        key = hosted(house).keys[hosted(house).place_of(entry.device) or 0]
        other = replace(entry.update.release, computation_us=1234)
        false.record(JournalEntry(other.sign(key), entry.payload))
    house.core.world = with_fields(world, journal=false)  # type: ignore[misc]
    town.restart(1, FLEET)
    task = get_round(view(), plan).task.digest  # type: ignore[union-attr]
    town.run(lambda: is_over(town, plan), 400)
    assert [entry.task for entry in false.entries()].count(task) == (DEVICES if has_others else 0)
    assert any("has committed to an update that the journal does not have" in text for text in refused(town))
    assert all(key[0] != task for key in updates_on_chain(town.houses[0]))
    assert not any(isinstance(notice, UpdateRefused) for one in town.houses for notice in one.notices)
