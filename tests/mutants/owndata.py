"""Faults in what a device does with its own data: the store, the rows of a plan, when it works and for whom."""

from typing import Final

from tests.mutants.base import Mutant

MUTANTS: Final = (
    Mutant(
        "two batches of a data store are sealed under one key and nonce",
        "storage/sealing.py",
        "    salt = secrets.token_bytes(SALT_BYTES)",
        "    salt = bytes(SALT_BYTES)",
        ("tests/storage/test_datastore.py::test_the_same_rows_are_never_sealed_twice_in_the_same_way",),
    ),
    Mutant(
        "an entry of a data segment may stand anywhere in it",
        "storage/datasegment.py",
        "    if (head.segment, head.place) != (segment, place):",
        "    if False:",
        ("tests/storage/test_datastore.py::test_what_was_moved_dropped_repeated_or_changed_is_refused_by_name",),
    ),
    Mutant(
        "an entry of a data segment need not follow the one before it",
        "storage/datasegment.py",
        "    if head.previous != previous:",
        "    if False:",
        ("tests/storage/test_datastore.py::test_two_copies_that_went_on_apart_can_not_be_mixed",),
    ),
    Mutant(
        "a closed data segment may lack its end",
        "storage/datafiles.py",
        "        if closed and (records, digest) != (closed[0].records, closed[0].digest):",
        "        if False:",
        (
            "tests/storage/test_datastore.py::test_what_was_moved_dropped_repeated_or_changed_is_refused_by_name",
            "tests/storage/test_datastore.py::test_damage_is_not_written_over_by_expiry",
        ),
    ),
    Mutant(
        "a segment of a data store is closed without a word in the table",
        "storage/datastore.py",
        "                        state = self._files.write(self._close_tail(state, tail))",
        "                        state = self._close_tail(state, tail)",
        ("tests/storage/test_datastore_crash.py", "tests/storage/test_datastore.py"),
    ),
    Mutant(
        "rows that a plan trains on go by their age",
        "storage/datastore.py",
        "row[1] >= limit or row[0] < held_below]",
        "row[1] >= limit]",
        ("tests/storage/test_datastore.py::test_rows_that_a_plan_trains_on_stay_until_it_ends",),
    ),
    Mutant(
        "any key may use the data of a store",
        "storage/datastore.py",
        "        if state.device != account:",
        "        if False:",
        ("tests/storage/test_datastore.py::test_a_store_serves_one_device_for_ever",),
    ),
    Mutant(
        "a row passes the store's door unseen",
        "fl/data/rows.py",
        "    encode_table(_table(role, [rows], source, lines), role)",
        "    pass",
        ("tests/fl/data/test_rows.py::test_a_row_that_does_not_fit_is_refused_by_name",),
    ),
    Mutant(
        "a device joins before its rows are held",
        "node/roles/device.py",
        "                if not self._hold(entry.plan, role, turn):",
        "                if False:",
        ("tests/node/service/test_datastore.py::test_a_device_trains_on_what_it_joined_with_while_rows_come_and_go",),
    ),
    Mutant(
        "a device trains whatever its machine is like",
        "node/roles/device.py",
        "        if asked and self._job is None and not self._waiting:",
        "        if asked and self._job is None:",
        ("tests/node/core/test_conditions.py::test_a_device_waits_for_its_conditions_and_says_why",),
    ),
    Mutant(
        "a training goes on when the conditions have ended",
        "node/roles/device.py",
        "        if self._task is not None and find_obstacle(self._config.conditions, facts):",
        "        if False:",
        (
            "tests/node/core/test_conditions.py"
            "::test_a_training_under_way_is_left_when_the_conditions_end_and_begun_again",
        ),
    ),
    Mutant(
        "a plan that was away claims the past",
        "node/roles/fairshare.py",
        "        return max(self.clock, self.finished.get(plan, 0))",
        "        return self.finished.get(plan, 0)",
        ("tests/node/core/test_fairshare.py::test_who_was_away_can_neither_claim_the_past_nor_wait_for_it",),
    ),
    Mutant(
        "a plan takes a device without the statement that it asks for",
        "consensus/rules/enrolment.py",
        '        raise Invalid("plan.join.attestation", fault)',
        "        pass",
        ("tests/consensus/test_statements.py::test_a_chain_takes_vouched_devices_alone_and_says_why",),
    ),
    Mutant(
        "a statement about one device opens a plan to another",
        "consensus/statements.py",
        "    if not statement.is_signed(chain_id, device):",
        "    if False:",
        ("tests/consensus/test_statements.py::test_any_other_is_refused_by_name",),
    ),
    Mutant(
        "a statement holds for ever",
        "consensus/statements.py",
        "    if statement.expiry < height:",
        "    if False:",
        ("tests/consensus/test_statements.py::test_a_registrars_statement_opens_the_plan_until_it_ends",),
    ),
    Mutant(
        "a plan's turn costs the same however long it takes",
        "node/roles/fairshare.py",
        "        took = max(now - self.begun, LEAST_MS)",
        "        took = LEAST_MS",
        ("tests/node/core/test_fairshare.py::test_plans_that_always_ask_differ_by_one_task_each_at_most",),
    ),
    Mutant(
        "the open segment of a data store may lack its end",
        "storage/datasegment.py",
        "        if not is_there:",
        "        if False:",
        ("tests/storage/test_datastore.py::test_what_was_moved_dropped_repeated_or_changed_is_refused_by_name",),
    ),
    Mutant(
        "rows of a data store are acknowledged, and nothing says how many",
        "storage/datastore.py",
        "                    self._files.acknowledge(state, tail)",
        "                    pass",
        ("tests/storage/test_datastore.py::test_what_was_moved_dropped_repeated_or_changed_is_refused_by_name",),
    ),
    Mutant(
        "an old state stands beside a newer tail",
        "storage/datafiles.py",
        "        if known.state > state.changes or known.segment > state.open:",
        "        if False:",
        ("tests/storage/test_datastore.py::test_a_state_that_alone_is_old_is_refused_by_name",),
    ),
    Mutant(
        "a file that is imported again goes in again",
        "storage/datastore.py",
        "        return max((batch.upto for batch in self.read() if batch.source == source), default=0)",
        "        return 0",
        (
            "tests/storage/test_datastore_crash.py::test_an_import_that_dies_anywhere_and_is_run_again_has_each_row_once",
        ),
    ),
    Mutant(
        "expiry forgets which file rows came from",
        "storage/datastore.py",
        "                kept.append(batch_of(rows, batch.source, batch.upto))",
        "                kept.append(batch_of(rows))",
        (
            "tests/storage/test_datastore_crash.py::test_an_import_that_dies_anywhere_and_is_run_again_has_each_row_once",
        ),
    ),
    Mutant(
        "a node forgets how new a data store was",
        "storage/seenstores.py",
        "        seen[store.hex()] = max(before, changes)\n        if changes > before:",
        "        seen[store.hex()] = changes\n        if True:",
        ("tests/node/service/test_datastore.py::test_an_old_copy_of_a_store_is_told_as_long_as_it_is_one",),
    ),
)
