"""Small payloads travel many at a time, as safely as in chunks; who speaks version 1 alone is asked as before."""

from random import Random

import pytest

from chain.hashing import content_id
from chain.ids import Hash
from p2p import fetcher
from p2p.events import Kind, PayloadArrived, Want
from p2p.inventory import Fetch
from p2p.limits import (
    BUNDLED_BYTES_IN_FLIGHT,
    BUNDLES_VERSION,
    FETCH_ANSWER_MS,
    LEAST_BUNDLED_BYTES,
    MAX_BUNDLE_BYTES,
    MAX_BUNDLED_BYTES,
    RATES,
    RETRY_MS,
    SERVED_PAYLOAD_BYTES,
    WORK,
    MessageClass,
)
from p2p.messages import AnnounceUpdates, GetPayload, GetPayloads, NotFound, Payloads, UpdateNotice
from tests.p2p.objects import KEYS
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.test_asking import heard
from tests.p2p.town import ToyChain

_RANDOM = Random(5)
SMALL = [_RANDOM.randbytes(20_000) for _ in range(100)]


def want(stage: Stage, *payloads: bytes, size: int | None = None) -> None:
    items = [Want(Kind.PAYLOAD, content_id(each), len(each) if size is None else size) for each in payloads]
    stage.take(stage.network.want(items, stage.now))


def arrived(stage: Stage) -> list[bytes]:
    return [output.payload for output in stage.told if isinstance(output, PayloadArrived)]


def test_many_payloads_are_asked_for_in_one_message() -> None:
    """One question for all, answered in whatever frames; each is handed on as it comes."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, BUNDLES_VERSION)
    want(stage, *SMALL[:30])
    (question,) = heard(puppet, GetPayloads)
    assert question.ids == tuple(map(content_id, SMALL[:30]))
    puppet.say(Payloads(tuple(SMALL[10:20])))
    puppet.say(Payloads((*SMALL[:10], *SMALL[20:22])))
    puppet.say(Payloads(tuple(SMALL[22:30])))
    assert arrived(stage) == [*SMALL[10:20], *SMALL[:10], *SMALL[20:30]]
    assert puppet.closed is None


def test_who_speaks_version_1_alone_is_asked_for_chunks() -> None:
    """And so is everybody for a payload that is not small."""
    stage = Stage()
    old, new = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet(1, 2)
    large = bytes(MAX_BUNDLED_BYTES + 1)
    stage.take(stage.network.want([Want(Kind.PAYLOAD, content_id(SMALL[0]), 20_000, (old.key.account,))], stage.now))
    stage.take(stage.network.want([Want(Kind.PAYLOAD, content_id(large), len(large), (new.key.account,))], stage.now))
    assert [message.id for message in heard(old, GetPayload)] == [content_id(SMALL[0])]
    assert [message.id for message in heard(new, GetPayload)] == [content_id(large)]
    assert not heard(old, GetPayloads)
    assert not heard(new, GetPayloads)


def test_what_is_in_flight_is_bounded_in_bytes_and_in_number() -> None:
    """A peer owes a mebibyte of bundles at most, and of tiny ones no more than 256; it is asked on as they come."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, 2)
    want(stage, *SMALL)
    asked = [id for message in heard(puppet, GetPayloads) for id in message.ids]
    assert len(asked) == BUNDLED_BYTES_IN_FLIGHT // 20_000
    puppet.heard.clear()
    puppet.say(Payloads(tuple(SMALL[:12])))
    assert not heard(puppet, GetPayloads)
    puppet.say(Payloads(tuple(SMALL[12:13])))
    (more,) = heard(puppet, GetPayloads)
    assert more.ids == tuple(map(content_id, SMALL[len(asked) : len(asked) + 13]))
    tiny = Puppet(stage, 2, KEYS[21]).greet(1, 2)
    tiny.heard.clear()
    made = [number.to_bytes(4, "big") for number in range(1000)]
    items = [Want(Kind.PAYLOAD, content_id(each), len(each), (tiny.key.account,)) for each in made]
    stage.take(stage.network.want(items, stage.now))
    (session,) = [each for each in stage.network._links.ready.values() if each.peer == tiny.key.account]
    assert len(session.owed[MessageClass.BUNDLES]) <= BUNDLED_BYTES_IN_FLIGHT // LEAST_BUNDLED_BYTES


def test_offers_are_not_gone_through_for_each_bundle_but_a_large_payload_waits_a_tick_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred small payloads wait while each of a few comes; one that is in no bundle is asked for beside them."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, BUNDLES_VERSION)
    want(stage, *SMALL)
    looked: list[Hash] = []
    judge = fetcher._is_bundled

    def note(fetch: Fetch) -> bool:
        looked.append(fetch.id)
        return judge(fetch)

    monkeypatch.setattr(fetcher, "_is_bundled", note)
    for payload in SMALL[:8]:
        puppet.say(Payloads((payload,)))
    assert not looked
    large = bytes(MAX_BUNDLED_BYTES + 1)
    want(stage, large)
    stage.tick()
    assert {message.id for message in heard(puppet, GetPayload)} == {content_id(large)}


