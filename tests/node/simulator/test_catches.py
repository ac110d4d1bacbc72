"""A bench that can't fail proves nothing: break one thing in the real program, and the simulator says which."""

from dataclasses import replace

import pytest

from chain.codec import decode, encode
from chain.ids import Amount, Height, Millis
from consensus.records import Account
from node.core import commit, headstates, importer
from node.core.core import NodeCore
from node.effects import Effect
from node.events import Event, MiningOrder
from node.simulator.disk import VolatileChainStore
from node.simulator.faults import Faults
from node.simulator.lines import Lines
from node.simulator.report import SimulationReport
from node.simulator.settings import CRASH, ENGINES, PARTITION, SimulationSettings
from node.simulator.simulation import simulate
from p2p.events import Item, NetworkOutput, PeerId, Verdict
from p2p.network import PeerNetwork
from storage.base import CommitBatch
from storage.releases import Releases

SMALL = SimulationSettings(seed=4, nodes=3, devices=2, miners=3, duration_ms=40_000, block_ms=1_000, plans=1)
FORKING = replace(SMALL, faults=(PARTITION, CRASH), duration_ms=60_000)


def broken(report: SimulationReport) -> set[str]:
    """The invariants that did not hold."""
    return {violation.invariant for violation in report.violations}


def test_nothing_is_found_where_nothing_is_broken() -> None:
    """The worlds that the other tests break hold every invariant as they are."""
    for settings in (SMALL, FORKING):
        report = simulate(settings)
        assert report.is_good, report.violations


def test_a_journal_that_forgets_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that does not find its release trains anew, and answers one task twice."""
    monkeypatch.setattr(Releases, "find", lambda self, task, device: None)
    assert "one release a task and device" in broken(simulate(SMALL))


def test_a_coin_from_nowhere_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that adds a coin to an account no longer has the state its header names, nor a supply that adds up."""
    honest = VolatileChainStore.commit

    def generous(self: VolatileChainStore, batch: CommitBatch) -> None:
        changes = {
            key: _richer(value) if key.startswith(b"s/account/") else value for key, value in batch.changes.items()
        }
        honest(self, replace(batch, changes=changes))

    monkeypatch.setattr(VolatileChainStore, "commit", generous)
    found = broken(simulate(SMALL))
    assert found & {"every coin counted", "honest blocks are valid", "no fault"}


def _richer(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    account = decode(value, Account)
    return encode(Account(Amount(account.balance + 1), account.nonce))


def test_a_reorganisation_that_undoes_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo data that are left out of a commit leave the old branch's changes in the state."""
    whole = commit.make_batch
    monkeypatch.setattr(importer, "make_batch", lambda tip, undo, undone, *rest: whole(tip, undo, {}, *rest))
    found = broken(simulate(replace(FORKING, seed=8)))  # a reorganisation of eight blocks, not of one alone
    assert found & {"state root", "one state a head", "honest blocks are valid", "no fault"}


def test_a_partition_that_never_heals_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves that can't hear each other never come to one head: progress is an invariant too."""
    monkeypatch.setattr(Lines, "heal", lambda self: None)
    assert "agreement" in broken(simulate(replace(FORKING, faults=(PARTITION,), plans=1)))


def test_an_exception_of_the_core_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that raises ends its process, and the report names the machine and the error."""
    honest = NodeCore.handle

    def fragile(self: NodeCore, event: Event, now: Millis) -> list[Effect]:
        if self.chain.height == 5:
            raise ZeroDivisionError("a fault of ours")
        return honest(self, event, now)

    monkeypatch.setattr(NodeCore, "handle", fragile)
    report = simulate(SMALL)
    assert "no fault" in broken(report)
    assert "ZeroDivisionError: a fault of ours" in str(report.violations[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_honest_peer_that_is_banned_is_caught(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that takes every verdict for a rejection bans who passes on good transactions and updates."""
    honest = PeerNetwork.verdict

    def harsh(
        self: PeerNetwork, peer: PeerId, verdict: Verdict, reason: str, now: Millis, item: Item | None = None
    ) -> list[NetworkOutput]:
        return honest(self, peer, Verdict.REJECT, reason, now, item)

    monkeypatch.setattr(PeerNetwork, "verdict", harsh)
    assert "no honest peer banned" in broken(simulate(replace(SMALL, nodes=4, miners=4, engine=engine)))


def test_a_memory_without_an_end_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that does not let go of old states holds one more with each block: soon more than it may."""
    monkeypatch.setattr(headstates, "HELD", 10**6)
    report = simulate(replace(SMALL, devices=0))
    assert broken(report) == {"memory under its caps"}
    assert "HeadStates._held holds" in str(report.violations[0])


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_does_not_go_on_is_caught(engine: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have one head when the faults end, and nobody ever makes another block: no plan is needed to notice."""
    honest = Faults.heal

    def tiring(self: Faults) -> None:
        honest(self)
        for machine in self._machines:
            if not machine.is_honest:
                machine.die(silently=False)  # it may have kept blocks back, and show them now
            elif machine.character.config.miner is not None:
                machine.ask(lambda request: MiningOrder(request, False))
                if not machine.is_honest:
                    machine.die(silently=False)  # some take no orders, and a block of theirs would be progress

    settings = replace(SMALL, engine=engine, nodes=6, devices=0, miners=4, byzantine=share, duration_ms=15_000)
    assert simulate(settings).violations == ()
    monkeypatch.setattr(Faults, "heal", tiring)
    assert broken(simulate(settings)) == {"agreement"}


def test_a_chain_that_grows_and_is_not_final_any_more_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under stake a new head is not enough: what was made after the faults has to become final everywhere."""
    height = NodeCore.finalized

    def stuck(self: NodeCore) -> Height:
        return Height(min(height(self), 5))

    monkeypatch.setattr(NodeCore, "finalized", stuck)
    report = simulate(replace(SMALL, engine="pos", nodes=4, devices=0, miners=4, duration_ms=15_000))
    assert broken(report) == {"finality"}
    assert report.agreed_after_ms == -1
