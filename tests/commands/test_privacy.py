"""``privacy``, ``device budget``: a chain's ledger as the RPC tells it, and as people see it; drawn, and as JSON."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest

from chain.address import format_account
from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import Body, JoinSharing, LowerBudget
from commands import device, privacy, stake
from fl.privacy.convert import epsilon_of, gaussian_epsilon
from fl.privacy.randomness import SeededRandom
from fl.shared import randomise_rows
from node.rpc.doors import NodeDoors, Reader
from node.rpc.methods.privacy import PRIVACY_METHODS
from node.rpc.params import PrivacyParams
from node.rpc.shapes import PrivacyView
from tests.commands.terminal import fedchain
from tests.consensus.harness import DEVICES, MINERS, make_data
from tests.consensus.private import LOSS, PrivateChain, laplace_plan, open_plan, private_plan
from tests.consensus.test_replays import HONEST, ReplayedChain, replayed_plan

T = TypeVar("T")
ONE, TWO = DEVICES[:2]


class FakeNode:
    """A node with a chain, as its RPC answers; it remembers what it is asked to send."""

    def __init__(self, chain: PrivateChain | ReplayedChain) -> None:
        self.chain, self.genesis_document = chain, chain.genesis
        self.sent: list[Body] = []

    async def privacy(self, device: str | None, start: int, limit: int) -> PrivacyView:
        (method,) = PRIVACY_METHODS
        reader = cast(Reader, SimpleNamespace(view=self.chain, head=self.chain.blocks[-1].header))

        async def read(question: Callable[[Reader], T]) -> T:
            return question(reader)

        doors = SimpleNamespace(genesis=self.chain.genesis, account=ONE.account, read=read)
        params = PrivacyParams(device=device, start=start, limit=min(limit, 2))  # pages of two
        return cast(PrivacyView, await method.run(cast(NodeDoors, doors), params))

    async def send(self, body: Body) -> Hash:
        self.sent.append(body)
        return Hash(bytes(32))


def ask_node(monkeypatch: pytest.MonkeyPatch, chain: PrivateChain | ReplayedChain) -> FakeNode:
    """Every command here asks a node with this chain."""
    fake = FakeNode(chain)
    for module in (privacy, device, stake):
        monkeypatch.setattr(module, "ask", lambda _home, question: asyncio.run(question(fake)))
    return fake


def worked_chain() -> PrivateChain:
    """A device that released thrice under a plan, of which a block carried all but one, and joined another plan."""
    chain = PrivateChain()
    chain.make_device(ONE, 20 * LOSS)
    plan = chain.begin(private_plan(devices=(1, 1, 1), rounds=3, retries=0), ONE)
    chain.include(chain.signed(plan, ONE))
    chain.include(chain.signed(plan, ONE, 3 * LOSS))
    chain.begin(private_plan(devices=(1, 2, 2), nonce=1), ONE)
    return chain


def name(key: KeyPair) -> str:
    return format_account(key.account)


def test_a_device_sees_what_it_lost_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """In micro-zCDP as the chain counts, in epsilon and delta as people do."""
    ask_node(monkeypatch, worked_chain())
    answer = fedchain("privacy", "--delta", "1e-5")
    assert answer.code == 0, answer.err
    assert f"15,000 micro-zCDP (rho = 0.015) as of block" in answer.out  # noqa: F541
    assert f"epsilon = {epsilon_of(3 * LOSS, 1e-5):.4g} at delta = 1e-05" in answer.out
    assert "5,000 micro-zCDP of it: released, and no block took it" in answer.out
    assert "25,000 micro-zCDP by 2 plans" in answer.out
    assert "60,000 micro-zCDP for further plans" in answer.out
    assert "each single row" in answer.out
    assert "sampling amplifies nothing" in " ".join(answer.out.split())
    assert max(map(len, answer.out.splitlines())) <= 80


def test_programs_get_the_same_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every charge, page by page, and what it makes the whole."""
    ask_node(monkeypatch, worked_chain())
    found = fedchain("privacy", name(ONE), "--json").json
    assert (found["loss"], found["charged"], found["reserved"], found["free"]) == (
        3 * LOSS,
        2 * LOSS,
        5 * LOSS,
        12 * LOSS,
    )
    assert [charge["total"] for charge in found["history"]] == [LOSS, 3 * LOSS]
    assert found["history"][1]["epsilon_at_delta"] == found["epsilon_at_delta"] == epsilon_of(3 * LOSS, found["delta"])
    assert found["epsilon_gaussian"] is None, "what no block carried may have been anything"
    assert [(plan["spent"], plan["reserved"], plan["unit"]) for plan in found["plans"]] == [
        (2 * LOSS, LOSS, "record"),
        (0, 4 * LOSS, "record"),
    ]
    assert found["epsilon"] is None


