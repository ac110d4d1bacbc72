"""Dividing pools: exact, monotone, nothing minted or lost."""

from hypothesis import given
from hypothesis import strategies as st

from chain.ids import INT_MAX, AccountId, Amount
from consensus.records import DeviceReport
from consensus.rewards import combine_reports, compute_round_share, compute_split, get_device_weight

POOLS = st.integers(0, INT_MAX)


@given(POOLS, st.integers(1, 200))
def test_the_rounds_shares_add_up_to_the_pool(pool, rounds):
    """A plan that runs all its rounds has shared its whole pool, evenly to one unit."""
    shares = [compute_round_share(pool, rounds, number) for number in range(rounds)]
    assert sum(shares) == pool
    assert max(shares) - min(shares) <= 1


@given(POOLS, st.lists(st.integers(0, 2**52), max_size=20))
def test_a_split_pays_by_weight_and_never_more_than_the_share(share, weights):
    """Parts are proportional, rounded down; what is left is less than one unit a payee, or all if nobody earned."""
    parts = compute_split(share, weights)
    assert all(part * sum(weights) <= share * weight for part, weight in zip(parts, weights, strict=True))
    left = share - sum(parts)
    assert left == share if not any(weights) else 0 <= left < max(1, len(weights))


def test_a_device_counts_for_its_worst_phase():
    """Over two phases: the fewer samples, the product of the qualities, the sum of the times, cut at the largest."""
    device = AccountId(bytes(32))
    first = DeviceReport(device, 100, 80, 500_000, INT_MAX, Amount(0))
    second = DeviceReport(device, 100, 90, 500_000, 7, Amount(0))
    both = combine_reports(first, second)
    assert (both.counted, both.quality_ppm, both.computation_us) == (80, 250_000, INT_MAX)
    assert get_device_weight(both) == 80 * 250_000
