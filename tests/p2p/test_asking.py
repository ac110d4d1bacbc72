"""Whom a network asks, how often, and when it gives up: one network and peers on strings."""

from typing import TypeVar

from chain.block import Body, Header, block_id
from chain.ids import Hash, Height
from chain.payload import PayloadRef
from p2p.events import BodyArrived, Item, Kind, PayloadArrived, PeerDown, Verdict, Want
from p2p.limits import (
    BODIES_IN_FLIGHT,
    BODIES_OWED,
    CHUNK_BYTES,
    CHUNKS_IN_FLIGHT,
    CLAIM_RETRY_MS,
    FETCH_ANSWER_MS,
    HEADERS_ANSWER_MS,
    IDLE_MS,
    MAX_IDS,
    MIB,
    PING_MS,
    RETRY_MS,
    SILENCE_MS,
    SLOW_ANSWER_MS,
    STALL_MS,
    TALKER_PING_MS,
    VERDICT_MS,
)
from p2p.messages import (
    AnnounceTransactions,
    BlockBody,
    EngineMessage,
    GetBodies,
    GetHeaders,
    GetPayload,
    GetTransactions,
    Head,
    Headers,
    Message,
    NotFound,
    PayloadChunk,
    Ping,
    Transactions,
    encode_weight,
)
from tests.p2p.objects import EMPTY, FIRST, KEYS, make_chain, make_header, make_transaction
from tests.p2p.puppet import Puppet, Stage

M = TypeVar("M", bound=Message)
IDS = [Hash(bytes([number]) * 32) for number in range(1, 100)]


def heard(puppet: Puppet, kind: type[M]) -> list[M]:
    """Return the messages of a kind a puppet heard, and forget them."""
    found = [message for message in puppet.heard if isinstance(message, kind)]
    puppet.heard = [message for message in puppet.heard if not isinstance(message, kind)]
    return found


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_nobody_has_is_asked_for_again_later() -> None:
    """A wanted body that no peer had is not forgotten: everybody is asked anew after a while."""
    stage = Stage()
    puppets = [Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()]
    stage.take(stage.network.want([Want(Kind.BODY, IDS[0])], stage.now))
    for round in range(3):
        for _ in puppets:
            asked = [puppet for puppet in puppets if heard(puppet, GetBodies)]
            assert len(asked) == 1, f"round {round}"
            asked[0].say(NotFound(Kind.BODY, (IDS[0],)))
        stage.tick(RETRY_MS)
    puppet = next(puppet for puppet in puppets if heard(puppet, GetBodies))
    puppet.say(BlockBody(IDS[0], EMPTY))
    assert stage.told[-1] == BodyArrived(puppet.key.account, IDS[0], EMPTY)
    stage.tick(5 * RETRY_MS)
    assert not [each for each in puppets if heard(each, GetBodies)]


def test_what_is_not_wanted_any_more_is_not_asked_for() -> None:
    """unwant ends it, wherever it stands; its late answer is let pass."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.want([Want(Kind.BODY, IDS[0])], stage.now))
    stage.take(stage.network.unwant([IDS[0]], stage.now))
    puppet.heard.clear()
    stage.told.clear()
    puppet.say(BlockBody(IDS[0], EMPTY))
    stage.tick(FETCH_ANSWER_MS)
    assert not stage.told
    assert not heard(puppet, GetBodies)
    assert puppet.closed is None


def test_a_debtor_is_not_asked_twice() -> None:
    """One question, one answer: a peer that owes an item, late, is not asked for it again; its answer is welcome."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.want([Want(Kind.BODY, IDS[0]), Want(Kind.PAYLOAD, IDS[1], 100)], stage.now))
    assert len(heard(puppet, GetBodies)) == 1
    assert len(heard(puppet, GetPayload)) == 1
    stage.tick(FETCH_ANSWER_MS + 3 * RETRY_MS)
    assert not heard(puppet, GetBodies)
    assert not heard(puppet, GetPayload)
    puppet.say(BlockBody(IDS[0], EMPTY))
    assert stage.told[-1] == BodyArrived(puppet.key.account, IDS[0], EMPTY)


