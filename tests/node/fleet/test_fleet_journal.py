"""A fleet's journal forgets what is over on the chain, for good, and nothing else."""

import pytest
from msgspec.structs import replace

from chain.genesis import PowParameters
from chain.ids import Hash
from consensus.state import get_round, get_round_record
from node.roles.fleetjournal import is_over
from storage.memorystores import MemoryReleaseJournal
from tests.node.core.plans import entry_of, halts, submit
from tests.node.core.plans import is_over as has_ended
from tests.node.fleet import bands
from tests.node.fleet.bands import FLEET, hosted, make_town
from tests.node.fleet.test_fleet_noise import LOSS, noisy

DEVICES, ROUNDS = 4, 4


@pytest.fixture(autouse=True)
def blocks_are_soon_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reorganises deeper than three blocks."""
    plain = bands.make_genesis()
    assert isinstance(plain.engine, PowParameters)
    soon = replace(plain, engine=replace(plain.engine, max_reorg=3))
    monkeypatch.setattr(bands, "make_genesis", lambda: soon)


def test_a_journal_forgets_the_tasks_that_are_over_and_no_loss() -> None:
    """All rounds are learnt, through restarts; at the end it has the last task's releases, and everybody's losses."""
    journal = MemoryReleaseJournal(0)
    town, house = make_town(miners=1, devices=DEVICES, journal=journal)
    plan = submit(town, noisy(DEVICES, rounds=ROUNDS))
    seen: set[Hash] = set()
    while not has_ended(town, plan):
        town.run(lambda: has_ended(town, plan), 40)
        seen |= set(journal.tasks())
        town.restart(1, FLEET)
    assert halts(town) == []
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    assert len(journal.tasks()) < ROUNDS <= len(seen) + 1
    for account in hosted(house).accounts:
        assert journal.total(account) == journal.spent_by(account, plan) == ROUNDS * LOSS


def test_what_may_still_be_asked_for_is_not_over() -> None:
    """The open task, the one before it while blocks may be taken back, and one that the chain has not come to yet."""
    town, house = make_town(miners=1, devices=DEVICES)
    plan = submit(town, noisy(DEVICES, rounds=ROUNDS))
    journal, chain = house.core.world.journal, house.core.chain
    assert town.run(lambda: len(journal.tasks()) == 2, 400)
    state = get_round(chain.view, plan)
    assert state is not None
    first, second = (journal.sample(task) for task in journal.tasks())
    assert first is not None
    assert second is not None
    assert not is_over(chain.view, second, chain.height), "it is open"
    assert is_over(chain.view, first, state.opened)
    assert not is_over(chain.view, first, state.opened - 1), "its successor may be taken back"
    assert not is_over(chain.view, replace(first, round=state.task.round + 1), chain.height), "it is to come"
    assert not is_over(chain.view, replace(first, plan=bytes(32)), chain.height), "nobody knows its plan here"
    town.run(lambda: has_ended(town, plan), 400)
    entry, settled = entry_of(town, plan, 1), get_round_record(chain.view, plan, second.round)
    assert entry is not None
    assert settled is not None
    assert [is_over(chain.view, second, settled.height + by) for by in (-1, 0)] == [False, True]
    last = replace(second, round=ROUNDS)
    assert [is_over(chain.view, last, entry.closed + by) for by in (-1, 0)] == [False, True]
