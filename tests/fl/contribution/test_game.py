"""Games: what leave-one-out and Shapley values are, when they add up, and who can gain by splitting himself."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.contribution import draw_orders
from fl.contribution.game import leave_one_out, shapley
from fl.contribution.standing import choose_originals

Vector = tuple[int, ...]
VALUES = st.integers(-1000, 1000)
VECTORS = st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=6)


class Summed:
    """A coalition that achieves a function of its players' summed vectors; counts the values that were taken."""

    def __init__(self, vectors: Sequence[Vector], worth: Callable[[Vector], int], taken: list[int]) -> None:
        self._vectors, self._worth, self._taken = vectors, worth, taken
        self._members: list[int] = []

    def join(self, player: int) -> None:
        assert player not in self._members
        self._members.append(player)

    def leave(self, player: int) -> None:
        self._members.remove(player)

    def value(self) -> int:
        self._taken.append(len(self._members))
        total = np.sum([self._vectors[member] for member in self._members], axis=0) if self._members else (0, 0, 0)
        return self._worth(tuple(int(value) for value in total))


def quadratic(total: Vector) -> int:
    """An even concave quadratic: b·x·1000 − xᵀHx with H symmetric, positive."""
    x, y, z = total
    return 4 * (700 * x + 200 * y - 50 * z) - 2 * (3 * x * x + 2 * y * y + 2 * z * z + 2 * x * y - 2 * y * z)


def crooked(total: Vector) -> int:
    """Neither concave nor smooth."""
    x, y, z = total
    return abs(x) * 3 - (y % 7) * 50 + max(z, 0) ** 2 // 100


def shapley_of(
    vectors: Sequence[Vector], worth: Callable[[Vector], int], count: int, tolerance: str = "0", threads: int = 1
) -> list[int]:
    orders = draw_orders(b"s" * 32, len(vectors), count)
    return shapley(lambda: Summed(vectors, worth, []), len(vectors), orders, Fraction(tolerance), threads)


@given(VECTORS, st.sampled_from([quadratic, crooked]))
@settings(max_examples=50)
def test_leave_one_out_is_what_all_lose_without_one(vectors: list[Vector], worth: Callable[[Vector], int]) -> None:
    """v(N) − v(N∖k), in as many threads as one likes, with one value a player and one more each thread."""
    taken: list[int] = []
    found = leave_one_out(lambda: Summed(vectors, worth, taken), len(vectors))
    total = np.sum(vectors, axis=0)
    expected = [worth(tuple(total)) - worth(tuple(total - vector)) for vector in np.array(vectors)]
    assert found == expected == leave_one_out(lambda: Summed(vectors, worth, []), len(vectors), threads=2)
    assert len(taken) == len(vectors) + 1


@given(VECTORS, st.sampled_from([quadratic, crooked]), st.integers(1, 3))
@settings(max_examples=50)
def test_shapley_values_add_up_to_what_all_achieve(
    vectors: list[Vector], worth: Callable[[Vector], int], count: int
) -> None:
    """In every walk, so in their sum, whatever v is; nobody gains or loses by the number of threads."""
    found = shapley_of(vectors, worth, count)
    whole = worth(tuple(np.sum(vectors, axis=0)))
    assert sum(found) == 2 * count * (whole - worth((0, 0, 0)))
    assert found == shapley_of(vectors, worth, count, threads=2)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=4))
@settings(max_examples=30)
def test_all_orders_together_give_the_shapley_value(vectors: list[Vector]) -> None:
    """By its definition: the mean over all orders of what a player adds by joining."""
    orders = list(permutations(range(len(vectors))))
    found = shapley(lambda: Summed(vectors, crooked, []), len(vectors), orders, Fraction(0))
    expected = [0] * len(vectors)
    for order in orders:
        joined = np.zeros(3, int)
        for player in order:
            before = crooked(tuple(joined))
            joined = joined + vectors[player]
            expected[player] += crooked(tuple(joined)) - before
    assert found == [2 * value for value in expected]  # backwards, the orders are the same again


