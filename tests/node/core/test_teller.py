"""When the agreement's messages leave: nobody is told what it has shown to know; what is final goes with its block."""

from collections.abc import Collection

from chain.block import Header
from chain.ids import AccountId, Hash, Millis
from consensus.pos.effects import Audience, Pass, Tell
from consensus.pos.sparing import Shown
from consensus.pos.validators import Member, ValidatorSet
from consensus.pos.votes import VoteKind
from node.core.audience import Listeners
from node.core.teller import MAX_WAITING, Teller
from node.core.turn import JobTable, Turn
from p2p.events import NetworkOutput, PeerId

OWN, *OTHERS = (AccountId(bytes([number]) * 32) for number in range(1, 5))
FOLLOWER = AccountId(bytes([9]) * 32)
SET = ValidatorSet(0, Hash(bytes(32)), tuple(Member(account, 10) for account in (OWN, *OTHERS)))
BLOCK = Hash(bytes([7]) * 32)
GENESIS = Hash(bytes([6]) * 32)
KEY = Hash(bytes([8]) * 32)
PATIENCE_MS = 500


class _Network:
    """A network that keeps who has what, and notes who is told."""

    def __init__(self, peers: Collection[AccountId]) -> None:
        self.peers = list(peers)
        self.had: set[AccountId] = set()
        self.told: list[tuple[list[AccountId], bool]] = []
        self.sparing: list[bool] = []

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self.peers

    def connected(self) -> tuple[AccountId, ...]:
        return tuple(self.peers)

    def has_engine_message(self, peer: PeerId, key: Hash, now: Millis) -> None:
        self.had.add(AccountId(peer))

    def tell_engine(
        self,
        data: bytes,
        key: Hash,
        to: Collection[PeerId] | None,
        now: Millis,
        *,
        passing: bool = False,
        again: bool = False,
        brings_head: bool = False,
        sparing: bool = False,
    ) -> list[NetworkOutput]:
        named = self.peers if to is None else to
        self.sparing.append(sparing)
        self.told.append(([AccountId(peer) for peer in named if again or peer not in self.had], brings_head))
        return []


class _Agreement:
    """Says who has voted on."""

    def __init__(self) -> None:
        self.shown: frozenset[AccountId] = frozenset()

    def find_shown(self, shown: Shown) -> frozenset[AccountId]:
        return self.shown


class _Tree:
    """One block above genesis."""

    def __contains__(self, id: object) -> bool:
        return id in (GENESIS, BLOCK)

    def height(self, id: Hash) -> int:
        return 1 if id == BLOCK else 0

    def ancestor_id(self, id: Hash, height: int) -> Hash:
        return GENESIS if height == 0 else id

    def header(self, id: Hash) -> Header | None:
        return None


class _Chain:
    """A chain whose head is genesis until a test says otherwise."""

    def __init__(self) -> None:
        self.tree = _Tree()
        self.head_id = GENESIS

    @property
    def height(self) -> int:
        return self.tree.height(self.head_id)


class _Scene:
    """A validator's teller among peers."""

    def __init__(self, *peers: AccountId) -> None:
        self.network, self.agreement, self.chain = _Network(peers), _Agreement(), _Chain()
        listeners = Listeners(self.network, OWN)  # type: ignore[arg-type]
        listeners.set = SET
        self.teller = Teller(self.network, listeners, self.agreement, self.chain, PATIENCE_MS)  # type: ignore[arg-type]

    @staticmethod
    def turn(now: int) -> Turn:
        return Turn(Millis(now), JobTable())

    @property
    def told(self) -> list[tuple[list[AccountId], bool]]:
        told, self.network.told = self.network.told, []
        return told


NOTARISED = Shown(0, 1, VoteKind.FINALIZE, BLOCK)


def test_a_notarisation_goes_to_those_alone_who_have_not_voted_on() -> None:
    """Two of three voted to finalise the block, so they know; the third hears of it after Δ/2, not before."""
    scene = _Scene(*OTHERS, FOLLOWER)
    scene.teller.tell(Tell(b"certificate", KEY, Audience.EACH_VALIDATOR, shown=NOTARISED), scene.turn(0))
    scene.agreement.shown = frozenset(OTHERS[:2])
    scene.teller.on_tick(scene.turn(PATIENCE_MS - 1))
    assert scene.told == []
    scene.teller.on_tick(scene.turn(PATIENCE_MS))
    assert scene.told == [([OTHERS[2]], False)]
    scene.teller.on_tick(scene.turn(3 * PATIENCE_MS))
    assert scene.told == []


