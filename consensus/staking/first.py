"""Stake at genesis: what the document's validators have bonded, and who votes in epochs 0 and 1."""

from chain.genesis import Genesis, PosParameters
from chain.ids import Height
from consensus.pos.sets import genesis_set
from consensus.staking.records import Chosen, Validator
from consensus.staking.sets import put_candidates
from consensus.staking.state import CHOSEN_KEY, validator_key, validator_set_key
from consensus.state import put_record
from consensus.view import Overlay


def put_first_stake(overlay: Overlay, genesis: Genesis) -> int:
    """Write it all; return the coins bonded. A chain without validators has none."""
    if not isinstance(genesis.engine, PosParameters):
        return 0
    members = genesis_set(genesis)
    for member in genesis.engine.validators:
        entry = Validator(member.stake, Height(0), "good", 0, Height(0))
        put_record(overlay, validator_key(member.account), entry)
    put_candidates(overlay, [member.account for member in members.members])
    put_record(overlay, validator_set_key(0), members)
    if not genesis.engine.permissioned:
        put_record(overlay, CHOSEN_KEY, Chosen(members.members))
    return members.total
