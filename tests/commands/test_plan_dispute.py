"""``fedchain plan dispute``, and what plans' checks mean in words, on a chain in memory that answers like a node."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace as with_fields

from chain.address import format_account
from chain.ids import Amount, Hash
from chain.transaction import Body
from commands.output import CommandFailed
from commands.plan_checks import describe_checks, list_checks
from commands.plan_dispute import _dispute, _Outcome
from consensus.events import DisputeDecided
from fl.plan.schema import Commit, Pace, Replay
from node.client import NotFound
from tests.consensus.harness import OTHER, make_plan
from tests.consensus.test_replays import BOND, HONEST, LIAR, DisputedChain


class FakeNode:
    """The client's questions, answered from a chain in memory. What is sent is in a block at once."""

    def __init__(self, chain: DisputedChain) -> None:
        self.chain = chain
        self.sent: list[Body] = []
        self.asked = 0

    def address(self, key: Any) -> str:
        return format_account(key.account, self.chain.genesis.prefix)

    async def genesis(self) -> Any:
        return self.chain.genesis

    async def status(self) -> Any:
        return SimpleNamespace(account=self.address(OTHER), height=self.chain.height)

    async def state_proof(self, key: bytes) -> Any:
        self.asked += 1
        if self.asked == 4:
            self.chain.on_asked()
        value = self.chain.get(key)
        return SimpleNamespace(value=None if value is None else value.hex(), height=self.chain.height)

    async def payload(self, id: Hash) -> bytes:
        return self.chain.store[id]

    async def send(self, body: Body) -> Hash:
        self.sent.append(body)
        signed = self.chain.send(OTHER, body)
        self.chain.mine()
        assert self.chain.rejected == {}
        return signed.id

    async def wait_for_transaction(self, id: Hash, *, timeout_s: float) -> Any:
        return SimpleNamespace(height=self.chain.height)

    async def block(self, *, height: int) -> Any:
        shown = [
            {
                "kind": "dispute.decided",
                "plan": event.plan.hex(),
                "device": format_account(event.device, self.chain.genesis.prefix),
                "is_true": event.is_true,
                "reward": event.reward,
            }
            for event in self.chain.executions[height - 1].events
            if isinstance(event, DisputeDecided)
        ]
        return SimpleNamespace(events=shown)


class Chain(DisputedChain):
    """A chain on which something may happen while a person waits."""

    def on_asked(self) -> None:
        """Nothing."""


def run(chain: Chain, device: Any, **options: Any) -> tuple[FakeNode, _Outcome]:
    node = FakeNode(chain)
    place, timeout_s = options.get("place", (None, None)), options.get("timeout_s", 5.0)
    asked = _dispute(node, chain.plan.hex(), node.address(device), place, timeout_s, options.get("dry_run", False))  # type: ignore[arg-type]
    return node, asyncio.run(asked)


def test_a_false_update_is_repeated_disputed_and_the_verdict_told() -> None:
    """With the deposit and a proof, so that the reward is the sender's; the outcome is what the nodes found."""
    chain = Chain()
    chain.reveal_all()
    expected = chain.dispute_of()
    node, done = run(chain, LIAR)
    assert (done.is_false, done.is_refuted, done.reward) == (True, True, BOND // 2)
    assert done.height == chain.height
    [body] = node.sent
    assert body == expected


def test_a_true_update_is_not_disputed() -> None:
    """The training is repeated first: a deposit is not lost by mistake; a dry run sends nothing in any case."""
    chain = Chain()
    chain.reveal_all()
    node, done = run(chain, HONEST)
    assert not done.is_false
    assert done.made == done.case.update.payload.id
    assert node.sent == []
    node, done = run(chain, LIAR, dry_run=True)
    assert done.is_false
    assert node.sent == []


def test_it_waits_for_the_dispute_step() -> None:
    """While the reveals are open nothing can be disputed; the step comes, or patience ends."""
    chain = Chain()
    with pytest.raises(NotFound, match="has not begun after"):
        run(chain, LIAR, timeout_s=0.01)
    chain.on_asked = chain.reveal_all  # type: ignore[method-assign]
    _, done = run(chain, LIAR, timeout_s=20.0)
    assert done.is_refuted


def test_what_can_not_be_disputed_is_told_by_name() -> None:
    """Another round or phase than the open one, a device without an update, a second dispute."""
    chain = Chain()
    chain.reveal_all()
    with pytest.raises(NotFound, match="the open task is of round 1, phase 1"):
        run(chain, LIAR, place=(0, 1))
    with pytest.raises(NotFound, match="was not asked"):
        run(chain, OTHER)
    chain.send(OTHER, chain.dispute_of())
    chain.mine()
    with pytest.raises(NotFound, match="disputed already"):
        run(chain, LIAR)


def test_a_verdict_that_does_not_come_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispute is on the chain; the command says that it waits still."""
    chain = Chain()
    chain.reveal_all()

    async def silent(self: FakeNode, *, height: int) -> Any:
        return SimpleNamespace(events=[])

    monkeypatch.setattr(FakeNode, "block", silent)
    with pytest.raises(CommandFailed, match="not decided after"):
        run(chain, LIAR, timeout_s=0.2)


def test_a_plans_checks_are_told_in_words() -> None:
    """What is published, who repeats, what a dispute costs; the commitments; the pace. Nothing where there is none."""
    plain = make_plan()
    assert describe_checks(plain) == {}
    assert list_checks(plain) == []
    policies = (*plain.verification.policies, Replay("open", 3, Amount(2_000_000)), Commit(9), Pace(20, "refuse"))
    plan = with_fields(
        plain, version=2, verification=with_fields(plain.verification, policies=policies, attestations=2)
    )
    assert describe_checks(plan) == {
        "replay": {"source": "open", "epsilon": "0", "attestations": 2, "dispute_blocks": 3, "deposit": 2_000_000},
        "commit": {"blocks": 9},
        "pace": {"ratio": 20, "outliers": "refuse"},
    }
    told = dict(list_checks(plan))
    assert list(told) == ["published", "repeats", "disputes", "commits", "pace"]
    assert "ROWS" in told["published"]
    assert told["repeats"].startswith("2 miners")
    assert "for 3 blocks after the reveals, by anybody, for a deposit of 2 coins" in told["disputes"]
    assert "within 9 blocks" in told["commits"]
    assert "more than 20 times the speed" in told["pace"]
    assert "is refused" in told["pace"]
