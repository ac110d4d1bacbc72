"""Everything from a peer is hostile: at worst its connection is closed with a reason, and memory stays within caps."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Body
from chain.ids import ZERO_HASH, Hash
from chain.payload import PayloadRef
from p2p.events import (
    BodyArrived,
    Close,
    Connected,
    HeadersArrived,
    Kind,
    PayloadArrived,
    PeerDown,
    PeerUp,
    Received,
    Verdict,
    Want,
)
from p2p.frames import encode_frame
from p2p.limits import (
    CHUNK_BYTES,
    CLASSES,
    FETCH_ANSWER_MS,
    HANDSHAKE_MS,
    KIB,
    MAX_HEADERS_BYTES,
    MAX_IDS,
    MAX_OFFERS,
    MIB,
    SEND_WINDOW,
    SILENCE_MS,
    STALL_MS,
    MessageClass,
)
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    BlockBody,
    Bye,
    GetAddresses,
    GetBodies,
    GetHeaders,
    GetPayload,
    GetTransactions,
    Head,
    Headers,
    Message,
    NoChunk,
    NotFound,
    PayloadChunk,
    PeerAddress,
    Ping,
    Pong,
    Transactions,
    encode_message,
    encode_weight,
)
from tests.p2p.objects import EMPTY, FIRST, KEYS, make_chain, make_header, make_transaction
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.strategies import handshake_messages, messages, ready_messages
from tests.p2p.town import Town

WORST_FRAME = max(limits.answer_bytes for limits in CLASSES.values())


@given(st.lists(st.binary(max_size=300), max_size=6), st.booleans())
def test_any_bytes_at_worst_close_the_connection(pieces: list[bytes], is_ready: bool) -> None:
    """Garbage before or after the handshake: no exception, and a reason if it is closed."""
    stage = Stage()
    puppet = Puppet(stage, 1)
    if is_ready:
        puppet.greet()
    for piece in pieces:
        puppet.write(piece)
    stage.tick(1000)
    assert puppet.closed is None or len(puppet.closed) > 5
    assert stage.network.buffered_bytes() <= 300 * 6


@given(st.lists(messages(), min_size=1, max_size=8))
def test_a_stranger_gets_nowhere_without_the_handshake(said: list[Message]) -> None:
    """Whatever is said before the handshake is done, no peer comes of it."""
    stage = Stage()
    puppet = Puppet(stage, 1)
    puppet.say(*said)
    stage.tick(HANDSHAKE_MS)
    assert puppet.closed is not None
    assert not stage.told


@settings(max_examples=60)
@given(st.lists(ready_messages() | handshake_messages(), max_size=12), st.data())
def test_a_peer_may_say_anything(said: list[Message], data: st.DataObject) -> None:
    """A proven peer that answers what nobody asked, asks for what nobody has, lies: never an exception."""
    stage = Stage()
    puppet = Puppet(stage, 1, weight=data.draw(st.integers(0, 10))).greet()
    for message in said:
        puppet.say(message)
    stage.tick(1000)
    assert puppet.closed is None or puppet.closed
    downs = [output for output in stage.told if isinstance(output, PeerDown)]
    assert len(downs) == (puppet.closed is not None)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Headers((), False), "nobody asked for"),
        (BlockBody(ZERO_HASH, EMPTY), "nobody asked for"),
        (Transactions((make_transaction(1),)), "nobody asked for"),
        (PayloadChunk(ZERO_HASH, 0, b""), "nobody asked for"),
        (NoChunk(ZERO_HASH, 0), "nobody asked for"),
        (NotFound(Kind.BODY, (ZERO_HASH,)), "nobody asked for"),
        (NotFound(Kind.PAYLOAD, (ZERO_HASH,)), "nobody asked for"),
        (Addresses(()), "nobody asked for"),
        (Pong(5), "a pong to no ping of ours"),
        (Head(replace(FIRST, chain_id="elsewhere"), b""), "a header of another chain"),
    ],
)
def test_what_has_no_place_is_a_reason_to_part(message: Message, words: str) -> None:
    """An answer without a question, and its like, close the connection, tell the peer why, and ban it."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    puppet.say(message)
    assert puppet.closed is not None
    assert words in puppet.closed
    assert puppet.heard[-1] == Bye(puppet.closed)
    again = Puppet(stage, 251)  # the same host
    assert again.closed == "banned for a while"
    elsewhere = Puppet(stage, 2)
    with pytest.raises(ValueError, match="unpack"):
        elsewhere.greet()  # the same identity from another host gets no proof
    assert elsewhere.closed == "banned for a while"


