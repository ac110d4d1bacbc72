"""The helper alone, over a chain of the harness: it stands by one sum a phase, whatever the chain does next."""

from dataclasses import dataclass, field
from dataclasses import replace as with_fields

import pytest

from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from chain.transaction import Body, DecryptSum
from consensus.encryption import get_gathered_name
from consensus.signatures import SignatureCache
from node.core.messages import OwnTransaction
from node.core.turn import JobTable, Turn
from node.effects import Publish, StartJob
from node.jobs.results import Declined, MessageMade
from node.jobs.secrets import decrypt_part
from node.jobs.specs import DecryptPart
from node.notices import RoleNotice
from node.roles.helper import Helper, get_subject
from storage.pledges import MemoryPledges, Pledge
from tests.consensus.harness import DEVICES, MINERS
from tests.consensus.secret import SecretChain, masked, paillier, secret_plan
from tests.node.core.lonely import CONTROL
from tests.node.core.town import make_genesis, make_world

ALL = DEVICES[:4]


class Log(MemoryPledges):
    """Pledges, and what had left the helper when each was made."""

    def __init__(self, turn: "list[Turn]") -> None:
        super().__init__()
        self.turns, self.left = turn, []  # type: ignore[var-annotated]

    def record(self, pledge: Pledge) -> None:
        super().record(pledge)
        self.left.append(len(self.turns[-1].messages) if self.turns else 0)


@dataclass
class Around:
    """What a helper reads, of a chain that tests build."""

    chain: SecretChain
    key: KeyPair
    turns: list[Turn] = field(default_factory=list)
    may_act: bool = True
    has_votes: bool = False
    final_height: int = 0

    def __post_init__(self) -> None:
        genesis = make_genesis([self.key])
        pledges = Log(self.turns)
        self.world = with_fields(make_world(genesis, self.key), pledges=pledges, signatures=SignatureCache())
        self.pledges = pledges
        self.chain.view = self.chain  # type: ignore[attr-defined]

    @property
    def account(self) -> AccountId:
        return self.key.account

    def is_waiting(self, kind: type[Body], plan: bytes | None = None, task: bytes | None = None) -> bool:
        return False


class Desk:
    """A helper and what it did."""

    def __init__(self, chain: SecretChain, key: KeyPair) -> None:
        self.around = Around(chain, key)
        self.helper = Helper(self.around, plays_device=True)  # type: ignore[arg-type]
        self.jobs = JobTable()

    def turn(self) -> Turn:
        turn = Turn(0, self.jobs)  # type: ignore[arg-type]
        self.around.turns.append(turn)
        return turn

    def look(self) -> list[object]:
        """Let it see the head; return the jobs it starts, and what it tells people."""
        turn = self.turn()
        self.helper.on_head(None, turn)  # type: ignore[arg-type]
        started = [effect.spec for effect in turn.effects if isinstance(effect, StartJob)]
        return [*started, *[effect.notice.text for effect in turn.effects if _is_told(effect)]]

    def end(self, spec: DecryptPart) -> list[Body]:
        """End its job; return the transactions that leave."""
        chain, turn = self.around.chain, self.turn()
        for id, payload in chain.store.items():
            assert self.around.world.payloads.put(payload, sync=True) == id
        result = decrypt_part(spec, self.around.world, CONTROL)
        assert isinstance(result, MessageMade | Declined)
        self.helper.on_decrypted(spec, result, turn)
        return [each.body for each in turn.messages if isinstance(each, OwnTransaction)]


def _is_told(effect: object) -> bool:
    return isinstance(effect, Publish) and isinstance(effect.notice, RoleNotice)


def at_decryption(chain: SecretChain, *devices: KeyPair) -> None:
    """Mine until these devices' updates wait to be decrypted."""
    chain.show(*devices)
    chain.mine()
    while chain.task(chain.plan).step == "reveal":
        chain.mine()
    assert chain.task(chain.plan).step == "decrypt"


