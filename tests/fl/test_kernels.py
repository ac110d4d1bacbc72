"""Kernels and their plain-Python references agree bit for bit (docs/learning.md)."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl.dataset import Dataset, DenseData, SparseData, rows, take_rows
from fl.kernels import elementary, losses, reference, sparse
from fl.kernels.shuffle import shuffle, skip
from fl.models import Model, StepRule
from fl.permutation import BLOCK_ROWS, SplitMix, part_shuffled, pass_state, shuffled

SHAPES = [
    ("linear", (5, 1), ()),
    ("logistic", (17, 1), ()),
    ("softmax", (4, 3), ()),
]
NETWORKS = [
    ("logistic", (3, 4, 1), ("tanh",)),
    ("softmax", (4, 3, 2, 3), ("relu", "tanh")),
    ("linear", (2, 9, 1), ("relu",)),
]


def a_model(shape: tuple[str, tuple[int, ...], tuple[str, ...]], intercept: bool) -> Model:
    kind, sizes, activations = shape
    return Model(kind, sizes, activations, intercept, 0.01)  # type: ignore[arg-type]


def some_rows(model: Model, count: int, random: np.random.Generator, *, is_sparse: bool) -> Dataset:
    x = random.normal(0.0, 1.0, (count, model.features)) * (random.random((count, model.features)) < 0.5)
    y = random.normal(0.0, 1.0, count)
    if model.loss != "linear":
        y = random.integers(0, max(2, model.classes), count).astype(np.float64)
    if not is_sparse:
        return DenseData(x, y)
    row, column = np.nonzero(x)
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))]).astype(np.int64)
    return SparseData(starts, column.astype(np.int32), x[row, column], model.features, y)


def as_lists(data: Dataset) -> list[reference.Row] | list[reference.SparseRow]:
    if isinstance(data, DenseData):
        return [list(map(float, row)) for row in data.x]
    bounds = data.indptr.tolist()
    entries = list(zip(data.indices.tolist(), data.values.tolist(), strict=True))
    return [entries[start:end] for start, end in pairwise(bounds)]


def a_rule(
    model: Model, count: int, batch: int, corrected: bool, random: np.random.Generator, segment: int = 0
) -> StepRule:
    per_feature = random.uniform(0.9, 1.0, model.features)
    return StepRule(
        order=random.permutation(count).astype(np.int64),
        batch=batch,
        corrected=corrected,
        decay=model.spread(per_feature, 1.0),
        gain=random.uniform(0.0, 0.3, model.dimension),
        drift=random.normal(0.0, 0.05, model.dimension),
        segment=segment,
    )


def as_reference(rule: StepRule) -> reference.Rule:
    arrays = (rule.decay, rule.gain, rule.drift)
    lists = [array.tolist() for array in arrays]
    return reference.Rule(rule.order.tolist(), rule.batch, rule.corrected, *lists, segment=rule.segment)


def same_bits(found: NDArray[np.float64], expected: list[float]) -> bool:
    return bool(np.array_equal(found, np.array(expected)))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(0, 2**32),
)
def test_a_model_without_hidden_layers_computes_what_its_reference_says(
    shape: tuple[str, tuple[int, ...], tuple[str, ...]],
    intercept: bool,
    is_sparse: bool,
    corrected: bool,
    count: int,
    batch: int,
    segment: int,
    seed: int,
) -> None:
    """Gradient, loss and a pass of steps, whole or in segments, dense and sparse, one output and several."""
    random = np.random.default_rng(seed)
    model = a_model(shape, intercept)
    data, weights = some_rows(model, count, random, is_sparse=is_sparse), random.normal(0.0, 1.0, model.dimension)
    rule = a_rule(model, count, batch, corrected, random, segment)
    lists, labels = as_lists(data), data.y.tolist()

    from fl.models import compute

    vector, loss = compute.gradient(model, weights, data)
    expected, expected_loss = reference.gradient(
        model.loss, lists, labels, weights.tolist(), model.features, model.classes, is_sparse=is_sparse
    )
    assert same_bits(vector, expected)
    assert loss == expected_loss

    steps = reference.sparse_steps if is_sparse else reference.dense_steps
    moved = steps(
        model.loss,
        lists,
        labels,
        weights.tolist(),
        model.features,
        model.classes,
        as_reference(rule),  # type: ignore[arg-type]
    )
    assert same_bits(model.steps(weights, data, rule), moved)


@pytest.mark.parametrize("widest", [10, 400])
def test_a_sparse_pass_of_many_portions_has_the_bits_of_its_reference(widest: int) -> None:
    """Factors are found a portion of rows ahead: long passes, rows without entries, and one that is far longer."""
    random = np.random.default_rng(widest)
    model = a_model(("logistic", (400, 1), ()), True)
    sizes = np.where(random.random(500) < 0.1, 0, random.integers(1, 11, 500))
    sizes[77] = widest
    picked = [np.sort(random.choice(400, size, replace=False)) for size in sizes]
    places, starts = np.concatenate(picked).astype(np.int32), np.concatenate([[0], np.cumsum(sizes)])
    y = random.integers(0, 2, 500).astype(np.float64)
    data = SparseData(starts, places, random.normal(0.0, 1.0, places.size), 400, y)
    assert 2 * sparse.portion_rows(starts, widest) < 500
    weights, rule = random.normal(0.0, 1.0, model.dimension), a_rule(model, 500, 1, True, random)
    expected = reference.sparse_steps(
        "logistic",
        as_lists(data),
        y.tolist(),
        weights.tolist(),
        400,
        1,
        as_reference(rule),  # type: ignore[arg-type]
    )
    assert same_bits(model.steps(weights, data, rule), expected)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(NETWORKS), st.booleans(), st.booleans(), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**32)
)
def test_a_network_computes_what_its_reference_says(
    shape: tuple[str, tuple[int, ...], tuple[str, ...]],
    intercept: bool,
    corrected: bool,
    count: int,
    batch: int,
    seed: int,
) -> None:
    """Outputs, gradient, loss and a pass of steps; sparse rows give the same bits as the dense ones they stand for."""
    random = np.random.default_rng(seed)
    model = a_model(shape, intercept)
    data, weights = some_rows(model, count, random, is_sparse=False), random.normal(0.0, 1.0, model.dimension)
    twin = some_rows(model, count, np.random.default_rng(seed), is_sparse=True)
    rule = a_rule(model, count, batch, corrected, random)
    network = reference.Network(model.loss, model.sizes, model.activations, intercept)
    lists, labels = [list(row) for row in as_lists(data)], data.y.tolist()

    from fl.models import compute

    expected, expected_loss = [0.0] * model.dimension, 0.0
    for row, label in zip(lists, labels, strict=True):
        expected_loss = expected_loss + network.add_gradient(1.0, row, label, weights.tolist(), expected)
    vector, loss = compute.gradient(model, weights, data)
    assert same_bits(vector, expected)
    assert loss == expected_loss
    assert same_bits(model.outputs(weights, data)[0], network.values(lists[0], weights.tolist())[-1])

    moved = model.steps(weights, data, rule)
    assert same_bits(moved, network.steps(lists, labels, weights.tolist(), as_reference(rule)))
    assert moved.tobytes() == model.steps(weights, twin, rule).tobytes()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*SHAPES, *NETWORKS]),
    st.booleans(),
    st.booleans(),
    st.integers(2, 20),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_a_segment_alone_has_the_bits_it_has_in_the_whole_pass(
    shape: tuple[str, tuple[int, ...], tuple[str, ...]],
    intercept: bool,
    is_sparse: bool,
    count: int,
    batch: int,
    segment: int,
    seed: int,
) -> None:
    """From a checkpoint, with the rows of the segment alone, whoever repeats it comes to the next checkpoint."""
    random = np.random.default_rng(seed)
    model = a_model(shape, intercept)
    data, weights = some_rows(model, count, random, is_sparse=is_sparse), random.normal(0.0, 1.0, model.dimension)
    rule = a_rule(model, count, batch, True, random, segment)
    before = np.zeros(model.dimension)
    made = list(model.checkpoints(weights, data, rule))
    assert len(made) == -(-count // (batch * segment))
    for order, after in zip(rule.segments(), made, strict=True):
        alone = replace(rule, order=np.arange(order.size), segment=0)
        assert model.steps(weights, take_rows(data, order), alone, before).tobytes() == after.tobytes()
        before = after
    assert model.steps(weights, data, rule).tobytes() == before.tobytes()
    if not is_sparse:
        assert model.steps(weights, data, replace(rule, segment=0)).tobytes() == before.tobytes()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.booleans(), st.integers(1, 3), st.integers(0, 2**32))
def test_the_lazy_sparse_pass_is_the_dense_pass_up_to_rounding(
    shape: tuple[str, tuple[int, ...], tuple[str, ...]], intercept: bool, batch: int, seed: int
) -> None:
    """Catching features up by powers is another way to write the same recursion."""
    random = np.random.default_rng(seed)
    model = a_model(shape, intercept)
    dense, weights = some_rows(model, 30, random, is_sparse=False), random.normal(0.0, 1.0, model.dimension)
    compressed = some_rows(model, 30, np.random.default_rng(seed), is_sparse=True)
    rule = a_rule(model, 30, batch, True, random)
    assert np.allclose(
        model.steps(weights, dense, rule), model.steps(weights, compressed, rule), rtol=1e-11, atol=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.just(1.0), st.floats(0.5, 1.5), st.floats(-0.5, 0.5)), st.integers(0, 300))
def test_powers_sum_a_geometric_series(ratio: float, steps: int) -> None:
    """(ρ^m, 1 + ρ + … + ρ^(m−1)) bit for bit as the reference, and close to the exact sums."""
    power, total = sparse.powers(ratio, steps)
    assert (power, total) == reference.powers(ratio, steps)
    terms = [ratio**i for i in range(steps)]
    assert power == pytest.approx(ratio**steps, rel=1e-12, abs=1e-300)
    assert total == pytest.approx(sum(terms), rel=1e-9, abs=1e-9 * sum(map(abs, terms)))


ELEMENTARY = [
    ("exp", np.exp, (-745.0, 709.0), 1.0),
    ("log", np.log, (1e-300, 1e3), 1.0),
    ("log1p", np.log1p, (0.0, 1.0), 1.5),
    ("tanh", np.tanh, (-25.0, 25.0), 2.5),
    ("tanh", np.tanh, (-1.0, 1.0), 2.5),
    ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), (-40.0, 40.0), 2.5),
    ("softplus", lambda x: np.logaddexp(np.longdouble(0), x), (-40.0, 40.0), 2.5),
]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs a long double of more than 64 bits")
@pytest.mark.parametrize(("name", "exact", "span", "units"), ELEMENTARY)
def test_elementary_functions_are_right_to_the_last_places(
    name: str, exact: np.ufunc, span: tuple[float, float], units: float
) -> None:
    """Against the C library's extended precision, in units in the last place; bit-equal to the reference."""
    random = np.random.default_rng(3)
    function, twin = getattr(elementary, name), getattr(reference, name)
    values = random.uniform(*span, 4000)
    found = np.array([function(float(x)) for x in values])
    truth = exact(values.astype(np.longdouble))
    assert np.max(np.abs(found - truth) / np.spacing(np.abs(truth).astype(np.float64))) <= units
    assert found[:1000].tolist() == [twin(float(x)) for x in values[:1000]]