@pytest.mark.parametrize("message_class", list(MessageClass)[1:])
def test_long_messages_are_refused_unless_asked_for(message_class: MessageClass) -> None:
    """The head of a frame longer than its class allows closes at once; nothing is buffered for it."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    limit = CLASSES[message_class].frame_bytes
    puppet.write(encode_frame(message_class, bytes(limit + 1))[:5])
    assert puppet.closed is not None
    assert f"at most {limit} are allowed" in puppet.closed


@pytest.mark.parametrize(("longest_body", "most"), [(0, MAX_HEADERS_BYTES + KIB), (4 * MIB, 4 * MIB + KIB)])
def test_who_owes_headers_can_send_no_more_than_headers_or_a_body_of_this_chain(longest_body: int, most: int) -> None:
    """A node without bodies keeps 2 MiB of an answer at most; one of a chain with small blocks no more than these."""
    for too_long in (0, 1):
        stage = Stage(max_body_bytes=longest_body)
        puppet = Puppet(stage, 1, weight=5).greet()
        stage.take(stage.network.sync(stage.now))
        puppet.write(encode_frame(MessageClass.CONSENSUS, bytes(most + too_long))[:5])
        assert (puppet.closed is not None) == bool(too_long)


def test_a_flood_of_questions_by_one_who_does_not_read_stays_within_the_caps() -> None:
    """Bodies, payloads and headers asked for endlessly and never read: the queues stop at their caps, then it ends."""
    stage = Stage()
    blocks = make_chain(50)
    stage.chain.mine(blocks)
    payload = bytes(5 * CHUNK_BYTES)
    ref = PayloadRef.of(payload)
    stage.chain.payloads[ref.id] = payload
    puppet = Puppet(stage, 1, reads=False).greet()
    ids = tuple(stage.chain.main[1:17])
    cap = sum(limits.queue_bytes + limits.answer_bytes for limits in CLASSES.values())
    for number in range(150):
        offset = number % 5 * CHUNK_BYTES
        puppet.say(GetBodies(ids), GetPayload(ref.id, offset), GetHeaders((stage.chain.first,)), Ping(number))
        assert stage.network.buffered_bytes() <= cap
        if puppet.closed:
            break
    assert puppet.bytes_heard <= SEND_WINDOW + WORST_FRAME
    stage.tick(STALL_MS + 1000)
    assert puppet.closed is not None
    assert "read nothing" in puppet.closed
    assert stage.network.buffered_bytes() == 0


def test_a_flooding_peer_does_not_raise_memory_above_the_caps() -> None:
    """Announcements of items that do not exist, heads, pings, endlessly: what is kept is bounded, the flooder goes."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    most = 0
    for number in range(3_000):
        ids = tuple([Hash((number * MAX_IDS + each).to_bytes(32, "big")) for each in range(MAX_IDS)])
        puppet.say(AnnounceTransactions(ids), Head(FIRST, encode_weight(number)), Ping(number))
        puppet.heard.clear()
        stage.told.clear()
        most = max(most, tracemalloc.get_traced_memory()[0] - before)
        if puppet.closed:
            break
        if number % 20 == 0:
            stage.tick(250)
    tracemalloc.stop()
    assert puppet.closed is not None
    assert "flooding" in puppet.closed
    assert 100_000 < most < 8 * MIB
    assert len(stage.network._fetcher.inventory) == 0


