"""``stake``, ``validators``, ``evidence``, ``device permit``: what people see, and what is sent for them."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from chain.address import format_account
from chain.genesis_default import COIN
from chain.ids import Amount, Hash
from chain.transaction import Body, Bond, PermitDevice, SubmitEvidence, Unbond, Unjail
from commands import device, stake
from node.rpc.shapes import LeavingView, StakeView, ValidatorsView
from tests.commands.terminal import fedchain
from tests.consensus.staking.harness import VALIDATORS

NAMES = [format_account(key.account) for key in VALIDATORS]


def staker(number: int, power: int, standing: str = "good", **changes: object) -> StakeView:
    facts = {
        "height": 9,
        "stake": power * COIN,
        "power": power * COIN,
        "standing": standing,
        "missed": 0,
        "free_from": 0,
    }
    return StakeView(account=NAMES[number], **(facts | {"leaving": ()} | changes))  # type: ignore[arg-type]


class FakeNode:
    """A node that remembers what it is asked to send."""

    def __init__(self) -> None:
        self.sent: list[Body] = []

    async def send(self, body: Body) -> Hash:
        self.sent.append(body)
        return Hash(bytes(32))

    async def wait_for_transaction(self, _id: Hash, *, timeout_s: float) -> SimpleNamespace:
        return SimpleNamespace(height=42)

    async def genesis(self) -> SimpleNamespace:
        return SimpleNamespace(prefix="fed")

    async def validators(self) -> ValidatorsView:
        jailed = staker(1, 0, "jailed", stake=5 * COIN, missed=16, free_from=77)
        return ValidatorsView(
            height=9,
            epoch=2,
            ends=12,
            seed="00" * 32,
            permissioned=False,
            power=40 * COIN,
            burned=3 * COIN,
            validators=(staker(0, 30), staker(2, 10, missed=1), jailed, staker(3, 0, "tombstoned")),
        )

    async def stake(self, address: str | None) -> StakeView:
        leaving = (LeavingView(due=99, amount=2 * COIN, purpose="stake"),)
        return staker(0 if address is None else NAMES.index(address), 30, leaving=leaving)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """A node that every command here asks."""
    fake = FakeNode()
    for module in (stake, device):
        monkeypatch.setattr(module, "ask", lambda _home, question: asyncio.run(question(fake)))
    return fake


def test_validators_shows_votes_and_standing(node: FakeNode) -> None:
    """Shares of the votes, and who is in jail until when."""
    answer = fedchain("validators")
    assert answer.code == 0
    assert "epoch       2, up to block 12; now 9" in answer.out
    assert "75.0 %" in answer.out
    assert "free from block 77" in answer.out
    assert "missed 1 turn in a row" in answer.out
    assert "3 coins, slashed" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    assert json.loads(fedchain("validators", "--json").out)["epoch"] == 2


def test_stake_show_tells_what_is_on_its_way(node: FakeNode) -> None:
    """And by which block it is paid."""
    answer = fedchain("stake", "show", NAMES[2])
    assert NAMES[2] in answer.out
    assert "2 coins  stake   block 99" in answer.out


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["stake", "bond", "2.5coins"], Bond(Amount(2_500_000))),
        (["stake", "unbond", "7"], Unbond(Amount(7))),
        (["stake", "unjail"], Unjail()),
        (["device", "permit", NAMES[4]], PermitDevice(VALIDATORS[4].account)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_command_sends_its_transaction(node: FakeNode, words: list[str], body: Body) -> None:
    """At once, or with the block that holds it."""
    sent = json.loads(fedchain(*words, "--json").out)
    assert (sent["state"], sent["height"], sent["kind"]) == ("waiting", None, body.__struct_config__.tag)
    assert "in block 42" in fedchain(*words, "--wait").out
    assert node.sent == [body, body]


def test_evidence_is_read_from_a_file_in_hex(node: FakeNode, tmp_path: Path) -> None:
    """Anything else is refused before it is sent."""
    file = tmp_path / "evidence.hex"
    file.write_text("00ff\n")
    assert fedchain("evidence", "submit", file).code == 0
    assert node.sent == [SubmitEvidence(b"\x00\xff")]
    file.write_text("no hex")
    assert "is not hex digits" in fedchain("evidence", "submit", file, "--json").error["cause"]
    file.write_text("00" * 40_000)
    assert "larger than any evidence" in fedchain("evidence", "submit", file, "--json").error["cause"]
    assert len(node.sent) == 1