def test_a_member_pledges_itself_before_its_part_leaves() -> None:
    """To the plan's round and phase, and to just those updates; its part is good on the chain."""
    chain = SecretChain(secret_plan(paillier()))
    at_decryption(chain, *ALL)
    desk = Desk(chain, MINERS[0])
    [spec] = desk.look()
    assert isinstance(spec, DecryptPart)
    [body] = desk.end(spec)
    assert isinstance(body, DecryptSum)
    assert desk.around.pledges.find(get_subject(chain.round)) == get_gathered_name(chain, chain.round)
    assert desk.around.pledges.left == [0], "nothing had left when the pledge was made"
    part = desk.around.world.payloads.get(Hash(body.payload.id))
    assert part is not None
    chain.keep(part)
    chain.send(MINERS[0], body)
    chain.mine()
    assert chain.rejected == {}


def test_it_helps_with_no_second_sum_of_the_same_phase() -> None:
    """A fork on which one device fewer revealed: the two sums' difference would be its update. Not after a restart."""
    chain = SecretChain(secret_plan(paillier()))
    before = chain.height
    at_decryption(chain, *ALL)
    desk = Desk(chain, MINERS[0])
    [spec] = desk.look()
    assert desk.end(spec)  # type: ignore[arg-type]
    while chain.height > before:
        chain.undo()
    at_decryption(chain, *ALL[:3])
    [told] = desk.look()
    assert "helps with no second one" in str(told)
    assert desk.look() == [], "told once"
    again = Desk(chain, MINERS[0])
    again.around.pledges.record(Pledge(spec.subject, spec.name))  # type: ignore[union-attr]
    assert "helps with no second one" in str(again.look()[0])
    [other] = Desk(chain, MINERS[1]).look()
    assert isinstance(other, DecryptPart), "one that has not helped yet may"
    while chain.height > before:
        chain.undo()
    while chain.round.task.attempt == 0:
        chain.mine()
    at_decryption(chain, *ALL)
    assert "helps with no second one" in str(desk.look()[0]), "a retry of the round is the same round"


def test_helpers_wait_for_those_whose_turn_it_is_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three the task draws one to go first; the next shows what both open. If the first is dead, others go on."""
    monkeypatch.setattr("fl.secure.paillier_scheme._MANY", 1)
    chain = SecretChain(secret_plan(paillier(decrypt_blocks=16)))
    at_decryption(chain, *ALL)
    desks = [Desk(chain, miner) for miner in MINERS]
    eager = [place for place, desk in enumerate(desks) if desk.look()]
    assert len(eager) == 1
    before = chain.height
    while chain.height - chain.round.stepped < chain.problem.plan.deadlines.confirmations + 2:
        assert [place for place, miner in enumerate(MINERS) if Desk(chain, miner).look()] in (eager, [])
        chain.mine()
    assert all(Desk(chain, miner).look() for miner in MINERS), "nobody waits for ever"
    while chain.height > before:
        chain.undo()
    chain.decrypt(MINERS[eager[0]])
    chain.mine()
    specs = [Desk(chain, miner).look() for place, miner in enumerate(MINERS) if place != eager[0]]
    for [spec] in specs:
        assert isinstance(spec, DecryptPart)
        assert [part.device for part in spec.parts] == [MINERS[eager[0]].account]


def test_a_part_of_a_sum_that_is_not_asked_for_any_more_stays() -> None:
    """The head moved to another fork while it was made: nothing leaves, and nothing is pledged."""
    chain = SecretChain(secret_plan(paillier()))
    before = chain.height
    at_decryption(chain, *ALL)
    desk = Desk(chain, MINERS[0])
    [spec] = desk.look()
    for id, payload in chain.store.items():
        assert desk.around.world.payloads.put(payload, sync=True) == id
    while chain.height > before:
        chain.undo()
    at_decryption(chain, *ALL[:3])
    assert desk.end(spec) == []  # type: ignore[arg-type]
    assert desk.around.pledges.find(get_subject(chain.round)) is None


def test_only_those_who_are_asked_help() -> None:
    """Not a stranger, not a node that knows its head to be old, not before the step lies deep enough."""
    chain = SecretChain(secret_plan(masked()))
    chain.pass_shares(*ALL)
    at_decryption(chain, *ALL[:3])
    assert Desk(chain, MINERS[0]).look() == []
    assert Desk(chain, ALL[3]).look() == [], "it did not reveal"
    assert isinstance(Desk(chain, ALL[0]).look()[0], DecryptPart)
    behind = Desk(chain, ALL[0])
    behind.around.may_act = False
    assert behind.look() == []
    voted = Desk(chain, ALL[0])
    voted.around.has_votes, voted.around.final_height = True, chain.round.stepped - 1
    assert voted.look() == []