def test_offers_of_one_peer_are_capped() -> None:
    """A peer's unfetched announcements never exceed their cap, whatever it announces over time."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    for number in range(60):
        ids = tuple([Hash((number * MAX_IDS + each).to_bytes(32, "big")) for each in range(MAX_IDS)])
        puppet.say(AnnounceTransactions(ids))
        stage.tick(500)
        assert len(stage.network._fetcher.inventory) <= MAX_OFFERS + 2 * 512
        if puppet.closed:
            break


def test_a_false_weight_costs_one_question() -> None:
    """A peer that claims much and has no headers is asked once, then not again until it announces another head."""
    stage = Stage()
    puppet = Puppet(stage, 1, weight=10**30).greet()
    stage.tick(250)
    puppet.say(Headers((), True))
    stage.tick(5_000)
    stage.take(stage.network.sync(stage.now))
    assert not [message for message in puppet.heard if isinstance(message, GetHeaders)]


def test_headers_must_follow_what_was_asked() -> None:
    """Headers from nowhere, or of another chain, condemn their sender before the core sees them."""
    blocks = [header for header, _ in make_chain(5)]
    for bad, words in (
        (blocks[1:], "do not follow what was asked"),
        ([replace(blocks[0], chain_id="x")], "another chain"),
    ):
        stage = Stage()
        puppet = Puppet(stage, 1, weight=5).greet()
        stage.take(stage.network.sync(stage.now))
        puppet.say(Headers(tuple(bad), False))
        assert puppet.closed is not None
        assert words in puppet.closed
        assert not [output for output in stage.told if isinstance(output, HeadersArrived)]


def test_a_payload_that_is_not_what_was_asked_condemns_its_sender() -> None:
    """Bytes with another hash: closed, and the core hears nothing of them. (Of another length: its own file.)"""
    payload = bytes(CHUNK_BYTES) + b"tail"
    ref = PayloadRef.of(payload)
    for last, words in ((b"TAIL", "not what its id says"), (b"tale", "not what its id says")):
        stage = Stage()
        puppet = Puppet(stage, 1).greet()
        stage.take(stage.network.want([Want(Kind.PAYLOAD, ref.id, ref.size)], stage.now))
        asked = [message for message in puppet.heard if isinstance(message, GetPayload)]
        assert [message.offset for message in asked] == [0, CHUNK_BYTES]
        puppet.say(PayloadChunk(ref.id, 0, payload[:CHUNK_BYTES]), PayloadChunk(ref.id, CHUNK_BYTES, last))
        assert puppet.closed is not None
        assert words in puppet.closed
        assert not [output for output in stage.told if isinstance(output, PayloadArrived)]


def test_a_silent_source_loses_the_item_to_the_next_and_is_let_go() -> None:
    """The second source is asked only when the first let its time pass; the first's late answer is still taken."""
    stage = Stage()
    first, second = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    transaction = make_transaction(1)
    first.say(AnnounceTransactions((transaction.id,)))
    second.say(AnnounceTransactions((transaction.id,)))
    question = GetTransactions((transaction.id,))
    assert question in first.heard
    assert question not in second.heard
    stage.tick(FETCH_ANSWER_MS)
    assert question in second.heard
    stage.told.clear()
    first.say(Transactions((transaction,)))  # late, and still of use
    second.say(NotFound(Kind.TRANSACTION, (transaction.id,)))
    assert len(stage.told) == 1
    assert first.closed is None
    assert second.closed is None


def test_a_peer_that_never_answers_is_let_go() -> None:
    """Question after question without an answer ends the connection, without a ban."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    for number in range(10):
        puppet.say(AnnounceTransactions((Hash(bytes([number]) * 32),)))
        stage.tick(FETCH_ANSWER_MS)
        if puppet.closed:
            break
    assert puppet.closed == "left too many questions unanswered"
    assert Puppet(stage, 2).greet().closed is None


def test_an_address_told_must_reach_as_far_as_its_source() -> None:
    """A peer on the Internet can't make us dial into our own network."""
    stage = Stage(connect=("93.184.216.34:7000",))
    addresses = (
        PeerAddress(bytes([10, 0, 0, 1]), 7000),
        PeerAddress(bytes([127, 0, 0, 1]), 7000),
        PeerAddress(bytes([8, 8, 8, 8]), 7000),
        PeerAddress(bytes([224, 0, 0, 1]), 7000),
        PeerAddress(bytes(4), 7000),
    )
    from p2p.endpoints import Endpoint
    from p2p.exchange import AddressExchange
    from p2p.links import Links

    book = stage.network._book
    exchange = AddressExchange(Links(), book, stage.network._fetcher._random)
    session = next(iter(_session_at(stage, Endpoint("93.184.216.34", 7000))))
    session.owes(MessageClass.ADDRESSES, ZERO_HASH, stage.now)
    exchange.on_addresses(session, Addresses(addresses), stage.now)
    assert [str(endpoint) for endpoint in book.remembered()] == ["8.8.8.8:7000"]


