"""Shared data: what a device of a plan with ``verification.replay`` publishes when it joins, and the training repeated.

The payload is a table as holdout sets have it (``fl.holdout.encode_chunk``): rows already encoded by the plan's schema.
Its content id is the device's commitment for the whole plan, so the same rows stand behind every update. Where the
plan's source is "open" they are the device's rows as they are: EVERYBODY CAN READ THEM, FOR EVER.

Rules of this file: pure; the bits are those of the device's own training.
"""

from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from fl.dataset import Dataset
from fl.errors import DataError, DivergenceError
from fl.holdout import decode_table, encode_chunk
from fl.objective import Objective
from fl.problem import Problem
from fl.task import Task, device_seed


def encode_shared(data: Dataset) -> bytes:
    """Return the payload with which a device shares its data."""
    return encode_chunk(data)


def decode_shared(problem: Objective, payload: bytes, samples: int) -> Dataset:
    """Return the shared rows. ``PayloadError`` if they are not ``samples`` rows of the plan's schema."""
    return decode_table(problem, payload, samples, "shared data")


def repeat_training(
    problem: Problem, task: Task, device: AccountId, samples: int, model: bytes, carry: bytes, shared: bytes
) -> Hash | None:
    """Return the content id of the one payload that this device may send for the task; None if there is none.

    There is none if the training diverges, or if the data are nothing that the plan's algorithm can send (more features
    than ``compression.features``): both are the device's fault, and no reason for whoever repeats it to stop.

    ``model`` and ``carry`` are bytes as the state holds them, ``shared`` the device's shared data, which decoded when
    it joined.
    """
    data = decode_shared(problem, shared, samples)
    weights, seed = from_bytes(model, problem.dimension), device_seed(task.digest, device)
    try:
        payload = problem.algorithm.train(problem, task.phase, weights, carry, data, seed)
    except (DivergenceError, DataError):
        return None
    return content_id(payload)