@given(st.floats(allow_nan=True, width=64) | st.floats(-760.0, 760.0))
def test_the_short_way_to_a_step_is_the_long_way(m: float) -> None:
    """The pass takes a sigmoid with fewer roundings by powers of two; they are exact, down to the smallest floats."""
    soon, usual = elementary.sigmoid_soon(m), elementary.sigmoid(m)
    assert np.float64(soon).tobytes() == np.float64(usual).tobytes() or np.isnan([soon, usual]).all()
    down = elementary.exp_soon(-abs(m)), elementary.exp(-abs(m))
    assert down[0] == down[1] or np.isnan(down).all()


@given(st.floats(), st.sampled_from([0.0, 1.0]))
def test_what_is_judged_with_one_exponential_has_the_bits_of_each_by_itself(output: float, label: float) -> None:
    """Residual and loss, of any output at all."""
    both = np.array(losses.judge_logistic(output, label))
    alone = np.array(
        [
            losses.residual_of_one(losses.LOGISTIC, output, label),
            losses.loss_of_one(losses.LOGISTIC, output, label),
        ]
    )
    assert ((both.view(np.uint64) == alone.view(np.uint64)) | (np.isnan(both) & np.isnan(alone))).all()


def test_exp_keeps_to_the_edges_of_float64() -> None:
    """Zero, underflow into subnormals and to zero, overflow, NaN."""
    for x in (0.0, -0.0, -740.0, -745.2, -1e9, 709.7, 709.8, 1e9, float("inf"), float("-inf")):
        assert elementary.exp(x) == pytest.approx(float(np.exp(np.float64(min(x, 709.78)))), rel=1e-15) or x > 709.7
    assert elementary.exp(0.0) == 1.0
    assert elementary.exp(1e9) == float("inf")
    assert elementary.exp(-1e9) == 0.0
    assert np.isnan(elementary.exp(float("nan")))


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0xFFF8000000000000])
def test_the_loss_of_what_is_not_a_number_is_not_a_number(bits: int) -> None:
    """Processors differ in the sign of the NaN they make: nothing may be read off its bits."""
    nan = float(np.uint64(bits).view(np.float64))
    assert np.isnan(elementary.log(nan))
    assert np.isnan(losses.softmax_residuals(np.array([0.0, nan]), 0.0, np.zeros(2)))


