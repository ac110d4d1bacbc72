"""What the kernels compute, as plain Python on lists: read this to know the definition, test it to believe the kernels.

Every function returns the same bits as its compiled twin: Python's floats are IEEE 754 binary64 with no fusing and no
reordering. Nothing here is shared with the kernels, the coefficients of series included.

A model is (kind, sizes, activations, biased) with kind "linear" | "logistic" | "softmax"; parameters are one flat list,
layer by layer weights (inputs × units, row by row) then biases. A sparse row is a list of (column, value).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, floor, frexp, ldexp

Row = Sequence[float]
SparseRow = Sequence[tuple[int, float]]

LN2_HIGH = 2977044471 / 2**32
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")


# --- elementary functions ---------------------------------------------------------------------------


def exp(x: float) -> float:
    """Return e**x."""
    if x != x:
        return x
    if x > 709.782712893384:
        return float("inf")
    if x < -745.1332191019412:
        return 0.0
    k = floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    even = _horner(r * r, [1.0 / factorial(n) for n in range(2, 13, 2)])
    odd = _horner(r * r, [1.0 / factorial(n) for n in range(3, 14, 2)])
    value = 1.0 + (r + (r * r) * (even + r * odd))
    return value * ldexp(1.0, k // 2) * ldexp(1.0, k - k // 2)


def log(x: float) -> float:
    """Return the natural logarithm of a positive normal float."""
    half, k = frexp(x)
    m, k = 2.0 * half, k - 1
    if m > 1.4142135623730951:
        m, k = 0.5 * m, k + 1
    f = m - 1.0
    t = f / (2.0 + f)
    z = t * t
    series = z * _horner(z, [2.0 / n for n in range(3, 22, 2)])
    square = 0.5 * f * f
    return k * LN2_HIGH - ((square - (t * (square + series) + k * LN2_LOW)) - f)


def log1p(x: float) -> float:
    """Return log(1+x) for 0 <= x <= 1."""
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u


def tanh(x: float) -> float:
    """Return the hyperbolic tangent."""
    a = abs(x)
    if a > 22.0:
        value = 1.0
    elif a < 0.55:
        y, z = a + a, (a + a) * (a + a)
        even = _horner(z, [1.0 / factorial(n) for n in range(2, 21, 2)])
        odd = _horner(z, [1.0 / factorial(n) for n in range(3, 20, 2)])
        numerator = y + z * (even + y * odd)
        value = numerator / (numerator + 2.0)
    else:
        value = 1.0 - 2.0 / (exp(a + a) + 1.0)
    return value if x >= 0.0 else -value


def sigmoid(m: float) -> float:
    """Return 1/(1+e^−m)."""
    if m >= 0.0:
        return 1.0 / (1.0 + exp(-m))
    e = exp(m)
    return e / (1.0 + e)


def softplus(m: float) -> float:
    """Return log(1+e^m)."""
    return m + log1p(exp(-m)) if m >= 0.0 else log1p(exp(m))


def _horner(z: float, coefficients: Sequence[float]) -> float:
    """Return c₀ + z·(c₁ + z·(c₂ + …))."""
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = coefficient + z * value
    return value


# --- losses ------------------------------------------------------------------------------------------


def loss_and_residuals(kind: str, outputs: Row, label: float) -> tuple[float, list[float]]:
    """Return a row's loss and its derivatives by the outputs."""
    if kind == "linear":
        difference = outputs[0] - label
        return 0.5 * difference * difference, [difference]
    if kind == "logistic":
        m = outputs[0]
        loss = softplus(-m) if label == 1.0 else softplus(m) - label * m
        return loss, [sigmoid(m) - label]
    peak = max(outputs)
    terms = [exp(m - peak) for m in outputs]
    total = _summed(terms)
    residuals = [term / total for term in terms]
    residuals[int(label)] = residuals[int(label)] - 1.0
    return (peak - outputs[int(label)]) + log(total), residuals


def _summed(terms: Sequence[float]) -> float:
    total = 0.0
    for term in terms:
        total = total + term
    return total


# --- models without hidden layers ----------------------------------------------------------------------


def lane_dot(left: Row, right: Row) -> float:
    """Return Σ left·right: eight lanes for whole groups of eight terms, a fixed tree, then the rest."""
    whole = len(left) - len(left) % 8
    lanes = [0.0] * 8
    for j in range(whole):
        lanes[j % 8] += left[j] * right[j]
    rest = _summed([left[j] * right[j] for j in range(whole, len(left))])
    pairs = [lanes[0] + lanes[1], lanes[2] + lanes[3], lanes[4] + lanes[5], lanes[6] + lanes[7]]
    return ((pairs[0] + pairs[1]) + (pairs[2] + pairs[3])) + rest