def _session_at(stage: Stage, endpoint: object):  # type: ignore[no-untyped-def]
    puppet = Puppet(stage, 1).greet()
    session = stage.network._links.sessions[puppet.connection]
    session.endpoint = endpoint  # type: ignore[assignment]
    yield session


def test_a_question_for_addresses_is_answered_once_in_a_while() -> None:
    """Addresses can't be drained by asking again and again."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    for _ in range(20):
        puppet.say(GetAddresses())
    assert len([message for message in puppet.heard if isinstance(message, Addresses)]) == 2
    assert puppet.closed is None


def test_a_rejected_peer_is_banned_for_its_time() -> None:
    """REJECT disconnects, keeps the identity and its host out, and lets it back in after the ban."""
    stage = Stage(ban_ms=60_000)
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.verdict(puppet.key.account, Verdict.REJECT, "a block without work", stage.now))
    assert puppet.closed == "a block without work"
    assert Puppet(stage, 251).closed == "banned for a while"
    stage.tick(60_000)
    assert Puppet(stage, 252).greet().closed is None


def test_ignore_costs_the_peer_nothing() -> None:
    """IGNORE and ACCEPT leave the connection alone."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    for verdict in (Verdict.IGNORE, Verdict.ACCEPT):
        stage.take(stage.network.verdict(puppet.key.account, verdict, "", stage.now))
    assert puppet.closed is None


def test_a_slow_line_is_not_a_silent_one() -> None:
    """While chunks keep coming a payload behind others is waited for; one that drips for ever is taken away."""
    stage = Stage()
    payloads = [bytes([number]) * 100 for number in range(12)]
    slow, other = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21])
    stage.take(stage.network.want([Want(Kind.PAYLOAD, PayloadRef.of(each).id, 100) for each in payloads], stage.now))
    other.greet()
    for payload in payloads[:4]:
        line = encode_message(PayloadChunk(PayloadRef.of(payload).id, 0, payload))
        slow.reads = False  # it can't answer pings in the middle of a frame
        for at in range(9):  # bytes trickle in all the time, the last ones after nine seconds
            stage.tick(1000)
            slow.write(line[at * 10 : (at + 1) * 10 if at < 8 else None])
        slow.reads = True
    assert not [message for message in other.heard if isinstance(message, GetPayload)]
    assert len([output for output in stage.told if isinstance(output, PayloadArrived)]) == 4
    for payload in payloads[4:]:
        stage.tick(FETCH_ANSWER_MS - 1000)
        if slow.closed is None:
            slow.say(PayloadChunk(PayloadRef.of(payload).id, 0, payload))
    assert [message for message in other.heard if isinstance(message, GetPayload)]


def test_one_host_has_its_share_of_the_door() -> None:
    """Connections from one address are limited, unless it is this machine's."""
    stage = Stage(max_per_host=2)
    assert [Puppet(stage, 1 + 250 * number).closed is None for number in range(3)] == [True, True, False]
    assert Puppet(stage, 2).closed is None


def test_a_caller_without_an_address_is_sent_away() -> None:
    """A connection reset before the transport could read its address is closed, not a fault of ours."""
    stage = Stage()
    outputs = stage.network.handle(Connected(1, False, "?", stage.certificate), stage.now)
    assert outputs == [Close(1, "'?' is no address: it must be HOST:PORT")]
    assert stage.network.handle(Received(1, b"x"), stage.now) == []


def test_who_called_is_not_dialled(seed: int) -> None:
    """A peer that says where it listens is not dialled there while it is connected."""
    town = Town(seed)
    town.add(1)
    town.add(2, connect=("10.0.0.1:7000",))
    town.run(60_000)
    assert town.dials == 1


