"""What engines tell each other is sent at once and heard once; epoch proofs are fetched from who has them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import Hash, Millis
from p2p.errors import MessageError
from p2p.events import EngineArrived, EpochsArrived, NetworkOutput, Verdict
from p2p.frames import Frame, encode_frame
from p2p.limits import ENGINE_REPEAT_MS, EPOCHS_ANSWER_MS, MAX_ENGINE_BYTES, MAX_EPOCHS, MessageClass
from p2p.messages import EngineMessage, Epochs, GetEpochs, decode_message, encode_message
from p2p.session import Session
from tests.p2p.objects import make_chain
from tests.p2p.town import Node, Town

KEY = Hash(b"k" * 32)


def listen(node: Node) -> list[EngineArrived | EpochsArrived]:
    """Gather what the node's core is told of engines."""
    heard: list[EngineArrived | EpochsArrived] = []
    act = node.act

    def hear(output: NetworkOutput, now: Millis) -> list[NetworkOutput]:
        if isinstance(output, EngineArrived | EpochsArrived):
            heard.append(output)
        return act(output, now)

    node.act = hear  # type: ignore[method-assign]
    return heard


def star(seed: int, others: int) -> tuple[Town, Node, list[Node]]:
    """One node in the middle that all others are connected to, and to no one else."""
    town = Town(seed)
    middle = town.add(1)
    rest = [town.add(2 + n, connect=("10.0.0.1:7000",), exchange_addresses=False) for n in range(others)]
    town.run(3_000)
    assert len(middle.ups) == others
    return town, middle, rest


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_a_message_goes_to_those_it_is_for_and_to_each_once(seed: int) -> None:
    """To named peers, or to all; a peer that has it, whoever it came from, is not sent it again."""
    town, middle, rest = star(seed, 3)
    heard = [listen(node) for node in rest]
    town.perform(middle, middle.network.tell_engine(b"vote", KEY, [rest[0].key.account], town.now, passing=True))
    town.run(500)
    assert [len(each) for each in heard] == [1, 0, 0]
    assert heard[0][0] == EngineArrived(middle.key.account, b"vote", True)
    town.perform(middle, middle.network.tell_engine(b"vote", KEY, None, town.now))
    town.run(ENGINE_REPEAT_MS)
    assert [len(each) for each in heard] == [1, 1, 1]
    rest[1].network.has_engine_message(middle.key.account, KEY, town.now)
    back = listen(middle)
    town.perform(rest[1], rest[1].network.tell_engine(b"much the same vote", KEY, None, town.now))
    town.run(500)
    assert back == []


def test_what_is_heard_again_at_once_is_left_out_and_later_is_not(seed: int) -> None:
    """From two sides within a moment: one look; sent again after it: another."""
    town, middle, rest = star(seed, 2)
    heard = listen(middle)
    for node in rest:
        town.perform(node, node.network.tell_engine(b"vote", KEY, None, town.now))
    town.run(ENGINE_REPEAT_MS + 100)
    assert len(heard) == 1
    town.perform(rest[0], rest[0].network.tell_engine(b"vote", KEY, None, town.now, again=True))
    town.run(100)
    assert len(heard) == 2


def test_what_is_said_again_is_left_out_for_whoever_said_it(seed: int) -> None:
    """Who only shows to have a message, or was sent it, may have missed it: it is told again; who sent it is not."""
    town, middle, rest = star(seed, 2)
    heard = [listen(node) for node in rest]

    def repeat() -> list[int]:
        town.perform(middle, middle.network.tell_engine(b"vote", KEY, None, town.now, again=True))
        town.run(ENGINE_REPEAT_MS + 100)
        return [len(each) for each in heard]

    assert repeat() == [1, 1]
    middle.network.has_engine_message(rest[0].key.account, KEY, town.now)
    middle.network.has_engine_message(rest[1].key.account, KEY, town.now, sent=True)
    assert repeat() == [2, 1]


