"""A genesis of proof of stake with sensible numbers, for people who start a network or a consortium, and why these.

Amounts are in the smallest unit; spans that people think of in hours or days are turned into blocks here.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from chain.address import DEFAULT_PREFIX
from chain.errors import GenesisError
from chain.genesis import Allocation, Genesis, GenesisValidator, PosParameters, Rules
from chain.genesis_check import validate_genesis
from chain.genesis_default import COIN, newest_rules
from chain.ids import AccountId, Amount, Millis

DELTA_MS: Final = 1000
"""Twice the way round the world and a slow disk; three of it are lost for each leader that is away."""
_HOUR_MS: Final = 3_600_000
_UNBONDING_HOURS: Final = 21 * 24
"""How long a validator answers for what it signed: time for people to notice, argue and submit the evidence."""
_FUTURE_LEAST_MS: Final = 15_000
_EPOCH_LEAST: Final = 8
_MIN_STAKE: Final = 1000 * COIN
_MAX_VALIDATORS: Final = 128
_SLASH_PPM: Final = 50_000
"""A twentieth: what a stolen key costs an honest hospital; a chain-splitting third loses it many times over."""
_EVIDENCE_REWARD_PPM: Final = 100_000
_ABSENT_SLOTS: Final = 16


def stake_rules() -> Rules:
    """Return the rules that a chain with validators made today begins with."""
    return newest_rules()


def default_stake_genesis(
    chain_id: str,
    allocations: Mapping[AccountId, int],
    validators: Mapping[AccountId, int],
    *,
    time_ms: int,
    block_ms: int,
    delta_ms: int | None = None,
    max_future_ms: int | None = None,
    epoch_blocks: int | None = None,
    permissioned: bool = False,
    registrars: Iterable[AccountId] = (),
    min_stake: int | None = None,
    max_validators: int = _MAX_VALIDATORS,
    unbonding_blocks: int | None = None,
    slash_ppm: int = _SLASH_PPM,
    evidence_reward_ppm: int = _EVIDENCE_REWARD_PPM,
    absent_slots: int = _ABSENT_SLOTS,
    jail_blocks: int | None = None,
    prefix: str = DEFAULT_PREFIX,
    rules: Rules | None = None,
) -> Genesis:
    """Return a genesis with validators; ``GenesisError`` names everything wrong with it.

    ``allocations`` maps accounts to balances, ``validators`` to stakes beside them; their order does not matter.
    An epoch lasts an hour, unbonding three weeks, jail an hour, unless told; by default ``min_stake`` is never above
    the smallest stake named, nor jail longer than the way round it.
    """
    hour = max(1, _HOUR_MS // max(block_ms, 1))
    least = min([_MIN_STAKE, *validators.values()])
    epoch = max(hour, _EPOCH_LEAST) if epoch_blocks is None else epoch_blocks
    unbonding = _UNBONDING_HOURS * hour if unbonding_blocks is None else unbonding_blocks
    engine = PosParameters(
        block_ms=Millis(block_ms),
        delta_ms=Millis(min(DELTA_MS, block_ms) if delta_ms is None else delta_ms),
        max_future_ms=Millis(max(2 * block_ms, _FUTURE_LEAST_MS) if max_future_ms is None else max_future_ms),
        epoch_blocks=epoch,
        validators=tuple(GenesisValidator(account, Amount(validators[account])) for account in sorted(validators)),
        permissioned=permissioned,
        registrars=tuple(sorted(registrars)),
        min_stake=Amount(least if min_stake is None else min_stake),
        max_validators=max_validators,
        unbonding_blocks=unbonding,
        slash_ppm=slash_ppm,
        evidence_reward_ppm=evidence_reward_ppm,
        absent_slots=absent_slots,
        jail_blocks=min(hour, 2 * epoch + unbonding) if jail_blocks is None else jail_blocks,
    )
    genesis = Genesis(
        chain_id=chain_id,
        prefix=prefix,
        time_ms=Millis(time_ms),
        allocations=tuple(Allocation(account, Amount(allocations[account])) for account in sorted(allocations)),
        schedule=(rules or stake_rules(),),
        engine=engine,
    )
    problems = validate_genesis(genesis)
    if problems:
        raise GenesisError(*problems)
    return genesis
