"""Many sparse devices of one output in one call: federated averaging's epochs, and DANE's local problems.

As ``fl.kernels.fleet``: each device on its own numbers of features, what comes out quantised and added up at the
coordinates it has. What it says of the others, which only the L2 term moves there, is ``fl.kernels.fleet_elsewhere``'s.

In a pass of federated averaging all features have one decay, so what a feature missed is looked up: ``power`` and
``total`` have ``fl.kernels.sparse.powers`` of that decay for all numbers of steps up to the longest pass.
"""

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.kernels.compiled import kernel
from fl.kernels.fleet import Flags, Limbs, add_gradient, add_up, call_for, gather, quantise
from fl.kernels.fleet_features import Ints, Local, find_widest
from fl.kernels.fleet_pass import ONE, PORTION, Words, draw_rows, go_through
from fl.kernels.losses import BLOCK, judge_block, residual_soon
from fl.kernels.sparse import powers

States = NDArray[np.uint64]
"""(devices, passes): what draws the order of each pass."""
Rooms = NDArray[np.float64]
"""Vectors to work in, one a row."""


@kernel
def tabulate(ratio: float, power: Float64Vector, total: Float64Vector) -> None:
    """Write ``powers(ratio, m)`` for m = 0 … size − 1."""
    for m in range(power.size):
        power[m], total[m] = powers(ratio, m)


@kernel
def find_outputs(
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    weights: Float64Vector,
    outputs: Float64Vector,
) -> None:
    """Write x·w (+ bias) of a device's rows."""
    is_one, has_bias = values.size == 0, weights.size > columns
    begins = starts.view(np.uint64)
    for i in range(np.uint64(0), np.uint64(outputs.size)):
        output = 0.0
        if is_one:
            for e in range(begins[i], begins[i + ONE]):
                output += weights[local[e]]
        else:
            for e in range(begins[i], begins[i + ONE]):
                output += values[e] * weights[local[e]]
        if has_bias:
            output += weights[columns]
        outputs[i] = output


@kernel
def judge(kind: int, outputs: Float64Vector, y: Float64Vector) -> float:
    """Return Σ l_i of a device's rows, added as ``fl.kernels.losses.residuals`` does."""
    residuals, losses = np.empty(BLOCK), np.empty(BLOCK)
    loss = 0.0
    for first in range(0, y.size, BLOCK):
        last = min(first + BLOCK, y.size)
        judge_block(kind, outputs[first:last], y[first:last], residuals, losses)
        for i in range(last - first):
            loss = loss + losses[i]
    return loss


@kernel
def find_losses(
    kind: int,
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    y: Float64Vector,
    spans: Ints,
    own: Ints,
    presence: Ints,
    features: int,
    weights: Float64Vector,
    losses: Float64Vector,
) -> None:
    """Write Σ l_i of each of these devices to ``losses``."""
    biases = weights.size - features
    for k in devices:
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        here, outputs = np.empty(mine.size + biases), np.empty(last - first)
        gather(weights, mine, features, here)
        find_outputs(starts[first : last + 1], local, values, mine.size, here, outputs)
        losses[k] = judge(kind, outputs, y[first:last])


@kernel
def catch_up_all(
    now: np.int64,
    columns: int,
    done: Ints,
    drift: Float64Vector,
    power: Float64Vector,
    total: Float64Vector,
    moved: Float64Vector,
) -> None:
    """Bring every feature to the end of a pass."""
    for j in range(columns):
        late = now - done[j]
        if late > 0:
            moved[j] = power[late] * moved[j] - total[late] * drift[j]


@kernel
def scatter(
    i: np.uint64, begins: Words, local: Local, values: Float64Vector, delta: float, sums: Float64Vector
) -> None:
    """Add a row's residual times its values."""
    if values.size:
        for e in range(begins[i], begins[i + ONE]):
            sums[local[e]] += values[e] * delta
    else:
        for e in range(begins[i], begins[i + ONE]):
            sums[local[e]] += delta


