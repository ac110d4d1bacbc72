"""News of blocks between peers: a small body comes with its head, and who is told often enough may ask for quiet."""

from chain.block import Body, Header, block_id
from chain.codec import encode
from chain.ids import Hash
from p2p.events import BodyArrived, Item, Kind, PeerListens, Verdict, Want
from p2p.limits import MAX_PROPOSED_BODY, MAX_SMALL_BODY, PROPOSAL_VERSION, RATES, RELAY_VERSION
from p2p.messages import BlockBody, EngineMessage, GetBodies, Head, NotFound, Quiet, SmallBody
from p2p.smallbodies import make_small_body
from tests.p2p.objects import EMPTY, KEYS, make_chain, make_transaction
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.test_asking import heard

KEY = Hash(b"k" * 32)
LARGE = Body(tuple(make_transaction(number) for number in range(8)), ())


def announce(stage: Stage, block: tuple[Header, Body], patience_ms: int = 0) -> Hash:
    stage.chain.mine([block])
    header, body = block
    stage.take(stage.network.announce_block(header, stage.now, patience_ms, body))
    return block_id(header)


def arrived(stage: Stage) -> list[tuple[bytes, Hash]]:
    return [(output.peer, output.id) for output in stage.told if isinstance(output, BodyArrived)]


# ── small bodies ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_small_body_goes_out_with_its_head_to_who_speaks_of_it() -> None:
    """To others the head goes alone, and they ask."""
    stage = Stage()
    old, new = Puppet(stage, 1).greet(1, 2), Puppet(stage, 2, KEYS[21]).greet(1, RELAY_VERSION)
    block = make_chain(1)[0]
    id = announce(stage, block)
    assert [type(message) for message in new.heard] == [Head, SmallBody]
    assert heard(new, SmallBody) == [SmallBody(id, block[1])]
    assert [type(message) for message in old.heard] == [Head]


