"""How much is sent in which round: the paper's warm-up, exactly."""

from fractions import Fraction

import pytest

from chain.number import Number
from fl.compression.schedule import kept_count, kept_share, most_kept
from fl.plan.schema import TopK


def spec(keep: str, warm_up: int) -> TopK:
    """Return a compression that keeps so much after so many rounds."""
    return TopK(Number.of(keep), Number.of(0), warm_up, Number.of(0), 6)


@pytest.mark.parametrize(
    ("keep", "warm_up", "percents"),
    [
        ("0.001", 4, ["25", "6.25", "1.5625", "0.390625", "0.1", "0.1"]),
        ("0.001", 2, ["1.5625", "0.390625", "0.1"]),
        ("0.001", 6, ["25", "25", "25", "6.25", "1.5625", "0.390625", "0.1"]),
        ("0.01", 3, ["25", "6.25", "1.5625", "1"]),
        ("0.01", 0, ["1", "1"]),
        ("0.0625", 2, ["25", "25", "6.25"]),
        ("0.5", 3, ["50", "50", "50", "50"]),
        ("1", 1, ["100", "100"]),
    ],
)
def test_the_warm_up_is_that_of_the_paper(keep: str, warm_up: int, percents: list[str]) -> None:
    """25 %, 6.25 %, 1.5625 %, 0.390625 %, then 0.1 %: of these the last ones that the plan has rounds for."""
    shares = [kept_share(spec(keep, warm_up), number) for number in range(len(percents))]
    assert shares == [Fraction(percent) / 100 for percent in percents]


def test_a_share_is_so_many_coordinates_rounded_up() -> None:
    """And never fewer than one, or more than there are."""
    assert [kept_count(spec("0.001", 0), 9, d) for d in (1, 999, 1000, 1001)] == [1, 1, 1, 2]
    assert kept_count(spec("1", 0), 0, 77) == 77
    assert most_kept(spec("0.001", 4), 1000) == 250
