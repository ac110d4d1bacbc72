"""What makes the parameters of proof of stake contradict themselves.

Every check returns all the problems it finds, each as a line that names the field, its value and what is allowed.
"""

from typing import Final

from chain.genesis import PosParameters

PPM: Final = 10**6
MAX_VALIDATORS: Final = 256
"""Every validator votes in every view and signs every certificate: more do not fit a message, nor a second."""
MAX_REGISTRARS: Final = 1024
MAX_SPAN: Final = 2**32
"""Blocks: a century of one a second. Keeps every sum of a height and a span far from the end of the numbers."""
NOBODY: Final = bytes(32)


def check_stake(engine: PosParameters) -> list[str]:
    """Return every problem of the parameters, by field."""
    problems = []
    for name, value, lowest, highest in (
        ("block_ms", engine.block_ms, 1, MAX_SPAN),
        ("delta_ms", engine.delta_ms, 1, MAX_SPAN),
        ("max_future_ms", engine.max_future_ms, 1, MAX_SPAN),
        ("epoch_blocks", engine.epoch_blocks, 1, MAX_SPAN),
        ("min_stake", engine.min_stake, 1, 2**63 - 1),
        ("max_validators", engine.max_validators, 1, MAX_VALIDATORS),
        ("unbonding_blocks", engine.unbonding_blocks, 1, MAX_SPAN),
        ("slash_ppm", engine.slash_ppm, 0, PPM),
        ("evidence_reward_ppm", engine.evidence_reward_ppm, 0, PPM // 2),
        ("absent_slots", engine.absent_slots, 1, MAX_SPAN),
        ("jail_blocks", engine.jail_blocks, 1, MAX_SPAN),
    ):
        if not lowest <= value <= highest:
            problems.append(f"engine.{name} = {value}: must be {lowest} to {highest}")
    way_out = 2 * engine.epoch_blocks + engine.unbonding_blocks
    if engine.jail_blocks > way_out:
        problems.append(
            f"engine.jail_blocks = {engine.jail_blocks}: must be at most 2 · epoch_blocks + unbonding_blocks, "
            f"{way_out}, or unbonding would lead out of jail sooner"
        )
    return problems + _check_validators(engine) + _check_registrars(engine)


def _check_validators(engine: PosParameters) -> list[str]:
    if not engine.validators:
        return ["engine.validators = []: must name at least one"]
    problems = []
    if len(engine.validators) > engine.max_validators:
        problems.append(
            f"engine.validators = {len(engine.validators)} entries: must be at most max_validators, "
            f"{engine.max_validators}"
        )
    first: dict[bytes, int] = {}
    for index, validator in enumerate(engine.validators):
        if validator.stake < engine.min_stake:
            problems.append(
                f"engine.validators[{index}].stake = {validator.stake}: must be at least min_stake, {engine.min_stake}"
            )
        if validator.account == NOBODY:
            problems.append(f"engine.validators[{index}].account = {validator.account.hex()}: has no key")
        earlier = first.setdefault(validator.account, index)
        if earlier != index:
            problems.append(
                f"engine.validators[{index}].account = {validator.account.hex()}: "
                f"already named by engine.validators[{earlier}]"
            )
    return problems


def _check_registrars(engine: PosParameters) -> list[str]:
    problems = []
    if len(engine.registrars) > MAX_REGISTRARS:
        problems.append(f"engine.registrars = {len(engine.registrars)} entries: must be at most {MAX_REGISTRARS}")
    for index, account in enumerate(engine.registrars):
        if account in engine.registrars[:index]:
            problems.append(f"engine.registrars[{index}] = {account.hex()}: already in the list")
    return problems


def total_stake(engine: PosParameters) -> int:
    """Return the coins that the validators of a genesis have bonded."""
    return sum(validator.stake for validator in engine.validators)
