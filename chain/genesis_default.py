"""A genesis with sensible rules, for people who start a network: the numbers, and why these.

Amounts are in the smallest unit; a coin is ``COIN`` of them.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from chain.address import DEFAULT_PREFIX
from chain.errors import GenesisError
from chain.genesis import Allocation, Genesis, PowParameters, Rules
from chain.genesis_check import KNOWN_VERSIONS, validate_genesis
from chain.ids import AccountId, Amount, Height, Millis

COIN: Final = 10**6
HASHES_PER_BLOCK: Final = 1 << 20
"""Hashes a first block is expected to take: under a second on one core; the difficulty then follows the miners."""
_HALF_LIFE_BLOCKS: Final = 288
"""Blocks' time by which a schedule must run late for the difficulty to halve (two days of ten-minute blocks)."""
_FUTURE_BLOCKS: Final = 12
_FUTURE_LEAST_MS: Final = 15_000
"""How far clocks may disagree: twelve blocks, but never less than what machines without good clocks need."""
_MAX_REORG: Final = 1000


def default_rules() -> Rules:
    """Return the rules a new network starts with, from height 0 on."""
    return Rules(
        height=Height(0),
        version=1,
        max_block_bytes=2 * 2**20,  # a largest plan (1 MiB) and updates beside it
        max_payload_bytes=16 * 2**20,  # a model of two million coordinates
        max_block_payload_bytes=64 * 2**20,
        max_block_work=2 * 10**10,  # some 20 s of one core
        subsidy=Amount(50 * COIN),
        subsidy_halving=2_100_000,
        min_fee_per_byte=1,
        work_price=1,
        stamp_bits=12,  # 4,096 hashes: nothing for a hospital, something for a million false devices
        min_bond=Amount(10 * COIN),
        max_miners=1024,
        miner_fallback_blocks=2,
        algorithms=("fedsvrg", "fedavg", "dane"),
        policies=("bounds", "timing", "holdout"),
    )


def newest_rules() -> Rules:
    """Return the same under the newest version of the protocol: what a network that is made today begins with."""
    rules = default_rules()
    return replace(rules, version=KNOWN_VERSIONS[-1], policies=(*rules.policies, "audit", "replay", "commit", "pace"))


def target_of(hashes_per_block: int) -> bytes:
    """Return the 256-bit target, big-endian, that one hash in ``hashes_per_block`` does not exceed."""
    if not 1 <= hashes_per_block <= 2**255:
        raise GenesisError(f"hashes_per_block = {hashes_per_block}: must be 1 to 2**255")
    return (2**256 // hashes_per_block - 1).to_bytes(32, "big")


def default_genesis(
    chain_id: str,
    allocations: Mapping[AccountId, int],
    *,
    time_ms: int,
    block_ms: int,
    hashes_per_block: int = HASHES_PER_BLOCK,
    prefix: str = DEFAULT_PREFIX,
    half_life_ms: int | None = None,
    max_future_ms: int | None = None,
    max_reorg: int = _MAX_REORG,
    rules: Rules | None = None,
) -> Genesis:
    """Return a proof-of-work genesis with the default rules; ``GenesisError`` names everything wrong with it.

    ``allocations`` maps accounts to amounts; their order does not matter. ``time_ms`` is the time of the genesis
    block, ``block_ms`` the interval aimed at, ``hashes_per_block`` the hashes the first block is expected to take.
    """
    genesis = Genesis(
        chain_id=chain_id,
        prefix=prefix,
        time_ms=Millis(time_ms),
        allocations=tuple(Allocation(account, Amount(allocations[account])) for account in sorted(allocations)),
        schedule=(rules or default_rules(),),
        engine=PowParameters(
            block_ms=Millis(block_ms),
            initial_target=target_of(hashes_per_block),
            half_life_ms=Millis(_HALF_LIFE_BLOCKS * block_ms if half_life_ms is None else half_life_ms),
            max_future_ms=Millis(
                max(_FUTURE_BLOCKS * block_ms, _FUTURE_LEAST_MS) if max_future_ms is None else max_future_ms
            ),
            max_reorg=max_reorg,
        ),
    )
    problems = validate_genesis(genesis)
    if problems:
        raise GenesisError(*problems)
    return genesis