@kernel
def go_in_batches(
    kind: int,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    outputs: Float64Vector,
    order: Ints,
    batch: int,
    ratio: float,
    gain: float,
    drift: Float64Vector,
    power: Float64Vector,
    total: Float64Vector,
    moved: Float64Vector,
    done: Ints,
    sums: Float64Vector,
) -> None:
    """Run ``fl.kernels.sparse.steps_in_batches`` on a device, plain SGD from a displacement of 0.

    ``done`` is room to work in; ``sums`` is 0 before and after.
    """
    is_one, has_bias = values.size == 0, moved.size > columns
    begins, rows = starts.view(np.uint64), order.view(np.uint64)
    moved[:] = 0.0
    done[:columns] = 0
    now = np.int64(0)
    for first in range(np.uint64(0), np.uint64(rows.size), np.uint64(batch)):
        last = min(first + np.uint64(batch), np.uint64(rows.size))
        for at in range(first, last):
            i = rows[at]
            output = 0.0
            if now > 0:  # before the first step nothing has moved
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    late = now - done[j]
                    if late > 0:
                        moved[j] = power[late] * moved[j] - total[late] * drift[j]
                        done[j] = now
                    output += moved[j] if is_one else values[e] * moved[j]
            output += outputs[i]
            if has_bias:
                output += moved[columns]
            delta = residual_soon(kind, output, y[i])
            scatter(i, begins, local, values, delta, sums)
            if has_bias:
                sums[columns] += delta
        share = 1.0 / np.float64(last - first)
        if last - first == np.uint64(rows.size):  # all rows: every feature occurs
            for j in range(columns):
                moved[j] = ratio * moved[j] - (gain * (sums[j] * share) + drift[j])
                sums[j] = 0.0
                done[j] = 1
        else:
            for at in range(first, last):
                i = rows[at]
                for e in range(begins[i], begins[i + ONE]):
                    j = local[e]
                    if done[j] == now:  # a feature of several rows of the batch moves once
                        done[j] = now + 1
                        moved[j] = ratio * moved[j] - (gain * (sums[j] * share) + drift[j])
                        sums[j] = 0.0
        if has_bias:
            moved[columns] = moved[columns] - (gain * (sums[columns] * share) + drift[columns])
            sums[columns] = 0.0
        now += 1
    catch_up_all(now, columns, done, drift, power, total, moved)


@kernel
def sum_averages(
    kind: int,
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    y: Float64Vector,
    spans: Ints,
    own: Ints,
    presence: Ints,
    features: int,
    weights: Float64Vector,
    l2: float,
    step: float,
    batch: int,
    power: Float64Vector,
    total: Float64Vector,
    scale: float,
    clip: float,
    states: States,
    block: int,
    limbs: Limbs,
    losses: Float64Vector,
    left: Flags,
) -> None:
    """Run federated averaging's exchange of these devices: add n_k·(w_k − w); write Σ l_i(w) to ``losses``.

    ``states`` has a row a device, a number an epoch; orders go by blocks of so many rows if ``block`` is not 0.
    """
    biases = weights.size - features
    longest, widest = find_widest(devices, offsets, spans)
    orders, bases, done = np.empty(longest, np.int64), np.empty(longest), np.empty(widest, np.int64)
    room = np.zeros((5, widest + biases))
    for number in range(devices.size):
        k = devices[number]
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        count, size = last - first, mine.size + biases
        here, vector, moved, drift, sums = (
            room[0, :size], room[1, :size], room[2, :size], room[3, :size], room[4, :size],
        )  # fmt: skip
        gather(weights, mine, features, here)
        if number + 1 < devices.size:
            call_for(devices[number + 1], offsets, starts, local, values, y, spans, own)
        vector[:] = 0.0
        order, outputs = orders[:count], bases[:count]
        for epoch in range(states.shape[1]):
            for i in range(size):
                moved[i] = here[i] + vector[i]
            for i in range(size):
                drift[i] = step * ((l2 if i < mine.size else 0.0) * moved[i])
            find_outputs(starts[first : last + 1], local, values, mine.size, moved, outputs)
            if epoch == 0:
                losses[k] = judge(kind, outputs, y[first:last])
            draw_rows(order, block, states[number, epoch])
            go_in_batches(
                kind, starts[first : last + 1], local, values, mine.size, y[first:last], outputs, order,
                min(batch, count), 1.0 - step * l2, step, drift, power, total, moved, done, sums,
            )  # fmt: skip
            for i in range(size):
                vector[i] = vector[i] + moved[i]
        left[k] = not quantise(vector, scale, clip)
        if not left[k]:
            add_up(vector, mine, biases, features, count, limbs)


