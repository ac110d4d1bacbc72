"""Validators in the running node: real cores in virtual time vote, crash, come back, lie and are left behind."""

from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from msgspec.structs import replace

from chain.block import block_id
from chain.codec import encode
from chain.hashing import digest
from chain.ids import Hash, Millis
from chain.keys import KeyPair
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import EpochProof, find_proof_fault, read_epoch_proof
from consensus.pos.errors import MessageFault
from consensus.pos.fields import read_fields, seal_message
from consensus.pos.sets import genesis_set
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Vote, VoteKind, message_key, vote_message
from consensus.records import RoundState
from consensus.signatures import SignatureCache
from consensus.staking.state import get_burned, get_validator
from node.core.core import NodeCore
from node.core.turn import Turn
from node.effects import Effect, Publish, Send
from node.events import Event
from node.notices import HeadMoved, LedgerNotice, SigningRefused
from node.roles import device
from node.roles.asked import find_due_task
from node.roles.base import DeviceSurroundings
from node.signer import ValidatorSigner
from node.simulator.machine import Machine
from node.simulator.settings import EPOCH_BLOCKS, START_MS, SimulationSettings
from node.simulator.simulation import Simulation
from p2p.events import EpochsArrived
from storage.memorystores import MemorySigningJournal
from storage.own import SigningIntent

BLOCK_MS = 1_000


class Court:
    """A world of validators, and a record of what its machines said. ``watcher`` looks on beside the invariants."""

    def __init__(self, seed: int = 1, *, seconds: int = 20, nodes: int = 4, validators: int = 4, **more: int) -> None:
        settings = SimulationSettings(
            seed=seed,
            nodes=nodes,
            miners=validators,
            engine="pos",
            duration_ms=seconds * 1_000,
            block_ms=BLOCK_MS,
            **{"devices": 0, "plans": 0, **more},
        )
        self.world = Simulation(settings)
        self.invariants = self.world.watcher
        self.world.watcher = self
        self.notices: list[tuple[int, int, object]] = []
        self.final: dict[int, list[tuple[int, int]]] = {}

    def on_started(self, machine: Machine) -> None:
        self.invariants.on_started(machine)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        self.invariants.on_step(machine, event, now, effects)
        core = machine.core
        assert core is not None
        seen = self.final.setdefault(machine.number, [])
        if not seen or core.finalized() > seen[-1][1]:
            seen.append((now, core.finalized()))
        for effect in effects:
            if isinstance(effect, Publish):
                self.notices.append((now, machine.number, effect.notice))

    def on_fault(self, machine: Machine, reason: str) -> None:
        self.invariants.on_fault(machine, reason)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        self.world.schedule.at(START_MS + int(seconds * 1_000), action)

    def machine(self, number: int) -> Machine:
        return self.world.machines[number]

    def core(self, number: int) -> NodeCore:
        core = self.machine(number).core
        assert core is not None
        return core

    def told(self, kind: type) -> list[object]:
        return [notice for _, _, notice in self.notices if isinstance(notice, kind)]

    def judge(self) -> None:
        """Run to the end; nothing that is always to hold may have been broken."""
        report = self.world.run()
        assert report.violations == (), report.violations
        assert report.agreed_after_ms >= 0


def test_a_quiet_network_finalises_within_two_block_times() -> None:
    """Every block, on every machine: validators, a full node, devices; over several epochs."""
    court = Court(seconds=40, nodes=6, validators=4, devices=2)
    court.judge()
    made = {notice.height: notice.time_ms for notice in court.told(HeadMoved)}
    assert max(made) > 2 * EPOCH_BLOCKS
    waited: list[int] = []
    for number in range(8):
        steps = court.final[number]
        for height, time_ms in made.items():
            when = next((now for now, final in steps if final >= height), None)
            if time_ms > START_MS + 8_000 and when is not None:
                waited.append(when - time_ms)
    assert len(waited) > 150
    assert max(waited) <= 2 * BLOCK_MS
    assert {court.core(number).agreement_status().part for number in range(4)} == {"votes"}
    assert court.core(4).agreement_status().part == "follows"
    assert not [notice for notice in court.told(HeadMoved) if notice.undone]
    for number in range(6):  # of the epoch under way too: who starts anew goes on from it
        certificates = court.core(number).world.store.certificates
        final = certificates.latest_final()
        assert final is not None
        assert final.certificate in certificates.live()


