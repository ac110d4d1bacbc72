"""The first block: the state that a genesis document describes, the same for everybody who reads it."""

from chain.block import Block, Body, Header, transactions_root, updates_root
from chain.errors import GenesisError
from chain.genesis import Genesis, PosParameters
from chain.ids import INT_MAX, ZERO_HASH, AccountId, Amount, Height
from consensus.context import Execution
from consensus.records import Account, Supply
from consensus.staking.first import put_first_stake
from consensus.state import put_record
from consensus.statekeys import GENESIS_KEY, SUPPLY_KEY, account_key
from consensus.treeupdate import compute_update
from consensus.view import EmptyView, Overlay, join_deltas


def genesis_execution(genesis: Genesis) -> Execution:
    """Return the first state, as a delta over nothing.

    It holds the document's digest, so that its root names the whole document. ``GenesisError`` if an account is
    allocated twice or all allocations are more coins than can exist.
    """
    overlay = Overlay(EmptyView())
    overlay.put(GENESIS_KEY, genesis.id)
    minted = sum(allocation.amount for allocation in genesis.allocations)
    if minted > INT_MAX:
        raise GenesisError(f"allocations of {minted} coins; at most {INT_MAX} can exist")
    for allocation in genesis.allocations:
        if overlay.get(account_key(allocation.account)) is not None:
            raise GenesisError(f"account {allocation.account.hex()} is allocated coins twice")
        put_record(overlay, account_key(allocation.account), Account(allocation.amount, 0))
    bonded = put_first_stake(overlay, genesis)
    if minted + bonded > INT_MAX:
        raise GenesisError(f"allocations and stakes of {minted + bonded} coins; at most {INT_MAX} can exist")
    supply = Supply(Amount(minted + bonded), Amount(minted), Amount(0), Amount(bonded))
    put_record(overlay, SUPPLY_KEY, supply)
    values = overlay.delta()
    root, nodes = compute_update(EmptyView(), values.writes.items())
    return Execution(join_deltas(values, nodes), root, ())


def count_first_coins(genesis: Genesis) -> Amount:
    """Return the coins there are before the first block: those allocated, and those at stake from the start."""
    staked = genesis.engine.validators if isinstance(genesis.engine, PosParameters) else ()
    allocated = sum(allocation.amount for allocation in genesis.allocations)
    return Amount(allocated + sum(validator.stake for validator in staked))


def genesis_block(genesis: Genesis) -> Block:
    """Return the block at height 0: empty, unsealed, with the first state's root."""
    body = Body((), ())
    header = Header(
        version=genesis.rules_at(0).version,
        chain_id=genesis.chain_id,
        height=Height(0),
        parent=ZERO_HASH,
        time_ms=genesis.time_ms,
        producer=AccountId(ZERO_HASH),
        tx_root=transactions_root(body.transactions),
        update_root=updates_root(body.updates),
        state_root=genesis_execution(genesis).state_root,
        engine=b"",
        extension=ZERO_HASH,
        seal=b"",
    )
    return Block(header, body)
