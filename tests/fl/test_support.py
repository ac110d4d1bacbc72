"""Updates of the support: what travels is a part, what is settled is what whole vectors would settle, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from chain.fixedpoint import VALUE_MAX, ScatteredSum, weighted_sum
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.number import Number
from fl.aggregate import unpack_wide
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.carry import read_carry
from fl.algorithms.support import expanded, form_of, shared_gradient, shared_update
from fl.dataset import Dataset, rows
from fl.envelope import largest_payload, read_contribution
from fl.errors import DataError, PayloadError
from fl.models import initial_model
from fl.payload import LOSS_MAX
from fl.plan.dimensions import settle_work
from fl.plan.schema import Audit, Dane, FedSvrg, Median, NoCompression, Support
from fl.plan.validate import check_plan
from fl.policies import Facts, check_update
from fl.presence import feature_presence
from fl.problem import Problem, compile_problem
from fl.support import Form, coordinates, parse_support, write_support
from fl.task import Task
from fl.train import train_federated
from fl.varints import pack_signed, pack_varints, unpack_signed, unpack_varints
from tests.fl.problems import make_plan, make_problem, random_data, sparse_federation

FORM = Form(features=300, limit=9, units=2, rest=3, has_loss=True, has_counts=True)


def supported(problem: Problem, limit: int | None = None) -> Problem:
    """Return the same problem with updates of the support."""
    return compile_problem(replace(problem.plan, version=2, compression=Support(limit or problem.features)))


@st.composite
def said(draw: st.DrawFn, form: Form = FORM) -> Contribution:
    """Draw what a payload of the form may say."""
    features = np.array(sorted(draw(st.sets(st.integers(0, form.features - 1), max_size=form.limit))), np.int64)
    size = features.size * form.units + form.rest
    vector = draw(st.lists(st.integers(-VALUE_MAX, VALUE_MAX), min_size=size, max_size=size))
    counts = draw(st.lists(st.integers(1, 2**32 - 1), min_size=features.size, max_size=features.size))
    return Contribution(
        np.array(vector, np.int64), np.array(counts, np.int64), draw(st.integers(0, LOSS_MAX)), features
    )


def written(one: Contribution) -> bytes:
    assert one.features is not None
    return write_support(one.features, one.vector, one.loss, one.counts)


@given(said())
@settings(max_examples=50)
def test_a_payload_is_read_as_it_was_written(one: Contribution) -> None:
    """Features, values, counts and loss come back, from no more bytes than the form has."""
    payload = written(one)
    found = parse_support(payload, FORM)
    assert len(payload) <= FORM.most_bytes()
    assert found.features is not None
    assert one.features is not None
    assert found.counts is not None
    assert one.counts is not None
    assert found.features.tolist() == one.features.tolist()
    assert found.vector.tolist() == one.vector.tolist()
    assert found.counts.tolist() == one.counts.tolist()
    assert found.loss == one.loss


@given(said(), st.data())
@settings(max_examples=100)
def test_other_bytes_are_refused_or_say_something_else(one: Contribution, data: st.DataObject) -> None:
    """A byte changed, put in or taken out: PayloadError, or a contribution whose one encoding these bytes are."""
    payload = bytearray(written(one))
    at = data.draw(st.integers(0, len(payload) - 1))
    match data.draw(st.sampled_from(["change", "insert", "delete", "cut"])):
        case "change":
            payload[at] = data.draw(st.integers(0, 255))
        case "insert":
            payload.insert(at, data.draw(st.integers(0, 255)))
        case "delete":
            del payload[at]
        case _:
            del payload[at:]
    try:
        found = parse_support(bytes(payload), FORM)
    except PayloadError:
        return
    assert written(found) == bytes(payload)


@given(st.binary(max_size=120))
@settings(max_examples=100)
def test_no_bytes_crash_the_reader(payload: bytes) -> None:
    """Any bytes at all are read back as they are, or refused."""
    try:
        assert written(parse_support(payload, FORM)) == payload
    except PayloadError:
        return


def test_a_payload_that_names_too_much_is_refused_before_memory_is_taken() -> None:
    """Four bytes that promise 2**32 - 1 features, and one feature over the plan's limit."""
    with pytest.raises(PayloadError, match="at most 9 may be"):
        parse_support(b"\xff" * 4, FORM)
    many = np.arange(10, dtype=np.int64)
    with pytest.raises(PayloadError, match="at most 9 may be"):
        parse_support(write_support(many, np.zeros(23, np.int64), 0, many + 1), FORM)


