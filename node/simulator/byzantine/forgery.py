"""Forging updates: payloads that are none, out of bounds or poisoned; two releases for one task; others' names."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.hashing import content_id
from chain.ids import Hash
from chain.payload import PayloadRef
from chain.update import AttestedUpdate
from node.events import Event, JobDone
from node.jobs.results import Trained
from node.simulator.byzantine.base import DEVICE, Behaviour, Peer, Stage
from p2p.messages import AnnounceUpdates, GetUpdates, Message, UpdateNotice, Updates


class Forgery(Behaviour):
    """Releases what its data never gave, and to every other peer something else."""

    name = "forge-updates"
    role = DEVICE

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._second: dict[Hash, AttestedUpdate] = {}

    def hear(self, event: Event) -> Event | None:
        """Spoil what was trained."""
        if isinstance(event, JobDone) and isinstance(event.result, Trained):
            forged = self._forge(event.result.payload)
            self.acts += forged != event.result.payload
            return JobDone(event.job, replace(event.result, payload=forged))
        return event

    def _forge(self, payload: bytes) -> bytes:
        random = self.stage.random
        match random.randrange(6):
            case 0:
                return random.randbytes(len(payload))
            case 1:
                return b"\x7f" * len(payload)
            case 2:
                return payload[: random.randrange(len(payload) + 1)]
            case 3:
                at = random.randrange(len(payload))
                return payload[:at] + bytes([payload[at] ^ 1 << random.randrange(8)]) + payload[at + 1 :]
            case 4:
                return payload + bytes(random.randrange(1, 100_000))
            case _:
                return payload

    def _twin(self, update: AttestedUpdate) -> AttestedUpdate:
        """Return another release for the same task, of the same device."""
        world = self.stage.hands.world
        payload = self.stage.random.randbytes(max(1, update.update.release.payload.size))
        if world is not None:
            world.payloads.put(payload)
        release = replace(update.update.release, payload=PayloadRef(content_id(payload), len(payload)))
        return AttestedUpdate(release.sign(self.stage.key), ())

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Announce another update to every other peer; now and then give one with a stolen name."""
        core = self.stage.hands.core
        if core is None or not isinstance(message, AnnounceUpdates) or not self.stage.is_misled(peer):
            return (message,)
        notices: list[UpdateNotice] = []
        for notice in message.notices:
            ours = core.updates.get(Hash(notice.id))
            if ours is None or ours.update.release.device != self.stage.key.account:
                notices.append(notice)
                continue
            twin = self._second.setdefault(Hash(notice.id), self._twin(ours.attested()))
            self.acts += 1
            notices.append(UpdateNotice(twin.id, twin.version))
        return (AnnounceUpdates(tuple(notices)),)

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Give the second updates, some of them in another device's name."""
        if not isinstance(message, GetUpdates):
            return message
        seconds = {twin.version: twin for twin in self._second.values()}
        given = [seconds[Hash(notice.version)] for notice in message.notices if Hash(notice.version) in seconds]
        if given:
            self.stage.hands.tell(peer.connection, Updates(tuple(given)))
        rest = tuple([notice for notice in message.notices if Hash(notice.version) not in seconds])
        return GetUpdates(rest) if rest else None

    def tick(self) -> None:
        """Now and then, offer an update in the name of the plot's victim: nobody takes it without its signature."""
        core, random = self.stage.hands.core, self.stage.random
        ready = self.stage.ready()
        if core is None or not ready or random.random() > 0.002:
            return
        for entry in core.updates.entries():
            stolen = AttestedUpdate(replace(entry.update, signature=random.randbytes(64)), ())
            self._second[stolen.id] = stolen
            self.acts += 1
            self.stage.hands.tell(
                random.choice(ready).connection, AnnounceUpdates((UpdateNotice(stolen.id, stolen.version),))
            )
            return
