"""Audits: honest work passes whatever is asked; forged work is caught where it is looked at, as often as promised."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.merkle import MerkleTree
from chain.number import Number
from fl.algorithms.base import Settled
from fl.algorithms.fedsvrg import FEDSVRG
from fl.audit.challenge import draw_segments, escape_chance, is_audited
from fl.audit.opening import CommittedStates, OpenedState, Opening, find_fault, split_root, state_salt
from fl.audit.rows import Blocks, CommittedRows, decode_blocks, encode_block, encode_blocks
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset, DenseData, take_rows, to_sparse
from fl.errors import PayloadError
from fl.models import initial_model
from fl.plan.schema import Audit, Training
from fl.presence import feature_presence
from fl.problem import Problem, compile_problem
from fl.task import Task, device_seed
from tests.fl.problems import make_plan, random_data

DEVICE = AccountId(content_id(b"device"))
SECRET = content_id(b"secret")
POLICY = Audit(percent=100, openings=2, verifiers=1, blocks=10, segment_clip=Number.of(50))
CASES = [
    ("logistic", False),
    ("logistic", True),
    ("softmax", False),
    ("softmax", True),
    ("linear", False),
]


class Case:
    """A device's training of one phase, with its commitments."""

    def __init__(
        self,
        model: str = "logistic",
        phase: int = 1,
        *,
        sparse: bool = False,
        samples: int = 23,
        blocks: bool = False,
    ) -> None:
        training = Training("blocks", 48) if blocks else Training("full", 4)
        plan = replace(make_plan(5, model, l2="0.01"), version=2, training=training)
        self.problem: Problem = compile_problem(plan)
        self.data: Dataset = random_data(self.problem, samples, 1, density=0.6, sparse=sparse)
        start = initial_model(plan)
        gradients = FEDSVRG.train(self.problem, 0, start, b"", self.data, b"")
        settled = Settled.of(DEVICE, samples, FEDSVRG.read_payload(self.problem, 0, gradients))
        carry = FEDSVRG.settle(self.problem, 0, start, b"", [settled]).carry if phase else b""
        self.task = Task(
            self.problem.plan_id, 0, 0, phase, content_id(to_bytes(start)), content_id(carry), ZERO_HASH, ZERO_HASH
        )
        self.seed = device_seed(self.task.digest, DEVICE)
        self.honest = FEDSVRG.train(self.problem, phase, start, carry, self.data, self.seed)
        presence = feature_presence(self.data) if phase else np.zeros(0, np.int64)
        self.training = AuditedTraining(self.problem, phase, start, carry, samples, presence, self.seed)
        self.rows = CommittedRows.of(self.data, SECRET, training.order)
        self.states = CommittedStates.of(self.training, self.task.digest, SECRET, self.data)

    def fault(self, opening: Opening, asked: tuple[int, ...], payload: bytes | None = None) -> str | None:
        payload = self.states.payload() if payload is None else payload
        return find_fault(POLICY, self.training, self.rows.root, payload, asked, encode(opening))

    def open(self, *asked: int) -> Opening:
        return decode(self.states.open(self.rows, asked), Opening)

    def forged(self, segment: int) -> CommittedStates:
        """States whose work is honest but for one segment, after which everything follows from the lie."""
        lie = bytearray(self.states.states[segment])
        lie[:8] = (np.frombuffer(bytes(lie[:8]), "<f8") + 0.25).astype("<f8").tobytes()
        states = [*self.states.states[:segment], bytes(lie)]
        for number in range(segment + 1, self.training.segment_count):
            part = take_rows(self.data, self.training.rows_of(number))
            states.append(self.training.run_segment(states[-1], part))
        tree = MerkleTree(state_salt(SECRET, self.task.digest, number) + state for number, state in enumerate(states))
        return CommittedStates(self.training, self.task.digest, SECRET, tuple(states), tree)


