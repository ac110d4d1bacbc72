"""Selfish mining: keep found blocks back, and show them just when that makes others' work worthless.

Eyal & Sirer, "Majority is not Enough: Bitcoin Mining is Vulnerable" (FC 2014), algorithm 1. Its own core follows the
private chain, because that is the heaviest it knows.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.ids import Hash
from node.simulator.byzantine.base import Peer, Stage
from node.simulator.byzantine.withholding import OwnBlocks
from p2p.messages import Head, Headers, Message, encode_weight


class SelfishMining(OwnBlocks):
    """Keeps its lead to itself."""

    name = "selfish"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._private: dict[Hash, Header] = {}
        self._public_height = 0

    def on_found(self, header: Header) -> None:
        """Keep it; at a tie (one found on what was just shown) show it at once."""
        self.acts += 1
        self._private[block_id(header)] = header

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """See how far the others are."""
        if isinstance(message, Head) and message.header.height > self._public_height:
            self._public_height = message.header.height
            self._respond()
        return message

    def _respond(self) -> None:
        if not self._private:
            return
        lead = max(header.height for header in self._private.values()) - self._public_height
        if lead < 0:
            self._private.clear()
        elif lead <= 1:
            self._show(max(header.height for header in self._private.values()))
        else:
            self._show(self._public_height)

    def _show(self, height: int) -> None:
        """Tell everybody of the private chain up to a height."""
        shown = [id for id, header in self._private.items() if header.height <= height]
        tip = max(shown, key=lambda id: self._private[id].height, default=None)
        core = self.stage.hands.core
        if tip is None or core is None or tip not in core.chain.tree:
            return
        header = self._private[tip]
        for id in shown:
            del self._private[id]
        message = Head(header, encode_weight(core.chain.tree.weight(tip)))
        for peer in self.stage.ready():
            self.stage.hands.tell(peer.connection, message)

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Say nothing of private blocks."""
        if isinstance(message, Head) and block_id(message.header) in self._private:
            return ()
        if isinstance(message, Headers):
            shown = tuple([header for header in message.headers if block_id(header) not in self._private])
            if len(shown) < len(message.headers):
                return (replace(message, headers=shown, more=False),)
        return (message,)