def test_features_beyond_the_plan_and_absent_counts_are_refused() -> None:
    """The last feature there is passes, the next one does not, and neither does a count of 0."""
    value, one = np.zeros(5, np.int64), np.ones(1, np.int64)
    assert parse_support(write_support(np.array([299]), value, 0, one), FORM).features is not None
    with pytest.raises(PayloadError, match="feature 300"):
        parse_support(write_support(np.array([300]), value, 0, one), FORM)
    with pytest.raises(PayloadError, match="counts"):
        parse_support(write_support(np.array([299]), value, 0, 0 * one), FORM)


@given(st.lists(st.integers(-VALUE_MAX, VALUE_MAX), max_size=30), st.binary(max_size=3), st.data())
@settings(max_examples=100)
def test_values_with_signs_come_back_and_have_one_encoding(
    values: list[int], behind: bytes, data: st.DataObject
) -> None:
    """They are the varints of 2·|x|, less 1 below 0; bytes that are cut or changed say other values, or none."""
    vector = np.array(values, np.int64)
    packed = pack_signed(vector)
    assert packed == pack_varints(2 * np.abs(vector) - (vector < 0), 8)
    found, end = unpack_signed(packed + behind, 0, len(values))
    assert (found.tolist(), end) == (values, len(packed))
    if not packed:
        return
    at, byte = data.draw(st.integers(0, len(packed) - 1)), data.draw(st.integers(0, 255))
    changed = packed[:at] + bytes([byte]) + packed[at + 1 :]
    try:
        found, end = unpack_signed(changed[: data.draw(st.integers(at, len(packed)))], 0, len(values))
    except PayloadError:
        return
    assert pack_signed(found) == changed[:end]


def test_a_value_beyond_the_largest_is_refused() -> None:
    """2**53 either way passes, one unit more does not; 9 bytes never do."""
    for value in (VALUE_MAX, -VALUE_MAX):
        assert unpack_signed(pack_signed(np.array([value])), 0, 1)[0].tolist() == [value]
        with pytest.raises(PayloadError, match="in size"):
            unpack_signed(pack_signed(np.array([value + (1 if value > 0 else -1)])), 0, 1)
    with pytest.raises(PayloadError, match="longer"):
        unpack_signed(b"\xff" * 8 + b"\x01", 0, 1)