@lru_cache
def a_case() -> Case:
    return Case()


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize(("model", "sparse"), CASES)
def test_honest_work_passes_whatever_is_asked(model: str, sparse: bool, phase: int) -> None:
    """Every segment on its own; and the payload is the one that training without an audit gives."""
    case = Case(model, phase, sparse=sparse)
    core, root = split_root(case.states.payload())
    assert core == case.honest
    assert root == case.states.tree.root
    for segment in range(case.training.segment_count):
        assert case.fault(case.open(segment), (segment,)) is None
    everything = tuple(range(case.training.segment_count))
    assert case.fault(case.open(*everything), everything) is None


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_honest_work_by_blocks_passes_too(sparse: bool, phase: int) -> None:
    """200 rows in blocks of 64 and one of 8; segments of 48 steps begin and end inside of blocks."""
    case = Case(phase=phase, sparse=sparse, samples=200, blocks=True)
    assert case.training.segment_count == 5
    for segment in range(5):
        opening = case.open(segment)
        assert 1 <= len(opening.segments[0].blocks) <= 3
        assert case.fault(opening, (segment,)) is None
    forged = case.forged(2)
    opening = decode(forged.open(case.rows, [2]), Opening)
    assert "does not give" in (case.fault(opening, (2,), forged.payload()) or "")
    fewer = replace(opening.segments[0], blocks=opening.segments[0].blocks[1:])
    assert "blocks of rows are open" in (case.fault(replace(opening, segments=(fewer,)), (2,), forged.payload()) or "")


@pytest.mark.parametrize("phase", [0, 1])
def test_a_forged_segment_is_caught_where_it_is_opened_and_only_there(phase: int) -> None:
    """The segments around it are honest work from what stands before them."""
    case = Case(phase=phase)
    forged = case.forged(2)
    for segment in range(case.training.segment_count):
        opening = decode(forged.open(case.rows, [segment]), Opening)
        fault = case.fault(opening, (segment,), forged.payload())
        assert (fault == "segment 2: its work does not give the committed state") is (segment == 2)


def test_work_on_other_rows_is_caught() -> None:
    """Rows that were not committed have no way to the root; nor have committed ones in another's place."""
    case, other = Case(), CommittedRows.of(random_data(Case().problem, 23, 2), SECRET)
    opening = decode(case.states.open(other, [1]), Opening)
    assert "is not the committed one" in (case.fault(opening, (1,)) or "")
    segment = case.open(1).segments[0]
    turned = replace(segment, blocks=segment.blocks[::-1])
    assert "is not the committed one" in (case.fault(replace(case.open(1), segments=(turned,)), (1,)) or "")


def spoil_state(opened: OpenedState) -> OpenedState:
    return replace(opened, state=bytes([opened.state[0] ^ 1]) + opened.state[1:])


def with_segment(opening: Opening, **changes: object) -> Opening:
    return replace(opening, segments=(replace(opening.segments[0], **changes),))


