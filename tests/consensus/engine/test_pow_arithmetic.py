"""Targets, weights and the schedule, in integers."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.pow.fields import MAX_SLOWDOWN, MAX_TARGET, STALE_TARGET_DIVISOR, STALE_WINDOW
from consensus.pow.schedule import compute_due, compute_interval, grace_ms
from consensus.pow.target import compute_target, compute_weight
from tests.consensus.engine.networks import BLOCK_MS, pow_genesis

HALF_LIFE = 288 * BLOCK_MS
PARAMETERS = pow_genesis(half_life_ms=HALF_LIFE).engine
targets = st.integers(2**100, 2**200)


@given(targets, st.integers(-40 * HALF_LIFE, 40 * HALF_LIFE))
def test_a_target_is_the_power_of_two_of_its_lateness(first, lateness):
    """Within 0.02 % of the real number; the cubic's bound is 0.013 %."""
    target = compute_target(first, lateness, HALF_LIFE)
    assert target == pytest.approx(float(first) * 2.0 ** (lateness / HALF_LIFE), rel=2e-4)


@given(targets, st.integers(-30, 30))
def test_whole_half_lives_are_exact(first, half_lives):
    """A half-life late doubles the target, one early halves it, on schedule it is the first."""
    expected = Fraction(first) * Fraction(2) ** half_lives
    assert compute_target(first, half_lives * HALF_LIFE, HALF_LIFE) == math.floor(expected)


@given(targets, st.integers(-(10**12), 10**12), st.integers(0, 10**9))
def test_later_is_never_harder(first, lateness, more):
    """The target grows with lateness, without steps back between the pieces of the cubic."""
    assert compute_target(first, lateness, HALF_LIFE) <= compute_target(first, lateness + more, HALF_LIFE)


@given(st.integers(1, MAX_TARGET), st.integers(-(2**63), 2**63), st.integers(1, 2**63))
def test_a_target_is_always_within_bounds(first, lateness, half_life):
    """Never 0, never more than 256 bits, however late, early or short-lived."""
    assert 1 <= compute_target(first, lateness, half_life) <= MAX_TARGET


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        (MAX_TARGET, 1),
        (2**255 - 1, 2),
        (2**255, 1),
        (1, 2**255),
        (0xFFFF << 208, 0x100010001),  # Bitcoin's difficulty 1, the chain work of its genesis block
    ],
)
def test_weights_are_expected_hashes(target, weight):
    """floor(2**256 / (target + 1))."""
    assert compute_weight(target) == weight


def test_the_interval_grows_with_the_stale_share_alone():
    """Up to the share aimed at it is block_ms; twice the share, twice the interval; never more than eight times."""
    at_aim = STALE_WINDOW // (STALE_TARGET_DIVISOR - 1)
    assert [compute_interval(BLOCK_MS, stale) for stale in range(at_aim + 1)] == [BLOCK_MS] * (at_aim + 1)
    intervals = [compute_interval(BLOCK_MS, stale) for stale in range(2 * STALE_WINDOW)]
    assert intervals == sorted(intervals)
    assert intervals[-1] == MAX_SLOWDOWN * BLOCK_MS
    stale = STALE_WINDOW // 4  # a share of 1/5
    assert compute_interval(BLOCK_MS, stale) == BLOCK_MS * STALE_TARGET_DIVISOR // 5


def test_an_outage_is_forgiven_beyond_the_grace():
    """A gap within the grace counts as late; of a longer one only the grace does."""
    grace = grace_ms(PARAMETERS)
    assert compute_due(PARAMETERS, 1000, BLOCK_MS, BLOCK_MS) == 1000 + BLOCK_MS
    assert compute_due(PARAMETERS, 1000, BLOCK_MS, -BLOCK_MS) == 1000 + BLOCK_MS
    assert compute_due(PARAMETERS, 1000, BLOCK_MS, grace) == 1000 + BLOCK_MS
    day = 86_400_000
    assert grace + day - (compute_due(PARAMETERS, 1000, BLOCK_MS, grace + day) - 1000) == grace


def run_chain(draw: random.Random, blocks: int, hash_rate, delay_ms: float = 0.0) -> list[float]:
    """Return the intervals of a simulated chain in ms.

    Miners make ``hash_rate(block)`` hashes a ms; ``delay_ms`` is how long a block is unknown to the others, who go
    stale at the same rate meanwhile, and whose blocks the next headers refer to.
    """
    first = 2**256 // 1_000_000
    now = due = 0.0
    parent_due, window, intervals = 0, [0] * STALE_WINDOW, []
    for block in range(blocks):
        target = compute_target(first, int(now) - parent_due, HALF_LIFE)
        mean = 2**256 / target / hash_rate(block)
        gap = draw.expovariate(1 / mean)
        due = compute_due(PARAMETERS, parent_due, compute_interval(BLOCK_MS, sum(window)), int(gap))
        window = [*window[1:], min(2, sum(draw.random() < delay_ms / mean / 4 for _ in range(4)))]
        parent_due, now = due, now + gap
        intervals.append(gap)
    return intervals


def test_the_block_rate_follows_the_hash_rate():
    """Eight times the miners, then an eighth: after a while blocks come every block_ms again."""
    draw = random.Random(1)
    rate = 1_000_000 / BLOCK_MS
    intervals = run_chain(draw, 12_000, lambda block: rate * (8 if 3000 <= block < 7000 else 1))
    for start in (1000, 5000, 10_000):
        assert sum(intervals[start : start + 2000]) / 2000 == pytest.approx(BLOCK_MS, rel=0.1)


def test_the_block_rate_yields_to_propagation_delay():
    """A delay of 1/40 of the interval leaves it alone; one of a whole interval makes it √16 times as long."""
    rate = 1_000_000 / BLOCK_MS
    for delay, expected in ((BLOCK_MS / 40, BLOCK_MS), (BLOCK_MS, 4 * BLOCK_MS)):
        intervals = run_chain(random.Random(2), 12_000, lambda block: rate, delay)
        assert sum(intervals[6000:]) / 6000 == pytest.approx(expected, rel=0.15)


def test_a_stopped_network_goes_on_at_its_pace():
    """Regression: after a pause of 10,000 intervals a schedule that counts it all races through thousands of blocks."""
    now, due = 10_000 * BLOCK_MS, 0
    due = compute_due(PARAMETERS, due, BLOCK_MS, now)
    eased = compute_target(2**200, now - due, HALF_LIFE)
    assert eased / 2**200 < 2 ** ((grace_ms(PARAMETERS) + BLOCK_MS) / HALF_LIFE)
