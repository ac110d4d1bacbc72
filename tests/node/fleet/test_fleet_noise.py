"""A fleet under plans with noise: each device draws its own, pays for its own, and stops where its own budget ends."""

from dataclasses import replace as with_fields

from msgspec.structs import replace

from chain.ids import ZERO_HASH, AccountId, Hash
from chain.number import Number
from chain.payload import PayloadRef
from chain.update import LocalUpdate, PrivacyCharge, Release
from consensus.privacy import get_charges, get_standing
from consensus.state import get_enrolment
from fl.errors import DataError
from fl.fleetloop import FleetLoop
from fl.models import initial_model
from fl.payload import parse_payload
from fl.plan.schema import FedAvg, Gaussian, NoCompression, Plan
from fl.privacy.charges import worst_case
from fl.privacy.noise import add_noise
from fl.privacy.randomness import SeededRandom
from fl.problem import compile_problem
from fl.task import device_seed
from node.core.config import CoreConfig, FleetConfig
from node.jobs.fleetnoise import add_noise_to_each
from node.notices import RoleNotice
from node.roles.fleetlosses import FleetLosses
from storage.memorystores import MemoryReleaseJournal
from storage.own import JournalEntry
from tests.fl.test_support import a_task
from tests.node.core.plans import entry_of, halts, is_over, models, submit
from tests.node.core.town import House, Town, key_of
from tests.node.fleet.bands import Rows, hosted, make_plan, make_town

LOSS = 5000
"""Of a release at noise multiplier 10, in micro-zCDP."""


def noisy(devices: int = 6, **changes: object) -> Plan:
    """One phase a round, two rounds, no retries: two releases of each device at most."""
    plan = make_plan(devices, **changes)  # type: ignore[arg-type]
    participation = replace(plan.participation, retries=0)
    return replace(
        plan,
        algorithm=FedAvg(Number.of("0.1"), 1, 5),
        compression=NoCompression(),
        privacy=Gaussian("record", Number.of(10), 0),
        participation=participation,
    )


def entries_of(house: House) -> list[JournalEntry]:
    """What a house has released."""
    return list(house.core.world.journal.entries())


def spent_before(account: AccountId, total: int) -> MemoryReleaseJournal:
    """A journal that knows of an earlier release of a key, under a plan that is long over."""
    journal = MemoryReleaseJournal()
    payload = b"an earlier release"
    charge = PrivacyCharge("gaussian", total, total)
    release = Release("town", ZERO_HASH, 0, 0, Hash(bytes(31) + b"\x07"), account, 1, 0, charge, PayloadRef.of(payload))
    journal.record(JournalEntry(LocalUpdate(release, bytes(64)), payload))
    return journal


def budgeted(lifetime: int) -> CoreConfig:
    """A fleet whose devices have a lifetime budget each."""
    return CoreConfig(fleet=FleetConfig(consent=True, any_plan=True, lifetime_budget=lifetime))


def finish(town: Town, plan: Hash) -> None:
    """Let a plan come to its end."""
    assert town.run(lambda: is_over(town, plan), 400)
    assert halts(town) == []
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    assert len(models(town, plan)) == 1


def test_each_device_of_a_fleet_pays_for_its_own_releases() -> None:
    """On the chain and in the journal: two releases each, whatever the others of the process released."""
    town, house = make_town(miners=1, devices=6)
    plan = submit(town, noisy())
    finish(town, plan)
    journal, view = house.core.world.journal, town.houses[0].core.chain.view
    for account in hosted(house).accounts:
        assert journal.total(account) == journal.spent_by(account, plan) == 2 * LOSS
        standing = get_standing(view, account)
        assert (standing.loss, standing.reserved, len(get_charges(view, account))) == (2 * LOSS, 0, 2)
    assert journal.spent() == 12 * LOSS
    for entry in entries_of(house):
        release = entry.update.release
        assert (release.privacy.mechanism, release.privacy.loss) == ("gaussian", LOSS)
        assert release.computation_us == 0, "the time would tell of the rows"
    status = house.core.fleet_status()
    assert status is not None
    assert status.loss == 2 * LOSS


def test_each_device_of_a_fleet_draws_noise_of_its_own() -> None:
    """What is over what training gives differs from device to device, and from what another run of it draws."""
    found = []
    for _ in range(2):
        town, house = make_town(miners=1, devices=4)
        plan = submit(town, noisy(4, rounds=1))
        finish(town, plan)
        problem = compile_problem(noisy(4, rounds=1))
        fleet, model = hosted(house), initial_model(problem.plan)
        for entry in entries_of(house):
            place = fleet.place_of(entry.device)
            assert place is not None
            seed, data = device_seed(entry.task, entry.device), Rows(4).fleet.device(place)
            bare = problem.algorithm.train(problem, 0, model, b"", data, seed)
            said, trained = (parse_payload(one, problem.dimension, has_loss=True) for one in (entry.payload, bare))
            found.append((said.vector - trained.vector).tobytes())
            assert said.loss == 0, "nothing of the loss leaves"
    assert len(set(found)) == len(found) == 8