def test_a_peer_whose_every_slot_is_late_is_let_go() -> None:
    """It may answer other things as much as it likes: who owes all it may owe is of no use."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.want([Want(Kind.BODY, id) for id in IDS[:30]], stage.now))
    assert len(heard(puppet, GetBodies)[0].ids) == 8
    for number in range(20):
        transaction = make_transaction(number)
        puppet.say(AnnounceTransactions((transaction.id,)))
        puppet.say(Transactions((transaction,)))
        stage.tick(1_000)
        if puppet.closed:
            break
    assert puppet.closed == "owes more answers than it may"


def test_an_ignored_item_is_left_alone_for_a_while() -> None:
    """What the core had no use for is not fetched from the next peer that announces it, until some time later."""
    stage = Stage()
    first, second = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    transaction = make_transaction(1)
    first.say(AnnounceTransactions((transaction.id,)))
    first.say(Transactions((transaction,)))
    item = Item(Kind.TRANSACTION, transaction.id)
    stage.take(stage.network.verdict(first.key.account, Verdict.IGNORE, "nonce too high", stage.now, item))
    second.say(AnnounceTransactions((transaction.id,)))
    assert not heard(second, GetTransactions)
    stage.tick(VERDICT_MS)
    second.say(AnnounceTransactions((transaction.id,)))
    assert heard(second, GetTransactions)


def test_what_there_was_no_room_for_is_fetched_when_it_is_announced_again() -> None:
    """It is ignored now and not held against the item: there may be room by then."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    transaction = make_transaction(1)
    for _ in range(2):
        puppet.heard.clear()
        puppet.say(AnnounceTransactions((transaction.id,)))
        assert heard(puppet, GetTransactions)
        puppet.say(Transactions((transaction,)))
        item, peer = Item(Kind.TRANSACTION, transaction.id), puppet.key.account
        stage.take(stage.network.verdict(peer, Verdict.IGNORE, "full", stage.now, item, may_come_again=True))


def test_an_item_awaiting_its_verdict_is_not_fetched_again() -> None:
    """Between arrival and verdict another announcement starts no second fetch."""
    stage = Stage()
    first, second = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    transaction = make_transaction(1)
    first.say(AnnounceTransactions((transaction.id,)))
    first.say(Transactions((transaction,)))
    second.say(AnnounceTransactions((transaction.id,)))
    stage.tick(1_000)
    assert not heard(second, GetTransactions)
    stage.take(
        stage.network.verdict(
            first.key.account, Verdict.REJECT, "bad", stage.now, Item(Kind.TRANSACTION, transaction.id)
        )
    )
    assert heard(second, GetTransactions)


def test_questions_are_gathered() -> None:
    """Many announced ids are asked for in one message, within its limit and the peer's slots."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    ids = tuple([Hash(number.to_bytes(32, "big")) for number in range(MAX_IDS)])
    puppet.say(AnnounceTransactions(ids))
    assert heard(puppet, GetTransactions) == [GetTransactions(ids)]


def test_payloads_in_flight_are_bounded_in_number_and_bytes() -> None:
    """No peer owes more chunks than its slots, and large payloads come one after the other."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.want([Want(Kind.PAYLOAD, id, 100) for id in IDS], stage.now))
    asked = heard(puppet, GetPayload)
    assert len(asked) == CHUNKS_IN_FLIGHT
    stage = Stage()
    puppets = [Puppet(stage, number, KEYS[19 + number]).greet() for number in (1, 2, 3)]
    stage.take(stage.network.want([Want(Kind.PAYLOAD, id, 40 * MIB) for id in IDS[:3]], stage.now))
    assert len({message.id for puppet in puppets for message in heard(puppet, GetPayload)}) == 1