def test_a_rejected_message_costs_the_connection(seed: int) -> None:
    """The core's verdict on an engine message disconnects whoever sent it."""
    town, middle, rest = star(seed, 1)
    town.perform(middle, middle.network.verdict(rest[0].key.account, Verdict.REJECT, "a forged vote", town.now))
    town.run(200)
    assert "a forged vote" in rest[0].downs[0][1]


def test_a_message_has_a_greatest_size() -> None:
    """One byte more than allowed is no message."""
    largest = EngineMessage(bytes(MAX_ENGINE_BYTES), False)
    frame = encode_message(largest)
    head = len(encode_frame(MessageClass.CONSENSUS, b""))
    assert decode_message(Frame(MessageClass.CONSENSUS, frame[head:])) == largest
    larger = encode_message(EngineMessage(bytes(MAX_ENGINE_BYTES + 1), False))
    with pytest.raises(MessageError):
        decode_message(Frame(MessageClass.CONSENSUS, larger[head:]))


def test_epoch_proofs_come_from_a_peer_that_has_them(seed: int) -> None:
    """Whoever has none is asked once and left alone; the answers come in parts, in order."""
    town = Town(seed)
    ahead, behind, poor = town.add(1), town.add(2, connect=("10.0.0.1:7000", "10.0.0.3:7000")), town.add(3)
    ahead.chain.epochs = [b"epoch %d" % number for number in range(MAX_EPOCHS + 6)]
    poor.chain.mine(make_chain(3))
    town.run(2_000)
    heard = listen(behind)
    town.perform(behind, behind.network.want_epochs(0, town.now))
    town.run(1_000)
    assert heard == [EpochsArrived(ahead.key.account, 0, tuple(ahead.chain.epochs[:MAX_EPOCHS]))]
    town.perform(behind, behind.network.want_epochs(MAX_EPOCHS, town.now))
    town.run(1_000)
    assert heard[1:] == [EpochsArrived(ahead.key.account, MAX_EPOCHS, tuple(ahead.chain.epochs[MAX_EPOCHS:]))]


def test_a_question_for_epochs_that_stays_unanswered_goes_to_another(seed: int) -> None:
    """A peer that keeps silent does not hold a node up."""
    town = Town(seed)
    behind = town.add(1, connect=("10.0.0.2:7000", "10.0.0.3:7000"))
    mute, ahead = town.add(2), town.add(3)
    mute.chain.mine(make_chain(3))
    ahead.chain.epochs = [b"epoch 0"]
    town.run(2_000)
    mute.network._on(GetEpochs, lambda *_: None)  # its program is broken
    heard = listen(behind)
    town.perform(behind, behind.network.want_epochs(0, town.now))
    town.run(EPOCHS_ANSWER_MS + 2_000)
    assert [each.proofs for each in heard] == [(b"epoch 0",)]


def test_nobody_hands_in_proofs_that_were_not_asked_for(seed: int) -> None:
    """An answer without a question is a fault of its sender."""
    town, middle, rest = star(seed, 1)
    session = rest[0].network._links.ready[middle.key.account]
    rest[0].network._links.send(session, Epochs(0, (b"proof",)))
    town.perform(rest[0], rest[0].network.tell_engine(b"x", KEY, [], town.now))
    town.run(200)
    assert rest[0].downs


def test_an_answer_to_another_question_for_epochs_is_none(seed: int) -> None:
    """A peer that claims to be far ahead and answers with what is known already holds nobody up."""
    town = Town(seed)
    behind = town.add(1, connect=("10.0.0.2:7000", "10.0.0.3:7000"))
    liar, ahead = town.add(2), town.add(3)
    liar.chain.mine(make_chain(3))
    ahead.chain.epochs = [b"epoch 0", b"epoch 1"]
    town.run(2_000)
    answered: list[int] = []

    def answer(session: Session, message: GetEpochs, now: Millis) -> None:
        answered.append(message.first)
        liar.network._links.send(session, Epochs(0, (b"epoch 0",)))

    liar.network._on(GetEpochs, answer)
    heard = listen(behind)
    town.perform(behind, behind.network.want_epochs(1, town.now))
    town.run(1_000)
    assert answered == [1]
    assert heard == [EpochsArrived(ahead.key.account, 1, (b"epoch 1",))]