def test_a_permutation_is_fisher_yates_over_splitmix() -> None:
    """The compiled shuffle draws what the readable generator draws, and every row is there once."""
    for count in (0, 1, 2, 3, 10, 1000):
        order = shuffled(count, b"seed", 4)
        generator, expected = SplitMix(pass_state(b"seed", 4)), list(range(count))
        for last in range(count - 1, 0, -1):
            other = generator.below(last + 1)
            expected[last], expected[other] = expected[other], expected[last]
        assert order.tolist() == expected
        assert sorted(expected) == list(range(count))


def test_blocks_are_permuted_and_then_their_rows() -> None:
    """One generator draws the order of the blocks, then each block's rows in the order they are visited."""
    for count in (0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 10 * BLOCK_ROWS + 7):
        generator, expected = SplitMix(pass_state(b"seed", 4)), []

        def draw(items: list[int], generator: SplitMix = generator) -> list[int]:
            for last in range(len(items) - 1, 0, -1):
                other = generator.below(last + 1)
                items[last], items[other] = items[other], items[last]
            return items

        for block in draw(list(range(-(-count // BLOCK_ROWS)))):
            expected += draw(list(range(count))[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS])
        assert shuffled(count, b"seed", 4, "blocks").tolist() == expected
        assert sorted(expected) == list(range(count))


@given(st.integers(1, 5 * BLOCK_ROWS + 7), st.data())
def test_a_part_of_a_permutation_is_that_part(count: int, data: st.DataObject) -> None:
    """What is drawn before it and not put in order leaves the generator where putting it in order does."""
    first = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(first, count))
    for order in ("full", "blocks"):
        whole = shuffled(count, b"seed", 4, order)
        assert part_shuffled(count, b"seed", 4, order, first, stop).tolist() == whole[first:stop].tolist()


def state_before(word: int) -> int:
    """The state from which ``SplitMix`` draws this word next: its mixing, undone."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        mixed = word
        for _ in range(64 // shift):
            mixed = word ^ (mixed >> shift)
        word = mixed * pow(factor, -1, 2**64) % 2**64
    return (word - 0x9E3779B97F4A7C15) % 2**64


@pytest.mark.parametrize("word", [2**64 - 1 - back for back in (0, 1, 15, 16, 17, 62, 63, 64)])
def test_what_is_drawn_again_is_drawn_again_where_it_is_skipped(word: int) -> None:
    """The words at the end of the range, of which one in 2**58 is refused: 63 leaves a remainder of 16."""
    state = state_before(word)
    assert SplitMix(state).word() == word
    for count in (2, 3, 63, 64):
        generator = SplitMix(state)
        for last in range(count - 1, 0, -1):
            generator.below(last + 1)
        assert int(skip(count, np.uint64(state))) == generator.state
        assert int(shuffle(np.arange(count), np.uint64(state))) == generator.state


def test_splitmix_gives_the_published_sequence() -> None:
    """The first outputs for seed 1234567 of the reference implementation (prng.di.unimi.it)."""
    generator = SplitMix(1234567)
    assert [generator.word() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(0, 2**63 - 1), st.integers(0, 50))
def test_many_draws_at_once_are_the_draws_one_by_one(seed: int, count: int) -> None:
    """First weights of a large network are drawn together; the generator goes on where they end."""
    one, all_at_once = SplitMix(seed), SplitMix(seed)
    assert all_at_once.units(count).tolist() == [one.unit() for _ in range(count)]
    assert all_at_once.word() == one.word()


def test_permutations_are_uniform() -> None:
    """All orders of three rows come up about equally often over many seeds."""
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(1200):
        order = tuple(shuffled(3, seed.to_bytes(4, "big"), 0).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6
    assert max(seen.values()) - min(seen.values()) < 100


def test_rows_are_counted_by_their_labels() -> None:
    """The helper of this file makes the sparse twin of a dense set, else the tests above compare nothing."""
    model = a_model(SHAPES[0], True)
    dense = some_rows(model, 9, np.random.default_rng(1), is_sparse=False)
    compressed = some_rows(model, 9, np.random.default_rng(1), is_sparse=True)
    assert rows(dense) == rows(compressed) == 9
    assert isinstance(dense, DenseData)
    assert isinstance(compressed, SparseData)
    assert compressed.values.size == np.count_nonzero(dense.x) > 0