@given(st.lists(st.integers(0, 2**35 - 1), max_size=30))
@settings(max_examples=50)
def test_varints_come_back(values: list[int]) -> None:
    """Each of them in its shortest form."""
    packed = pack_varints(np.array(values, np.int64))
    found, end = unpack_varints(packed, 0, len(values))
    assert found.tolist() == values
    assert end == len(packed) == sum(max(1, -(-value.bit_length() // 7)) for value in values)


@given(
    st.lists(
        st.tuples(
            st.lists(st.none() | st.integers(-VALUE_MAX, VALUE_MAX), min_size=3, max_size=3), st.integers(0, 2**32 - 1)
        ),
        max_size=20,
    )
)
@settings(max_examples=50)
def test_a_scattered_sum_is_the_sum_of_whole_vectors(entries: list[tuple[list[int | None], int]]) -> None:
    """With any weights, a carry of limbs on the way included."""
    found = ScatteredSum(3)
    for values, weight in entries:
        places = [place for place, value in enumerate(values) if value is not None]
        found.add(np.array(places, np.int64), np.array([values[place] for place in places], np.int64), weight)
    whole = [np.array([value or 0 for value in values], np.int64) for values, _ in entries]
    assert found.total() == (weighted_sum(whole, [weight for _, weight in entries]) or [0, 0, 0])


# --- the same as with whole vectors ----------------------------------------------------------------

KINDS = [
    make_problem(12, "logistic", l2="0.03"),
    make_problem(12, "linear", l2="0.5", algorithm=FedSvrg(Number.of("0.1"), True, False)),
    make_problem(12, "softmax", classes=3, l2="0.01", algorithm=FedSvrg(Number.of("0.3"), False, True)),
    make_problem(12, "logistic", l2="0.01", intercept=False, algorithm=FedSvrg(Number.of("0.3"), False, False)),
    make_problem(12, "softmax", classes=3, l2="0.01", hidden=((4, "tanh"),)),
]


def a_task(phase: int) -> Task:
    return Task(ZERO_HASH, 0, 0, phase, ZERO_HASH, ZERO_HASH, ZERO_HASH, Hash(bytes(32)))


def a_model(problem: Problem, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed).normal(0.0, 0.3, problem.dimension)
    model: NDArray[np.int64] = initial_model(problem.plan) + np.rint(random * 2**problem.fraction_bits).astype(np.int64)
    return model


def whole(problem: Problem, one: Contribution, absent: list[int], weight: int) -> Contribution:
    """Return the full vector that a contribution stands for, and the counts of all features."""
    form = form_of(problem, 0)
    assert one.features is not None
    vector = np.array(absent, dtype=np.int64) * weight
    vector[coordinates(one.features, form)] = one.vector
    counts = None
    if one.counts is not None:
        counts = np.zeros(problem.features, np.int64)
        counts[one.features] = one.counts
    return Contribution(vector, counts, one.loss)


@given(st.sampled_from(KINDS), st.integers(0, 2**16), st.integers(1, 6), st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_settled_is_what_whole_vectors_settle(
    plain: Problem, seed: int, devices: int, data: st.DataObject
) -> None:
    """Carry, loss, norm and model are the same to the bit, whoever drops out between the exchanges."""
    problem, algorithm = supported(plain), plain.algorithm
    model = a_model(problem, seed)
    parts = [random_data(problem, 3 + k, seed + k, density=0.15, sparse=bool(k % 2)) for k in range(devices)]
    seeds = [bytes([k]) * 32 for k in range(devices)]

    def collected(phase: int, carry: bytes, absent: list[int], who: list[int]) -> tuple[list[Settled], list[Settled]]:
        ours, theirs = [], []
        for k in who:
            payload = algorithm.train(problem, phase, model, carry, parts[k], seeds[k])
            one = read_contribution(problem, phase, payload)
            assert len(payload) <= largest_payload(problem)
            assert check_update(problem, phase, Facts(rows(parts[k]), 0, 0, 1), one) is None
            full = whole(problem, one, absent, rows(parts[k]) if phase == 0 else 1)
            account = AccountId(bytes([k]) * 32)
            ours.append(Settled.of(account, rows(parts[k]), one))
            theirs.append(Settled.of(account, rows(parts[k]), full))
        return ours, theirs

    ours, theirs = collected(0, b"", shared_gradient(problem, model), list(range(devices)))
    found, expected = algorithm.settle(problem, 0, model, b"", ours), algorithm.settle(plain, 0, model, b"", theirs)
    assert (found.carry, found.loss) == (expected.carry, expected.loss)
    assert found.gradient_norm_squared == expected.gradient_norm_squared
    carry = read_carry(found.carry)
    absent = shared_update(problem, unpack_wide(carry.gradient), carry.samples)
    who = data.draw(st.lists(st.sampled_from(range(devices)), unique=True))
    ours, theirs = collected(1, found.carry, absent, who)
    moved, also = (
        algorithm.settle(problem, 1, model, found.carry, ours).model,
        algorithm.settle(plain, 1, model, found.carry, theirs).model,
    )
    assert moved is not None
    assert also is not None
    assert moved.tolist() == also.tolist()


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_device_says_of_its_features_what_it_says_in_a_whole_vector(number: int) -> None:
    """Both exchanges: the same training, and only what concerns no row of it is left out."""
    plain = KINDS[number]
    problem, model = supported(plain), a_model(plain, 3)
    data, seed = random_data(plain, 6, 5, density=0.1, sparse=True), b"s" * 32
    carry = b""
    for phase in (0, 1):
        part = read_contribution(problem, phase, problem.algorithm.train(problem, phase, model, carry, data, seed))
        full = read_contribution(plain, phase, plain.algorithm.train(plain, phase, model, carry, data, seed))
        assert part.features is not None
        assert part.features.tolist() == np.flatnonzero(feature_presence(data)).tolist()
        assert 0 < part.features.size < plain.features
        assert part.vector.tolist() == full.vector[coordinates(part.features, form_of(problem, phase))].tolist()
        carry = problem.algorithm.settle(
            problem, 0, model, b"", [Settled.of(AccountId(ZERO_HASH), rows(data), part)]
        ).carry


def test_the_shared_movement_is_that_of_a_device_without_the_feature() -> None:
    """Within a thousandth of what its little steps give, never over update_clip; its gradient to half a unit a row."""
    plain = make_problem(12, "logistic", l2="0.05")
    problem, model = supported(plain), a_model(plain, 9)
    data, other = random_data(plain, 40, 1, density=0.1, sparse=True), random_data(plain, 50, 2)
    full = [
        Settled.of(AccountId(bytes([k]) * 32), rows(part), read_contribution(plain, 0, plain.algorithm.train(
            plain, 0, model, b"", part, b"")))
        for k, part in enumerate([data, other])
    ]  # fmt: skip
    encoded = plain.algorithm.settle(plain, 0, model, b"", full).carry
    carry = read_carry(encoded)
    shared = np.array(shared_update(problem, unpack_wide(carry.gradient), carry.samples), np.float64)
    # A device that lacks features 0 … 5, and moves there by nothing but the global gradient and the L2 term.
    lacking = random_data(plain, 40, 1, sparse=True)
    keep = lacking.indices >= 6  # type: ignore[union-attr]
    starts = np.concatenate([[0], np.cumsum(keep)])[lacking.indptr]  # type: ignore[union-attr]
    lacking = type(lacking)(starts, lacking.indices[keep], lacking.values[keep], 12, lacking.y)  # type: ignore
    moved = read_contribution(plain, 1, plain.algorithm.train(plain, 1, model, encoded, lacking, b"s" * 32)).vector[:6]
    assert np.allclose(shared[:6], moved, rtol=1e-3)
    gradient = read_contribution(plain, 0, plain.algorithm.train(plain, 0, model, b"", lacking, b"s" * 32)).vector[:6]
    assert int(np.abs(gradient).min()) > 1_000_000
    assert np.abs(gradient - 40 * np.array(shared_gradient(problem, model)[:6])).max() <= 21  # half a unit a row
    most = 100 << problem.fraction_bits
    assert set(map(abs, shared_update(problem, [2**60, -(2**60)], 1))) == {most}


def test_it_learns_as_well_as_with_whole_vectors() -> None:
    """The federation of the known answers: its losses go down alike (its orders are others)."""
    federation: dict[str, Dataset] = sparse_federation()
    plain = make_problem(
        2000, algorithm=FedSvrg(Number.of("12"), True, True), rounds=3, devices=200, l2="0.00008", intercept=False,
        fraction_bits=36, sample_clip="10", update_clip="20",
    )  # fmt: skip
    whole, part = train_federated(plain, federation), train_federated(supported(plain, 400), federation)
    losses = [[*(report.loss for report in run.history), run.loss] for run in (whole, part)]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert losses[1][-1] < losses[1][0] - 0.09


# --- plans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 1}, "compression.type"),
        ({"algorithm": Dane(Number.of(1), Number.of(1), Number.of(0), 1)}, "algorithm.name"),
        ({"aggregation": Median()}, "aggregation.type"),
        ({"compression": Support(13)}, "compression.features"),
    ],
)
def test_plans_in_which_it_makes_no_sense_are_refused_by_name(change: dict[str, object], field: str) -> None:
    """A format that has no such thing, steps or rules that need whole vectors, more features than there are."""
    plan = supported(make_problem(12)).plan
    assert check_plan(plan) == ()
    assert [problem.field for problem in check_plan(replace(plan, **change))] == [field]


def test_audits_and_a_large_l2_are_refused() -> None:
    """Audits commit to whole vectors; an l2 over 1 could leave the range of numbers where nothing is clipped."""
    plan = supported(make_problem(12)).plan
    policies = (*plan.verification.policies, Audit(100, 1, 1, 20, Number.of(1)))
    audited = replace(plan, verification=replace(plan.verification, policies=policies))
    assert "verification.audit" in [problem.field for problem in check_plan(audited)]
    steep = replace(plan, model=replace(plan.model, l2=Number.of("1.5")))
    assert [problem.field for problem in check_plan(steep)] == ["model.l2"]


def test_settling_is_paid_by_what_may_travel() -> None:
    """Ten times the devices with a tenth of the features cost as much for values; without the option, ten times."""

    def values(devices: int, limit: int | None) -> int:
        plan = make_plan(10_000, devices=devices, intercept=False)
        plan = replace(plan, version=2, compression=NoCompression() if limit is None else Support(limit))
        return settle_work(plan) - settle_work(replace(plan, version=2, compression=Support(1)))

    assert values(1000, 1001) == values(100, 10_001 - 1) + 50 * (1000 * 1000 - 100 * 9999)
    assert values(1000, None) > 9 * values(1000, 1001)


def test_a_device_with_more_features_than_the_plan_lets_it_name_is_told() -> None:
    """It learns why it can't take part, before anything is sent."""
    problem = supported(make_problem(12), 3)
    with pytest.raises(DataError, match=r"compression\.features"):
        problem.algorithm.train(problem, 0, a_model(problem, 1), b"", random_data(problem, 5, 1), b"s" * 32)


def test_the_holdout_looks_at_what_was_sent() -> None:
    """Where a device says nothing, the model it is judged by does not move."""
    problem = supported(make_problem(4, "softmax", classes=3))
    one = Contribution(np.arange(1, 10), None, 0, np.array([0, 2]))
    assert expanded(problem, one).tolist() == [1, 2, 3, 0, 0, 0, 4, 5, 6, 0, 0, 0, 7, 8, 9]