def test_a_plan_is_learned_on_final_blocks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices work on tasks that nothing can take back; the plan finishes as under work."""
    court = Court(seed=4, seconds=60, nodes=5, validators=3, devices=3, plans=1)
    opened: list[tuple[int, int]] = []

    def check(around: DeviceSurroundings, plan: Hash) -> RoundState | None:
        found = find_due_task(around, plan)
        if found is not None:
            cores = [core for machine in court.world.machines if (core := machine.core) is not None]
            (height,) = [core.finalized() for core in cores if core.chain is around.chain]
            opened.append((found.opened, height))
        return found

    monkeypatch.setattr(device, "find_due_task", check)
    report = court.world.run()
    assert report.violations == ()
    assert (report.plans, report.plans_finished) == (1, 1)
    assert report.rounds_settled > 0
    assert opened
    assert all(height <= final for height, final in opened)


def test_a_validator_dies_at_every_write_of_its_journal_and_never_contradicts_itself() -> None:
    """Before the write or after it: it comes back, the chain goes on, nobody has anything to accuse it of."""
    court = Court(seed=5, seconds=70, nodes=4, validators=4)
    machine, journal = court.machine(0), court.machine(0).disk.signing
    random, deaths, signed = Random(5), [0], list[SigningIntent]()
    journal.hear = signed.append
    record = journal.record

    def die_at(intent: SigningIntent) -> None:
        if deaths[0] < 12:
            machine.disk.fuse.set(1 + deaths[0] % 2)  # the moment before this write, or the one after it
        record(intent)

    def come_back() -> None:
        if machine.core is None:
            machine.start()

    def on_death() -> None:
        deaths[0] += 1
        machine.die(silently=False)
        machine.disk.lose_unsynced(random)
        court.world.schedule.after(500, come_back)

    journal.record = die_at  # type: ignore[method-assign]
    machine.on_death = on_death
    court.judge()
    assert deaths[0] == 12
    assert court.core(0).agreement_status().part == "votes"
    assert not court.told(SigningRefused)
    check = MemorySigningJournal()
    for intent in signed:
        check.record(intent)
    with court.core(1).world.store.view() as view:
        assert get_burned(view) == 0


def test_a_validator_from_an_old_backup_refuses_to_sign_and_says_what_to_do() -> None:
    """Its peers report votes that its journal does not have: it signs nothing, tells so, and follows the chain."""
    court = Court(seed=6, seconds=40)
    old: list[MemorySigningJournal] = []
    machine = court.machine(0)

    def back_up() -> None:
        copy = MemorySigningJournal()
        for intent in machine.disk.signing.entries():
            copy.record(intent)
        old.append(copy)

    def restore() -> None:
        machine.die(silently=False)
        machine.disk.signing._signatures = old[0]._signatures
        machine.start()

    court.at(6, back_up)
    court.at(9, restore)
    court.judge()
    status = court.core(0).agreement_status()
    assert status.part == "refuses"
    assert "its journal does not know" in status.reason
    assert "no other node runs with this key" in status.reason
    (notice,) = court.told(SigningRefused)
    assert notice.reason == status.reason
    assert machine.disk.signing.entries() == old[0].entries()
    assert not court.core(0)._agreement.agreement.is_voting
    assert court.core(0).finalized() == court.core(1).finalized() > EPOCH_BLOCKS


def test_a_fresh_start_listens_before_it_signs() -> None:
    """Until peers had time to say what they know of its key, a validator is silent."""
    court = Court(seed=7, seconds=12)
    said: list[str] = []
    machine = court.machine(0)
    begun: list[int] = []

    def restart() -> None:
        machine.die(silently=False)
        machine.start()
        begun.append(len(machine.disk.signing.entries()))
        said.append(court.core(0).agreement_status().part)

    court.at(8, restart)
    court.at(8.2, lambda: begun.append(len(machine.disk.signing.entries())))
    court.judge()
    assert said == ["listens"]
    assert begun[0] == begun[1]
    assert court.core(0).agreement_status().part == "votes"


def test_power_fails_everywhere_at_once_and_nothing_final_is_forgotten() -> None:
    """What was final is so at once after the start, before any peer has said a word; and the chain goes on from it."""
    court = Court(seed=13, seconds=30)
    before: dict[int, int] = {}
    after: dict[int, int] = {}

    def fail() -> None:
        for machine in court.world.machines:
            before[machine.number] = court.core(machine.number).finalized()
            machine.die(silently=True)
            machine.disk.lose_unsynced(Random(machine.number))
            kept = machine.disk.chain.certificates.latest_final()
            assert kept is not None
            assert kept.height == before[machine.number]

    def start() -> None:
        for machine in court.world.machines:
            machine.start()
            after[machine.number] = court.core(machine.number).finalized()

    court.at(12.3, fail)
    court.at(14, start)
    court.judge()
    assert after == before
    assert min(before.values()) > 5
    assert court.core(0).finalized() > max(before.values()) + 5


def send_vote(court: Court, number: int, vote: Vote) -> None:
    """Have a machine's connections carry a message that its own program did not make."""
    core, machine = court.core(number), court.machine(number)
    now = machine.clock.read(court.world.schedule.now)
    for output in core.network.tell_engine(encode(vote), message_key(vote), None, now):
        if isinstance(output, Send):
            court.world.lines.send(output.connection, output.data)


