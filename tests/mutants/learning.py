"""Faults in learning and in the objects that carry it: algorithms, aggregation, policies, holdout, keys, codec."""

from typing import Final

from tests.mutants.base import Mutant

_FL: Final = ("tests/fl/test_algorithms.py", "tests/fl/test_known_answers.py")

MUTANTS: Final = (
    Mutant(
        "the paper's misprinted frequencies scale the gradients",
        "fl/algorithms/fedsvrg.py",
        "    numerator = everywhere * float(count)",
        "    numerator = everywhere",
        _FL,
    ),
    Mutant(
        "aggregation does not scale by the holders of a feature",
        "fl/algorithms/fedsvrg.py",
        "if spec_of(problem).scale_aggregate:",
        "if False:",
        _FL,
    ),
    Mutant(
        "the step is not divided by the device's samples",
        "fl/algorithms/fedsvrg.py",
        "        step = float(spec.step) / count",
        "        step = float(spec.step)",
        _FL,
    ),
    Mutant(
        "updates are summed without their weights",
        "fl/aggregate.py",
        "    return _weighted(settled, [entry.samples for entry in settled], dimension)",
        "    return _weighted(settled, [1 for entry in settled], dimension)",
        _FL,
    ),
    Mutant(
        "an update may be longer than the clip allows",
        "fl/policies/bounds.py",
        "        if norm > allowed:",
        "        if norm > 2 * allowed:",
        ("tests/fl/test_policies.py",),
    ),
    Mutant(
        "a device may count features in more samples than it has",
        "fl/policies/bounds.py",
        "        if counts is not None and int(counts.max(initial=0)) > facts.samples:",
        "        if False:",
        ("tests/fl/test_policies.py",),
    ),
    Mutant(
        "a device may report more time than has passed",
        "fl/policies/timing.py",
        "        if facts.computation_us > allowed:",
        "        if False:",
        ("tests/fl/test_policies.py",),
    ),
    Mutant(
        "a holdout chunk's salt is not looked at",
        "fl/holdout.py",
        '    return digest(DOMAIN_HOLDOUT, b"chunk", salt, content_id(payload))',
        '    return digest(DOMAIN_HOLDOUT, b"chunk", content_id(payload))',
        ("tests/fl/test_holdout.py",),
    ),
    Mutant(
        "a sparse holdout chunk may point behind its entries",
        "fl/holdout.py",
        "    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < columns):",
        "    if False:",
        ("tests/fl/test_holdout.py",),
    ),
    Mutant(
        "a signature's second half may be any number",
        "chain/keys.py",
        '    if int.from_bytes(signature[32:], "little") >= _L:',
        "    if False:",
        ("tests/chain/test_keys.py::test_the_strict_rule_does_not_lean_on_the_library",),
    ),
    Mutant(
        "a key of small order signs anything",
        "chain/keys.py",
        "    if not _is_strict_point(public_key) or not _is_strict_point(signature[:32]):",
        "    if False:",
        ("tests/chain/test_keys.py",),
    ),
    Mutant(
        "bytes that are not canonical are decoded",
        "chain/codec.py",
        "    if encoded(value) != data:",
        "    if False:",
        ("tests/chain/test_codec.py",),
    ),
    Mutant(
        "a body's updates are not committed to",
        "chain/block.py",
        "    return transactions_root(body.transactions) == header.tx_root and updates_root(body.updates) == header.update_root",
        "    return transactions_root(body.transactions) == header.tx_root",
        ("tests/chain/test_block.py", "tests/consensus/test_transition.py"),
    ),
    Mutant(
        "the compiler may reorder floating-point arithmetic",
        "fl/kernels/compiled.py",
        'njit(nogil=True, error_model="numpy")',
        'njit(nogil=True, error_model="numpy", fastmath=True)',
        ("tests/fl/test_kernels.py::test_a_network_computes_what_its_reference_says", "tests/fl/test_kernels.py"),
    ),
    Mutant(
        "an audit does not compare what the repeated work gives",
        "fl/audit/opening.py",
        "    if training.run_segment(before, part) != segment.after.state:",
        "    if False:",
        ("tests/fl/audit/test_audit.py",),
    ),
    Mutant(
        "opened rows need no way to the commitment",
        "fl/audit/opening.py",
        "        if not is_included(commitment, opened.salt + opened.row, place, training.samples, opened.proof):",
        "        if False:",
        ("tests/fl/audit/test_audit.py",),
    ),
    Mutant(
        "half of the verifiers are enough to approve",
        "consensus/auditing.py",
        "    if 2 * approving > policy.verifiers:",
        "    if 2 * approving >= policy.verifiers:",
        ("tests/consensus/test_audits.py",),
    ),
    Mutant(
        "an update that nobody opened settles",
        "consensus/auditing.py",
        "    if audit is None:\n        return NOT_OPENED",
        '    if audit is None:\n        return ""',
        ("tests/consensus/test_audits.py",),
    ),
    Mutant(
        "an audit asks by the beacon that the task was opened with",
        "consensus/auditing.py",
        "    return beacon if state.chunk_beacon == ZERO_HASH else state.chunk_beacon",
        "    return Hash(state.task.beacon)",
        ("tests/consensus/test_audits.py",),
    ),
)
