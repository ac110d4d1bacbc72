"""How a device of a fleet gets onto the chain: whether it may register, and what it says under its own key.

Rules of this file: questions, and signed transactions; the role decides who says what when.
"""

from collections.abc import Sequence

from chain.address import format_account
from chain.genesis import PosParameters
from chain.ids import Amount
from chain.keys import KeyPair
from chain.transaction import Body, SignedTransaction, Transaction
from consensus.staking.state import get_permit
from node.core.own import TRANSACTION_VERSION
from node.fleet.hosted import HostedFleet
from node.roles.base import Surroundings


def needs_permits(around: Surroundings) -> bool:
    """Do registrars say which devices may register? Then there are no stamps."""
    engine = around.world.genesis.engine
    return isinstance(engine, PosParameters) and bool(engine.registrars)


def find_unpermitted(around: Surroundings, fleet: HostedFleet, places: Sequence[int]) -> str | None:
    """Return what to do about the first device of these that no registrar has permitted; None if there is none."""
    missing = next((place for place in places if get_permit(around.chain.view, fleet.accounts[place]) is None), None)
    if missing is None:
        return None
    account = format_account(fleet.accounts[missing], around.world.genesis.prefix)
    return (
        f"device {fleet.names[missing]} is not permitted yet: this network's registrars say which "
        f"devices may register; one of them permits it with fedchain device permit {account}"
    )


def sign_once(around: Surroundings, key: KeyPair, body: Body) -> SignedTransaction:
    """Return a transaction of this device: the one that says so and waits already, or else the next of its row."""
    waiting = [one for one in around.mempool.of(key.account) if one.transaction.body == body]
    if waiting:
        return waiting[0]
    nonce = around.mempool.next_nonce(key.account, around.chain.nonce(key.account))
    chain_id = around.world.genesis.chain_id
    return Transaction(TRANSACTION_VERSION, chain_id, key.account, nonce, Amount(0), body).sign(key)