def test_a_key_that_signs_twice_is_accused_and_slashed() -> None:
    """Two notarize votes in one view: evidence comes onto the chain, stake is burnt, the next epoch is without it."""
    court = Court(seed=8, seconds=40)
    key: KeyPair = court.machine(3).character.key

    def lie() -> None:
        core = court.core(3)
        engine = core.world.engine
        assert isinstance(engine, PosEngine)
        epoch, view = core._agreement.place
        seed, block = engine.sets.get(epoch).seed, digest(b"test", b"another block")
        for seen in range(view - 1, view + 2):
            message = vote_message(seed, epoch, seen, VoteKind.NOTARIZE, block)
            send_vote(court, 3, Vote(epoch, seen, VoteKind.NOTARIZE, block, key.account, key.sign(message)))

    court.world.invariants.liars = frozenset([bytes(key.account)])
    court.at(6.5, lie)
    court.judge()
    core = court.core(0)
    validator = get_validator(core.chain.view, key.account)
    assert validator is not None
    assert validator.standing == "tombstoned"
    assert get_burned(core.chain.view) > 0
    slashed = [notice for notice in court.told(LedgerNotice) if type(notice.event).__name__ == "ValidatorSlashed"]
    assert slashed
    engine = core.world.engine
    assert isinstance(engine, PosEngine)
    assert key.account not in engine.sets.newest
    assert court.core(3).agreement_status().part == "jailed"


def test_a_node_that_was_away_for_epochs_comes_back_by_their_proofs() -> None:
    """It learns who votes now from what ended each epoch, then the chain; a validator among them votes again."""
    court = Court(seed=9, seconds=105, nodes=5, validators=4)
    for number in (0, 4):
        court.at(5, partial(court.machine(number).die, silently=False))
        court.at(90, court.machine(number).start)
    court.judge()
    assert court.core(1).agreement_status().epoch >= 2
    for number in (0, 4):
        assert court.core(number).agreement_status().epoch == court.core(1).agreement_status().epoch
        assert court.core(number).finalized() == court.core(1).finalized()
    assert court.core(0).agreement_status().part == "votes"


def test_a_header_of_a_view_to_come_waits_for_its_view() -> None:
    """A leader can't make its chain the heaviest by naming a view far ahead; what nobody sealed is not even kept."""
    court = Court(seed=10, seconds=10)
    kept: list[bool] = []

    def look() -> None:
        core = court.core(0)
        head, early = core.chain.head, core._agreement._early
        engine = core.world.engine
        assert isinstance(engine, PosEngine)
        fields = read_fields(head)
        set = engine.sets.get(fields.epoch)
        assert set is not None
        view = fields.view + 1_000
        keys = {machine.character.key.account: machine.character.key for machine in court.world.machines}
        far = replace(head, producer=set.leader(view), engine=encode(replace(fields, view=view)))
        sealed = replace(far, seal=keys[far.producer].sign(seal_message(set.seed, far)))
        kept.append(early.let_in((head, sealed, far)) == [head, far] and block_id(sealed) in early and len(early) == 1)

    court.at(8, look)
    court.judge()
    assert kept == [True]