@given(VECTORS)
@settings(max_examples=50)
def test_of_a_quadratic_one_order_and_its_reverse_say_all(vectors: list[Vector]) -> None:
    """bᵀu − ½XᵀHu: exact, and the same from any order, because each meets the others once before and once behind."""
    (x, y, z) = (int(value) for value in np.sum(vectors, axis=0))
    slope = (
        8 * 700 - 4 * (3 * x + y),
        8 * 200 - 4 * (2 * y + x - z),
        8 * -50 - 4 * (2 * z - y),
    )
    expected = [sum(own * each for own, each in zip(slope, vector, strict=True)) for vector in vectors]
    assert shapley_of(vectors, quadratic, 1) == expected
    assert shapley_of(vectors, quadratic, 3) == [3 * value for value in expected]


@given(VECTORS, st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=7), st.integers(1, 3))
@settings(max_examples=100)
def test_of_a_quadratic_splitting_changes_nobodys_shapley_value(
    others: list[Vector], cuts: list[Vector], count: int
) -> None:
    """Parts of any kind that sum up to a whole have together what the whole has, and the others what they had."""
    whole = (300, -200, 100)
    last = tuple(int(value) for value in np.array(whole) - np.sum(cuts, axis=0))
    one = shapley_of([*others, whole], quadratic, count)
    many = shapley_of([*others, *cuts, last], quadratic, count)
    assert many[: len(others)] == one[:-1]
    assert sum(many[len(others) :]) == one[-1]


@given(VECTORS, st.tuples(VALUES, VALUES, VALUES), st.tuples(VALUES, VALUES, VALUES))
@settings(max_examples=100)
def test_of_a_quadratic_aligned_parts_lose_by_leave_one_out(others: list[Vector], one: Vector, two: Vector) -> None:
    """What both have less what the whole has is minus their product in the curvature: against each other they gain."""
    whole = tuple(int(value) for value in np.add(one, two))
    players = [*others, one, two]
    parts = leave_one_out(lambda: Summed(players, quadratic, []), len(players))
    merged = leave_one_out(lambda: Summed([*others, whole], quadratic, []), len(others) + 1)
    (x, y, z), (p, q, r) = one, two
    product = 3 * x * p + 2 * y * q + 2 * z * r + x * q + y * p - y * r - z * q
    assert parts[: len(others)] == merged[:-1]
    assert parts[-2] + parts[-1] == merged[-1] - 4 * product


def test_a_cut_walk_leaves_out_less_than_the_tolerance() -> None:
    """And takes fewer values; with 0 no walk is cut, though v may pass its end on the way."""
    vectors = [(400, 0, 0), *[(0, 1, 0)] * 20]
    whole = quadratic((400, 20, 0))
    taken: list[int] = []
    orders = draw_orders(b"s" * 32, len(vectors), 2)
    found = shapley(lambda: Summed(vectors, quadratic, taken), len(vectors), orders, Fraction(1, 10))
    assert 0 < abs(4 * whole - sum(found)) <= 4 * whole // 10
    assert len(taken) < 4 * (len(vectors) - 1) + 2
    flat = [(1, 0, 0), (-1, 0, 0), (5, 0, 0)]
    exact = shapley(lambda: Summed(flat, crooked, []), 3, [(0, 1, 2)], Fraction(0))
    assert sum(exact) == 2 * crooked((5, 0, 0))


@given(st.integers(0, 12), st.integers(0, 4), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_orders_are_permutations_that_follow_from_the_seed(players: int, count: int, seed: bytes) -> None:
    """Each order has every player once; another seed gives others."""
    orders = draw_orders(seed, players, count)
    assert [sorted(order) for order in orders] == [list(range(players))] * count
    assert orders == draw_orders(seed, players, count)


def test_orders_are_drawn_evenly() -> None:
    """Over many draws each of three players is first a third of the time."""
    first = [draw_orders(bytes([number, 7]) * 16, 3, 1)[0][0] for number in range(240)]
    assert all(55 <= first.count(player) <= 105 for player in range(3))


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 3)), max_size=8))
@settings(max_examples=50)
def test_of_equal_updates_the_earliest_stands(entries: list[tuple[bytes, int]]) -> None:
    """By block, then by place in the draw; what equals nothing stands for itself."""
    digests, ranks = [each for each, _ in entries], [(block, place) for place, (_, block) in enumerate(entries)]
    for number, original in enumerate(choose_originals(digests, ranks)):
        same = [each for each in range(len(entries)) if digests[each] == digests[number]]
        assert original == min(same, key=lambda each: ranks[each])
