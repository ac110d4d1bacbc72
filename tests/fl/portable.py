"""A digest over everything the kernels compute, to compare processors with."""

from hashlib import sha256

import numpy as np

from chain.fixedpoint import to_float
from fl.dataset import concatenate
from fl.models import initial_model
from fl.plan.schema import Dane, FedAvg
from fl.train import train_federated
from tests.fl.problems import ONE, SVRG, make_problem, random_data


def fingerprint() -> str:
    """Return the digest of trained models and outputs: dense and sparse, every output, every algorithm, networks."""
    state = sha256()
    cases = [
        make_problem(19, "logistic", algorithm=SVRG, rounds=2),
        make_problem(19, "softmax", classes=3, algorithm=Dane(ONE, ONE, ONE, 2), rounds=2),
        make_problem(6, "linear", algorithm=FedAvg(ONE, 2, 4), rounds=2),
        make_problem(5, "softmax", classes=3, hidden=[(9, "tanh"), (4, "relu")], algorithm=SVRG, rounds=2),
    ]
    for problem in cases:
        for sparse in (False, True):
            parts = [random_data(problem, 23 + k, k, density=0.6, sparse=sparse) for k in range(3)]
            run = train_federated(problem, {str(k): part for k, part in enumerate(parts)})
            weights = to_float(initial_model(problem.plan), problem.fraction_bits) + to_float(run.model, 28)
            state.update(run.model.tobytes())
            state.update(np.ascontiguousarray(problem.model.outputs(weights, concatenate(parts))).tobytes())
            state.update(repr([report.loss for report in run.history]).encode())
    return state.hexdigest()
