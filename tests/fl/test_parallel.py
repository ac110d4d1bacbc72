"""Batches of updates on several threads: the same values in the same order, and really at the same time."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from chain.fixedpoint import to_fixed
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.holdout import commit_holdout
from fl.parallel import mapped
from fl.plan.schema import Holdout
from fl.policies import Facts, assess_updates
from fl.policies import holdout as policy
from fl.train import train_federated
from tests.fl.problems import make_problem, random_data


def test_values_come_in_the_order_of_the_items_and_few_items_wait() -> None:
    """With any number of threads; items are taken in the caller's thread as they are needed."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            assert threading.current_thread() is threading.main_thread()
            taken.append(number)
            yield number

    for threads in (1, 2, 5):
        taken.clear()
        for place, value in enumerate(mapped(lambda number: number * number, items(), threads)):
            assert value == place * place
            assert len(taken) <= place + 2 * threads + 1
        assert len(taken) == 50


def test_two_threads_work_at_the_same_time() -> None:
    """Two values that wait for each other are found by two threads."""
    meeting = threading.Barrier(2, timeout=20)
    assert len(list(mapped(lambda _: meeting.wait(), range(2), 2))) == 2


def test_a_failure_is_the_callers() -> None:
    """What a function raises comes out where its value would have, and nothing is left running."""

    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    found = []
    with pytest.raises(ValueError, match="three"):
        found.extend(mapped(fail, range(100), 2))
    assert threading.active_count() < 50


def test_updates_are_judged_alike_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The holdout's verdicts over a batch, and a whole federation, have the same bits on one thread and on two."""
    spec = Holdout(content_id(b"opened by hand"), 2, 300, Number.of("0.5"))
    problem = make_problem(12, policies=(spec,))
    opening = commit_holdout(random_data(problem, 600, 9), 2, b"secret").payloads[0]
    random = np.random.default_rng(5)
    vectors = [to_fixed(random.normal(0.0, 0.2, problem.dimension), problem.fraction_bits) for _ in range(24)]
    settled = [
        Settled.of(AccountId(content_id(bytes([k]))), 10, Contribution(vector, None, 0))
        for k, vector in enumerate(vectors)
    ]
    model = to_fixed(random.normal(0.0, 0.2, problem.dimension), problem.fraction_bits)
    verdicts = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(policy, "_threads", lambda rows, updates, threads=threads: threads)
        verdicts.append(assess_updates(problem, 1, model, settled, [Facts(10, 0, 0, 1)] * 24, opening))
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert len({verdict.quality_ppm for verdict in verdicts[0]}) > 3


def test_a_federation_learns_the_same_on_any_number_of_threads() -> None:
    """Models and losses of a run, bit for bit."""
    problem = make_problem(9, rounds=2)
    parts = {str(k): random_data(problem, 40 + k, k, sparse=k % 2 == 0) for k in range(6)}
    one, two = train_federated(problem, parts), train_federated(problem, parts, threads=2)
    assert one.model.tobytes() == two.model.tobytes()
    assert (one.loss, [report.loss for report in one.history]) == (two.loss, [report.loss for report in two.history])