def test_a_signer_signs_nothing_that_its_journal_refuses() -> None:
    """A conflicting wish, or a journal that can't write, gives no signature."""
    key = KeyPair(b"k" * 32)
    signer = ValidatorSigner(key, MemorySigningJournal())
    seed, one, other = Hash(b"s" * 32), Hash(b"1" * 32), Hash(b"2" * 32)
    vote = signer.sign_vote(seed, 0, 1, VoteKind.NOTARIZE, one)
    assert vote is not None
    assert signer.sign_vote(seed, 0, 1, VoteKind.NOTARIZE, one) == vote
    assert signer.sign_vote(seed, 0, 1, VoteKind.NOTARIZE, other) is None
    assert signer.knows(vote)
    assert not signer.knows(replace(vote, view=2))
    signer.refuse("because")
    assert signer.sign_vote(seed, 0, 2, VoteKind.NOTARIZE, one) is None


def test_a_signature_never_leaves_before_the_journal_has_it() -> None:
    """A journal that fails stops the node before anything was sent."""
    key = KeyPair(b"k" * 32)

    class Broken(MemorySigningJournal):
        def record(self, intent: SigningIntent) -> None:
            raise OSError(28, "No space left on device")

    signer = ValidatorSigner(key, Broken())
    with pytest.raises(OSError, match="No space"):
        signer.sign_vote(Hash(b"s" * 32), 0, 1, VoteKind.NOTARIZE, Hash(b"1" * 32))


def test_a_proof_of_an_epochs_end_shows_the_block_the_votes_and_the_next_validators_or_nothing() -> None:
    """What a node kept convinces whoever knows the epoch's set; with anything in it changed it convinces nobody."""
    court = Court(seed=11, seconds=25)
    court.judge()
    world = court.core(0).world
    data = world.store.certificates.epoch_proof(0)
    assert data is not None
    proof, first = read_epoch_proof(data), genesis_set(world.genesis)
    judge = SignatureCache()

    def fault(changed: EpochProof, known: ValidatorSet = first) -> str | None:
        return find_proof_fault(known, EPOCH_BLOCKS, changed, judge)

    assert fault(proof) is None
    assert proof.next_set.epoch == 1
    richer = tuple(replace(member, power=member.power + 1) for member in proof.next_set.members)
    certificate = proof.certificate
    forged = [
        replace(proof, next_set=replace(proof.next_set, members=richer)),
        replace(proof, next_set=replace(proof.next_set, epoch=2)),
        replace(proof, next_set=replace(proof.next_set, members=proof.next_set.members[::-1])),
        replace(proof, boundary=replace(proof.boundary, state_root=Hash(bytes(32)))),
        replace(proof, boundary=court.core(0).chain.head),
        replace(proof, certificate=replace(certificate, kind=VoteKind.NOTARIZE)),
        replace(proof, certificate=replace(certificate, block=Hash(bytes(32)))),
        replace(proof, certificate=replace(certificate, signatures=certificate.signatures[:-1])),
        replace(proof, certificate=replace(certificate, signatures=certificate.signatures[::-1])),
    ]
    assert all(fault(changed) for changed in forged)
    assert fault(proof, proof.next_set)
    with pytest.raises(MessageFault, match="an epoch proof"):
        read_epoch_proof(data[:-1])


def test_a_peer_that_sends_a_forged_proof_is_let_go() -> None:
    """And nothing of it is kept."""
    court = Court(seed=12, seconds=34, nodes=5, validators=4)
    banned: list[bool] = []
    court.at(3, partial(court.machine(4).die, silently=False))
    court.at(29, court.machine(4).start)

    def forge() -> None:
        core, liar = court.core(4), court.core(1)
        data = liar.world.store.certificates.epoch_proof(0)
        assert data is not None
        true = read_epoch_proof(data)
        members = tuple(replace(member, power=member.power + 1) for member in true.next_set.members)
        forged = replace(true, next_set=replace(true.next_set, members=members))
        machine = court.machine(4)
        turn = Turn(machine.clock.read(court.world.schedule.now), core._jobs)
        core._agreement.on_epochs(EpochsArrived(liar.world.key.account, 0, (encode(forged),)), turn)
        kept = core.world.store.certificates.epoch_proof(0)
        banned.append(kept is None and liar.world.key.account not in {info.peer for info in core.peers()})

    court.at(29.2, forge)
    court.world.run()
    assert banned == [True]
