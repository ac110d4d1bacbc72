"""A reference may lie about a payload's size; whoever holds the true payload must not pay for it."""

import pytest

from chain.hashing import content_id
from chain.ids import Hash
from p2p.events import Kind, PayloadArrived, Want
from p2p.limits import CHUNK_BYTES
from p2p.messages import GetPayload, PayloadChunk
from tests.p2p.objects import KEYS
from tests.p2p.puppet import Puppet, Stage


def give(puppet: Puppet, id: Hash, payload: bytes) -> None:
    """Answer as an honest holder of ``payload`` does: what stands at each offset asked for."""
    asked = [message for message in puppet.heard if isinstance(message, GetPayload)]
    puppet.heard.clear()
    for question in asked:
        puppet.say(PayloadChunk(id, question.offset, payload[question.offset : question.offset + CHUNK_BYTES]))


@pytest.mark.parametrize(
    ("length", "claimed"), [(100, 200), (200, 100), (CHUNK_BYTES + 9, 50), (2 * CHUNK_BYTES, CHUNK_BYTES)]
)
def test_an_honest_holder_is_not_condemned_for_a_size_that_another_made_up(length: int, claimed: int) -> None:
    """The reference names the digest of a payload that exists, and another size: the holder stays, unbanned."""
    payload = bytes([7]) * length
    id = content_id(payload)
    stage = Stage()
    holder = Puppet(stage, 1, KEYS[21]).greet()
    stage.take(stage.network.want([Want(Kind.PAYLOAD, id, claimed)], stage.now))
    give(holder, id, payload)
    assert holder.closed is None
    assert not stage.network.bans(stage.now)


def test_a_made_up_size_does_not_keep_the_payload_from_who_names_the_right_one() -> None:
    """Somebody names an honest payload with a wrong size first; it comes all the same."""
    for payload in (bytes(100), bytes(CHUNK_BYTES), bytes(2 * CHUNK_BYTES), bytes(3 * CHUNK_BYTES + 5)):
        id = content_id(payload)
        stage = Stage()
        holder = Puppet(stage, 1, KEYS[21]).greet()
        stage.take(stage.network.want([Want(Kind.PAYLOAD, id, 2 * CHUNK_BYTES + 1)], stage.now))
        stage.take(stage.network.want([Want(Kind.PAYLOAD, id, len(payload))], stage.now))
        for _ in range(40):
            give(holder, id, payload)
            stage.tick(250)
        assert [told.payload for told in stage.told if isinstance(told, PayloadArrived)] == [payload]
        assert holder.closed is None


def test_who_gave_a_chunk_of_another_length_is_let_go_when_the_payload_is_here() -> None:
    """Then it is known that the reference told the truth and the peer did not; before that nobody is blamed."""
    payload = bytes(100)
    id = content_id(payload)
    stage = Stage()
    liar, holder = Puppet(stage, 1, KEYS[21]).greet(), Puppet(stage, 2, KEYS[22]).greet()
    want = Want(Kind.PAYLOAD, id, len(payload), (liar.key.account,))
    stage.take(stage.network.want([want], stage.now))
    give(liar, id, bytes(99))
    assert liar.closed is None
    give(holder, id, payload)
    assert [told.payload for told in stage.told if isinstance(told, PayloadArrived)] == [payload]
    assert liar.closed is not None
    assert holder.closed is None


def test_a_payload_that_nobody_has_in_this_size_is_asked_for_ever_more_rarely() -> None:
    """Else one false reference would have every holder of a payload send it again and again."""
    payload = bytes(CHUNK_BYTES)
    id = content_id(payload)
    stage = Stage()
    holder = Puppet(stage, 1, KEYS[21]).greet()
    stage.take(stage.network.want([Want(Kind.PAYLOAD, id, 7)], stage.now))
    asked = 0
    for _ in range(240):
        asked += sum(isinstance(message, GetPayload) for message in holder.heard)
        give(holder, id, payload)
        stage.tick(250)
    assert 2 <= asked <= 6, "in a minute"