SPOILT = {
    "another segment": lambda o: replace(o, segments=(replace(o.segments[0], number=2),)),
    "no segment": lambda o: replace(o, segments=()),
    "twice": lambda o: replace(o, segments=o.segments * 2),
    "the last state": lambda o: replace(o, last=spoil_state(o.last)),
    "the last state cut": lambda o: replace(o, last=replace(o.last, state=b"")),
    "the state before": lambda o: replace(
        o, segments=(replace(o.segments[0], before=spoil_state(o.segments[0].before)),)
    ),
    "no state before": lambda o: replace(o, segments=(replace(o.segments[0], before=None),)),
    "the state after": lambda o: replace(o, segments=(replace(o.segments[0], after=spoil_state(o.segments[0].after)),)),
    "a row too few": lambda o: replace(o, segments=(replace(o.segments[0], blocks=o.segments[0].blocks[1:]),)),
    "sparse rows": lambda o: replace(o, is_sparse=True),
    "a proof": lambda o: replace(o, last=replace(o.last, proof=o.last.proof[1:])),
    "a salt": lambda o: replace(o, last=replace(o.last, salt=bytes(32))),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("phase", [0, 1])
def test_each_way_to_spoil_an_opening_is_refused(spoil, phase: int) -> None:
    """Whatever is opened must be what was asked for and what was committed."""
    case = Case(phase=phase)
    assert case.fault(spoil(case.open(1)), (1,))


def test_a_payload_that_does_not_follow_is_refused() -> None:
    """The update's vector is the last state's, to the bit."""
    case = Case()
    payload = bytearray(case.states.payload())
    payload[0] ^= 1
    assert case.fault(case.open(1), (1,), bytes(payload)) == "the payload does not follow from the last state"


def test_a_segment_that_moves_too_far_is_refused() -> None:
    """Honest or not: a plan bounds what one segment may do."""
    case = Case()
    strict = replace(POLICY, segment_clip=Number.of("0.0001"))
    fault = find_fault(strict, case.training, case.rows.root, case.states.payload(), (1,), encode(case.open(1)))
    assert fault == "segment 1: it moved further than verification.audit.segment_clip = 0.0001"


@given(st.binary(max_size=300), st.binary(max_size=80))
@settings(max_examples=60)
def test_any_bytes_are_judged(opening: bytes, payload: bytes) -> None:
    """Verifiers read what strangers send."""
    assert find_fault(POLICY, a_case().training, ZERO_HASH, payload, (0,), opening)


@given(st.integers(0, 10_000), st.integers(1, 9), st.booleans())
@settings(max_examples=40)
def test_rows_come_back_as_they_were_committed(seed: int, size: int, sparse: bool) -> None:
    """Encoding loses nothing, whatever the rows and however many a block has."""
    data = random_data(a_case().problem, 7, seed, density=0.5)
    data = to_sparse(data) if sparse else data
    blocks = Blocks(7, size)
    encoded, counts = list(encode_blocks(data, size)), [blocks.rows_in(number) for number in range(len(blocks))]
    assert sum(counts) == 7
    again = decode_blocks(encoded, counts, 5, is_sparse=sparse)
    assert encode_block(again, 0, 7) == encode_block(data, 0, 7)


@given(st.lists(st.integers(0, 199), min_size=1, max_size=90, unique=True), st.sampled_from([1, 64]))
def test_rows_are_found_again_among_their_blocks(places: list[int], size: int) -> None:
    """200 rows: the last block of 64 has but 8."""
    blocks, wanted = Blocks(200, size), np.asarray(places)
    numbers = blocks.holding(wanted)
    shown = np.concatenate(
        [np.arange(200)[number * size : number * size + blocks.rows_in(number)] for number in numbers]
    )
    assert shown[blocks.within(wanted, numbers)].tolist() == places
    assert len(numbers) <= len(places)


@given(st.binary(max_size=160), st.integers(1, 3), st.booleans())
def test_bytes_that_are_no_rows_are_refused(block: bytes, count: int, sparse: bool) -> None:
    """By ``PayloadError`` or not at all: a block that reads is one."""
    try:
        data = decode_blocks([block], [count], 5, is_sparse=sparse)
    except PayloadError:
        return
    assert encode_block(data, 0, count) == block


@given(st.lists(st.lists(st.integers(-2, 6), max_size=4), min_size=1, max_size=4))
def test_columns_rise_within_each_row(columns: list[list[int]]) -> None:
    """Whatever the rows before and after it are, empty ones too."""
    flat = [column for row in columns for column in row]
    starts = np.cumsum([0, *map(len, columns)])
    rising = all(0 <= column < 5 for column in flat) and all(sorted(set(row)) == row for row in columns)
    sizes, values = np.asarray(list(map(len, columns)), "<u4"), np.ones(len(flat), "<f8")
    block = b"".join(part.tobytes() for part in (np.zeros(len(columns)), sizes, np.asarray(flat, "<i4"), values))
    if rising:
        assert decode_blocks([block], [len(columns)], 5, is_sparse=True).indptr.tolist() == starts.tolist()  # type: ignore[union-attr]
    else:
        with pytest.raises(PayloadError, match="rise"):
            decode_blocks([block], [len(columns)], 5, is_sparse=True)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -(2.0**20) - 1, 2.0**20 + 1])
def test_a_value_that_is_no_number_in_range_is_refused(wrong: float, size: int, sparse: bool) -> None:
    """As a label or as a feature, in whichever block; the limit itself is a value."""
    data = random_data(a_case().problem, 7, 1, density=1.0)
    assert isinstance(data, DenseData)
    for at in (0, 6):
        for label in (False, True):
            for value in (wrong, 2.0**20, -(2.0**20)):
                x, y = data.x.copy(), data.y.copy()
                if label:
                    y[at] = value
                else:
                    x[at, 2] = value
                bad = to_sparse(DenseData(x, y)) if sparse else DenseData(x, y)
                shown = list(encode_blocks(bad, size)), [min(size, 7 - first) for first in range(0, 7, size)]
                if value is wrong:
                    with pytest.raises(PayloadError, match=r"not a number within"):
                        decode_blocks(*shown, 5, is_sparse=sparse)
                else:
                    assert encode_block(decode_blocks(*shown, 5, is_sparse=sparse), 0, 7) == encode_block(bad, 0, 7)


