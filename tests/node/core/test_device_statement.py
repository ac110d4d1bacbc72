"""A device and plans that ask for a registrar's statement: it carries what it has, or says what it lacks."""

from dataclasses import replace as replace_field
from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.genesis_default import default_genesis
from chain.ids import Amount
from chain.statement import DeviceStatement, StatementText, state
from chain.transaction import Body, JoinAttested, JoinPlan, RegisterDevice, SignedTransaction, SubmitPlan, Transaction
from consensus.fees import get_required_escrow
from consensus.stamps import find_stamp
from fl.plan.schema import ByRegistrar, encode_plan, plan_id
from node.errors import StartupError
from node.notices import RoleNotice
from node.statementfile import read_statement, write_statement
from tests.consensus.harness import make_data, make_plan, make_rules
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.town import BLOCK_MS, DEVICE, START, Rows, key_of, make_world

ALICE, ONE, REGISTRAR = key_of(1), key_of(11), key_of(30)
GENESIS = default_genesis(
    "town", {ALICE.account: 10**12}, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1, rules=make_rules(version=3)
)
PLAN = replace(
    make_plan(devices=(1, 1, 2), rounds=1, blocks=(8, 8, 4)),
    version=2,
    attestation=ByRegistrar((REGISTRAR.account,), ("software",), ()),
)


def sign(key_number: int, nonce: int, body: Body, fee: int = 0) -> SignedTransaction:
    key = key_of(key_number)
    return Transaction(1, GENESIS.chain_id, key.account, nonce, Amount(fee), body).sign(key)


def meet(statement: DeviceStatement | None) -> Lonely:
    """A device with this statement meets the plan."""
    world = replace_field(make_world(GENESIS, ONE, data=Rows(make_data(ONE))), statement=statement)
    lonely = Lonely(GENESIS, world, DEVICE)
    escrow = get_required_escrow(PLAN, GENESIS.rules_at(1)) or 0
    stamp = find_stamp(GENESIS.chain_id, ONE.account, 0) or 0
    begun = [sign(1, 0, SubmitPlan(encode_plan(PLAN), Amount(escrow)), 10_000), sign(11, 0, RegisterDevice(0, stamp))]
    mint = Mint(GENESIS)
    lonely.give(mint.block(mint.root, begun, producer=ALICE))
    return lonely


def joins(lonely: Lonely) -> list[Body]:
    waiting = [signed.transaction.body for signed in lonely.core.mempool.of(ONE.account)]
    return [body for body in waiting if isinstance(body, JoinPlan | JoinAttested)]


def vouched(expiry: int = 100) -> DeviceStatement:
    return state(REGISTRAR, StatementText(GENESIS.chain_id, ONE.account, "software", expiry, b"seen"))


def test_a_device_that_is_vouched_for_joins_with_the_statement() -> None:
    """And once: while its join waits it sends no other."""
    lonely = meet(vouched())
    (join,) = joins(lonely)
    assert isinstance(join, JoinAttested)
    assert (join.plan, join.statement) == (plan_id(PLAN), vouched())


@pytest.mark.parametrize(
    ("statement", "said"), [(None, "fedchain device vouch"), (vouched(expiry=1), "held until height 1")]
)
def test_a_device_without_one_that_will_do_stays_away_and_says_why(statement, said) -> None:
    """Nothing is read of its data for such a plan."""
    lonely = meet(statement)
    assert joins(lonely) == []
    (notice,) = lonely.notices(RoleNotice)
    assert isinstance(notice, RoleNotice)
    assert said in notice.text


def test_a_statement_goes_from_machine_to_machine_in_a_file(tmp_path: Path) -> None:
    """What is no statement about this device on this chain keeps the node from starting."""
    file = tmp_path / "statement.json"
    file.write_text(write_statement(vouched(), GENESIS.chain_id, ONE.account))
    assert read_statement(file, GENESIS.chain_id, ONE.account) == vouched()
    for chain_id, device in (("other", ONE.account), (GENESIS.chain_id, ALICE.account)):
        with pytest.raises(StartupError, match="it is not about"):
            read_statement(file, chain_id, device)
    for text in ("", "[]", "{}", file.read_text().replace('"expiry": 100', '"expiry": "x"')):
        file.write_text(text)
        with pytest.raises(StartupError, match="is no statement"):
            read_statement(file, GENESIS.chain_id, ONE.account)
    with pytest.raises(StartupError, match="can't be read"):
        read_statement(tmp_path / "nothing", GENESIS.chain_id, ONE.account)
