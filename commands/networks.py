"""A network of one's own: the genesis that ``fedchain init`` writes, from what its options say."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

from chain.address import parse_account
from chain.genesis import Genesis
from chain.genesis_default import COIN, HASHES_PER_BLOCK, default_genesis, newest_rules
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import AccountId
from commands.output import UsageFault
from commands.show import parse_amount

EngineName = Literal["pow", "pos", "consortium"]
BLOCK_MS: Final = 2000
OWN_COINS: Final = 1_000_000
OWN_STAKE: Final = 100_000


@dataclass(frozen=True, slots=True)
class NetworkWishes:
    """What a person asked of a new network; None and () where nothing was said."""

    engine: str | None = None
    chain_id: str | None = None
    block_ms: int | None = None
    hashes: int | None = None
    epoch_blocks: int | None = None
    allocate: Sequence[str] = ()
    validators: Sequence[str] = ()
    registrars: Sequence[str] = ()

    def is_empty(self) -> bool:
        """Was nothing asked?"""
        return all(getattr(self, field.name) in (None, ()) for field in fields(self))


def make_network(own: AccountId, wishes: NetworkWishes) -> Genesis:
    """Return the genesis of a new network. ``UsageFault`` for options that do not fit each other.

    Whoever is not named has nothing: without --allocate the node's own account gets the coins, without --validator it
    is the only validator.
    """
    engine = wishes.engine or "pow"
    if engine not in get_args(EngineName):
        raise UsageFault(f"--engine {engine!r}: must be {', '.join(get_args(EngineName))}")
    _check_fit(engine, wishes)
    allocations = _read_amounts("--allocate", wishes.allocate) or {own: OWN_COINS * COIN}
    chain_id = wishes.chain_id if wishes.chain_id is not None else f"fedchain-{secrets.token_hex(4)}"
    now, block_ms = time.time_ns() // 10**6, wishes.block_ms or BLOCK_MS
    if engine == "pow":
        return default_genesis(
            chain_id,
            allocations,
            time_ms=now,
            block_ms=block_ms,
            hashes_per_block=wishes.hashes or HASHES_PER_BLOCK,
            rules=newest_rules(),
        )
    return default_stake_genesis(
        chain_id,
        allocations,
        _read_amounts("--validator", wishes.validators) or {own: OWN_STAKE * COIN},
        time_ms=now,
        block_ms=block_ms,
        epoch_blocks=wishes.epoch_blocks,
        permissioned=engine == "consortium",
        registrars=[parse_account(address) for address in wishes.registrars]
        or ([own] if engine == "consortium" else []),
    )


def _check_fit(engine: str, wishes: NetworkWishes) -> None:
    for option, value, wanted in (
        ("--hashes-per-block", wishes.hashes, ("pow",)),
        ("--validator", wishes.validators, ("pos", "consortium")),
        ("--registrar", wishes.registrars, ("pos", "consortium")),
        ("--epoch-blocks", wishes.epoch_blocks, ("pos", "consortium")),
    ):
        if value and engine not in wanted:
            raise UsageFault(
                f"{option} says nothing to --engine {engine}", f"it goes with --engine {' or '.join(wanted)}"
            )


def _read_amounts(option: str, texts: Sequence[str]) -> dict[AccountId, int]:
    amounts: dict[AccountId, int] = {}
    for text in texts:
        address, equals, amount = text.partition("=")
        if not equals:
            raise UsageFault(f"{option} {text!r}: must be ADDRESS=AMOUNT")
        account = parse_account(address)
        if account in amounts:
            raise UsageFault(f"{option} names {address} twice")
        amounts[account] = parse_amount(amount)
    return amounts
