"""What makes a genesis document contradict itself.

Every check returns all the problems it finds, each as a line that names the field, its value and what is
allowed, so that a person mends the document once. Checks take parts of a genesis, because a document with a
field that can't be read is still checked in the rest.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import inspect

from chain.codec import MAX_OBJECT_BYTES, decode, encode
from chain.errors import CodecError
from chain.genesis import Allocation, EngineParameters, Genesis, PowParameters, Rules
from chain.genesis_stake import check_stake, total_stake
from chain.ids import INT_MAX
from chain.payload import MAX_PAYLOAD_BYTES

KNOWN_VERSIONS: Final = (1, 2, 3)
"""Protocol versions this software can follow. 2 adds what staking asks for; a chain with validators starts with it at
least. 3 adds plans of format 2: more ways to train, to verify and to combine.
"""
STAKE_VERSION: Final = 2
SUPPLY_HORIZON: Final = 2**32
"""Blocks for which the supply must fit an amount: more than a century of one a second."""
MIN_BLOCK_BYTES: Final = 64 * 1024
"""A smaller body could not carry one round's updates."""
_BODY_ROOM: Final = 64 * 1024
"""What a block may add to its body (header, engine record, seal) and still be decoded."""
_WORK_UNIT: Final = 10**6
_CHAIN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def validate_genesis(genesis: Genesis) -> list[str]:
    """Return every problem of a genesis, as lines like ``engine.block_ms = 0: must be at least 1``; none is ``[]``."""
    try:
        decode(encode(genesis), Genesis)
    except CodecError as error:  # made in memory, where nothing checks a field's range
        return [_with_names(str(error), genesis.engine)]
    return [
        *check_names(genesis.chain_id),
        *check_allocations(genesis.allocations),
        *check_schedule(genesis.schedule),
        *check_engine(genesis.engine),
        *check_versions(genesis.schedule, genesis.engine),
        *check_supply(genesis.allocations, genesis.schedule, genesis.engine),
    ]


def _with_names(error: str, engine: EngineParameters) -> str:
    """Return the codec's error with its path by position, like ``$[5][2]``, told by the fields' names."""
    text, _, positions = error.partition(" - at `$")
    kind: inspect.Type = inspect.type_info(Genesis)
    name = ""
    for position in re.findall(r"\[([0-9]+)\]", positions):
        if isinstance(kind, inspect.UnionType):  # only the engine's parameters: which, the document's own say
            kind = inspect.type_info(type(engine))
        if isinstance(kind, inspect.StructType):
            field = kind.fields[int(position) - (kind.tag is not None)]
            name, kind = f"{name}.{field.name}".lstrip("."), field.type
        elif isinstance(kind, inspect.VarTupleType):
            name, kind = f"{name}[{position}]", kind.item_type
    return f"{name or 'genesis'}: {text}"


def check_names(chain_id: str) -> list[str]:
    """Check the chain's name, which stands in every transaction, header and handshake."""
    if _CHAIN_ID.fullmatch(chain_id):
        return []
    return [f"chain_id = {chain_id!r}: must be 1 to 64 letters, digits, dots, dashes or underscores"]


def check_allocations(allocations: Sequence[Allocation]) -> list[str]:
    """Check that allocations are above zero and name each account once."""
    problems = []
    first: dict[bytes, int] = {}
    for index, allocation in enumerate(allocations):
        if allocation.amount == 0:
            problems.append(f"allocations[{index}].amount = 0: must be at least 1")
        earlier = first.setdefault(allocation.account, index)
        if earlier != index:
            problems.append(
                f"allocations[{index}].account = {allocation.account.hex()}: already named by allocations[{earlier}]"
            )
    return problems


def check_schedule(schedule: Sequence[Rules]) -> list[str]:
    """Check that rules follow each other by height from 0 on, and each entry's limits."""
    if not schedule:
        return ["schedule = []: must have an entry for height 0"]
    problems = []
    if schedule[0].height != 0:
        problems.append(f"schedule[0].height = {schedule[0].height}: must be 0")
    for index, (before, after) in enumerate(pairwise(schedule), start=1):
        if after.height <= before.height:
            problems.append(f"schedule[{index}].height = {after.height}: must be above {before.height}, the one before")
        if after.version < before.version:
            problems.append(f"schedule[{index}].version = {after.version}: must not be below {before.version}")
    for index, rules in enumerate(schedule):
        problems += [f"schedule[{index}].{problem}" for problem in _check_rules(rules)]
    # Rules of a later day may follow those this software knows: it stops before them (``chain.upgrades``).
    if schedule[0].version and schedule[0].version not in KNOWN_VERSIONS:
        known = ", ".join(map(str, KNOWN_VERSIONS))
        problems.append(f"schedule[0].version = {schedule[0].version}: must be one of {known}")
    return problems


