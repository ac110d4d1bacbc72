"""A fleet's devices trained by workers elsewhere: the bytes of each are those it has here, whoever dies meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.number import Number
from fl.errors import DataError, ExecutorError
from fl.executors.base import Pool
from fl.executors.choice import opened_pool
from fl.executors.crew import TRIES
from fl.executors.fleets import FleetCrew, FleetWorker, RemoteTrainer, make_trainer
from fl.fleetloop import FleetLoop
from fl.fleetpayloads import FleetTrainer
from fl.plan.schema import FedAvg, NoCompression, Support
from fl.problem import Problem, compile_problem
from tests.fl.executors.pools import Mortal
from tests.fl.test_fleet import PROBLEMS
from tests.fl.test_fleet_payloads import Band
from tests.fl.test_support import a_task

LOOPED = compile_problem(
    replace(PROBLEMS[0].plan, algorithm=FedAvg(Number.of("0.1"), 1, 4), compression=NoCompression())
)
"""A plan that has no batches."""


def afar(band: Band, pool: Mortal) -> RemoteTrainer:
    """What trains a band's devices in a pool."""
    return RemoteTrainer(band.problem, FleetCrew(band.fleet, pool.open))


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([*PROBLEMS[:2], LOOPED]), st.integers(1, 6), st.integers(1, 9), st.data())
def test_each_payload_is_to_the_bit_that_of_the_device_here(
    problem: Problem, count: int, workers: int, data: st.DataObject
) -> None:
    """In any phase, in any order, by any number of workers, some of which die as they are asked."""
    band = Band(problem, count, 7)
    deaths = data.draw(st.sets(st.integers(1, 6), max_size=2), label="deaths")
    pool = Mortal(FleetWorker, workers, deaths.__contains__)
    trainer, here = afar(band, pool), make_trainer(problem, band.fleet, 1)
    order = data.draw(st.permutations(range(count)))
    accounts, carry = [band.accounts[place] for place in order], b""
    for phase in range(len(problem.algorithm.phases)):
        task = a_task(phase)
        found = trainer.train(task, order, accounts, band.model, carry)
        assert found == here.train(task, order, accounts, band.model, carry)
        carry = band.carry([band.alone(task, place) for place in range(count)]) if phase == 0 else b""
    assert [trainer.features(place) for place in order] == [here.features(place) for place in order]
    assert pool.opened == 1


def test_batches_train_where_the_plan_has_them_and_stay_with_their_worker() -> None:
    """A worker numbers its shard's features once for a plan; what the first exchange found is there in the second."""
    band, pool = Band(PROBLEMS[0], 5, 3), Mortal(FleetWorker, 2)
    trainer = afar(band, pool)
    trainer.train(a_task(0), range(5), band.accounts, band.model, b"")
    workers = [worker for worker in pool.workers if isinstance(worker, FleetWorker)]
    before = [next(iter(worker._trainers.values())) for worker in workers]
    assert all(isinstance(one, FleetTrainer) for one in before)
    trainer.train(a_task(0), range(5), band.accounts, band.model, b"")
    assert [next(iter(worker._trainers.values())) for worker in workers] == before
    assert isinstance(make_trainer(LOOPED, band.fleet), FleetLoop)
    assert pool.begun == 2


def test_a_worker_keeps_the_plans_that_take_turns_and_no_more() -> None:
    """What it numbered for a plan long gone is let go."""
    band, pool = Band(PROBLEMS[0], 2, 3), Mortal(FleetWorker, 1)
    crew = FleetCrew(band.fleet, pool.open)
    for nonce in range(6):
        problem = compile_problem(replace(PROBLEMS[0].plan, nonce=nonce))
        RemoteTrainer(problem, crew).train(a_task(0), [0], band.accounts[:1], band.model, b"")
    (worker,) = pool.workers
    assert isinstance(worker, FleetWorker)
    assert len(worker._trainers) == 4


def test_what_no_worker_survives_ends_with_an_error_and_the_next_time_begins_anew() -> None:
    """The pool is let go of, and opened again when devices are trained again; nothing is lost but time."""
    band = Band(PROBLEMS[0], 3, 5)
    pool = Mortal(FleetWorker, 1, lambda asked: asked <= TRIES)
    trainer = afar(band, pool)
    with pytest.raises(ExecutorError, match="dead"):
        trainer.train(a_task(0), range(3), band.accounts, band.model, b"")
    assert (pool.asked, pool.opened, pool.workers) == (TRIES, 1, [])
    found = trainer.train(a_task(0), range(3), band.accounts, band.model, b"")
    assert found == band.together(a_task(0), [0, 1, 2])
    assert pool.opened == 2


def test_a_device_that_can_not_be_trained_is_told_as_here_and_kills_nobody() -> None:
    """Its error stands in the place of its payload."""
    band = Band(compile_problem(replace(PROBLEMS[0].plan, compression=Support(14))), 5, 3)
    pool = Mortal(FleetWorker, 2)
    found = afar(band, pool).train(a_task(0), range(5), band.accounts, band.model, b"")
    here = band.trainer.train(a_task(0), range(5), band.accounts, band.model, b"")
    assert any(isinstance(one, DataError) for one in found)
    assert [str(one) if isinstance(one, DataError) else one for one in found] == [
        str(one) if isinstance(one, DataError) else one for one in here
    ]
    assert pool.begun == 2


@pytest.mark.ray
def test_ray_trains_a_fleet_to_the_same_bits_though_its_workers_are_killed() -> None:
    """Real actors, killed between the exchanges: others take their place. None is there after."""
    band, pools = Band(PROBLEMS[0], 6, 3), []

    @contextmanager
    def opened() -> Iterator[Pool]:
        with opened_pool("", FleetWorker) as pool:
            pools.append(pool)
            yield pool

    crew = FleetCrew(band.fleet, opened)
    trainer, first, second = RemoteTrainer(band.problem, crew), a_task(0), a_task(1)
    try:
        payloads = trainer.train(first, range(6), band.accounts, band.model, b"")
        assert payloads == band.together(first, list(range(6)))
        carry = band.carry([one for one in payloads if isinstance(one, bytes)])
        import ray

        for actor in pools[0]._actors:
            ray.kill(actor)
        again = trainer.train(second, range(6), band.accounts, band.model, carry)
        assert again == band.together(second, list(range(6)), carry)
    finally:
        crew.close()
    assert len(pools) == 1
    assert not ray.is_initialized()
