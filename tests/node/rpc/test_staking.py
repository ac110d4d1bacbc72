"""``stake.*``: what the RPC tells of validators, asked of a small chain in memory, and how the commands show it."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest

from chain.address import format_account
from chain.codec import encode
from chain.ids import Amount
from chain.transaction import RegisterMiner, RetireMiner, SubmitEvidence, Unbond
from node.rpc.doors import NodeDoors, Reader
from node.rpc.jsonrpc import RpcError
from node.rpc.methods.staking import STAKE_METHODS
from node.rpc.params import StakeParams
from node.rpc.registry import Nothing
from node.rpc.shapes import LeavingView, StakeView, ValidatorsView
from tests.consensus.harness import Chain
from tests.consensus.staking.harness import REPORTER, STAKES, VALIDATORS, StakeChain

T = TypeVar("T")
FIRST, SECOND, THIRD, FOURTH = VALIDATORS[:4]
METHODS = {method.name: method for method in STAKE_METHODS}


class Doors:
    """A node as these methods see it: its genesis, its account, its state."""

    def __init__(self, chain: Chain) -> None:
        self.genesis = chain.genesis
        self.account = FIRST.account
        self.reader = cast(Reader, SimpleNamespace(view=chain, head=chain.blocks[-1].header))

    async def read(self, question: Callable[[Reader], T]) -> T:
        return question(self.reader)


def validators(chain: Chain) -> ValidatorsView:
    doors = cast(NodeDoors, Doors(chain))
    return cast(ValidatorsView, asyncio.run(METHODS["stake.validators"].run(doors, Nothing())))  # type: ignore[arg-type]


def stake(chain: Chain, account: str | None = None) -> StakeView:
    doors = cast(NodeDoors, Doors(chain))
    return cast(StakeView, asyncio.run(METHODS["stake.get"].run(doors, StakeParams(account=account))))  # type: ignore[arg-type]


def name(key: object) -> str:
    return format_account(key.account)  # type: ignore[attr-defined]


def test_the_epoch_is_told_with_all_who_vote_or_stake() -> None:
    """The largest votes first, then who stakes without a vote; jailed and tombstoned ones say so."""
    chain = StakeChain()
    chain.do(REPORTER, SubmitEvidence(encode(chain.double_vote(THIRD))))
    chain.end_epoch()
    view = validators(chain)
    assert (view.height, view.epoch, view.ends, view.permissioned) == (4, 1, 8, False)
    assert view.seed == chain.set(1).seed.hex()
    assert (view.power, view.burned) == (STAKES[0] + STAKES[1], 36)
    assert [(one.account, one.power, one.stake, one.standing) for one in view.validators] == [
        (name(FIRST), 1000, 1000, "good"),
        (name(SECOND), 700, 700, "good"),
        (name(THIRD), 0, 360, "tombstoned"),
    ]


def test_a_stake_is_told_with_what_is_on_its_way() -> None:
    """One's own without a name; what leaves, out of which bond, and when it is paid."""
    chain = StakeChain()
    chain.do(FIRST, RegisterMiner(Amount(800)))
    chain.do(FIRST, RetireMiner())
    chain.do(FIRST, Unbond(Amount(300)))
    view = stake(chain)
    assert (view.account, view.stake, view.power, view.standing) == (name(FIRST), 700, 1000, "good")
    assert view.leaving == (
        LeavingView(due=16, amount=800, purpose="miner"),
        LeavingView(due=17, amount=300, purpose="stake"),
    )
    other = stake(chain, name(FOURTH))
    assert (other.stake, other.power, other.standing, other.leaving) == (0, 0, "none", ())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_network_without_validators_says_so(method: str) -> None:
    """On a chain of work the question has no answer."""
    call = validators if method == "stake.validators" else stake
    with pytest.raises(RpcError, match="has no validators"):
        call(Chain())