def test_an_empty_payload_is_a_payload() -> None:
    """Nothing is fetched like something."""
    stage = Stage()
    ref = PayloadRef.of(b"")
    stage.chain.payloads[ref.id] = b""
    puppet = Puppet(stage, 1).greet()
    puppet.say(GetPayload(ref.id, 0))
    assert [message.data for message in puppet.heard if hasattr(message, "data")] == [b""]
    stage.take(stage.network.want([Want(Kind.PAYLOAD, ref.id, 0)], stage.now))
    assert heard(puppet, GetPayload) == [GetPayload(ref.id, 0)]


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_that_is_not_borne_out_is_set_aside() -> None:
    """No headers, or none that are new: not asked again before a while, or before it announces another head."""
    stage = Stage()
    puppet = Puppet(stage, 1)
    puppet.weight = 10**30
    puppet.greet()
    headers = tuple([header for header, _ in make_chain(3)])
    for answer in (Headers((), True), Headers((), False), Headers(headers, False)):
        puppet.heard.clear()
        puppet.say(answer)
        stage.take(stage.network.sync(stage.now))
        stage.tick(CLAIM_RETRY_MS - 500)
        assert not heard(puppet, GetHeaders), answer.more
        stage.tick(1_000)
        assert heard(puppet, GetHeaders)
    puppet.say(Headers((), False), Head(make_header(FIRST, Body((), ())), encode_weight(10**31)))
    stage.take(stage.network.sync(stage.now))
    assert heard(puppet, GetHeaders)


def test_the_same_headers_over_and_over_get_a_peer_nowhere() -> None:
    """Answers that promise more and leave our best header where it is are asked for once in a while only."""
    stage = Stage()
    puppet = Puppet(stage, 1, weight=10**9).greet()
    headers = tuple([header for header, _ in make_chain(3)])
    asked = 1
    for _ in range(10):
        if asked:
            puppet.say(Headers(headers, True))
        stage.tick(1_000)
        asked = len(heard(puppet, GetHeaders))
        assert not asked
    stage.tick(CLAIM_RETRY_MS)
    assert heard(puppet, GetHeaders)


def test_an_answer_that_ends_ends_the_questions() -> None:
    """Who says there is no more, but claims more weight than what it gave, is not asked on at once."""
    stage = Stage()
    puppet = Puppet(stage, 1, weight=10**9).greet()
    headers = tuple([header for header, _ in make_chain(6)])
    puppet.say(Headers(headers[:3], True))
    for header in headers[:3]:
        stage.chain.insert(header)
    stage.take(stage.network.sync(stage.now))
    assert heard(puppet, GetHeaders)
    puppet.say(Headers(headers[3:], False))
    for header in headers[3:]:
        stage.chain.insert(header)
    stage.take(stage.network.sync(stage.now))
    assert not heard(puppet, GetHeaders)


def test_a_late_answer_for_headers_lets_the_next_peer_be_asked() -> None:
    """One question at a time: the second better peer is asked when the first let its time pass."""
    stage = Stage()
    silent = Puppet(stage, 1, weight=5)
    silent.reads = True
    silent.greet()
    helpful = Puppet(stage, 2, KEYS[21], weight=5).greet()
    stage.take(stage.network.sync(stage.now))
    assert not heard(helpful, GetHeaders)
    stage.tick(HEADERS_ANSWER_MS)
    assert heard(helpful, GetHeaders)
    blocks = make_chain(3)
    helpful.say(Headers(tuple([header for header, _ in blocks]), False))
    assert stage.told[-1].headers[0] == blocks[0][0]  # type: ignore[union-attr]
    assert silent.closed is None


def test_a_head_is_told_to_those_who_lack_it() -> None:
    """Not to who announced it, nor to who claims to be ahead; twice in a moment only the latest goes out."""
    stage = Stage()
    behind, knowing, ahead = (
        Puppet(stage, 1).greet(),
        Puppet(stage, 2, KEYS[21]).greet(),
        Puppet(stage, 3, KEYS[22], weight=100).greet(),
    )
    blocks = make_chain(4)
    knowing.say(Head(blocks[0][0], encode_weight(1)))
    announce(stage, blocks[:1])
    assert [each.header for each in heard(behind, Head)] == [blocks[0][0]]
    assert not heard(knowing, Head)
    assert not heard(ahead, Head)
    announce(stage, blocks[1:2])
    announce(stage, blocks[2:])
    assert not heard(behind, Head)
    assert [each.weight for each in heard(knowing, Head)] == [encode_weight(2)]
    stage.tick(250)
    assert [(each.header, each.weight) for each in heard(behind, Head)] == [(blocks[3][0], encode_weight(4))]