def entry_outputs(row: SparseRow, weights: Row, classes: int) -> list[float]:
    """Return Σ_j x_j·W_jc for each output c, entry after entry, biases not included."""
    values = [0.0] * classes
    for j, value in row:
        for c in range(classes):
            values[c] += value * weights[j * classes + c]
    return values


def row_outputs(row: Row | SparseRow, weights: Row, features: int, classes: int, *, lanes: bool) -> list[float]:
    """Return a row's outputs; ``lanes`` for a dense row of a one-output model."""
    if lanes:
        dense = [value for value in row if isinstance(value, float)]
        values = [lane_dot(dense, weights[: len(dense)])]
    else:
        values = entry_outputs(as_entries(row), weights, classes)
    if len(weights) > features * classes:
        values = [value + weights[features * classes + c] for c, value in enumerate(values)]
    return values


def as_entries(row: Row | SparseRow) -> list[tuple[int, float]]:
    """Return a row's nonzero entries in rising columns."""
    return [
        each if isinstance(each, tuple) else (j, each)
        for j, each in enumerate(row)
        if isinstance(each, tuple) or each != 0.0
    ]


def gradient(
    kind: str,
    rows: Sequence[Row | SparseRow],
    labels: Row,
    weights: Row,
    features: int,
    classes: int,
    *,
    is_sparse: bool,
) -> tuple[list[float], float]:
    """Return Σ_i ∇l_i(w) and Σ_i l_i(w)."""
    total, loss = [0.0] * len(weights), 0.0
    lanes = classes == 1 and not is_sparse
    for row, label in zip(rows, labels, strict=True):
        row_loss, residuals = loss_and_residuals(kind, row_outputs(row, weights, features, classes, lanes=lanes), label)
        loss = loss + row_loss
        for j, value in as_entries(row):
            for c in range(classes):
                total[j * classes + c] += value * residuals[c]
        if len(weights) > features * classes:
            for c in range(classes):
                total[features * classes + c] += residuals[c]
    return total, loss


@dataclass(frozen=True, slots=True)
class Rule:
    """The local step (``fl.models.StepRule``) as lists."""

    order: Sequence[int]
    batch: int
    corrected: bool
    decay: Row
    gain: Row
    drift: Row
    segment: int = 0

    def step(self, moved: list[float], k: int, mean: float) -> None:
        """Take one step of parameter k."""
        moved[k] = self.decay[k] * moved[k] - (self.gain[k] * mean + self.drift[k])

    def rest(self, moved: list[float], k: int, steps: int, ratio: float) -> None:
        """Take ``steps`` steps at once of a parameter whose feature did not occur."""
        if steps > 0:
            power, total = powers(ratio, steps)
            moved[k] = power * moved[k] - total * self.drift[k]

    def batches(self) -> list[Sequence[int]]:
        """Return the rows of each step."""
        return [self.order[start : start + self.batch] for start in range(0, len(self.order), self.batch)]


def powers(ratio: float, steps: int) -> tuple[float, float]:
    """Return (ratio**steps, 1 + ratio + … + ratio**(steps−1)): steps is read bit by bit, lowest first."""
    if ratio == 1.0:
        return 1.0, float(steps)
    power, total, square, run = 1.0, 0.0, ratio, 1.0
    for bit in reversed(f"{steps:b}"):
        if bit == "1":
            power, total = power * square, total + power * run
        square, run = square * square, run + square * run
    return power, total


def dense_steps(
    kind: str, rows: Sequence[Row], labels: Row, snapshot: Row, features: int, classes: int, rule: Rule
) -> list[float]:
    """Return the displacement after a pass over dense rows."""
    lanes = classes == 1 and rule.batch == 1
    moved = [0.0] * len(snapshot)
    for batch in rule.batches():
        sums = [0.0] * len(snapshot)
        for i in batch:
            deltas = _deltas(kind, rows[i], labels[i], snapshot, moved, features, classes, rule.corrected, lanes)
            for j, value in as_entries(rows[i]):
                for c in range(classes):
                    sums[j * classes + c] += value * deltas[c]
            for c in range(len(snapshot) - features * classes):
                sums[features * classes + c] += deltas[c]
        for k in range(len(moved)):
            rule.step(moved, k, sums[k] * (1.0 / len(batch)))
    return moved


