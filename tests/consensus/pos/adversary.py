"""The hostile validators of ``tests.consensus.pos.world``: what they hear, and the ways in which they lie.

They sign whatever they like with their own keys, tell anybody anything, and see what honest machines say at once. They
take their chances from the world's one source of random numbers, so a scenario always goes the same way.
"""

from typing import TYPE_CHECKING

from chain.block import block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, AccountId, Hash
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, Vote, VoteKind, make_certificate, proposed_block, read_message
from tests.consensus.pos.people import (
    BLOCK_MS,
    DELTA_MS,
    KEYS,
    genesis_header,
    propose_on,
    sign_reproposal,
    sign_vote,
)

if TYPE_CHECKING:
    from tests.consensus.pos.world import World

ADVERSARY = -1
"""The sender of what any of them says."""


class Adversary:
    """All Byzantine validators together: they hear everything at once and may say anything to anybody."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.keys = [KEYS[number] for number in world.scenario.byzantine]
        self.heard: list[bytes] = []
        self.blocks: list[tuple[int, int, Hash]] = [(0, 0, block_id(genesis_header(world.genesis)))]
        self.votes: dict[tuple[int, int, VoteKind, Hash], dict[AccountId, Vote]] = {}
        self.place = (0, 1)
        self.top: dict[int, tuple[int, Hash]] = {}
        self._ways = (
            *(self._vote, self._vote, self._lead, self._lead, self._split),
            *(self._replay, self._certify, self._forge),
        )
        if world.scenario.is_two_faced:
            self._ways = (self._split,)
        honest = sorted(world.machines)
        cut = world.scenario.partitions[0][2] if world.scenario.partitions else frozenset(honest[::2])
        self.half = cut & {*honest}
        if self.keys:
            world.at(world.now + 1, self._act)

    def hear(self, data: bytes, sender: int) -> None:
        """Take note of what honest machines say."""
        if not self.keys:
            return
        message = read_message(data)
        if len(self.heard) < 400:
            self.heard.append(data)
        else:
            self.heard[self.world.random.randrange(400)] = data
        if isinstance(message, Vote):
            group = self.votes.setdefault((message.epoch, message.view, message.kind, message.block), {})
            group[message.validator] = message
            self.place = max(self.place, (message.epoch, message.view))
            if self.world.scenario.is_two_faced:
                self._echo(message, sender)
        elif isinstance(message, Certificate):
            self.place = max(self.place, (message.epoch, message.view + 1))
            if message.kind is not VoteKind.NULLIFY:
                self.blocks.append((message.epoch, message.view, message.block))
                top = (message.view, message.block)
                self.top[message.epoch] = max(self.top.get(message.epoch, top), top)
        elif self.world.random.random() < 0.5:
            epoch, view = self.place
            self.blocks.append((epoch, view, proposed_block(message)))
        self.blocks = self.blocks[-12:]

    def _act(self) -> None:
        world, random = self.world, self.world.random
        epoch, view = self.place
        known = any(epoch in machine.sets for machine in world.machines.values())
        if known:
            set = world.set_of(epoch)
            random.choice(self._ways)(set, view)
        world.at(world.now + random.uniform(1, DELTA_MS * (0.3 if world.now < world.heal_ms else 0.8)), self._act)

    def _say(self, data: bytes, chance: float = 0.6) -> None:
        for number in self.world.machines:
            if self.world.random.random() < chance:
                self.world.send(ADVERSARY, number, data)

    def _vote(self, set: ValidatorSet, view: int) -> None:
        """Any kind of vote for any block in any near view."""
        random = self.world.random
        key = random.choice(self.keys)
        kind = random.choice(list(VoteKind))
        near = max(1, view + random.choice((-2, -1, -1, 0, 0, 0, 1)))
        block = ZERO_HASH if kind is VoteKind.NULLIFY else random.choice(self.blocks)[2]
        vote = sign_vote(set, key, near, kind, block)
        self.world.count["hostile vote"] += 1
        self._say(encode(vote))

    def _lead(self, set: ValidatorSet, view: int) -> None:
        """One or two proposals, justified or not, each told to some, their bodies given to some."""
        world, random = self.world, self.world.random
        mine = [
            near for near in range(max(1, view - 1), view + 3) if set.leader(near) in {k.account for k in self.keys}
        ]
        if not mine:
            return
        near = random.choice(mine)
        for salt in range(random.choice((1, 2, 2))):
            _, parent_view, parent = random.choice([*self.blocks[-4:], self.blocks[-1]])
            header = world.headers.get(parent)
            if header is None:
                continue
            start, end = set.epoch * world.scenario.epoch_blocks, (set.epoch + 1) * world.scenario.epoch_blocks
            if header.height == end:
                self._say(encode(sign_reproposal(set, near, min(parent_view, near - 1) or 1, parent)))
                continue
            if not start <= header.height < end:
                continue
            parent_view = 0 if header.height == start else parent_view
            if parent_view >= near:
                continue
            salted = random.randrange(3) + 100 * salt
            time_ms = max(world.now, header.time_ms + BLOCK_MS) + random.choice((0, 0, 6 * DELTA_MS))
            proposal = propose_on(set, header, near, parent_view, time_ms, salted)
            given = {number for number in world.machines if random.random() < 0.7}
            world.publish(proposal.header, given)
            world.count["hostile proposal"] += 1
            self.blocks.append((set.epoch, near, block_id(proposal.header)))
            self._say(encode(proposal))
            for key in self.keys:
                self._say(encode(sign_vote(set, key, near, VoteKind.NOTARIZE, block_id(proposal.header))))

    def _echo(self, vote: Vote, sender: int) -> None:
        """Vote as this machine does, to its half of the honest alone."""
        set = self.world.set_of(vote.epoch)
        half = self.half if sender in self.half else {*self.world.machines} - self.half
        for key in self.keys:
            data = encode(sign_vote(set, key, vote.view, vote.kind, vote.block))
            for number in half:
                self.world.send(ADVERSARY, number, data)

    def _split(self, set: ValidatorSet, view: int) -> None:
        """One block for one half of the honest, another for the other, each with all the votes it needs from here."""
        world = self.world
        if set.leader(view) not in {key.account for key in self.keys}:
            return
        start = next(world.machines[number].sets[set.epoch][1] for number in world.machines if self._knows(number, set))
        parent_view, parent = self.top.get(set.epoch, (0, block_id(start)))
        header = world.headers[parent]
        if header.height == start.height + world.scenario.epoch_blocks or parent_view >= view:
            return
        world.count["split"] += 1
        for salt, group in ((7, self.half), (8, {*world.machines} - self.half)):
            time_ms = max(world.now, header.time_ms + BLOCK_MS)
            proposal = propose_on(set, header, view, parent_view, time_ms, salt)
            block = block_id(proposal.header)
            world.publish(proposal.header, group)
            votes = [
                sign_vote(set, key, view, kind, block)
                for key in self.keys
                for kind in (VoteKind.NOTARIZE, VoteKind.FINALIZE)
            ]
            for number in group:
                for message in (proposal, *votes):
                    world.send(ADVERSARY, number, encode(message))

    def _knows(self, number: int, set: ValidatorSet) -> bool:
        return set.epoch in self.world.machines[number].sets

    def _forge(self, set: ValidatorSet, view: int) -> None:
        """Certificates that nobody signed, and certificates that only the hostile signed."""
        random = self.world.random
        kind = random.choice(list(VoteKind))
        block = ZERO_HASH if kind is VoteKind.NULLIFY else random.choice(self.blocks)[2]
        near = max(1, view + random.choice((-1, 0, 0, 1)))
        mine = [
            (number, sign_vote(set, key, near, kind, block).signature)
            for key in self.keys
            if (number := set.position(key.account)) is not None
        ]
        all_ = [(number, bytes(64)) for number in range(len(set.members))]
        self.world.count["forged"] += 1
        for votes in (mine, all_):
            self._say(encode(make_certificate(set, near, kind, block, votes)))

    def _replay(self, set: ValidatorSet, view: int) -> None:
        if self.heard:
            self.world.count["replay"] += 1
            self._say(self.world.random.choice(self.heard), 0.3)

    def _certify(self, set: ValidatorSet, view: int) -> None:
        """Complete what honest votes nearly made a certificate, and tell it to one machine alone."""
        random = self.world.random
        keys = [key for key in self.votes if key[0] == set.epoch]
        if not keys:
            return
        _, near, kind, block = random.choice(keys[-6:])
        for key in self.keys:
            vote = sign_vote(set, key, near, kind, block)
            target = random.choice(list(self.world.machines))
            self.world.send(ADVERSARY, target, encode(vote))
        self.world.count["completed"] += 1
