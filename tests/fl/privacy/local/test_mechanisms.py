"""One value randomised: ε holds exactly for all pairs of inputs and all answers; draws have the stated chances."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from chain.number import Number
from fl.privacy.local.mechanisms import Mechanism, Unary, Window, choose
from fl.privacy.local.recipe import Recipe, recipe_of
from fl.privacy.local.thresholds import exp_below
from fl.privacy.randomness import SeededRandom
from tests.fl.privacy.local.tables import FLAT, LINEAR

EPSILONS = ("0.01", "0.5", "1", "2.7", "4", "8", "16", "50")


def worst_ratio(mechanism: Mechanism) -> Fraction:
    """Return the largest ratio of two inputs' chances for any answer, exactly."""
    inputs = mechanism.inputs if isinstance(mechanism, Window) else mechanism.size + 1
    tables = [mechanism.chances(given) for given in range(inputs)]
    assert all(sum(table.values()) == 1 for table in tables)
    answers = list(tables[0])
    return max(max(table[a] for table in tables) / min(table[a] for table in tables) for a in answers)  # type: ignore[index]


def recipes() -> list[Recipe]:
    return [recipe_of(role, Number.of(epsilon)) for role in (FLAT, LINEAR) for epsilon in EPSILONS]


@pytest.mark.parametrize("recipe", recipes(), ids=lambda r: f"{r.role.label.__struct_config__.tag}-{float(r.epsilon)}")
def test_no_answer_is_more_than_e_to_its_share_as_likely_for_any_two_values(recipe: Recipe) -> None:
    """All inputs, all answers, exact rationals against a rational below e^share; and no mechanism wastes its share."""
    for attribute in (*recipe.attributes, recipe.label):
        ratio = worst_ratio(attribute.mechanism)
        assert ratio <= exp_below(recipe.share), attribute
        assert ratio > exp_below(recipe.share * Fraction(999, 1000)), attribute


@pytest.mark.parametrize("recipe", recipes(), ids=lambda r: f"{r.role.label.__struct_config__.tag}-{float(r.epsilon)}")
def test_a_row_has_its_epsilon_and_no_more(recipe: Recipe) -> None:
    """The shares of a row's answers, its label's included, add up to ε exactly."""
    assert (recipe.told + 1) * recipe.share == recipe.epsilon
    assert 1 <= recipe.told <= len(recipe.attributes)


MECHANISMS = [
    Window.of_choices(4, Fraction(1)),
    Window.of_grid(6, True, Fraction(2)),
    Window.of_grid(1, False, Fraction(1)),
    Unary.of_choices(3, Fraction(1)),
]


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)
def test_draws_have_the_chances_that_are_stated(mechanism: Mechanism) -> None:
    """Chi-square of 40,000 draws of each input."""
    inputs = mechanism.inputs if isinstance(mechanism, Window) else mechanism.size + 1
    for given in range(inputs):
        drawn = mechanism.draw(np.full(20_000, given, np.int64), SeededRandom(b"draw %d" % given))
        found = Counter(map(tuple, drawn.tolist()) if drawn.ndim == 2 else drawn.tolist())
        wanted = mechanism.chances(given)
        assert found.keys() <= wanted.keys()
        square = sum((found[a] - 20_000 * float(p)) ** 2 / (20_000 * float(p)) for a, p in wanted.items())  # type: ignore[index]
        assert square < len(wanted) + 6 * (2 * len(wanted)) ** 0.5


@pytest.mark.parametrize(("grid", "has_missing"), [(1, False), (32, False), (32, True), (5, True)])
@pytest.mark.parametrize("epsilon", [Fraction(1, 4), Fraction(2), Fraction(9)])
def test_an_answer_set_right_has_the_number_as_its_mean(grid: int, has_missing: bool, epsilon: Fraction) -> None:
    """Exactly, and its square the number's square: from the chances themselves."""
    window = Window.of_grid(grid, has_missing, epsilon)
    numbers = range(grid + window.width)
    phi = {a: 2 * a - (window.width - 1) - grid if a in numbers else 0 for a in range(window.answers)}
    square = {a: Fraction(3 * v * v - (window.width**2 - 1), 3) if a in numbers else 0 for a, v in phi.items()}
    far = (1 - window.gain) * Fraction(sum(square.values()), window.answers)
    assert sum(phi.values()) == 0
    for point in range(grid + 1):
        chances = window.chances(point)
        assert sum(p * phi[a] for a, p in chances.items()) == window.gain * (2 * point - grid)
        assert sum(p * square[a] for a, p in chances.items()) == far + window.gain * (2 * point - grid) ** 2
    if has_missing:
        chances = window.chances(grid + 1)
        assert sum(p * phi[a] for a, p in chances.items()) == 0
        assert sum(p * square[a] for a, p in chances.items()) == far


def test_many_values_and_little_epsilon_take_the_unary_encoding() -> None:
    """The one of less variance: 3e^ε + 2 values are where they meet."""
    assert isinstance(choose(4, False, Fraction(1, 2)), Window)
    assert isinstance(choose(40, False, Fraction(1, 2)), Unary)
    assert isinstance(choose(40, True, Fraction(4)), Window)
