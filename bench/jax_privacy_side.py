"""The other side of ``bench.bench_privacy``: DP-SGD by JAX Privacy, run in an environment of its own.

    python -m bench.jax_privacy_side WORK RESULT

``WORK`` is an NPZ file: ``x`` and ``y`` of all training rows in one place, ``test_x``, ``test_y``, and ``settings``, a
JSON text with ``classes``, ``delta`` and a list of ``runs`` (epsilon, steps, batch, clip, rate, seed). The model is
softmax regression; each step takes a Poisson sample of the rows, clips each one's gradient, adds Gaussian noise. The
noise is calibrated by the library's own accountant for a row that is there or not. ``RESULT`` gets each run's accuracy
and noise multiplier.

Rules of this file: jax_privacy with what it brings, numpy and the standard library alone.
"""

import json
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOM = 1.15
"""A Poisson sample may be so much larger than expected; rows beyond (many deviations off) are left out."""


def main() -> None:
    """Do the runs that the file asks for."""
    work = np.load(sys.argv[1], allow_pickle=False)
    settings = json.loads(str(work["settings"]))
    rows = {name: work[name] for name in ("x", "y", "test_x", "test_y")}
    began, processor = time.monotonic(), time.process_time()
    runs = [run(rows, settings["classes"], settings["delta"], each) for each in settings["runs"]]
    result = {
        "runs": runs,
        "seconds": time.monotonic() - began,
        "processor": time.process_time() - processor,
        "versions": {name: version(name) for name in ("jax_privacy", "jax", "dp-accounting")},
    }
    Path(sys.argv[2]).write_text(json.dumps(result))


def multiplier_of(count: int, delta: float, asked: Mapping[str, float]) -> float:
    """Return the noise multiplier that keeps all steps of a run within its epsilon."""
    from jax_privacy.accounting import accountants, analysis, calibrate

    found: float = calibrate.calibrate_noise_multiplier(
        target_epsilon=asked["epsilon"],
        accountant=analysis.DpsgdTrainingAccountant(accountants.PldAccountantConfig()),
        batch_sizes=int(asked["batch"]),
        num_updates=int(asked["steps"]),
        num_samples=count,
        target_delta=delta,
        tol=0.001,
    )
    return found


def run(rows: Mapping[str, np.ndarray], classes: int, delta: float, asked: Mapping[str, float]) -> dict[str, float]:
    """Train once; return the test accuracy after the last step, with what was asked."""
    import jax
    import jax.numpy as jnp
    from jax_privacy import batch_selection, clipping, noise_addition

    x, y = jnp.asarray(rows["x"], jnp.float32), jnp.asarray(rows["y"], jnp.int32)
    count, batch, steps = x.shape[0], int(asked["batch"]), int(asked["steps"])
    multiplier = multiplier_of(count, delta, asked)

    def loss(weights: dict[str, jax.Array], part: tuple[jax.Array, jax.Array]) -> jax.Array:
        outputs = part[0] @ weights["w"] + weights["b"]
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs), part[1][:, None], axis=1).mean()

    gradient = clipping.clipped_grad(loss, l2_clip_norm=asked["clip"], normalize_by=float(batch))
    noise = noise_addition.gaussian_privatizer(
        stddev=multiplier * gradient.sensitivity(), prng_key=jax.random.key(int(asked["seed"]))
    )
    weights = {"w": jnp.zeros((x.shape[1], classes)), "b": jnp.zeros(classes)}
    state = noise.init(weights)

    @jax.jit
    def step(weights, state, indices):  # type: ignore[no-untyped-def]
        found = gradient(weights, (x[indices], y[indices]), is_padding_example=indices < 0)
        found, state = noise.update(found, state)
        return jax.tree.map(lambda w, g: w - asked["rate"] * g, weights, found), state

    sampling = batch_selection.CyclicPoissonSampling(
        sampling_prob=batch / count, iterations=steps, partition_type=batch_selection.PartitionType.INDEPENDENT
    )
    width = int(batch * ROOM)
    for chosen in sampling.batch_iterator(count, rng=int(asked["seed"])):
        padded = np.full(width, -1, np.int64)
        padded[: min(chosen.size, width)] = chosen[:width]
        weights, state = step(weights, state, padded)
    outputs = rows["test_x"] @ np.asarray(weights["w"]) + np.asarray(weights["b"])
    accuracy = float((outputs.argmax(axis=1) == rows["test_y"]).mean())
    return {**asked, "multiplier": multiplier, "accuracy": accuracy}


if __name__ == "__main__":
    main()
