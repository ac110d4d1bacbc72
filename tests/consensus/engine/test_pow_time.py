"""False clocks gain nothing: whatever timestamps the rules allow, the work for a chain stays what time makes it.

The bound that docs/consensus-pow.md states: at a moment t, a block of height n takes at least 2^(−future/half-life) of
the hashes it would take if every clock were right, where future is how far ahead of the clock a header may be.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Header
from chain.codec import decode, encode
from chain.genesis import Genesis
from chain.genesis_default import default_rules
from chain.ids import Hash, Millis
from consensus.engine import Verdict
from consensus.pow.engine import PowEngine
from consensus.pow.fields import (
    MAX_PRESSURE,
    MAX_SLOWDOWN,
    PRESSURE_DOUBLING,
    STALE_TARGET_DIVISOR,
    PowFields,
    PressedFields,
    read_fields,
)
from consensus.pow.schedule import compute_pressed_interval, compute_pressure, grace_ms
from consensus.pow.target import compute_target, compute_weight
from tests.consensus.engine.networks import BLOCK_MS, START, Network, pow_genesis

HASHES = 64
HALF_LIFE_MS = 12 * BLOCK_MS
WISHES = ["earliest", "latest", "true"]
ROUNDING = 1.001
"""The cubic's error and whole numbers, at both ends."""


def genesis_of(version: int) -> Genesis:
    base = pow_genesis(hashes_per_block=HASHES, half_life_ms=HALF_LIFE_MS)
    return replace(base, schedule=(replace(default_rules(), version=version),))


class Liar(Network):
    """A miner with all the hashing power, and with whatever clock it likes."""

    def find(self, parent: Hash, real_ms: int, wish: str) -> Header:
        """A block on ``parent`` at a real moment, with a time that is allowed then: earliest, latest or true."""
        latest = real_ms + self.genesis.engine.max_future_ms
        wanted = {"earliest": 0, "latest": latest, "true": real_ms}[wish]
        header = self.mine(parent, wanted)
        if header.time_ms > latest:
            header = self.mine(parent, 0)
        return header


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2]),
    st.lists(st.tuples(st.integers(0, 8 * BLOCK_MS), st.sampled_from(WISHES)), min_size=4, max_size=40),
)
def test_no_times_lower_the_work_by_more_than_the_bound(version: int, steps: list[tuple[int, str]]) -> None:
    """Each block of a liar's chain weighs at least the bound's part of what an honest block would, there and then."""
    network = Liar.of(genesis_of(version))
    parameters, parent, real = network.genesis.engine, network.root, START
    bound = 2 ** (parameters.max_future_ms / parameters.half_life_ms) * ROUNDING
    first = int.from_bytes(parameters.initial_target, "big")
    parent_found = START
    for height, (gap, wish) in enumerate(steps, start=1):
        real += gap
        header = network.find(parent, real, wish)
        offered = network.add(header, real)
        assert offered.outcome == "added", offered
        lateness = parent_found - START - (height - 1) * BLOCK_MS
        honest = compute_weight(compute_target(first, lateness, parameters.half_life_ms))
        assert (network.engine.fork_weight(header) + 1) * bound >= honest
        parent, parent_found = offered.id, real


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2]), st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=40))
def test_due_times_only_go_forward(version: int, gaps: list[int]) -> None:
    """However intervals look, negative ones too, a block is due at least ``block_ms`` after its parent."""
    network = Network.of(genesis_of(version))
    parameters, parent, now = network.genesis.engine, network.root, START
    due = 0
    for gap in gaps:
        now = max(START, now + gap)
        header = network.mine(parent, now)
        offered = network.add(header, now + 10**9)
        fields = read_fields(header, parameters)
        above = network.header(parent)
        counted = 0 if version == 2 and above.height == 0 else grace_ms(parameters)
        longest = max(MAX_SLOWDOWN * BLOCK_MS, header.time_ms - above.time_ms - counted)
        assert BLOCK_MS <= fields.due_ms - due <= longest
        due, parent = fields.due_ms, offered.id


def test_the_bound_is_reached_and_no_more() -> None:
    """The best a liar can do is to be as far ahead as is allowed, once: the next blocks pay it back."""
    network = Liar.of(genesis_of(1))
    parameters = network.genesis.engine
    true, false = network.find(network.root, START + BLOCK_MS, "true"), network.find(network.root, START, "latest")
    for header in (true, false):
        network.add(header, START + BLOCK_MS)
    weights = []
    for header in (true, false):
        child = network.mine(network.add(header, START + BLOCK_MS).id, START + 2 * BLOCK_MS)
        weights.append(network.engine.fork_weight(child))
    ahead = parameters.max_future_ms - BLOCK_MS
    assert weights[0] / weights[1] == pytest.approx(2 ** (ahead / parameters.half_life_ms), rel=0.05)


def test_a_networks_clock_starts_with_its_first_block() -> None:
    """Regression: a network that was started a while after its genesis was written raced until it had caught up."""
    for version, is_calm in ((1, False), (2, True)):
        network = Network.of(genesis_of(version))
        first = network.add(network.mine(network.root, START + HALF_LIFE_MS), START + HALF_LIFE_MS).id
        second = network.mine(first, START + HALF_LIFE_MS + BLOCK_MS)
        assert (network.engine.fork_weight(second) >= 0.9 * HASHES) == is_calm


# --- the pressure of rules version 2 ----------------------------------------------------------------


@given(st.integers(0, MAX_PRESSURE), st.integers(0, 2))
def test_pressure_stays_within_its_bounds_and_stands_still_at_the_aim(before: int, siblings: int) -> None:
    """One stale block in sixteen found neither raises nor lowers it; the interval is 1 … 8 times ``block_ms``."""
    after = compute_pressure(before, siblings)
    assert 0 <= after <= MAX_PRESSURE
    assert BLOCK_MS <= compute_pressed_interval(BLOCK_MS, after) <= MAX_SLOWDOWN * BLOCK_MS
    found = [1] + [0] * (STALE_TARGET_DIVISOR - 2)
    middle = pressure = MAX_PRESSURE // 2
    for count in found:
        pressure = compute_pressure(pressure, count)
    assert pressure == middle
    assert compute_pressed_interval(BLOCK_MS, middle + PRESSURE_DOUBLING) == pytest.approx(
        2 * compute_pressed_interval(BLOCK_MS, middle), abs=2
    )


def test_the_pressure_a_header_claims_is_checked() -> None:
    """A header that claims another pressure, or leaves it out as in version 1, is invalid."""
    network = Network.of(genesis_of(2))
    stale = network.mine(network.root, START + BLOCK_MS, 1)
    network.add(stale)
    parent = network.extend(network.root, 1)[0]
    honest = network.mine(parent, START + 2 * BLOCK_MS)
    fields = decode(honest.engine, PressedFields)
    assert len(fields.siblings) == 1
    assert fields.pressure == STALE_TARGET_DIVISOR - 2
    old = PowFields(fields.target, fields.due_ms, fields.stale, fields.siblings)
    lies = [network.sealed(replace(honest, engine=encode(replace(fields, pressure=claim)))) for claim in (0, 15)]
    for lie in (*lies, replace(honest, engine=encode(old))):
        verdict = network.engine.check_header(network.tree, lie, Millis(honest.time_ms))
        assert verdict.verdict is Verdict.INVALID
    assert isinstance(network.engine, PowEngine)
    assert network.engine.check_header(network.tree, honest, Millis(honest.time_ms)).is_valid
