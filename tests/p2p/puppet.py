"""A peer on strings: it speaks to one network whatever a test tells it to, on a connection without delay."""

from random import Random

from chain.ids import Hash, Height, Millis
from chain.keys import KeyPair
from p2p.access import NetworkConfig
from p2p.events import Close, Connected, NetworkOutput, Received, Send, Sent, Tick
from p2p.frames import FrameDecoder
from p2p.handshake import ClientHandshake, Terms
from p2p.identity import make_certificate
from p2p.messages import (
    Challenge,
    Message,
    Ping,
    Pong,
    ServerProof,
    Status,
    decode_message,
    encode_message,
    encode_weight,
)
from p2p.network import PeerNetwork
from tests.p2p.objects import KEYS
from tests.p2p.town import ToyChain


class Stage:
    """One network under test, its chain, the clock, and everything it put out for the core."""

    def __init__(self, chain: ToyChain | None = None, **options: object) -> None:
        self.key = KEYS[0]
        self.chain = chain or ToyChain()
        config = NetworkConfig(listen_port=7000, **options)  # type: ignore[arg-type]
        self.network = PeerNetwork(config, self.key, self.chain, Random(1))
        self.certificate = make_certificate(self.key.seed).der
        self.now = Millis(1_000_000)
        self.puppets: dict[int, Puppet] = {}
        self.told: list[NetworkOutput] = []

    def take(self, outputs: list[NetworkOutput]) -> None:
        """Hand outputs to the puppets they are for."""
        for output in outputs:
            if isinstance(output, Send):
                self.puppets[output.connection].hear(output.data)
            elif isinstance(output, Close):
                self.puppets[output.connection].closed = output.reason
            else:
                self.told.append(output)

    def tick(self, milliseconds: int = 250) -> None:
        """Let time pass in ticks."""
        for _ in range(milliseconds // 250):
            self.now = Millis(self.now + 250)
            self.take(self.network.handle(Tick(), self.now))
            for puppet in self.puppets.values():
                puppet.pong()


class Puppet:
    """A peer that dialled the network. ``heard`` are the messages it got and was not asked to forget."""

    def __init__(
        self, stage: Stage, connection: int, key: KeyPair = KEYS[20], weight: int = 0, *, reads: bool = True
    ) -> None:
        self.stage = stage
        self.connection = connection
        self.key = key
        self.weight = weight
        self.reads = reads
        self.heard: list[Message] = []
        self.bytes_heard = 0
        self.closed: str | None = None
        self._decoder = FrameDecoder(lambda _: 1 << 30)
        stage.puppets[connection] = self
        address = f"10.0.{connection % 250}.9:5000"
        stage.take(stage.network.handle(Connected(connection, False, address, stage.certificate), stage.now))

    def greet(self, *versions: int) -> "Puppet":
        """Do the client's part of the handshake; speak version 1 unless told of others."""
        stage = self.stage
        status = Status(Height(0), Hash(bytes(32)), encode_weight(self.weight), 0, "puppet")
        terms = Terms(stage.chain.chain_id, stage.chain.genesis_id, versions or (1,))
        handshake = ClientHandshake(self.key, terms, stage.certificate, bytes(32), status)
        (challenge,) = self.heard
        assert isinstance(challenge, Challenge)
        self.say(handshake.on_challenge(challenge))
        (proof,) = [message for message in self.heard if isinstance(message, ServerProof)]
        assert handshake.on_server_proof(proof).peer == stage.key.account
        self.pong()
        self.heard.clear()
        return self

    def pong(self) -> None:
        """Answer the pings heard, if this puppet reads."""
        pings = [message for message in self.heard if isinstance(message, Ping)]
        if pings and self.reads and self.closed is None:
            self.heard = [message for message in self.heard if not isinstance(message, Ping)]
            self.say(*[Pong(ping.number) for ping in pings])

    def say(self, *messages: Message) -> None:
        """Send messages, all at once."""
        self.write(b"".join(map(encode_message, messages)))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.stage.take(self.stage.network.handle(Received(self.connection, data), self.stage.now))

    def hear(self, data: bytes) -> None:
        """Take what the network sends; report it gone if this puppet reads."""
        self.bytes_heard += len(data)
        self._decoder.feed(data)
        while (frame := self._decoder.next_frame()) is not None:
            self.heard.append(decode_message(frame))
        if self.reads:
            self.stage.take(self.stage.network.handle(Sent(self.connection, len(data)), self.stage.now))