def test_a_larger_body_is_fetched_by_who_wants_it() -> None:
    """What has more than a kilobyte goes to nobody unasked."""
    assert make_small_body(KEY, LARGE) is None
    assert make_small_body(KEY, Body(LARGE.transactions[:2], ())) is not None
    assert make_small_body(KEY, Body(LARGE.transactions * (MAX_SMALL_BODY // 64), ())) is None


def test_a_body_that_came_with_its_head_is_not_asked_for() -> None:
    """Once the core wants it, it is there."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    puppet.say(SmallBody(KEY, EMPTY))
    assert arrived(stage) == []
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert arrived(stage) == [(puppet.key.account, KEY)]
    assert not heard(puppet, GetBodies)
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert heard(puppet, GetBodies) == [GetBodies((KEY,))], "it was handed over, and was not what was wanted"


def test_a_body_that_comes_while_it_is_asked_for_counts() -> None:
    """The answer that comes later as well harms nobody."""
    stage = Stage()
    puppet, other = Puppet(stage, 1).greet(1, RELAY_VERSION), Puppet(stage, 2, KEYS[21]).greet(1, RELAY_VERSION)
    stage.take(stage.network.want([Want(Kind.BODY, KEY, 0, (puppet.key.account,))], stage.now))
    assert heard(puppet, GetBodies)
    other.say(SmallBody(KEY, EMPTY))
    assert arrived(stage) == [(other.key.account, KEY)]
    puppet.say(BlockBody(KEY, EMPTY))
    assert len(arrived(stage)) == 1
    assert puppet.closed is None


def test_of_what_nobody_asked_for_one_body_a_peer_is_held() -> None:
    """The last; with the peer it goes."""
    stage = Stage()
    puppet, other = Puppet(stage, 1).greet(1, RELAY_VERSION), Puppet(stage, 2, KEYS[21]).greet(1, RELAY_VERSION)
    ids = [Hash(bytes([number]) * 32) for number in range(5)]
    puppet.say(*[SmallBody(id, EMPTY) for id in ids])
    other.say(SmallBody(KEY, EMPTY))
    stage.take(stage.network.want([Want(Kind.BODY, id) for id in ids], stage.now))
    assert arrived(stage) == [(puppet.key.account, ids[-1])]
    stage.take(stage.network.disconnect(other.key.account, "enough", stage.now))
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert len(arrived(stage)) == 1


def test_a_body_that_is_not_small_comes_to_nobody_unasked() -> None:
    """Who sends one is let go."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    puppet.say(SmallBody(KEY, LARGE))
    assert puppet.closed is not None
    assert "nobody asked for" in puppet.closed


def test_who_is_told_of_a_proposal_has_its_body_before_it() -> None:
    """It goes to those named who speak of it; to others, and what is too long, goes nothing."""
    stage = Stage()
    old, new = Puppet(stage, 1).greet(1, RELAY_VERSION), Puppet(stage, 2, KEYS[21]).greet(1, PROPOSAL_VERSION)
    both = [puppet.key.account for puppet in (old, new)]
    stage.take(stage.network.bring_body(KEY, LARGE, both, stage.now))
    stage.take(stage.network.tell_engine(b"proposal", KEY, both, stage.now))
    assert [type(message) for message in new.heard] == [SmallBody, EngineMessage]
    assert [type(message) for message in old.heard] == [EngineMessage]
    stage.take(stage.network.bring_body(KEY, Body(LARGE.transactions * 100, ()), both, stage.now))
    stage.take(stage.network.bring_body(KEY, LARGE, [KEYS[22].account], stage.now))
    assert len(heard(new, SmallBody)) == 1


def test_a_proposed_body_comes_unasked_up_to_its_limit() -> None:
    """It is held like any other; one byte more than a proposal may bring, and the peer is let go."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, PROPOSAL_VERSION)
    size = len(encode(LARGE)) // len(LARGE.transactions)
    body = Body(LARGE.transactions * (MAX_PROPOSED_BODY // size // len(LARGE.transactions)), ())
    assert MAX_SMALL_BODY < len(encode(body)) <= MAX_PROPOSED_BODY
    puppet.say(SmallBody(KEY, body))
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert arrived(stage) == [(puppet.key.account, KEY)]
    puppet.say(SmallBody(KEY, Body(body.transactions + LARGE.transactions, ())))
    assert puppet.closed is not None


def test_a_body_that_came_unasked_and_is_false_is_fetched_from_others() -> None:
    """Who sent it is let go, and nobody waits for the block any longer than if nothing had come."""
    stage = Stage()
    liar, other = Puppet(stage, 1).greet(1, RELAY_VERSION), Puppet(stage, 2, KEYS[21]).greet(1, RELAY_VERSION)
    liar.say(SmallBody(KEY, EMPTY))
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert arrived(stage) == [(liar.key.account, KEY)]
    item = Item(Kind.BODY, KEY)
    stage.take(stage.network.verdict(liar.key.account, Verdict.REJECT, "not its header's", stage.now, item))
    stage.take(stage.network.want([Want(Kind.BODY, KEY)], stage.now))
    assert liar.closed is not None
    assert heard(other, GetBodies) == [GetBodies((KEY,))]


# ── quiet ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_asked_for_quiet_hears_of_new_blocks_when_it_wants_to() -> None:
    """No head and no message that spares it, until it asks again; then the head at once."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    blocks = make_chain(2)
    puppet.say(Quiet(True))
    announce(stage, blocks[0])
    tell = stage.network.tell_engine
    stage.take(tell(b"final", KEY, None, stage.now, brings_head=True, sparing=True))
    announce(stage, blocks[1], patience_ms=2_000)
    stage.tick(10_000)
    assert not heard(puppet, Head)
    assert not heard(puppet, EngineMessage)
    puppet.say(Quiet(False))
    assert [each.header for each in heard(puppet, Head)] == [blocks[1][0]]
    assert PeerListens(puppet.key.account) in stage.told
    stage.take(tell(b"final", KEY, None, stage.now, sparing=True))
    assert [each.data for each in heard(puppet, EngineMessage)] == [b"final"], "it was not told before"


def test_quiet_is_kept_about_nothing_else() -> None:
    """What does not spare it goes to it as ever, and so do answers."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    puppet.say(Quiet(True))
    stage.take(stage.network.tell_engine(b"vote", KEY, None, stage.now))
    assert heard(puppet, EngineMessage)
    puppet.say(GetBodies((KEY,)))
    assert heard(puppet, NotFound)


def test_who_never_asked_for_quiet_need_not_ask_again() -> None:
    """Asking to be told costs a peer's node no more than the message, unless it was quiet."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    puppet.say(Quiet(False), Quiet(False))
    assert PeerListens(puppet.key.account) not in stage.told


def test_nobody_is_asked_for_quiet_who_does_not_know_the_word() -> None:
    """To a peer of an older version the message is never sent."""
    stage = Stage()
    old, new = Puppet(stage, 1).greet(1, 2), Puppet(stage, 2, KEYS[21]).greet(1, RELAY_VERSION)
    for puppet in (old, new):
        stage.take(stage.network.ask_quiet(puppet.key.account, stage.now, quiet=True))
    assert heard(new, Quiet) == [Quiet(True)]
    assert not old.heard


def test_who_asks_for_quiet_and_to_be_told_in_turn_is_answered_a_few_times() -> None:
    """A head and certificates are given as often as the rate of the message allows; who goes on is let go."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    for _ in range(90):
        puppet.say(Quiet(True), Quiet(False))
    answered = sum(isinstance(output, PeerListens) for output in stage.told)
    assert 0 < answered <= RATES["Quiet"].burst / 2
    for _ in range(90):
        if puppet.closed is None:
            puppet.say(Quiet(True), Quiet(False))
    assert puppet.closed is not None
