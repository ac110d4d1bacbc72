"""Faults in what survives a crash: commits, journals, payload files."""

from typing import Final

from tests.mutants.base import Mutant

MUTANTS: Final = (
    Mutant(
        "a commit does not wait for the disk",
        "storage/leveldb.py",
        "        self._database.write(lambda writer: self._fill(writer, batch, has_value), sync=True)",
        "        self._database.write(lambda writer: self._fill(writer, batch, has_value), sync=False)",
        ("tests/storage/test_leveldb.py::test_what_is_acknowledged_was_synced",),
    ),
    Mutant(
        "a commit keeps no undo",
        "storage/leveldb.py",
        "            writer.put(UNDO + block.id, block.undo)",
        "            pass",
        (
            "tests/storage/test_chain_store.py",
            "tests/storage/test_crash.py::test_killed_at_every_write_nothing_is_lost_torn_or_to_be_repaired",
        ),
    ),
    Mutant(
        "a disconnected block's transactions stay in the index",
        "storage/leveldb.py",
        "                writer.delete(PLACE + transaction.id)\n            writer.delete(UNDO + id)",
        "                pass\n            writer.delete(UNDO + id)",
        ("tests/storage/test_chain_store.py",),
    ),
    Mutant(
        "a new value has no place in the order of digests",
        "storage/layout.py",
        "(new is not None and has_value(key))",
        "new is not None",
        ("tests/storage/test_staging.py", "tests/storage/test_check_and_export.py"),
    ),
    Mutant(
        "a commit may start anywhere",
        "storage/commit.py",
        "        if id != tip or header is None:",
        "        if header is None:",
        ("tests/storage/test_chain_store.py::test_a_commit_that_does_not_fit_changes_nothing",),
    ),
    Mutant(
        "a block that was found invalid can be connected",
        "storage/commit.py",
        "        if reason is not None:",
        "        if False:",
        ("tests/storage/test_chain_store.py",),
    ),
    Mutant(
        "one task gets a second release",
        "storage/releases.py",
        "            if known != entry:",
        "            if False:",
        ("tests/storage/test_journal.py::test_another_release_for_the_same_task_is_refused",),
    ),
    Mutant(
        "a release's signed total forgets what was spent before",
        "storage/releases.py",
        "        least = self.total(entry.device) + release.privacy.loss",
        "        least = release.privacy.loss",
        ("tests/storage/test_journal.py::test_totals_only_grow",),
    ),
    Mutant(
        "a device releases before the journal has it",
        "node/roles/device.py",
        "        world.journal.record(entry)  # durable before anything leaves: the invariant of this file\n",
        "",
        ("tests/node/core/test_device.py::test_a_release_is_journalled_before_it_is_announced",),
    ),
    Mutant(
        "a device trains a known task again",
        "node/roles/device.py",
        "        if entry is None:\n            return self._failed.get(plan) != task",
        "        if True:\n            return self._failed.get(plan) != task",
        ("tests/node/core/test_device.py::test_two_forks_that_ask_for_one_task_get_the_same_bytes",),
    ),
    Mutant(
        "a device works on a task before it is confirmed",
        "node/roles/asked.py",
        "    return state if is_deep(around, state) else None",
        "    return state",
        ("tests/node/core/test_device.py",),
    ),
    Mutant(
        "a damaged payload is handed out",
        "storage/payloads.py",
        "        if content_id(payload) == id:",
        "        if True:",
        ("tests/storage/test_payloads.py::test_changed_bytes_are_named_never_returned",),
    ),
    Mutant(
        "a damaged small payload is handed out",
        "storage/segments.py",
        "            if content_id(data) == id:",
        "            if True:",
        ("tests/storage/test_payloads.py::test_changed_bytes_are_named_never_returned",),
    ),
    Mutant(
        "a deleted payload is back after a restart",
        "storage/segments.py",
        "                elif (number, offset) not in dead:",
        "                else:",
        ("tests/storage/test_segments.py::test_segments_do_what_a_dictionary_does",),
    ),
    Mutant(
        "a torn journal record is damage",
        "storage/recordfile.py",
        "        if len(entry) < length:\n            return None",
        '        if len(entry) < length:\n            raise self.damage(f"at byte {start} a record is torn")',
        (
            "tests/storage/test_journal.py::test_a_torn_tail_costs_only_what_was_not_acknowledged",
            "tests/storage/test_signing.py::test_a_torn_tail_costs_only_what_was_not_acknowledged",
        ),
    ),
)
