"""Good inputs for the targets of ``tests.fuzz.learning``."""

import numpy as np

from chain.number import Number
from chain.sealing import seal
from fl.algorithms.count import report_rows
from fl.compression.payload import write_sparse
from fl.dataset import DenseData, to_sparse
from fl.privacy.randomness import SeededRandom
from fl.shared import encode_shared, randomise_rows
from fl.support import write_support
from tests.fl.statistics.plans import KINDS
from tests.fuzz.learning import READER, SAMPLES, audited, authors, counting, honest, honest_rows


def make_learning_seeds() -> dict[str, list[bytes]]:
    """Return good inputs by target."""
    return {
        "support_payloads": _support(),
        "counter_payloads": [bytes([place]) + _counters(kind) for place, kind in enumerate(KINDS)],
        "sparse_payloads": [
            write_sparse(np.array([0, 5, 999]), np.array([3, -40, 1]) << 6, 77),
            write_sparse(np.zeros(0, np.int64), np.zeros(0, np.int64), 0),
        ],
        "shared_rows": [encode_shared(honest_rows()), encode_shared(to_sparse(honest_rows()))],
        "randomised_sets": [
            randomise_rows(audited().plan.roles[0], Number.of("0.5"), honest_rows(), SeededRandom(b"seed"))
        ],
        "sealed": [seal(b"an opening", [READER.account], bytes(32))],
        "openings": [honest().opening],
    }


def _counters(kind: str) -> bytes:
    data = DenseData(np.zeros((SAMPLES, 0)), np.arange(SAMPLES) % 2.0)
    return report_rows(counting(kind), data, SeededRandom(b"seed"))


def _support() -> list[bytes]:
    features, rest = np.array([0, 3, 49]), authors().dimension - authors().features
    vector = np.arange(features.size + rest) - 2
    counts = np.array([1, 200, 70_000])
    return [b"\x00" + write_support(features, vector, 9, counts), b"\x01" + write_support(features, vector)]