def test_a_proposal_that_one_was_not_told_reaches_it() -> None:
    """A leader may leave a validator out; the others pass the proposal on to whoever has not voted for it."""
    scene = _Scene(*OTHERS)
    effect = Pass(b"proposal", KEY, Audience.EACH_VALIDATOR, Shown(0, 1, VoteKind.NOTARIZE, BLOCK))
    scene.teller.pass_on(effect, scene.turn(0), is_flooded=False)
    scene.agreement.shown = frozenset(OTHERS[1:])
    scene.teller.on_tick(scene.turn(PATIENCE_MS))
    assert scene.told == [([OTHERS[0]], False)]


def test_nothing_waits_where_messages_are_flooded() -> None:
    """A validator that does not reach each other one, or one that is asked to pass on, sends at once."""
    scene = _Scene(*OTHERS[:2], FOLLOWER)
    scene.teller.tell(Tell(b"certificate", KEY, Audience.EACH_VALIDATOR, shown=NOTARISED), scene.turn(0))
    assert scene.told == [([*OTHERS[:2], FOLLOWER], False)]
    scene = _Scene(*OTHERS, FOLLOWER)
    effect = Pass(b"proposal", KEY, Audience.EACH_VALIDATOR, Shown(0, 1, VoteKind.NOTARIZE, BLOCK))
    scene.teller.pass_on(effect, scene.turn(0), is_flooded=True)
    assert scene.told == [([*OTHERS, FOLLOWER], False)]


def test_what_justifies_a_proposal_goes_at_once_to_those_who_have_not_shown_it() -> None:
    """A leader waits for nobody."""
    scene = _Scene(*OTHERS)
    scene.agreement.shown = frozenset(OTHERS[:1])
    effect = Tell(b"certificate", KEY, Audience.EACH_VALIDATOR, shown=NOTARISED, is_urgent=True)
    scene.teller.tell(effect, scene.turn(0))
    assert scene.told == [(OTHERS[1:], False)]


def test_what_is_final_waits_for_its_block_and_brings_the_head() -> None:
    """Who hears of a final block can fetch it where it heard of it; validators know by their votes."""
    scene = _Scene(*OTHERS, FOLLOWER)
    effect = Tell(b"certificate", KEY, Audience.FOLLOWERS, final=BLOCK)
    scene.teller.tell(effect, scene.turn(0))
    assert scene.told == []
    scene.chain.head_id = BLOCK
    scene.teller.on_head((), scene.turn(10))
    assert scene.told == [([FOLLOWER], True)]
    scene.teller.tell(effect, scene.turn(20))
    assert scene.told == [([FOLLOWER], True)]


def test_what_is_final_is_told_without_its_block_when_that_does_not_come() -> None:
    """Whoever withholds a body does not withhold the certificate."""
    scene = _Scene(*OTHERS, FOLLOWER)
    scene.teller.tell(Tell(b"certificate", KEY, Audience.ALL, final=BLOCK), scene.turn(0))
    scene.teller.on_tick(scene.turn(PATIENCE_MS))
    assert scene.told == [([*OTHERS, FOLLOWER], False)]


def test_what_is_repeated_never_waits() -> None:
    """A view that lasts too long has everything said again to everybody, known or not."""
    scene = _Scene(*OTHERS)
    scene.network.had.update(OTHERS)
    scene.teller.tell(Tell(b"vote", KEY, Audience.ALL, again=True, final=BLOCK, shown=NOTARISED), scene.turn(0))
    assert scene.told == [(OTHERS, False)]


def test_few_messages_wait() -> None:
    """One more than may wait sends the one that waited longest."""
    scene = _Scene(*OTHERS)
    effect = Tell(b"certificate", KEY, Audience.EACH_VALIDATOR, shown=NOTARISED)
    for _ in range(MAX_WAITING):
        scene.teller.tell(effect, scene.turn(0))
    assert scene.told == []
    scene.teller.tell(effect, scene.turn(0))
    assert len(scene.told) == 1