def test_a_head_may_wait_for_the_certificate_that_brings_it() -> None:
    """Certificate and head come together; who has shown to have the block hears of no head; who hears of nothing else
    hears of the head when its time is over."""
    stage = Stage()
    told, knowing, other = (Puppet(stage, number, KEYS[19 + number]).greet() for number in (1, 2, 3))
    blocks = make_chain(2)
    announce(stage, blocks[:1], patience_ms=1_000)
    stage.network.has_block(knowing.key.account, blocks[0][0], 1, stage.now)
    stage.tick(500)
    assert not any(heard(puppet, Head) for puppet in (told, knowing, other))
    tell = stage.network.tell_engine
    stage.take(tell(b"final", Hash(b"k" * 32), [told.key.account], stage.now, brings_head=True))
    assert [type(message) for message in told.heard] == [EngineMessage, Head]
    stage.tick(500)
    assert [each.header for each in heard(other, Head)] == [blocks[0][0]]
    assert not heard(knowing, Head)
    assert [info.height for info in stage.network.peers()] == [0, 1, 0]
    announce(stage, blocks[1:], patience_ms=1_000)
    stage.tick(500)
    told.heard.clear()
    stage.tick(500)
    assert [[each.header for each in heard(puppet, Head)] for puppet in (told, knowing, other)] == [[blocks[1][0]]] * 3


def announce(stage: Stage, blocks: list[tuple[Header, Body]], patience_ms: int = 0) -> None:
    stage.chain.mine(blocks)
    stage.take(stage.network.announce_block(blocks[-1][0], stage.now, patience_ms))
    assert stage.chain.head() == block_id(blocks[-1][0])
    assert stage.chain.height() == Height(blocks[-1][0].height)


