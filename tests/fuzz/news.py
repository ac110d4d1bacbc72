"""What is fuzzed of how news of blocks travels: wishes for quiet, and bodies that come unasked.

A target's bytes are a conversation: each step is one of the peer's messages, or something the node does meanwhile.

Rules of this file: those of ``tests.fuzz.targets``.
"""

from typing import Final

from chain.block import Body
from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import Hash
from p2p.events import BodyArrived, Kind, Want
from p2p.limits import MAX_SMALL_BODY, RATES, RELAY_VERSION
from p2p.messages import Head, Quiet, SmallBody
from tests.p2p.objects import make_chain
from tests.p2p.puppet import Puppet, Stage

_KEY: Final = Hash(b"k" * 32)
_OTHER: Final = Hash(b"o" * 32)


def quiet_talk(data: bytes) -> None:
    """Wishes for quiet beside new blocks: a quiet peer hears of no head, one that listens again hears of the last."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    blocks = iter(make_chain(len(data)))
    wants_quiet, asked, heard = False, 0, 0
    for step in data[:200]:
        if step % 4 < 2:
            asked += 1
            if asked > RATES["Quiet"].burst:
                return  # it is not heard any more
            wants_quiet = not step % 4
            puppet.say(Quiet(wants_quiet))
        elif step % 4 == 2:
            header, body = next(blocks)
            stage.chain.mine([(header, body)])
            stage.take(stage.network.announce_block(header, stage.now, step // 4 * 10, body))
        else:
            stage.tick(250 * (1 + step // 64))
        heads = sum(isinstance(message, Head) for message in puppet.heard)
        assert not wants_quiet or heads == heard
        heard = heads
    assert stage.network.buffered_bytes() < 1 << 20


def small_bodies(data: bytes) -> None:
    """A body that comes unasked, or while it is wanted: handed over once, if it is wanted; one that is long is refused.

    The first byte says when it is wanted and of which block it is said to be.
    """
    try:
        body = decode(data[1:], Body)
    except CodecError:
        return
    stage = Stage()
    puppet = Puppet(stage, 1).greet(1, RELAY_VERSION)
    is_wanted, is_another = bool(data[0] & 1), bool(data[0] & 2)
    if is_wanted:
        stage.take(stage.network.want([Want(Kind.BODY, _KEY)], stage.now))
    puppet.say(SmallBody(_OTHER if is_another else _KEY, body))
    if puppet.closed is not None:
        assert len(encode(body)) > MAX_SMALL_BODY
        return
    for _ in range(2):
        stage.take(stage.network.want([Want(Kind.BODY, _KEY)], stage.now))
    arrived = [(output.id, output.body) for output in stage.told if isinstance(output, BodyArrived)]
    assert arrived == ([] if is_another else [(_KEY, body)])


NEWS: Final = (quiet_talk, small_bodies)