@pytest.mark.parametrize("bundle", [(b"nobody asked for this",), (SMALL[0], SMALL[0])])
def test_what_nobody_asked_for_condemns_its_sender(bundle: tuple[bytes, ...]) -> None:
    """Bytes of another payload, or the same one twice: each answer is given once."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, 2)
    want(stage, SMALL[0], SMALL[1])
    puppet.say(Payloads(bundle))
    assert puppet.closed is not None
    assert "nobody asked for" in puppet.closed


def test_a_reference_that_lies_about_the_size_condemns_nobody() -> None:
    """The payload comes by the size that is true, from the same peer, which did nothing wrong."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, 2)
    want(stage, SMALL[0], size=77)
    want(stage, SMALL[0])
    puppet.say(Payloads((SMALL[0],)))
    assert arrived(stage) == []
    stage.tick(4 * RETRY_MS)
    puppet.say(Payloads((SMALL[0],)))
    assert arrived(stage) == [SMALL[0]]
    assert puppet.closed is None


def test_what_a_peer_has_not_is_asked_of_the_next() -> None:
    """A payload that is not found there is asked of whoever else may have it; what comes late is still welcome."""
    stage = Stage()
    one, two = Puppet(stage, 1).greet(1, 2), Puppet(stage, 2, KEYS[21]).greet(1, 2)
    items = [Want(Kind.PAYLOAD, content_id(each), len(each), (one.key.account,)) for each in SMALL[:2]]
    stage.take(stage.network.want(items, stage.now))
    one.say(NotFound(Kind.PAYLOAD, (content_id(SMALL[0]),)))
    assert [message.ids for message in heard(two, GetPayloads)] == [(content_id(SMALL[0]),)]
    stage.tick(2 * FETCH_ANSWER_MS)
    one.say(Payloads((SMALL[1],)))
    assert arrived(stage) == [SMALL[1]]


def test_a_peer_that_owes_bundles_and_gives_none_is_let_go() -> None:
    """It may say other things as much as it likes."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, 2)
    want(stage, *SMALL)
    for _ in range(60):
        stage.tick(1_000)
        if puppet.closed:
            break
    assert puppet.closed is not None


def test_questions_are_answered_in_bundles_that_fit() -> None:
    """Small payloads come in frames of bounded size, once each; large and unknown ones are not found."""
    stage = Stage()
    large, absent = bytes(MAX_BUNDLED_BYTES + 1), content_id(b"absent")
    stage.chain.payloads = {content_id(each): each for each in [*SMALL[:40], large]}
    puppet = Puppet(stage, 1).greet(1, 2)
    ids = [*map(content_id, SMALL[:40]), content_id(large), absent, content_id(SMALL[0])]
    puppet.say(GetPayloads(tuple(ids)))
    bundles = heard(puppet, Payloads)
    assert [payload for bundle in bundles for payload in bundle.payloads] == SMALL[:40]
    assert len(bundles) == 4
    assert all(sum(map(len, bundle.payloads)) <= MAX_BUNDLE_BYTES for bundle in bundles)
    assert [message.ids for message in heard(puppet, NotFound)] == [(content_id(large), absent)]


def test_what_many_peers_ask_for_is_read_once() -> None:
    """Who has a phase's payloads is asked for each by every peer; the latest are at hand, within a bound."""
    stage = Stage()
    stage.chain.payloads = {content_id(each): each for each in SMALL[:40]}
    read: list[Hash] = []
    stage.chain.payload = lambda id: (read.append(id), ToyChain.payload(stage.chain, id))[1]  # type: ignore[method-assign]
    for connection, key in ((1, KEYS[20]), (2, KEYS[21]), (3, KEYS[22])):
        puppet = Puppet(stage, connection, key).greet(1, 2)
        puppet.say(GetPayloads(tuple(map(content_id, SMALL[:40]))))
        assert [payload for bundle in heard(puppet, Payloads) for payload in bundle.payloads] == SMALL[:40]
    assert len(read) == 40
    server = stage.network._server
    for number in range(SERVED_PAYLOAD_BYTES // LEAST_BUNDLED_BYTES + 100):
        tiny = number.to_bytes(4, "big")
        stage.chain.payloads = {content_id(tiny): tiny}
        server._payload(content_id(tiny), least=0)
    assert len(server._payloads) <= SERVED_PAYLOAD_BYTES // LEAST_BUNDLED_BYTES


def test_updates_that_open_tasks_asked_for_cost_their_bringer_nothing() -> None:
    """Whoever announces for thousands of devices is heard on, if what it brings is good; else it is a flooder."""
    burst = RATES["AnnounceUpdates"].burst
    for is_good in (True, False):
        stage = Stage()
        puppet = Puppet(stage, 1).greet(1, 2)
        for number in range(0, 2 * burst, 256):
            notices = [
                UpdateNotice(Hash(one.to_bytes(32, "big")), Hash(bytes(32))) for one in range(number, number + 256)
            ]
            puppet.say(AnnounceUpdates(tuple(notices)))
            if is_good:
                stage.network.were_awaited(puppet.key.account, 256)
        (session,) = stage.network._links.ready.values()
        assert session.budget.is_within_rate(AnnounceUpdates(tuple(notices)), stage.now) is is_good
    assert WORK["Updates"].each * burst < 10_000_000
