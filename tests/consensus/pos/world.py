"""Validators on a virtual network: honest ones run the real agreement, the others do what they like (``adversary``).

Before ``heal_ms`` messages get lost, doubled, late, and cut off by partitions, and machines crash; after it every
message takes at most Δ and no machine crashes any more. What an honest machine must do around the agreement (journal,
fetch, execute, keep certificates) is done here in the plainest way. What must be true whatever happens is asserted
where it could be false: in ``_finalize``, ``_sign``, ``_judge``, ``_deliver`` and ``_check_own``.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import Hash, Millis
from chain.keys import KeyPair
from consensus.pos.agreement import Agreement
from consensus.pos.effects import (
    Abandon,
    Accuse,
    Admit,
    Audience,
    CastReproposal,
    CastVote,
    Effect,
    Finalized,
    Notarized,
    Nullified,
    OwnVoteSeen,
    Pass,
    Propose,
    Tell,
    Timer,
)
from consensus.pos.errors import MessageFault
from consensus.pos.evidence import check_evidence, epoch_of_evidence
from consensus.pos.fields import read_fields
from consensus.pos.validators import ValidatorSet, epoch_of, is_boundary
from consensus.pos.votes import Certificate, Vote, VoteKind, message_key, proposed_block, read_message
from consensus.signatures import SignatureCache
from tests.consensus.pos.adversary import ADVERSARY, Adversary
from tests.consensus.pos.people import (
    BLOCK_MS,
    DELTA_MS,
    KEYS,
    START,
    first_set,
    genesis_header,
    pos_genesis,
    propose_on,
    sign_reproposal,
    sign_vote,
)

SIGNATURES = SignatureCache(1 << 18)
"""One memory for all worlds: the same keys sign the same things again and again."""


@dataclass(frozen=True)
class Scenario:
    """What happens to a world. Times are in Δ after the start; shares are chances a message."""

    seed: int
    powers: tuple[int, ...] = (1, 1, 1, 1)
    byzantine: frozenset[int] = frozenset()
    epoch_blocks: int = 4
    heal: int = 0
    lost: float = 0.0
    doubled: float = 0.0
    slow: float = 0.0
    partitions: tuple[tuple[int, int, frozenset[int]], ...] = ()
    crashes: tuple[tuple[int, int, int], ...] = ()
    has_observer: bool = False
    is_two_faced: bool = False
    """The hostile support each side of the first partition in what it does, instead of saying anything to anybody."""


@dataclass
class Machine:
    """An honest node: the agreement, and on its disk the journal, the certificates, the executed blocks."""

    number: int
    key: KeyPair | None
    agreement: Agreement
    journal: dict[tuple[int, int, VoteKind | str], Hash] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)
    executed: dict[Hash, Header] = field(default_factory=dict)
    sets: dict[int, tuple[ValidatorSet, Header]] = field(default_factory=dict)
    ends: dict[int, Certificate] = field(default_factory=dict)
    final_height: int = 0
    life: int = 0
    is_up: bool = True
    is_reborn: bool = False
    known: dict[int, set[Hash]] = field(default_factory=dict)
    executing: set[Hash] = field(default_factory=set)

    @property
    def epoch(self) -> int:
        return self.agreement.epoch or 0


class World:
    """The machines, the network between them, and the record of all that honest ones signed and finalised."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.random = Random(scenario.seed)
        self.genesis = pos_genesis(scenario.powers, scenario.epoch_blocks)
        self.now = START
        self.heal_ms = START + scenario.heal * DELTA_MS
        self.headers: dict[Hash, Header] = {}
        self.holders: dict[Hash, set[int]] = {}
        self.finals: dict[int, Hash] = {}
        self.count: Counter[str] = Counter()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        genesis = genesis_header(self.genesis)
        self.start_set = first_set(scenario.powers)
        self.headers[block_id(genesis)] = genesis
        total = len(scenario.powers) + scenario.has_observer
        self.machines: dict[int, Machine] = {}
        for number in range(total):
            if number not in scenario.byzantine:
                key = KEYS[number] if number < len(scenario.powers) else None
                machine = Machine(number, key, self._new_agreement(key))
                machine.sets[0] = (self.start_set, genesis)
                machine.executed[block_id(genesis)] = genesis
                self.machines[number] = machine
        self.adversary = Adversary(self)
        for machine in self.machines.values():
            self._do(machine, machine.agreement.start(self.start_set, genesis, Millis(self.now)))
            self.at(self.now + 5 * DELTA_MS, lambda machine=machine: self._sync(machine))
        for number, start, span in scenario.crashes:
            if number in self.machines and start < scenario.heal:
                self.at(START + start * DELTA_MS, lambda number=number: self._crash(number))
                self.at(START + (start + span) * DELTA_MS, lambda number=number: self._restart(number))
        self.at(self.heal_ms, self._reconnect)

    def _new_agreement(self, key: KeyPair | None) -> Agreement:
        return Agreement(self.genesis, None if key is None else key.account, SIGNATURES)

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (max(self.now, int(when)), self._sequence, what))

    def run(self, until: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until a time, or until ``stop`` says so, asked after each event."""
        while self._events and self._events[0][0] <= until and not stop():
            self.now, _, what = heapq.heappop(self._events)
            what()

    @property
    def is_healed(self) -> bool:
        return self.now >= self.heal_ms

    # The network

    def is_cut(self, one: int, other: int) -> bool:
        delta = (self.now - START) / DELTA_MS
        if ADVERSARY in (one, other):
            return False
        return not self.is_healed and any(
            start <= delta < end and (one in group) is not (other in group)
            for start, end, group in self.scenario.partitions
        )

    def send(self, sender: int, receiver: int, data: bytes) -> None:
        """Deliver a message to an honest machine, or not."""
        machine = self.machines.get(receiver)
        if machine is None:
            return
        copies, delay = 1, self.random.uniform(1, DELTA_MS * 0.5)
        if not self.is_healed:
            if self.is_cut(sender, receiver) or self.random.random() < self.scenario.lost:
                self.count["lost"] += 1
                return
            if self.random.random() < self.scenario.doubled:
                self.count["doubled"] += 1
                copies = 2
            if self.random.random() < self.scenario.slow:
                self.count["slow"] += 1
                delay = self.random.uniform(0, 12 * DELTA_MS)
        for _ in range(copies):
            self.at(self.now + delay, lambda: self._deliver(machine, sender, data))

    def _deliver(self, machine: Machine, sender: int, data: bytes) -> None:
        if machine.is_up:
            machine.known.setdefault(sender, set()).add(message_key(read_message(data)))
            try:
                effects = machine.agreement.on_message(data, Millis(self.now))
            except MessageFault:
                assert sender == ADVERSARY, "an honest machine sent what only a hostile one would"
                self.count["fault"] += 1
                return
            self._do(machine, effects)

    def _spread(self, machine: Machine, effect: Tell | Pass) -> None:
        self.adversary.hear(effect.message, machine.number)
        validators = len(self.scenario.powers)
        for other in range(validators + self.scenario.has_observer):
            is_for_other = {
                Audience.VALIDATORS: other < validators,
                Audience.FOLLOWERS: other >= validators or machine.number >= validators,
            }
            if other == machine.number or not is_for_other.get(effect.audience, True):
                continue
            known = machine.known.setdefault(other, set())
            if effect.key not in known or (isinstance(effect, Tell) and effect.again):
                known.add(effect.key)
                self.send(machine.number, other, effect.message)

    # What a node does with effects

    def _do(self, machine: Machine, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell() | Pass():
                    self._spread(machine, effect)
                case Timer():
                    self._set_timer(machine, effect)
                case CastVote():
                    self._cast(machine, effect)
                case Propose():
                    self._propose_later(machine, effect)
                case CastReproposal():
                    if self._sign(machine, (effect.epoch, effect.view, "proposal"), effect.block):
                        set, _ = machine.sets[effect.epoch]
                        message = sign_reproposal(set, effect.view, effect.parent_view, effect.block)
                        self.count["reproposal"] += 1
                        self._do(machine, machine.agreement.on_signed(encode(message), Millis(self.now)))
                case Admit():
                    self._execute_later(machine, block_id(effect.header))
                case Notarized() | Nullified():
                    machine.kept.append(encode(effect.certificate))
                    if effect.certificate.kind is not VoteKind.NULLIFY:
                        self._execute_later(machine, effect.certificate.block)
                    else:
                        self.count["nullified"] += 1
                case Finalized():
                    machine.kept.append(encode(effect.certificate))
                    self._finalize(machine, effect)
                case Abandon():
                    self.count["abandoned"] += len(effect.blocks)
                case Accuse():
                    self._judge(effect)
                case OwnVoteSeen():
                    self._check_own(machine, effect)

    def _set_timer(self, machine: Machine, timer: Timer) -> None:
        life = machine.life

        def fire() -> None:
            if machine.is_up and machine.life == life:
                self._do(machine, machine.agreement.on_timer(timer.token, Millis(self.now)))

        self.at(timer.at_ms, fire)

    def _propose_later(self, machine: Machine, effect: Propose) -> None:
        life = machine.life
        self.at(effect.not_before_ms, lambda: self._propose(machine, life, effect))

    def _sign(self, machine: Machine, key: tuple[int, int, VoteKind | str], block: Hash) -> bool:
        """Write into the journal unless it contradicts. A machine that never crashed never asks for that."""
        epoch, view, kind = key
        opposite = {VoteKind.FINALIZE: VoteKind.NULLIFY, VoteKind.NULLIFY: VoteKind.FINALIZE}.get(kind)
        is_refused = machine.journal.get(key, block) != block or (epoch, view, opposite) in machine.journal
        if is_refused:
            self.count["refused"] += 1
            assert machine.is_reborn, f"machine {machine.number} asked to sign {kind} against its own word"
            return False
        machine.journal[key] = block
        return True

    def _cast(self, machine: Machine, effect: CastVote) -> None:
        assert machine.key is not None
        if self._sign(machine, (effect.epoch, effect.view, effect.kind), effect.block):
            set, _ = machine.sets[effect.epoch]
            vote = sign_vote(set, machine.key, effect.view, effect.kind, effect.block)
            machine.kept.append(encode(vote))
            self._do(machine, machine.agreement.on_signed(encode(vote), Millis(self.now)))

    def _propose(self, machine: Machine, life: int, effect: Propose) -> None:
        place = (machine.epoch, machine.agreement.view)
        if not machine.is_up or machine.life != life or place != (effect.epoch, effect.view):
            return
        set, _ = machine.sets[effect.epoch]
        parent = machine.executed[effect.parent]
        time_ms = max(self.now, parent.time_ms + BLOCK_MS)
        proposal = propose_on(set, parent, effect.view, effect.parent_view, time_ms, machine.life)
        id = block_id(proposal.header)
        if self._sign(machine, (effect.epoch, effect.view, "proposal"), id):
            self.publish(proposal.header, {machine.number})
            self.count["proposal"] += 1
            self._do(machine, machine.agreement.on_signed(encode(proposal), Millis(self.now)))
            self._execute_later(machine, id)

    def publish(self, header: Header, holders: set[int]) -> None:
        """Make a block exist; those who hold its body can give it to others."""
        id = block_id(header)
        self.headers[id] = header
        self.holders.setdefault(id, set()).update(holders)

    # Blocks

    def _execute_later(self, machine: Machine, id: Hash) -> None:
        if id not in machine.executed and id not in machine.executing:
            machine.executing.add(id)
            life = machine.life
            self.at(self.now + self.random.uniform(0, 0.2 * DELTA_MS), lambda: self._execute(machine, life, id))
        elif id in machine.executed:
            header = machine.executed[id]
            self._do(machine, machine.agreement.on_executed(id, header, Millis(self.now)))

    def _execute(self, machine: Machine, life: int, id: Hash, tries: int = 0) -> None:
        """Execute a block when its body can be had and its parent is executed; else try again later."""
        if machine.life != life or not machine.is_up or id in machine.executed:
            return
        header = self.headers[id]
        is_here = any(
            holder == machine.number or (holder in self.machines and not self.is_cut(holder, machine.number))
            for holder in self.holders[id]
        )
        if is_here and header.parent in machine.executed:
            parent = machine.executed[header.parent]
            if self._is_valid(header, parent):
                machine.executed[id] = header
                self.holders[id].add(machine.number)
                self._do(machine, machine.agreement.on_executed(id, header, Millis(self.now)))
                self._settle(machine)
            else:
                self.count["refused block"] += 1
                self._do(machine, machine.agreement.on_refused(id, Millis(self.now)))
        elif tries < 200:
            if header.parent not in machine.executed:
                self._execute_later(machine, header.parent)
            wait = 0.1 * DELTA_MS if is_here else DELTA_MS
            self.at(self.now + wait, lambda: self._execute(machine, life, id, tries + 1))

    def _is_valid(self, header: Header, parent: Header) -> bool:
        """What the engine asks of a header by its parent."""
        fields = read_fields(header)
        if header.height != parent.height + 1 or header.time_ms < parent.time_ms + BLOCK_MS:
            return False
        epoch = epoch_of(header.height, self.scenario.epoch_blocks)
        before = 0
        if not is_boundary(parent.height, self.scenario.epoch_blocks):
            before = read_fields(parent).view
        return fields.epoch == epoch and fields.parent_view == before

    # Finality and epochs

    def _finalize(self, machine: Machine, effect: Finalized) -> None:
        certificate = effect.certificate
        self._execute_later(machine, certificate.block)
        id = certificate.block
        header = self.headers[id]
        height = header.height
        while height > 0 and self.finals.get(height) != id:
            assert height not in self.finals, f"two final blocks at height {height}"
            self.finals[height] = id
            id = header.parent
            header = self.headers[id]
            height = header.height
        machine.final_height = max(machine.final_height, self.headers[certificate.block].height)
        if effect.ends_epoch:
            machine.ends[certificate.epoch] = certificate
            self._settle(machine)

    def _settle(self, machine: Machine) -> None:
        """Go on to the next epoch when its boundary block is final and executed."""
        end = machine.ends.get(machine.epoch)
        if end is None or end.block not in machine.executed:
            return
        boundary = machine.executed[end.block]
        before, _ = machine.sets[machine.epoch]
        after = ValidatorSet(before.epoch + 1, read_fields(boundary).mix, before.members)
        machine.sets[after.epoch] = (after, boundary)
        machine.kept = []
        self.count["epoch"] += 1
        self._do(machine, machine.agreement.on_epoch(after, boundary, Millis(self.now)))

    def _sync(self, machine: Machine) -> None:
        """What block sync does: a node that is an epoch behind hears from a peer how its own epoch ended."""
        others = [
            other.ends[machine.epoch]
            for other in self.machines.values()
            if other.is_up and machine.epoch in other.ends and not self.is_cut(other.number, machine.number)
        ]
        if machine.is_up and others:
            self._do(machine, machine.agreement.on_message(encode(others[0]), Millis(self.now)))
        if machine.is_up:
            self._settle(machine)
        self.at(self.now + 2 * DELTA_MS, lambda: self._sync(machine))

    # Faults

    def _crash(self, number: int) -> None:
        machine = self.machines[number]
        machine.is_up = False
        machine.life += 1
        self.count["crash"] += 1

    def _restart(self, number: int) -> None:
        """Start again from the disk, silent for 3 Δ: what peers know of this key comes first."""
        machine = self.machines[number]
        if machine.is_up:
            return
        machine.is_up, machine.is_reborn = True, True
        machine.known, machine.executing = {}, set()
        set_, boundary = machine.sets[max(machine.sets)]
        machine.agreement = self._new_agreement(machine.key)
        effects = machine.agreement.start(set_, boundary, Millis(self.now), machine.kept, may_vote=False)
        self._do(machine, effects)
        for id, header in list(machine.executed.items()):
            if header.height > 0:
                self._do(machine, machine.agreement.on_executed(id, header, Millis(self.now)))
        self._meet(machine)
        life = machine.life
        self.at(self.now + 3 * DELTA_MS, lambda: self._allow(machine, life))

    def _allow(self, machine: Machine, life: int) -> None:
        if machine.life == life and machine.is_up:
            self._do(machine, machine.agreement.allow_votes(Millis(self.now)))

    def _meet(self, machine: Machine) -> None:
        account = None if machine.key is None else machine.key.account
        for other in self.machines.values():
            if other is not machine and other.is_up and not self.is_cut(other.number, machine.number):
                for data in other.agreement.on_peer(account):
                    self.send(other.number, machine.number, data)

    def _reconnect(self) -> None:
        for machine in self.machines.values():
            if not machine.is_up:
                self._restart(machine.number)
        for machine in self.machines.values():
            machine.known = {}
            self._meet(machine)

    # What must be true

    def _judge(self, effect: Accuse) -> None:
        """Only those who are not honest can be accused."""
        epoch = epoch_of_evidence(effect.evidence)
        set = next(machine.sets[epoch][0] for machine in self.machines.values() if epoch in machine.sets)
        offence = check_evidence(set, effect.evidence, SIGNATURES)
        guilty = {KEYS[number].account for number in self.scenario.byzantine}
        assert offence.validator in guilty, f"an honest validator is accused of {offence.kind}"
        self.count[str(offence.kind)] += 1

    def _check_own(self, machine: Machine, effect: OwnVoteSeen) -> None:
        message = effect.message
        assert machine.is_reborn
        if isinstance(message, Vote):
            assert machine.journal[message.epoch, message.view, message.kind] == message.block
        else:
            assert proposed_block(message) in machine.journal.values()
        self.count["own seen"] += 1

    def set_of(self, epoch: int) -> ValidatorSet:
        return next(machine.sets[epoch][0] for machine in self.machines.values() if epoch in machine.sets)
