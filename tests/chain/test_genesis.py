"""Genesis: what it fixes for ever, the rules by height, and what would contradict itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import encode
from chain.errors import GenesisError
from chain.genesis import Allocation, Genesis, PowParameters, Rules
from chain.genesis_check import KNOWN_VERSIONS, SUPPLY_HORIZON, total_subsidy, validate_genesis
from chain.genesis_default import COIN, default_genesis, default_rules, target_of
from chain.hashing import DOMAIN_GENESIS, digest
from chain.ids import INT_MAX, AccountId, Amount, Height, Millis
from tests.strategies import KEYS, genesis_documents, schedules

ACCOUNTS = [key.account for key in KEYS]


def small_genesis() -> Genesis:
    return default_genesis("test", dict.fromkeys(ACCOUNTS[:2], COIN), time_ms=1, block_ms=500)


@given(genesis_documents(), genesis_documents())
def test_the_id_is_that_of_the_document(genesis: Genesis, other: Genesis) -> None:
    """Two networks have one id only if every word of their genesis is the same."""
    assert genesis.id == digest(DOMAIN_GENESIS, encode(genesis))
    assert (genesis.id == other.id) == (genesis == other)


@given(genesis_documents(), st.integers(0, 3 * 10**6))
def test_rules_are_those_of_the_last_entry_reached(genesis: Genesis, height: int) -> None:
    """A planned fork counts from its own height on."""
    reached = [rules for rules in genesis.schedule if rules.height <= height]
    assert genesis.rules_at(height) == reached[-1]


@given(genesis_documents())
def test_a_consistent_genesis_has_no_problems(genesis: Genesis) -> None:
    """The check lets through what the strategies draw."""
    assert validate_genesis(genesis) == []


def test_the_default_rules_are_the_documented_ones() -> None:
    """The numbers of docs/formats.md, and a genesis made of them without a problem."""
    rules = default_rules()
    assert (rules.max_block_bytes, rules.max_payload_bytes, rules.max_block_payload_bytes) == (
        2 << 20,
        16 << 20,
        64 << 20,
    )
    assert (rules.max_block_work, rules.subsidy, rules.subsidy_halving) == (2 * 10**10, 50 * COIN, 2_100_000)
    assert (rules.min_fee_per_byte, rules.work_price, rules.stamp_bits) == (1, 1, 12)
    assert (rules.min_bond, rules.max_miners, rules.miner_fallback_blocks) == (10 * COIN, 1024, 2)
    assert rules.algorithms == ("fedsvrg", "fedavg", "dane")
    assert rules.policies == ("bounds", "timing", "holdout")
    genesis = small_genesis()
    assert genesis.schedule == (rules,)
    assert isinstance(genesis.engine, PowParameters)
    assert genesis.engine.half_life_ms == 288 * 500
    assert [allocation.account for allocation in genesis.allocations] == sorted(ACCOUNTS[:2])


@given(st.permutations(ACCOUNTS))
def test_the_order_in_which_allocations_are_given_does_not_matter(accounts: list[AccountId]) -> None:
    """The same people with the same coins start the same network."""
    made = default_genesis("test", dict.fromkeys(accounts, 5), time_ms=1, block_ms=500)
    assert made.id == default_genesis("test", dict.fromkeys(ACCOUNTS, 5), time_ms=1, block_ms=500).id


@given(st.integers(1, 2**255) | st.integers(1, 2**20))
def test_a_target_is_met_by_one_hash_in_so_many(hashes: int) -> None:
    """Of 2**256 hashes the target + 1 that meet it are the share asked for, as nearly as integers allow."""
    met = int.from_bytes(target_of(hashes), "big") + 1
    assert met >= 2
    assert met * hashes <= 2**256 < (met + 1) * hashes


@pytest.mark.parametrize("hashes", [0, -1, 2**255 + 1])
def test_a_target_nobody_or_everybody_meets_is_refused(hashes: int) -> None:
    """The number of hashes is at least one and at most 2**255."""
    with pytest.raises(GenesisError, match="hashes_per_block"):
        target_of(hashes)


@given(schedules(), st.integers(0, 300))
def test_the_total_subsidy_is_the_sum_over_heights(schedule: tuple[Rules, ...], until: int) -> None:
    """Counted era by era, the coins are those counted block by block."""
    shrunk = tuple(
        replace(rules, height=Height(100 * index), subsidy_halving=rules.subsidy_halving % 7 * 13)
        for index, rules in enumerate(schedule)
    )
    genesis = replace(small_genesis(), schedule=shrunk)
    blocks = [genesis.rules_at(height).subsidy_at(height) for height in range(1, until + 1)]
    assert total_subsidy(shrunk, until) == sum(blocks)
    assert shrunk[0].subsidy_at(0) == 0


def test_the_subsidy_halves() -> None:
    """Halving counts from genesis; 0 means never."""
    rules = replace(default_rules(), subsidy=Amount(100), subsidy_halving=10)
    assert [rules.subsidy_at(height) for height in (0, 1, 9, 10, 20, 69, 70, 10**6)] == [0, 100, 100, 50, 25, 1, 0, 0]
    assert replace(rules, subsidy_halving=0).subsidy_at(10**9) == 100


def with_rules(**changes: object) -> Callable[[Genesis], Genesis]:
    return lambda genesis: replace(genesis, schedule=(replace(genesis.schedule[0], **changes),))


def with_second(**changes: object) -> Callable[[Genesis], Genesis]:
    return lambda genesis: replace(genesis, schedule=(genesis.schedule[0], replace(genesis.schedule[0], **changes)))


def with_engine(**changes: object) -> Callable[[Genesis], Genesis]:
    return lambda genesis: replace(genesis, engine=replace(genesis.engine, **changes))


def with_allocations(*pairs: tuple[bytes, int]) -> Callable[[Genesis], Genesis]:
    allocations = tuple(Allocation(account, Amount(amount)) for account, amount in pairs)  # type: ignore[arg-type]
    return lambda genesis: replace(genesis, allocations=allocations)


CONTRADICTIONS: list[tuple[Callable[[Genesis], Genesis], str]] = [
    (lambda genesis: replace(genesis, chain_id=""), "chain_id = ''"),
    (lambda genesis: replace(genesis, chain_id="a b"), "chain_id = 'a b'"),
    (lambda genesis: replace(genesis, chain_id="x" * 65), "chain_id"),
    (lambda genesis: replace(genesis, prefix="Fed"), "prefix: "),
    (lambda genesis: replace(genesis, prefix="fed\n"), "prefix"),
    (lambda genesis: replace(genesis, schedule=()), "schedule: "),
    (lambda genesis: replace(genesis, time_ms=Millis(-1)), "time_ms: "),
    (with_allocations((ACCOUNTS[0], -1)), "allocations[0].amount: "),
    (with_rules(stamp_bits=65), "schedule[0].stamp_bits: "),
    (with_rules(algorithms=("x" * 201,)), "schedule[0].algorithms[0]: "),
    (with_allocations((ACCOUNTS[0], 0)), "allocations[0].amount = 0: must be at least 1"),
    (with_allocations((ACCOUNTS[0], 1), (ACCOUNTS[1], 1), (ACCOUNTS[0], 2)), "already named by allocations[0]"),
    (with_allocations((ACCOUNTS[0], INT_MAX), (ACCOUNTS[1], 1)), f"allocations = {INT_MAX + 1} in all"),
    (with_allocations((ACCOUNTS[0], INT_MAX)), "schedule.subsidy"),
    (with_rules(subsidy=Amount(2**32), subsidy_halving=0), "schedule.subsidy"),
    (with_rules(subsidy=Amount(INT_MAX)), "schedule.subsidy"),
    (with_rules(height=Height(1)), "schedule[0].height = 1: must be 0"),
    (with_second(height=Height(0)), "schedule[1].height = 0: must be above 0"),
    (with_rules(version=0), "schedule[0].version = 0"),
    (with_rules(version=max(KNOWN_VERSIONS) + 1), "must be one of 1"),
    (with_rules(max_block_bytes=1000), "schedule[0].max_block_bytes = 1000"),
    (with_rules(max_block_bytes=2**30), "max_block_bytes"),
    (with_rules(max_payload_bytes=0), "max_payload_bytes = 0"),
    (with_rules(max_payload_bytes=2**40, max_block_payload_bytes=2**40), "max_payload_bytes"),
    (with_rules(max_block_payload_bytes=1), "max_block_payload_bytes = 1: must be 16777216 to"),
    (with_rules(max_block_work=0), "max_block_work = 0"),
    (with_rules(max_miners=0), "max_miners = 0"),
    (with_rules(miner_fallback_blocks=0), "miner_fallback_blocks = 0"),
    (with_rules(min_fee_per_byte=2**50), "min_fee_per_byte"),
    (with_rules(work_price=2**50, max_block_work=2**40), "work_price"),
    (with_rules(algorithms=()), "algorithms = []"),
    (with_rules(algorithms=("fedavg", "dane", "fedavg")), "algorithms[2] = 'fedavg': already in the list"),
    (with_rules(policies=("Bounds",)), "policies[0] = 'Bounds'"),
    (with_engine(block_ms=Millis(0)), "engine.block_ms = 0: must be at least 1"),
    (with_engine(half_life_ms=Millis(0)), "engine.half_life_ms"),
    (with_engine(max_future_ms=Millis(0)), "engine.max_future_ms"),
    (with_engine(max_reorg=0), "engine.max_reorg"),
    (with_engine(initial_target=bytes(32)), "engine.initial_target"),
    (with_engine(initial_target=bytes(31)), "engine.initial_target: "),
]


@pytest.mark.parametrize(("spoil", "reason"), CONTRADICTIONS)
def test_each_contradiction_is_named(spoil: Callable[[Genesis], Genesis], reason: str) -> None:
    """One thing wrong gives one problem, which names the field and its value."""
    (problem,) = validate_genesis(spoil(small_genesis()))
    assert reason in problem


def test_all_contradictions_are_told_at_once() -> None:
    """Who mends a genesis sees everything there is to mend."""
    spoilt = with_engine(block_ms=Millis(0), max_reorg=0)(with_rules(version=9, algorithms=())(small_genesis()))
    problems = validate_genesis(spoilt)
    assert len(problems) == 4
    assert {problem.split(" = ")[0] for problem in problems} == {
        "engine.block_ms",
        "engine.max_reorg",
        "schedule[0].version",
        "schedule[0].algorithms",
    }


def test_a_default_genesis_that_cannot_be_is_refused_whole() -> None:
    """The error carries every problem, one a line."""
    with pytest.raises(GenesisError) as caught:
        default_genesis("a b", {ACCOUNTS[0]: 0}, time_ms=1, block_ms=0)
    assert len(caught.value.problems) == 4
    assert str(caught.value).splitlines() == list(caught.value.problems)


def test_a_subsidy_without_end_fits_if_it_is_small() -> None:
    """Without halving, the supply must fit for as long as ``SUPPLY_HORIZON`` blocks."""
    largest = INT_MAX // SUPPLY_HORIZON
    genesis = replace(small_genesis(), allocations=())
    assert validate_genesis(with_rules(subsidy=Amount(largest), subsidy_halving=0)(genesis)) == []
    assert validate_genesis(with_rules(subsidy=Amount(largest + 1), subsidy_halving=0)(genesis)) != []
