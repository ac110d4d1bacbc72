"""``stake.*``: who votes, what they stake, what leaves. Transactions about stake go through ``transaction.send``."""

from typing import Any, Final

from chain.genesis import PosParameters
from consensus.staking.queries import StakeStanding, get_epoch, get_standing
from node.rpc.doors import NodeDoors, Reader
from node.rpc.jsonrpc import REFUSED, RpcError
from node.rpc.methods.convert import address, read_account
from node.rpc.params import StakeParams
from node.rpc.registry import Method, Nothing
from node.rpc.shapes import LeavingView, StakeView, ValidatorsView


async def _validators(doors: NodeDoors, _params: Nothing) -> ValidatorsView:
    parameters, prefix = _need_stake(doors), doors.genesis.prefix

    def question(reader: Reader) -> ValidatorsView:
        found = get_epoch(reader.view, reader.head.height, parameters)
        return ValidatorsView(
            height=reader.head.height,
            epoch=found.epoch,
            ends=found.ends,
            seed=found.seed.hex(),
            permissioned=parameters.permissioned,
            power=found.power,
            burned=found.burned,
            validators=tuple(_view(one, reader.head.height, prefix) for one in found.stakers),
        )

    return await doors.read(question)


async def _stake(doors: NodeDoors, params: StakeParams) -> StakeView:
    parameters, prefix = _need_stake(doors), doors.genesis.prefix
    account = doors.account if params.account is None else read_account(params.account, prefix)

    def question(reader: Reader) -> StakeView:
        height = reader.head.height
        return _view(get_standing(reader.view, height, parameters, account), height, prefix)

    return await doors.read(question)


def _need_stake(doors: NodeDoors) -> PosParameters:
    parameters = doors.genesis.engine
    if not isinstance(parameters, PosParameters):
        raise RpcError(REFUSED, "this network has no validators: it runs on proof of work")
    return parameters


def _view(one: StakeStanding, height: int, prefix: str) -> StakeView:
    return StakeView(
        account=address(one.account, prefix),
        height=height,
        stake=one.stake,
        power=one.power,
        standing=one.standing,
        missed=one.missed,
        free_from=one.free_from,
        leaving=tuple(LeavingView(due=each.due, amount=each.amount, purpose=each.purpose) for each in one.leaving),
    )


STAKE_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method(
        "stake.validators", "Returns who votes in this epoch, and who stakes.", Nothing, ValidatorsView, _validators
    ),
    Method("stake.get", "Returns what an account stakes, and what leaves.", StakeParams, StakeView, _stake),
]