def test_noise_is_that_of_a_device_in_a_node_of_its_own() -> None:
    """The same draws on the same trainings, one device after the other; what could not be trained stays."""
    problem, source, again = compile_problem(noisy(3)), SeededRandom(b"n"), SeededRandom(b"n")
    loop, accounts = FleetLoop(problem, Rows(3).fleet, 1), [key_of(number).account for number in range(3)]
    task = a_task(0)
    counts = Rows(3).fleet.sizes.tolist()
    trained = loop.train(task, range(3), accounts, initial_model(problem.plan), b"")
    lame = DataError("lame")
    mechanism, payloads = add_noise_to_each(problem, 0, [*counts, 5], [*trained, lame], source)
    assert (mechanism, payloads[3]) == ("gaussian", lame)
    for count, bare, payload in zip(counts, trained, payloads, strict=False):
        assert isinstance(bare, bytes)
        assert payload == add_noise(problem, 0, count, bare, again)
        assert payload != bare
    quiet = compile_problem(make_plan(3))
    assert add_noise_to_each(quiet, 0, counts, trained, source) == ("none", trained)


def test_a_device_whose_budget_has_no_room_stays_away_alone() -> None:
    """The others join; the fleet says how many stay away, and why the first."""
    worst = worst_case(noisy(6))
    poor = hosted(make_town(1, 6)[1]).accounts[2]
    town, house = make_town(1, 6, spent_before(poor, 1), budgeted(worst))
    plan = submit(town, noisy(6, least=5))
    finish(town, plan)
    view = town.houses[0].core.chain.view
    joined = [get_enrolment(view, plan, account) is not None for account in hosted(house).accounts]
    assert joined == [True, True, False, True, True, True]
    told = [notice.text for notice in house.notices if isinstance(notice, RoleNotice)]
    assert any("author-002: this device allows 10000 micro-zCDP in its life; it has lost 1" in text for text in told)
    status = house.core.fleet_status()
    assert status is not None
    (standing,) = status.plans
    assert (standing.joined, standing.away) == (5, 1)


def test_under_a_new_secret_every_device_begins_at_what_the_old_keys_lost() -> None:
    """Nobody can say whose rows the old keys spoke of."""
    strangers = spent_before(key_of(77).account, 3)
    town, house = make_town(1, 4, strangers)
    plan = submit(town, noisy(4, rounds=1))
    finish(town, plan)
    totals = [entry.update.release.privacy.total for entry in entries_of(house)[1:]]
    assert totals == [LOSS + 3] * 4


def test_a_fleet_trains_nothing_that_is_beyond_a_device_s_budget() -> None:
    """A budget that has shrunk since the device joined keeps its updates in the house; the others' leave."""
    town, house = make_town(1, 5)
    plan = submit(town, noisy(5, least=5, reveal=20))
    rich = hosted(house).accounts[0]
    assert town.run(lambda: (entry := entry_of(town, plan)) is not None and entry.enrolled == 5, 200)
    fleet = house.core._fleet
    assert fleet is not None
    known = fleet._losses.purse
    fleet._losses.purse = lambda place: with_fields(known(place), allowed=1 if place == 0 else 0)  # type: ignore[method-assign]
    town.run(lambda: is_over(town, plan), 400)
    assert {entry.device for entry in entries_of(house)} == set(hosted(house).accounts) - {rich}
    told = [notice.text for notice in house.notices if isinstance(notice, RoleNotice)]
    assert any("author-000: its update would cost too much: a whole loss of 5000" in text for text in told)


def test_what_was_lost_while_a_batch_trained_is_seen_before_it_leaves() -> None:
    """A release whose total is too small by now stays in the house: by the journal, or by the chain alone."""
    town, house = make_town(1, 3)
    plan = submit(town, noisy(3))
    assert town.run(lambda: len(entries_of(house)) == 3, 300)
    fleet = house.core._fleet
    assert fleet is not None
    losses, said = FleetLosses(fleet._around, hosted(house), 0), entries_of(house)
    poor = losses.find_poor(plan, said)
    assert set(poor) == {0, 1, 2}
    assert "they lost more by now" in poor[0], "the plan itself has room for a second release"
    finish(town, plan)
    emptied = with_fields(fleet._around, world=with_fields(fleet._around.world, journal=MemoryReleaseJournal()))
    losses = FleetLosses(emptied, hosted(house), 0)
    assert [losses.purse(place).lost for place in range(3)] == [2 * LOSS] * 3, "the chain knows"