@kernel
def add_whole_gradient(
    kind: int,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    weights: Float64Vector,
    l2: float,
    outputs: Float64Vector,
    residuals: Float64Vector,
    out: Float64Vector,
) -> None:
    """Write the mean of ∇f_i(w), the L2 term within, over a device's rows to ``out``."""
    out[:] = 0.0
    add_gradient(kind, starts, local, values, columns, y, weights, outputs, residuals, out)
    count = float(y.size)
    for i in range(out.size):
        out[i] = (out[i] + count * ((l2 if i < columns else 0.0) * weights[i])) / count


@kernel
def solve(
    kind: int,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    columns: int,
    y: Float64Vector,
    aim: Float64Vector,
    l2: float,
    mu: float,
    step: float,
    states: States,
    block: int,
    outputs: Float64Vector,
    residuals: Float64Vector,
    done: Ints,
    missed: Ints,
    factors: Rooms,
    room: Rooms,
) -> None:
    """Run a device's passes from w = ``room[0]``, η∇f(w) = ``aim``; the displacement is left in ``room[1]``.

    ``outputs`` and ``residuals`` are those at w; with several passes they end as others.
    """
    here, vector, moved, decay, gain, drift, began, now = (
        room[0], room[1], room[2], room[3], room[4], room[5], room[6], room[7],
    )  # fmt: skip
    decay[:columns] = 1.0 - step * (l2 + mu)
    decay[columns:] = 1.0 - step * (0.0 + mu)
    gain[:], vector[:], began[:], now[:] = step, 0.0, 0.0, 0.0
    order = np.empty(y.size, np.int64)
    if states.size > 1:
        add_whole_gradient(kind, starts, local, values, columns, y, here, l2, outputs, residuals, began)
        now[:] = began
    for turn in range(states.size):
        if turn:
            for i in range(vector.size):
                moved[i] = here[i] + vector[i]
            add_whole_gradient(kind, starts, local, values, columns, y, moved, l2, outputs, residuals, now)
        for i in range(vector.size):
            drift[i] = step * ((now[i] - began[i]) + aim[i] + mu * vector[i])
        draw_rows(order, block, states[turn])
        moved[:] = 0.0
        go_through(
            kind, starts, local, values, columns, y, outputs, residuals, order, decay, gain, drift, moved, done, missed,
            factors[0], factors[1], factors[2],
        )  # fmt: skip
        for i in range(vector.size):
            vector[i] = vector[i] + moved[i]


@kernel
def sum_solutions(
    kind: int,
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    local: Local,
    values: Float64Vector,
    y: Float64Vector,
    spans: Ints,
    own: Ints,
    presence: Ints,
    features: int,
    weights: Float64Vector,
    target: Float64Vector,
    l2: float,
    mu: float,
    length: float,
    scale: float,
    clip: float,
    states: States,
    block: int,
    most: int,
    outputs: Float64Vector,
    residuals: Float64Vector,
    limbs: Limbs,
    left: Flags,
) -> None:
    """Run DANE's second exchange of these devices: add n_k·(w_k − w).

    ``target`` is η·∇f(w), ``length`` the plan's step h, ``most`` the entries of the longest row; ``states`` has a row a
    device, a number a pass. ``outputs`` and ``residuals`` of all rows are those at ``weights``.
    """
    biases = weights.size - features
    longest, widest = find_widest(devices, offsets, spans)
    missed, factors = np.zeros(PORTION + most + 16, np.int64), np.zeros((3, PORTION + most + 16))
    done, base = np.empty(widest, np.int64), np.empty((2, longest))
    rooms, is_one_pass = np.zeros((9, widest + biases)), states.shape[1] == 1
    for number in range(devices.size):
        k = devices[number]
        first, last = offsets[k], offsets[k + 1]
        mine = own[spans[k] : spans[k + 1]]
        count, room = last - first, rooms[:, : mine.size + biases]
        gather(weights, mine, features, room[0])
        gather(target, mine, features, room[8])
        if number + 1 < devices.size:
            call_for(devices[number + 1], offsets, starts, local, values, y, spans, own)
        solve(
            kind, starts[first : last + 1], local, values, mine.size, y[first:last], room[8], l2, mu,
            length / float(count), states[number], block,
            outputs[first:last] if is_one_pass else base[0, :count],
            residuals[first:last] if is_one_pass else base[1, :count], done, missed, factors, room,
        )  # fmt: skip
        left[k] = not quantise(room[1], scale, clip)
        if not left[k]:
            add_up(room[1], mine, biases, features, count, limbs)
