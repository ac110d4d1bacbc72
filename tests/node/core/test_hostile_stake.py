"""Nodes of a chain with validators against hostile peers and leaders, and more hostile stake than can be borne."""

from functools import partial

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.codec import encode
from chain.hashing import digest
from chain.ids import Hash, Height
from chain.keys import KeyPair
from consensus.pos import vrf
from consensus.pos.engine import PosEngine
from consensus.pos.fields import PosFields, compute_mix, read_fields, seal_message, turn_input
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, VoteKind, make_certificate, vote_message
from node.core.core import NodeCore
from node.core.earlyheaders import MAX_SIBLINGS
from node.core.messages import HeaderAdmitted
from node.core.turn import Turn
from node.effects import Halt
from node.simulator.machine import Machine
from node.simulator.settings import EPOCH_BLOCKS
from p2p.events import HeadersArrived
from tests.node.core.test_agreement_desk import Court


def find_keys(court: Court) -> dict[bytes, KeyPair]:
    """The keys of all machines, by account."""
    return {bytes(machine.character.key.account): machine.character.key for machine in court.world.machines}


def set_of(core: NodeCore, epoch: int) -> ValidatorSet:
    """An epoch's validators."""
    engine = core.world.engine
    assert isinstance(engine, PosEngine)
    found = engine.sets.get(epoch)
    assert found is not None
    return found


def forge_header(court: Court, core: NodeCore, parent: Header, view: int, salt: int) -> Header:
    """A header that no rule of the engine refuses: the view's leader sealed it, on whatever parent."""
    engine = core.world.engine
    assert isinstance(engine, PosEngine)
    before = read_fields(parent)
    set = set_of(core, before.epoch)
    key = find_keys(court)[bytes(set.leader(view))]
    proof = vrf.prove(key.seed, turn_input(set.seed, set.epoch, view))
    fields = PosFields(set.epoch, view, before.view, proof, compute_mix(engine.mix(parent), vrf.compute_output(proof)))
    header = replace(
        parent,
        height=parent.height + 1,
        parent=block_id(parent),
        time_ms=parent.time_ms + engine.parameters.block_ms,
        producer=key.account,
        state_root=digest(b"test", salt.to_bytes(8, "big")),
        engine=encode(fields),
        seal=b"",
    )
    return replace(header, seal=key.sign(seal_message(set.seed, header)))


def forge_certificate(court: Court, set: ValidatorSet, view: int, kind: VoteKind, block: Hash) -> Certificate:
    """What all validators together could sign."""
    keys = find_keys(court)
    message = vote_message(set.seed, set.epoch, view, kind, block)
    votes = [(number, keys[bytes(member.account)].sign(message)) for number, member in enumerate(set.members)]
    return make_certificate(set, view, kind, block, votes)


def turn_of(court: Court, machine: Machine) -> Turn:
    assert machine.core is not None
    return Turn(machine.clock.read(court.world.schedule.now), machine.core._jobs)


def test_a_second_final_block_is_not_kept_in_the_place_of_the_first():
    """A node that stopped on two final blocks stands by the first after a restart: it must not change sides so."""
    court = Court(seed=21, seconds=12)
    seen: list[tuple[Hash, Hash, list[str]]] = []

    def conflict() -> None:
        core, machine = court.core(0), court.machine(0)
        desk, tree = core._agreement, core.chain.tree
        first = tree.decided
        final = tree.header(first)
        assert final is not None
        parent = tree.header(final.parent)
        assert parent is not None
        fields = read_fields(final)
        rival = forge_header(court, core, parent, fields.view, 1)
        turn = turn_of(court, machine)
        core._importer.on_admitted(HeaderAdmitted(rival, ()), turn)
        child = forge_header(court, core, rival, fields.view + 1, 2)
        core._importer.on_admitted(HeaderAdmitted(child, ()), turn)
        assert block_id(child) in tree
        set = set_of(core, fields.epoch)
        desk._finality.finalize(
            forge_certificate(court, set, fields.view + 1, VoteKind.FINALIZE, block_id(child)), turn
        )
        kept = core.world.store.certificates.latest_final()
        assert kept is not None
        halts = [effect.reason for effect in turn.effects if isinstance(effect, Halt)]
        seen.append((first, kept.block, halts))
        machine.die(silently=False)
        machine.start()
        again = court.core(0).chain.tree
        assert again.decided == first
        assert again.ancestor_id(court.core(0).chain.head_id, again.height(first)) == first

    court.at(7.3, conflict)
    court.world.run()
    ((first, kept, halts),) = seen
    assert len(halts) == 1
    assert "final beside the final block" in halts[0]
    assert kept == first