def _check_rules(rules: Rules) -> list[str]:
    problems = []
    if rules.version == 0:
        problems.append("version = 0: must be at least 1")
    for name, value, lowest, highest in (
        ("max_block_bytes", rules.max_block_bytes, MIN_BLOCK_BYTES, MAX_OBJECT_BYTES - _BODY_ROOM),
        ("max_payload_bytes", rules.max_payload_bytes, 1, MAX_PAYLOAD_BYTES),
        ("max_block_payload_bytes", rules.max_block_payload_bytes, rules.max_payload_bytes, INT_MAX),
        ("max_block_work", rules.max_block_work, 1, INT_MAX),
        ("max_miners", rules.max_miners, 1, 2**32),
        ("miner_fallback_blocks", rules.miner_fallback_blocks, 1, 2**32),
    ):
        if not lowest <= value <= highest:
            problems.append(f"{name} = {value}: must be {lowest} to {highest}")
    if rules.min_fee_per_byte * rules.max_block_bytes > INT_MAX:
        problems.append(f"min_fee_per_byte = {rules.min_fee_per_byte}: the fee of a full block must fit {INT_MAX}")
    if rules.work_price * rules.max_block_work > INT_MAX * _WORK_UNIT:
        problems.append(f"work_price = {rules.work_price}: the price of max_block_work must fit {INT_MAX}")
    for name, values in (("algorithms", rules.algorithms), ("policies", rules.policies)):
        problems += _check_list(name, values)
    return problems


def _check_list(name: str, values: Sequence[str]) -> list[str]:
    problems = [] if values else [f"{name} = []: must name at least one"]
    for index, value in enumerate(values):
        if not _NAME.fullmatch(value):
            problems.append(f"{name}[{index}] = {value!r}: must be a lower-case name of at most 64 characters")
        elif value in values[:index]:
            problems.append(f"{name}[{index}] = {value!r}: already in the list")
    return problems


def check_engine(engine: EngineParameters) -> list[str]:
    """Check the engine's own parameters."""
    return _check_work(engine) if isinstance(engine, PowParameters) else check_stake(engine)


def _check_work(engine: PowParameters) -> list[str]:
    """Check that spans are above zero, a target can be met and some reorganisation is allowed."""
    problems = []
    for name, value in (
        ("block_ms", engine.block_ms),
        ("half_life_ms", engine.half_life_ms),
        ("max_future_ms", engine.max_future_ms),
        ("max_reorg", engine.max_reorg),
    ):
        if value == 0:
            problems.append(f"engine.{name} = 0: must be at least 1")
    if not any(engine.initial_target):
        problems.append(f"engine.initial_target = {engine.initial_target.hex()}: must be at least 1")
    return problems


def check_versions(schedule: Sequence[Rules], engine: EngineParameters) -> list[str]:
    """Check that a chain with validators follows rules that know them from the start."""
    if isinstance(engine, PowParameters) or not schedule or schedule[0].version >= STAKE_VERSION:
        return []
    return [f"schedule[0].version = {schedule[0].version}: must be at least {STAKE_VERSION} with engine.kind pos"]


def check_supply(
    allocations: Sequence[Allocation], schedule: Sequence[Rules], engine: EngineParameters | None = None
) -> list[str]:
    """Check that no amount can overflow: what exists at first, and with it all subsidies up to ``SUPPLY_HORIZON``."""
    allocated: int = sum(allocation.amount for allocation in allocations)
    if allocated > INT_MAX:
        return [f"allocations = {allocated} in all: must be at most {INT_MAX}"]
    staked = 0 if engine is None or isinstance(engine, PowParameters) else total_stake(engine)
    if allocated + staked > INT_MAX:
        return [f"engine.validators = {staked} staked, with {allocated} allocated: must be at most {INT_MAX} together"]
    allocated += staked
    minted = total_subsidy(schedule)
    if allocated + minted > INT_MAX:
        return [
            f"schedule.subsidy = {minted} in all over {SUPPLY_HORIZON} blocks, with {allocated} allocated: "
            f"must be at most {INT_MAX} together"
        ]
    return []


def total_subsidy(schedule: Sequence[Rules], until: int = SUPPLY_HORIZON) -> int:
    """Return the coins created by the blocks of heights 1 … ``until`` under an ordered schedule."""
    total = 0
    ends = [rules.height for rules in schedule[1:]] + [until + 1]
    for rules, end in zip(schedule, ends, strict=True):
        height, end = max(rules.height, 1), min(end, until + 1)
        while height < end and (subsidy := rules.subsidy_at(height)):
            era = rules.subsidy_halving or end
            stop = min(end, (height // era + 1) * era)
            total += subsidy * (stop - height)
            height = stop
    return total
