"""Mutants of encrypted sums on the chain: who may share, whose part counts, what is opened, and by whom only once."""

from typing import Final

from tests.mutants.base import Mutant

CHAIN: Final = ("tests/consensus/test_encryption.py",)
HELPER: Final = ("tests/node/core/test_helper.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a device may reveal without having shared",
        "consensus/rules/encryption.py",
        "    if get_mask(view, plan, position, Hash(state.task.digest)) is None:",
        "    if False:",
        CHAIN,
    ),
    Mutant(
        "what is shared is not looked at",
        "consensus/rules/encryption.py",
        '    _check_once(ledger, key, "update.share.payload", lambda: sharing.check_share(problem, cohort, device, message))',
        "    assert key",
        CHAIN,
    ),
    Mutant(
        "a part of a decryption is not looked at",
        "consensus/rules/encryption.py",
        '    _check_once(ledger, key, "plan.decrypt.part", find_fault)',
        "    assert find_fault",
        CHAIN,
    ),
    Mutant(
        "a helper may give its part twice",
        "consensus/rules/encryption.py",
        "    if get_decryption(view, plan, number, task) is not None:",
        "    if False:",
        CHAIN,
    ),
    Mutant(
        "an update masked on another fork is taken",
        "fl/secure/mask_scheme.py",
        "        if fault is None and body[:_NAME_BYTES] != shared:",
        "        if False:",
        CHAIN,
    ),
    Mutant(
        "an encrypted update is bound to its task alone",
        "fl/secure/base.py",
        "    return digest(_DOMAIN_CONTEXT, task, device)",
        "    return digest(_DOMAIN_CONTEXT, task)",
        CHAIN,
    ),
    Mutant(
        "an encrypted update is bound to its device alone",
        "fl/secure/base.py",
        "    return digest(_DOMAIN_CONTEXT, task, device)",
        "    return digest(_DOMAIN_CONTEXT, device)",
        CHAIN,
    ),
    Mutant(
        "a round whose decryption failed is tried again",
        "consensus/rounds/machine.py",
        '    if lack is not None and table.steps[state.step].name == "decrypt":',
        "    if False:",
        CHAIN,
    ),
    Mutant(
        "one part opens a sum",
        "consensus/rounds/machine.py",
        "    return parts >= get_threshold(ledger.view, state) or ledger.context.height >= state.deadline",
        "    return parts >= 1 or ledger.context.height >= state.deadline",
        CHAIN,
    ),
    Mutant(
        "masks that too few can take off are revealed",
        "consensus/rounds/machine.py",
        "        least = max(least, threshold)",
        "        assert threshold",
        CHAIN,
    ),
    Mutant(
        "a reveal step waits for devices that did not share",
        "consensus/encryption.py",
        "    return get_mask_count(view, plan) if is_sharing_first(view, plan) else state.selected",
        "    return state.selected",
        CHAIN,
    ),
    Mutant(
        "a sum is not cut to what honest devices can have sent",
        "fl/secure/quantise.py",
        "    vector = np.array([min(max(value, -most), most) for value in values], dtype=np.int64)",
        "    vector = np.array(values, dtype=np.int64)",
        CHAIN,
    ),
    Mutant(
        "devices are weighted alike where a mean goes by samples",
        "fl/secure/ranges.py",
        "    return not is_gradient_phase(plan, phase)",
        "    return False",
        CHAIN,
    ),
    Mutant(
        "two plans may have one key",
        "consensus/rules/plans.py",
        "        if find_clash(moduli, get_moduli(get_problem(view, name).plan)) is not None:",
        "        if False:",
        CHAIN,
    ),
    Mutant(
        "anybody may join under masks without noise",
        "fl/plan/checks_encryption.py",
        '    if spec.cohort == "open" and isinstance(plan.privacy, NoPrivacy):',
        "    if False:",
        CHAIN,
    ),
    Mutant(
        "a sum of two devices is opened",
        "fl/plan/checks_encryption.py",
        "MIN_COHORT: Final = 3",
        "MIN_COHORT: Final = 2",
        CHAIN,
    ),
    Mutant(
        "nothing of encrypted sums is removed when a task is over",
        "consensus/rounds/closing.py",
        "        _clear_secrets(ledger, plan)",
        "        assert ledger",
        CHAIN,
    ),
    Mutant(
        "a part leaves before the pledge is on disk",
        "node/roles/helper.py",
        "            self.around.world.pledges.record(Pledge(spec.subject, spec.name))  # durable before the part leaves",
        "            assert Pledge",
        HELPER,
    ),
    Mutant(
        "a helper helps with a second sum of a phase",
        "node/roles/helper.py",
        "        if self.around.world.pledges.find(subject) not in (None, name):",
        "        if False:",
        HELPER,
    ),
    Mutant(
        "a retry of a round is another round to a helper",
        "node/roles/helper.py",
        '    place = task.round.to_bytes(8, "big") + task.phase.to_bytes(4, "big")',
        "    place = task.digest",
        HELPER,
    ),
    Mutant(
        "a part of a sum that is not asked for any more leaves",
        "node/roles/helper.py",
        '        return is_in_step(view, state, "decrypt") and get_gathered_name(view, state) == spec.name',
        '        return is_in_step(view, state, "decrypt")',
        HELPER,
    ),
    Mutant(
        "a pledge may be broken",
        "storage/pledges.py",
        "    if known is not None and known != pledge.value:",
        "    if False:",
        ("tests/storage/test_pledges.py",),
    ),
)