def test_reasons_are_printable_in_both_logs() -> None:
    """A stranger's text in an error message reaches no log with control characters."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    stage.take(stage.network.disconnect(puppet.key.account, "bad \x1b[31m n\u00e4me\n", stage.now))
    assert puppet.closed == "bad ?[31m n?me?"
    assert puppet.heard[-1] == Bye("bad ?[31m n?me?")


def test_a_second_connection_of_the_same_peer_replaces_the_first() -> None:
    """A peer that restarted is heard; the core sees it go down and come up."""
    stage = Stage()
    first = Puppet(stage, 1).greet()
    second = Puppet(stage, 2).greet()
    assert first.closed == "replaced by another connection of the same peer"
    assert second.closed is None
    assert [type(output) for output in stage.told] == [PeerUp, PeerDown, PeerUp]


def test_questions_for_headers_are_answered_within_their_limits() -> None:
    """Two thousand at most, and ``more`` says whether there are others; an unknown locator gets none."""
    stage = Stage()
    stage.chain.mine(make_chain(2_100))
    puppet = Puppet(stage, 1).greet()
    puppet.say(GetHeaders((stage.chain.first,)), GetHeaders((stage.chain.main[2_000],)), GetHeaders((ZERO_HASH,)))
    answers = [message for message in puppet.heard if isinstance(message, Headers)]
    assert [(len(answer.headers), answer.more) for answer in answers] == [(2_000, True), (100, False), (0, False)]


def test_long_headers_are_answered_in_fewer_at_once() -> None:
    """An answer stays below its bytes whatever the headers hold."""
    stage = Stage()
    stage.chain.mine(make_chain(600, bytes(4096)))
    puppet = Puppet(stage, 1).greet()
    puppet.say(GetHeaders((stage.chain.first,)))
    (answer,) = [message for message in puppet.heard if isinstance(message, Headers)]
    assert answer.more
    assert 400 < len(answer.headers) < 600
    assert len(encode_message(answer)) <= 2 * MIB


def test_what_is_not_there_is_said_so() -> None:
    """Every question is answered, for each id."""
    stage = Stage()
    block = make_chain(1)
    stage.chain.mine(block)
    puppet = Puppet(stage, 1).greet()
    here, nowhere = stage.chain.main[1], Hash(b"\x09" * 32)
    puppet.say(GetBodies((here, nowhere)), GetTransactions((nowhere,)), GetPayload(nowhere, CHUNK_BYTES))
    assert BlockBody(here, block[0][1]) in puppet.heard
    assert NotFound(Kind.BODY, (nowhere,)) in puppet.heard
    assert NotFound(Kind.TRANSACTION, (nowhere,)) in puppet.heard
    assert NoChunk(nowhere, CHUNK_BYTES) in puppet.heard


def test_a_head_reaches_the_core_and_changes_the_claim() -> None:
    """An announced head is a header for the core and a new claim of weight."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    header = make_header(FIRST, Body((), ()))
    puppet.say(Head(header, encode_weight(2**200)))
    assert stage.told[-1] == HeadersArrived(puppet.key.account, (header,))
    (info,) = stage.network.peers()
    assert (info.height, info.weight) == (1, 2**200)


def test_a_peer_that_stopped_holds_nothing_up() -> None:
    """Two seconds without a byte: another is asked for the body, and for the next ones before who is silent."""
    stage = Stage()
    first, second = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    peers = {puppet.key.account: puppet for puppet in (first, second)}
    ids = [Hash(bytes([number]) * 32) for number in range(1, 9)]
    stage.take(stage.network.want([Want(Kind.BODY, ids[0], 0, tuple(peers))], stage.now))
    (stopped,) = [puppet for puppet in peers.values() if GetBodies((ids[0],)) in puppet.heard]
    lively = second if stopped is first else first
    stopped.reads = False
    stage.tick(SILENCE_MS)
    assert GetBodies((ids[0],)) in lively.heard
    lively.say(BlockBody(ids[0], Body((), ())))
    for id in ids[1:]:
        stage.take(stage.network.want([Want(Kind.BODY, id)], stage.now))
        assert GetBodies((id,)) in lively.heard
        lively.say(BlockBody(id, Body((), ())))
    assert stopped.closed is None
    stopped.say(BlockBody(ids[0], Body((), ())))
    assert stopped.closed is None, "its late answer is none too many"


def test_a_silent_peer_is_waited_for_where_nobody_else_can_help() -> None:
    """The only source keeps its question, its deadline and its connection."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    id = Hash(bytes([1]) * 32)
    stage.take(stage.network.want([Want(Kind.BODY, id)], stage.now))
    stage.tick(2 * SILENCE_MS)
    assert [message for message in puppet.heard if isinstance(message, GetBodies)] == [GetBodies((id,))]
    puppet.say(BlockBody(id, Body((), ())))
    assert isinstance(stage.told[-1], BodyArrived)
