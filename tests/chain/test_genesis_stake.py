"""Genesis documents with validators: what they may say, how people read and write them, what contradicts itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import GenesisError
from chain.genesis import Allocation, Genesis, GenesisValidator, PosParameters
from chain.genesis_check import KNOWN_VERSIONS, validate_genesis
from chain.genesis_default import COIN, default_genesis, default_rules
from chain.genesis_default_stake import default_stake_genesis, stake_rules
from chain.genesis_file import read_genesis, write_genesis
from chain.genesis_stake import MAX_VALIDATORS, total_stake
from chain.ids import INT_MAX, AccountId, Amount
from consensus.pos.validators import MAX_MEMBERS
from tests.strategies import KEYS, stake_genesis_documents

ACCOUNTS = [key.account for key in KEYS]


def small(**options: object) -> Genesis:
    stakes = dict.fromkeys(ACCOUNTS[:3], 10_000 * COIN)
    return default_stake_genesis("test", {ACCOUNTS[3]: COIN}, stakes, time_ms=1, block_ms=5000, **options)  # type: ignore[arg-type]


def parameters(genesis: Genesis) -> PosParameters:
    assert isinstance(genesis.engine, PosParameters)
    return genesis.engine


@given(stake_genesis_documents())
def test_a_document_is_read_as_it_was_written(genesis: Genesis) -> None:
    """By people and by machines: nothing of the engine is lost, and nothing contradicts itself."""
    assert validate_genesis(genesis) == []
    assert decode(encode(genesis), Genesis) == genesis
    assert read_genesis(write_genesis(genesis)) == genesis


def test_spans_people_think_of_are_turned_into_blocks() -> None:
    """An hour an epoch, three weeks of unbonding, at five seconds a block."""
    engine = parameters(small())
    assert (engine.epoch_blocks, engine.unbonding_blocks, engine.jail_blocks) == (720, 21 * 24 * 720, 720)
    assert engine.min_stake == 1000 * COIN
    assert total_stake(engine) == 30_000 * COIN
    assert [one.account for one in engine.validators] == sorted(ACCOUNTS[:3])
    assert stake_rules().version == KNOWN_VERSIONS[-1] >= 2


def test_short_spans_of_a_small_network_fit_each_other() -> None:
    """Who names a short epoch and short unbonding gets a jail that is no longer than the way round it."""
    engine = parameters(small(epoch_blocks=32, unbonding_blocks=128))
    assert engine.jail_blocks == 2 * 32 + 128


def test_accounts_are_addresses_in_the_file() -> None:
    """Validators and registrars too, with the network's own prefix."""
    text = write_genesis(small(registrars=ACCOUNTS[:1], prefix="med"))
    assert text.count('"med1') == 1 + 3 + 1


def test_the_engine_takes_all_validators_that_a_genesis_may_name() -> None:
    """The two limits are one."""
    assert MAX_VALIDATORS == MAX_MEMBERS


def with_engine(**changes: object) -> Callable[[Genesis], Genesis]:
    return lambda genesis: replace(genesis, engine=replace(genesis.engine, **changes))


def staking(*pairs: tuple[AccountId, int]) -> Callable[[Genesis], Genesis]:
    return with_engine(validators=tuple(GenesisValidator(account, Amount(stake)) for account, stake in pairs))


CONTRADICTIONS: list[tuple[Callable[[Genesis], Genesis], str]] = [
    (with_engine(block_ms=0), "engine.block_ms = 0: must be 1 to"),
    (with_engine(delta_ms=0), "engine.delta_ms = 0"),
    (with_engine(max_future_ms=0), "engine.max_future_ms = 0"),
    (with_engine(epoch_blocks=0), "engine.epoch_blocks = 0"),
    (with_engine(unbonding_blocks=0), "engine.unbonding_blocks = 0"),
    (with_engine(min_stake=0), "engine.min_stake = 0"),
    (with_engine(max_validators=257), "engine.max_validators = 257: must be 1 to 256"),
    (with_engine(max_validators=2), "engine.validators = 3 entries: must be at most max_validators, 2"),
    (with_engine(slash_ppm=10**6 + 1), "engine.slash_ppm"),
    (with_engine(evidence_reward_ppm=500_001), "engine.evidence_reward_ppm = 500001: must be 0 to 500000"),
    (with_engine(absent_slots=0), "engine.absent_slots = 0"),
    (with_engine(jail_blocks=0), "engine.jail_blocks = 0"),
    (with_engine(epoch_blocks=10, unbonding_blocks=7, jail_blocks=28), "engine.jail_blocks = 28: must be at most"),
    (with_engine(permissioned=3), "engine.permissioned: "),
    (staking(), "engine.validators = []: must name at least one"),
    (staking((ACCOUNTS[0], 10**9), (ACCOUNTS[0], 10**9)), "already named by engine.validators[0]"),
    (staking((ACCOUNTS[0], 999 * COIN)), "engine.validators[0].stake = 999000000: must be at least min_stake"),
    (staking((AccountId(bytes(32)), 10**9)), "has no key"),
    (staking((ACCOUNTS[0], INT_MAX)), "engine.validators"),
    (with_engine(registrars=(ACCOUNTS[0], ACCOUNTS[0])), "engine.registrars[1]"),
    (lambda genesis: replace(genesis, schedule=(default_rules(),)), "schedule[0].version = 1: must be at least 2"),
]


@pytest.mark.parametrize(("spoil", "problem"), CONTRADICTIONS, ids=[problem for _, problem in CONTRADICTIONS])
def test_a_contradiction_is_named(spoil: Callable[[Genesis], Genesis], problem: str) -> None:
    """One mistake, one line that says which field is wrong."""
    problems = validate_genesis(spoil(small()))
    assert len(problems) == 1
    assert problem in problems[0]


def test_an_unsound_genesis_is_not_made() -> None:
    """The function that makes one names what is wrong."""
    with pytest.raises(GenesisError, match="engine"):
        small(epoch_blocks=0)


def test_a_chain_of_work_has_no_stake() -> None:
    """The engine's kind says which parameters there are; stakes count in the supply."""
    work = default_genesis("test", {ACCOUNTS[0]: COIN}, time_ms=1, block_ms=5000)
    assert not isinstance(work.engine, PosParameters)
    rich = replace(work, allocations=(Allocation(ACCOUNTS[0], Amount(INT_MAX)),))
    assert any("schedule.subsidy" in problem for problem in validate_genesis(rich))