def sparse_steps(
    kind: str, rows: Sequence[SparseRow], labels: Row, snapshot: Row, features: int, classes: int, rule: Rule
) -> list[float]:
    """Return the displacement after a pass over sparse rows: features at rest are caught up when needed.

    All of them are at the end, and at the end of each segment if the rule has any.
    """
    moved, done = [0.0] * len(snapshot), [0] * features

    def catch_up(j: int, step: int) -> None:
        for c in range(classes):
            rule.rest(moved, j * classes + c, step - done[j], rule.decay[j * classes])
        done[j] = step

    for step, batch in enumerate(rule.batches()):
        if rule.segment and step % rule.segment == 0:
            for j in range(features):
                catch_up(j, step)
        sums = [0.0] * len(snapshot)
        for i in batch:
            for j, _ in rows[i]:
                catch_up(j, step)
            deltas = _deltas(kind, rows[i], labels[i], snapshot, moved, features, classes, rule.corrected, False)
            for j, value in rows[i]:
                for c in range(classes):
                    sums[j * classes + c] += value * deltas[c]
            for c in range(len(snapshot) - features * classes):
                sums[features * classes + c] += deltas[c]
        share = 1.0 / len(batch)
        for j in sorted({j for i in batch for j, _ in rows[i]}):
            for c in range(classes):
                rule.step(moved, j * classes + c, sums[j * classes + c] * share)
            done[j] = step + 1
        for k in range(features * classes, len(snapshot)):
            rule.step(moved, k, sums[k] * share)
    for j in range(features):
        catch_up(j, len(rule.batches()))
    return moved


def _deltas(
    kind: str,
    row: Row | SparseRow,
    label: float,
    snapshot: Row,
    moved: Row,
    features: int,
    classes: int,
    corrected: bool,
    lanes: bool,
) -> list[float]:
    """Return a row's residuals at w̃+u less those at w̃; the outputs at w̃+u are those at w̃ plus those of u."""
    is_dense = bool(row) and not isinstance(row[0], tuple)
    base = row_outputs(row, snapshot, features, classes, lanes=is_dense and classes == 1)
    if lanes:
        change = [lane_dot([value for value in row if isinstance(value, float)], moved[:features])]
    else:
        change = entry_outputs(as_entries(row), moved, classes)
    outputs = [change[c] + base[c] for c in range(classes)]
    if len(snapshot) > features * classes:
        outputs = [outputs[c] + moved[features * classes + c] for c in range(classes)]
    now = loss_and_residuals(kind, outputs, label)[1]
    before = loss_and_residuals(kind, base, label)[1] if corrected else [0.0] * classes
    return [now[c] - before[c] for c in range(classes)]


# --- networks --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Network:
    """A network's composition: its loss, layer sizes, activations and whether layers have biases."""

    kind: str
    sizes: Sequence[int]
    activations: Sequence[str]
    biased: bool

    def starts(self) -> list[int]:
        """Return where each layer's parameters start."""
        starts = [0]
        for inputs, units in zip(self.sizes, self.sizes[1:], strict=False):
            starts.append(starts[-1] + (inputs + self.biased) * units)
        return starts

    def values(self, row: Row, weights: Row) -> list[list[float]]:
        """Return the values of every layer, the input first."""
        layers = [list(row)]
        for layer, at in enumerate(self.starts()[:-1]):
            inputs, units = self.sizes[layer], self.sizes[layer + 1]
            sums = [weights[at + inputs * units + u] if self.biased else 0.0 for u in range(units)]
            for j in range(inputs):
                if layers[-1][j] != 0.0:
                    for u in range(units):
                        sums[u] += layers[-1][j] * weights[at + j * units + u]
            if layer < len(self.activations):
                sums = [tanh(s) if self.activations[layer] == "tanh" else max(s, 0.0) for s in sums]
            layers.append(sums)
        return layers

    def add_gradient(self, sign: float, row: Row, label: float, weights: Row, out: list[float]) -> float:
        """Add sign·∇l(w) of one row to ``out`` and return its loss."""
        layers = self.values(row, weights)
        loss, errors = loss_and_residuals(self.kind, layers[-1], label)
        for layer in reversed(range(len(self.sizes) - 1)):
            inputs, units, at = self.sizes[layer], self.sizes[layer + 1], self.starts()[layer]
            below, next_errors = layers[layer], []
            for u in range(units if self.biased else 0):
                out[at + inputs * units + u] += sign * errors[u]
            for j in range(inputs):
                if below[j] != 0.0:
                    for u in range(units):
                        out[at + j * units + u] += sign * (below[j] * errors[u])
                error = lane_dot(weights[at + j * units : at + (j + 1) * units], errors)
                if layer > 0 and self.activations[layer - 1] == "tanh":
                    error = error * (1.0 - below[j] * below[j])
                elif below[j] <= 0.0:
                    error = 0.0
                next_errors.append(error)
            errors = next_errors
        return loss

    def steps(self, rows: Sequence[Row], labels: Row, snapshot: Row, rule: Rule) -> list[float]:
        """Return the displacement after a pass of local steps."""
        moved = [0.0] * len(snapshot)
        for batch in rule.batches():
            sums = [0.0] * len(snapshot)
            weights = [snapshot[k] + moved[k] for k in range(len(snapshot))]
            for i in batch:
                self.add_gradient(1.0, rows[i], labels[i], weights, sums)
                if rule.corrected:
                    self.add_gradient(-1.0, rows[i], labels[i], snapshot, sums)
            for k in range(len(moved)):
                rule.step(moved, k, sums[k] * (1.0 / len(batch)))
        return moved
