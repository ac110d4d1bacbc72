"""Overspending: a device that forgets what it has lost, says that updates cost less, and releases twice for a task."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import Hash
from chain.payload import PayloadRef
from chain.update import AttestedUpdate, PrivacyCharge
from node.simulator.byzantine.base import DEVICE, Behaviour, Peer, Stage
from p2p.messages import AnnounceUpdates, GetUpdates, Message, UpdateNotice, Updates

_BEYOND: Final = 2**60
"""More than any lifetime budget of a simulated world."""


class Overspending(Behaviour):
    """Signs other totals than its own, and to every other peer another release for the same task."""

    name = "overspend"
    role = DEVICE

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._false: dict[tuple[Hash, bool], AttestedUpdate] = {}
        self.told: set[str] = set()
        """The kinds of lies it has told."""

    def _falsify(self, update: AttestedUpdate, *, is_second: bool) -> AttestedUpdate:
        """Return its update with a charge that is not its own, maybe with other noise."""
        release, random = update.update.release, self.stage.random
        charge = release.privacy
        kind, false = random.choice(
            (
                ("forgets", PrivacyCharge(charge.mechanism, charge.loss, charge.loss)),
                ("forgets", PrivacyCharge(charge.mechanism, charge.loss, charge.loss)),
                ("is cheap", PrivacyCharge(charge.mechanism, charge.loss // 2, charge.total)),
                ("is free", PrivacyCharge("none", 0, charge.total)),
                ("is beyond", PrivacyCharge(charge.mechanism, charge.loss, _BEYOND)),
            )
        )
        self.told.add(kind)
        world, payload = self.stage.hands.world, release.payload
        if is_second and world is not None:
            bytes_of = world.payloads.get(Hash(payload.id))
            if bytes_of is not None:
                other = bytes_of[:-8] + random.randbytes(1) + bytes_of[-7:]
                world.payloads.put(other)
                payload = PayloadRef(content_id(other), len(other))
                self.told.add("releases twice")
        return AttestedUpdate(replace(release, privacy=false, payload=payload).sign(self.stage.key), ())

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Announce false updates in the place of its own."""
        core = self.stage.hands.core
        if core is None or not isinstance(message, AnnounceUpdates):
            return (message,)
        notices: list[UpdateNotice] = []
        for notice in message.notices:
            ours = core.updates.get(Hash(notice.id))
            if (
                ours is None
                or ours.update.release.device != self.stage.key.account
                or not ours.update.release.privacy.loss
            ):
                notices.append(notice)
                continue
            is_second = self.stage.is_misled(peer)
            false = self._false.get((Hash(notice.id), is_second))
            if false is None:
                false = self._false[Hash(notice.id), is_second] = self._falsify(ours.attested(), is_second=is_second)
            self.acts += 1
            notices.append(UpdateNotice(false.id, false.version))
        return (AnnounceUpdates(tuple(notices)),)

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Give the false updates to whoever asks for them."""
        if not isinstance(message, GetUpdates):
            return message
        false = {update.version: update for update in self._false.values()}
        given = [false[Hash(notice.version)] for notice in message.notices if Hash(notice.version) in false]
        if given:
            self.stage.hands.tell(peer.connection, Updates(tuple(given)))
        rest = tuple([notice for notice in message.notices if Hash(notice.version) not in false])
        return GetUpdates(rest) if rest else None