def offer(court: Court, *headers: Header) -> None:
    """Let machine 0 hear of headers from a peer, as after a question for headers."""
    core, machine = court.core(0), court.machine(0)
    core._importer.on_headers(HeadersArrived(court.core(1).world.key.account, headers), turn_of(court, machine))


def test_a_header_that_no_certificate_bears_out_is_not_the_heaviest():
    """A leader may seal a block on any old one: its view alone would make it weigh more than the true chain."""
    court = Court(seed=22, seconds=12)
    seen: list[bool] = []

    def lie() -> None:
        core = court.core(0)
        tree = core.chain.tree
        epoch, view = core._agreement.place
        final = tree.header(tree.decided)
        assert final is not None
        parent = tree.header(final.parent) if read_fields(final).view > 1 else final
        assert parent is not None
        assert read_fields(parent).epoch == epoch
        rivals = [forge_header(court, core, final, view, salt) for salt in range(20)]
        offer(court, *rivals)
        seen.append(tree.best() in map(block_id, rivals))

    for tenths in range(60, 90, 7):
        court.at(tenths / 10, lie)
    court.judge()
    assert len(seen) == 5
    assert not any(seen)


def test_a_leader_does_not_fill_the_tree_with_blocks_of_one_view():
    """Sealing costs nothing: of a view few headers are taken, but for those that others have built on."""
    court = Court(seed=24, seconds=30)
    grown: list[int] = []

    def lie(is_past: bool) -> None:
        core = court.core(0)
        tree = core.chain.tree
        height = (EPOCH_BLOCKS - 1) if is_past else tree.height(tree.decided) - 1
        parent = tree.ancestor(tree.decided, Height(height))
        assert parent is not None
        view = read_fields(parent).view + 1
        before = len(tree)
        for salt in range(200):
            offer(court, forge_header(court, core, parent, view + (salt if is_past else 0), salt))
        grown.append(len(tree) - before)

    court.at(9.3, partial(lie, is_past=False))
    court.at(EPOCH_BLOCKS + 4.3, partial(lie, is_past=True))
    court.judge()
    assert len(grown) == 2
    assert max(grown) <= 2 * MAX_SIBLINGS


def test_a_header_that_others_have_built_on_is_taken_however_many_its_leader_sealed():
    """A hostile leader can't keep its own notarised block, and all on it, from a node that comes later."""
    court = Court(seed=25, seconds=12)
    taken: list[bool] = []

    def lie() -> None:
        core = court.core(0)
        tree = core.chain.tree
        parent = tree.ancestor(tree.decided, Height(tree.height(tree.decided) - 2))
        assert parent is not None
        view = read_fields(parent).view + 1
        early = core._agreement._early
        junk = [forge_header(court, core, parent, view, salt) for salt in range(3 * MAX_SIBLINGS)]
        true = forge_header(court, core, parent, view, 10**6)
        child = forge_header(court, core, true, view + 1, 0)
        for header in junk:
            early.let_in((header,))
        taken.append(not early.let_in((true,)) and list(early.let_in((true, child))) == [true, child])

    court.at(8.3, lie)
    court.judge()
    assert taken == [True]