def test_the_first_block_with_other_entries_is_named() -> None:
    """Rows that say more entries than their block has, or fewer, or a byte too many; the room of none is left."""
    blocks = list(encode_blocks(to_sparse(random_data(a_case().problem, 6, 1, density=1.0)), 2))
    for number in range(3):
        block = blocks[number]
        more = block[:16] + (9).to_bytes(4, "little") + block[20:]
        for other in (more, block[:16] + bytes(8) + block[24:], block + b"x", block[:-12], block + bytes(12)):
            shown = [*blocks[:number], other, *blocks[number + 1 :]]
            with pytest.raises(PayloadError, match=f"sparse block of {len(other)} bytes with 2 rows has other values"):
                decode_blocks(shown, [2, 2, 2], 5, is_sparse=True)


# --- what is asked, and what a forger risks --------------------------------------------------------------------------


def beacons(count: int) -> list[Hash]:
    return [content_id(number.to_bytes(4, "big")) for number in range(count)]


@given(st.integers(1, 40), st.integers(1, 64), st.binary(min_size=32, max_size=32))
def test_segments_are_drawn_without_repetition(count: int, openings: int, beacon: bytes) -> None:
    """As many as the plan says, or all; the same for everybody."""
    policy = replace(POLICY, openings=openings)
    drawn = draw_segments(policy, Hash(beacon), ZERO_HASH, DEVICE, count)
    assert drawn == draw_segments(policy, Hash(beacon), ZERO_HASH, DEVICE, count)
    assert len(drawn) == len(set(drawn)) == min(openings, count)
    assert list(drawn) == sorted(drawn)
    assert all(0 <= number < count for number in drawn)


@pytest.mark.parametrize(("percent", "openings", "segments", "forged"), [(100, 1, 8, 1), (100, 2, 8, 1), (40, 2, 6, 1)])
def test_forgers_escape_as_often_as_the_plan_says(percent: int, openings: int, segments: int, forged: int) -> None:
    """The promise against 4,000 beacons: one forged segment of m escapes s openings with 1 − s/m."""
    policy = replace(POLICY, percent=percent, openings=openings)
    promised = escape_chance(policy, segments, forged)
    assert promised == 1 - Fraction(percent, 100) * Fraction(openings, segments)
    escaped = 0
    for beacon in beacons(4000):
        caught = is_audited(policy, beacon, ZERO_HASH, DEVICE) and any(
            number < forged for number in draw_segments(policy, beacon, ZERO_HASH, DEVICE, segments)
        )
        escaped += not caught
    assert abs(escaped / 4000 - float(promised)) < 0.035


@pytest.mark.parametrize(("share", "expected"), [(Fraction(1, 4), Fraction(15, 28)), (Fraction(1), Fraction(0))])
def test_a_share_of_forged_segments_escapes_less(share: Fraction, expected: Fraction) -> None:
    """Two of eight, two opened: both openings among the six honest ones, 6·5/(8·7)."""
    assert escape_chance(POLICY, 8, share) == expected
    escaped = sum(
        all(number >= 2 for number in draw_segments(POLICY, beacon, ZERO_HASH, DEVICE, 8)) for beacon in beacons(4000)
    )
    if share < 1:
        assert abs(escaped / 4000 - float(expected)) < 0.035


def test_a_real_forger_is_caught_at_the_promised_rate() -> None:
    """Not only in the arithmetic: work with one forged segment of six, opened as 300 beacons ask."""
    case = Case()
    forged = case.forged(2)
    policy = replace(POLICY, openings=2)
    verdicts: dict[tuple[int, ...], bool] = {}
    passed = 0
    for beacon in beacons(300):
        asked = draw_segments(policy, beacon, case.task.digest, DEVICE, case.training.segment_count)
        if asked not in verdicts:
            opening = forged.open(case.rows, asked)
            fault = find_fault(policy, case.training, case.rows.root, forged.payload(), asked, opening)
            verdicts[asked] = fault is None
        passed += verdicts[asked]
    promised = escape_chance(policy, case.training.segment_count, 1)
    assert abs(passed / 300 - float(promised)) < 0.1