# ── alive or not ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_peer_that_talks_but_never_answers_a_ping_is_let_go() -> None:
    """Its own pings do not show that it hears ours."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    puppet.pong = lambda: None  # type: ignore[method-assign]
    for number in range(3 * IDLE_MS // 5_000):
        puppet.say(Ping(number))
        stage.tick(5_000)
    assert puppet.closed == f"did not answer a ping for {IDLE_MS // 1000} s"
    assert isinstance(stage.told[-1], PeerDown)


def test_a_peer_that_talks_is_hardly_pinged_and_one_that_says_nothing_is() -> None:
    """What arrives shows that the line lives; only now and then it must be shown that the peer hears us too."""
    stage = Stage()
    talker, listener = Counting(stage, 1), Counting(stage, 2, KEYS[21])
    talker.greet()
    listener.greet()
    for number in range(TALKER_PING_MS // 1_000 - 1):
        talker.say(Ping(number))
        stage.tick(1_000)
    assert talker.pings == 1  # the one that greets it
    assert listener.pings >= TALKER_PING_MS // PING_MS
    stage.tick(2_000)
    assert talker.pings == 2


class Counting(Puppet):
    """A peer that counts the pings it hears."""

    pings = 0

    def pong(self) -> None:
        """Count, and answer."""
        self.pings += sum(isinstance(message, Ping) for message in self.heard)
        super().pong()


def test_a_peer_that_does_not_read_is_let_go() -> None:
    """Bytes handed to the transport and none of them gone for the stall span, although it keeps talking."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    puppet.reads = False
    for number in range(STALL_MS // 5_000 + 2):
        puppet.say(Ping(number))
        stage.tick(5_000)
    assert puppet.closed == f"read nothing for {STALL_MS // 1000} s"


def test_a_peer_that_falls_silent_is_let_go_before_its_ping_is_due() -> None:
    """Silence counts from the last byte."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    puppet.pong = lambda: None  # type: ignore[method-assign]
    stage.tick(IDLE_MS)
    assert puppet.closed == f"silent for {IDLE_MS // 1000} s"


def test_a_peer_that_stopped_keeps_nobody_from_the_headers() -> None:
    """Two seconds without a byte: another better peer is asked, long before the first one's time is over."""
    stage = Stage()
    stopped = Puppet(stage, 1, weight=5).greet()
    stage.take(stage.network.sync(stage.now))
    stopped.reads = False
    helpful = Puppet(stage, 2, KEYS[21], weight=5).greet()
    assert not heard(helpful, GetHeaders)
    stage.tick(SILENCE_MS)
    assert heard(helpful, GetHeaders)
    blocks = make_chain(3)
    helpful.say(Headers(tuple([header for header, _ in blocks]), False))
    assert stage.told[-1].headers[0] == blocks[0][0]  # type: ignore[union-attr]
    stage.told.clear()
    stopped.say(Headers((blocks[0][0],), True))  # late, and still of use
    assert len(stage.told) == 1
    assert stopped.closed is None


# ── windows, payloads that change sources ─────────────────────────────────────────────────────────────────────────


def say_chunks(puppet: Puppet, payload: bytes, count: int) -> list[int]:
    """Answer the first ``count`` questions for chunks that the puppet heard; return their offsets."""
    asked = [message for message in puppet.heard if isinstance(message, GetPayload)][:count]
    for message in asked:
        puppet.heard.remove(message)
        chunk = payload[message.offset : message.offset + CHUNK_BYTES]
        puppet.say(PayloadChunk(message.id, message.offset, chunk))
    return [message.offset for message in asked]


def test_the_next_source_goes_on_where_the_last_one_stopped() -> None:
    """What one peer gave of a payload is not asked of the next; the whole is handed on once."""
    stage = Stage()
    payload = bytes(range(256)) * (3 * CHUNK_BYTES // 256) + b"end"
    ref = PayloadRef.of(payload)
    first = Puppet(stage, 1).greet()
    stage.take(stage.network.want([Want(Kind.PAYLOAD, ref.id, ref.size)], stage.now))
    given = say_chunks(first, payload, 2)
    second = Puppet(stage, 2, KEYS[21]).greet()
    stage.take(stage.network.disconnect(first.key.account, "test", stage.now))
    asked = [message.offset for message in second.heard if isinstance(message, GetPayload)]
    assert sorted(given + asked) == [0, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]
    say_chunks(second, payload, 9)
    assert [each for each in stage.told if isinstance(each, PayloadArrived)] == [
        PayloadArrived(second.key.account, ref, payload)
    ]


def test_who_gave_the_wrong_chunk_is_found_out() -> None:
    """Chunks of two peers that make up something else: one of them gives it whole, and the other is condemned."""
    stage = Stage()
    payload = bytes(3 * CHUNK_BYTES)
    ref = PayloadRef.of(payload)
    liar, honest = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21])
    stage.take(stage.network.want([Want(Kind.PAYLOAD, ref.id, ref.size)], stage.now))
    say_chunks(liar, b"x" * len(payload), 1)
    honest.greet()
    liar.heard.clear()
    stage.tick(SILENCE_MS + 250)  # the liar is silent: the honest one goes on with what it gave
    assert say_chunks(honest, payload, 9)[0] == CHUNK_BYTES
    assert honest.closed is None
    for _ in range(4):
        say_chunks(honest, payload, 9)
        stage.tick(RETRY_MS)
    assert [each.peer for each in stage.told if isinstance(each, PayloadArrived)] == [honest.key.account]
    assert liar.closed is not None
    assert "chunks" in liar.closed


def test_a_peer_that_delivers_well_is_asked_for_more() -> None:
    """Quick answers widen the window, slow ones narrow it again."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    ids = [Hash(number.to_bytes(32, "big")) for number in range(1000)]
    stage.take(stage.network.want([Want(Kind.BODY, id) for id in ids], stage.now))

    def under_way() -> list[Hash]:
        return [id for message in puppet.heard if isinstance(message, GetBodies) for id in message.ids]

    assert under_way() == ids[:BODIES_IN_FLIGHT]
    answered = 0
    for _ in range(100):
        puppet.say(BlockBody(under_way()[answered], EMPTY))
        answered += 1
    assert len(under_way()) - answered == BODIES_OWED
    assert under_way() == ids[: len(under_way())], "in the order in which they are wanted"
    while len(under_way()) - answered > 8:
        stage.tick(SLOW_ANSWER_MS + 250)
        for _ in range(8):
            puppet.say(BlockBody(under_way()[answered], EMPTY))
            answered += 1
    assert len(under_way()) < len(ids)