def test_tighter_accounts_stand_beside_where_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact Gaussian curve, and the pure epsilon of Laplace releases."""
    chain = PrivateChain()
    chain.make_device(ONE)
    chain.make_device(TWO)
    gaussian, pure = (
        chain.begin(private_plan(devices=(1, 1, 1), unit="device"), ONE),
        chain.begin(laplace_plan(devices=(1, 1, 1)), TWO),
    )
    for _ in range(2):
        chain.include(chain.signed(gaussian, ONE))
        chain.include(chain.signed(pure, TWO))
    ask_node(monkeypatch, chain)
    exact = gaussian_epsilon(2 * LOSS, 1e-5)
    first = fedchain("privacy", name(ONE), "--delta", "1e-5").out
    assert f"epsilon = {exact:.4g}: all of it is Gaussian" in " ".join(first.split())
    assert "all that the device has" in first
    second = fedchain("privacy", name(TWO)).out
    assert "0.2, with delta = 0" in second
    assert "all of it is Gaussian" not in second


def test_a_randomised_copy_is_no_loss_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is charged as the device joins, hides each row, and stands beside the plans with noise; no line breaks."""
    epsilon = Number.of(8)
    chain = ReplayedChain(MINERS[0], source="randomised", epsilon=epsilon)
    role = replayed_plan().roles[0]
    copy = randomise_rows(role, epsilon, make_data(HONEST), SeededRandom(b"copy"))
    chain.send(HONEST, JoinSharing(chain.plan, role.name, 20, chain.keep(copy)))
    chain.mine()
    ask_node(monkeypatch, chain)
    found = fedchain("privacy", name(HONEST), "--json").json
    (plan,) = found["plans"]
    assert (plan["mechanism"], plan["unit"]) == ("randomised", "record")
    assert plan["spent"] == plan["budget"] == found["loss"] == 32_000_000
    answer = fedchain("privacy", name(HONEST))
    assert "has no bound" not in " ".join(answer.out.split())
    assert "each single row" in answer.out
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-2].split()[-1] == "epsilon", "a column too many breaks the last heading and its numbers"
    assert len(lines[-1].split()) == 8


def test_plans_without_noise_are_named_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a small number where there is none."""
    chain = PrivateChain()
    chain.make_device(ONE)
    chain.begin(open_plan(devices=(1, 2, 2)), ONE)
    ask_node(monkeypatch, chain)
    text = " ".join(fedchain("privacy").out.split())
    assert "joined 1 plan that ask for none" in text
    assert "their loss has no bound" in text
    assert "no budget; set one" in text


@pytest.mark.parametrize("delta", ["0", "1", "-1e-5", "0.05", "0.5"])
def test_a_delta_that_promises_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, delta: str) -> None:
    """Out of range, or not below one in as many rows: twenty here."""
    ask_node(monkeypatch, worked_chain())
    answer = fedchain("privacy", f"--delta={delta}", "--json")
    assert answer.code != 0
    assert "must be" in answer.error["cause"]
    assert fedchain("privacy", "--delta=0.049").code == 0


def test_who_is_no_device_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that never registered."""
    ask_node(monkeypatch, worked_chain())
    assert "is no device of this network" in fedchain("privacy", name(TWO), "--json").error["cause"]


def test_it_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As PNG or SVG, nothing else."""
    ask_node(monkeypatch, worked_chain())
    for file, magic in ((tmp_path / "a.png", b"\x89PNG"), (tmp_path / "b.svg", b"<?xml")):
        assert fedchain("privacy", "--plot", file).code == 0
        assert file.read_bytes().startswith(magic)
    assert "must end in .png or .svg" in fedchain("privacy", "--plot", "c.gif", "--json").error["cause"]
    assert "can't write" in fedchain("privacy", "--plot", tmp_path / "none" / "c.png", "--json").error["cause"]


@pytest.mark.parametrize(
    ("words", "budget"),
    [(["500000"], 500_000), (["--epsilon", "1", "--delta", "1e-5"], 30_556)],
    ids=["micro-zCDP", "epsilon and delta"],
)
def test_a_budget_is_lowered(monkeypatch: pytest.MonkeyPatch, words: list[str], budget: int) -> None:
    """In the chain's unit, or as the epsilon that it stands for."""
    node = ask_node(monkeypatch, worked_chain())
    sent: dict[str, Any] = fedchain("device", "budget", *words, "--json").json
    assert sent["kind"] == "device.lower_budget"
    assert node.sent == [LowerBudget(budget)]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["0"],
        ["5", "--epsilon", "1"],
        ["5", "--delta", "1"],
        ["--epsilon", "1"],
        ["--epsilon", "0", "--delta", "1e-5"],
        ["--epsilon", "1", "--delta", "0.2"],  # its plans counted on 20 rows
    ],
    ids=" ".join,
)
def test_a_budget_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Nothing is sent."""
    node = ask_node(monkeypatch, worked_chain())
    assert fedchain("device", "budget", *words).code != 0
    assert node.sent == []
