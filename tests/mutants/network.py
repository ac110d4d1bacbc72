"""Faults between peers and in a node's own parts: handshake, limits, blame, import, pools."""

from typing import Final

from tests.mutants.base import Mutant

MUTANTS: Final = (
    Mutant(
        "the client's proof is not bound to the certificate",
        "p2p/handshake.py",
        "        if not verify(proof.account, proof.signature, _client_transcript(self._certificate, self.challenge, proof)):",
        "        if False:",
        ("tests/p2p/test_handshake.py",),
    ),
    Mutant(
        "a peer of another chain is let in",
        "p2p/handshake.py",
        "        _check_chain(self._terms, proof.chain_id, proof.genesis)\n        if proof.version not in self._terms.versions:",
        "        if proof.version not in self._terms.versions:",
        ("tests/p2p/test_handshake.py",),
    ),
    Mutant(
        "answers that nobody asked for are taken",
        "p2p/session.py",
        "        if asked_at is None:",
        "        if False:",
        ("tests/p2p/test_hostile.py::test_what_has_no_place_is_a_reason_to_part", "tests/p2p/test_hostile.py"),
    ),
    Mutant(
        "messages have no rate",
        "p2p/budget.py",
        "        return bucket is None or bucket.take(count_entries(message) if kind in _LISTS else 1, now)",
        "        return True",
        ("tests/p2p/test_budgets.py", "tests/p2p/test_hostile.py"),
    ),
    Mutant(
        "a body that is not its header's is stored",
        "node/core/importer.py",
        "        if not has_matching_body(header, arrived.body):",
        "        if False:",
        ("tests/node/core/test_importer.py",),
    ),
    Mutant(
        "a foreign exception in a job is ignored",
        "node/core/base.py",
        '        if spec is not None:\n            turn.halt(f"{type(spec).__name__} failed: {event.error}")',
        "        if spec is not None:\n            pass",
        ("tests/node/core/test_importer.py::test_a_foreign_exception_stops_the_node_and_condemns_nobody",),
    ),
    Mutant(
        "an update with a bad signature costs its sender nothing",
        "node/core/updates.py",
        "        fault = self._find_bad_signature(attested, id)\n        if fault is not None:",
        "        fault = self._find_bad_signature(attested, id)\n        if fault is not None and not attested:",
        ("tests/node/core/test_updates.py",),
    ),
    Mutant(
        "only the best headers' bodies are fetched, whoever withholds them",
        "node/core/importer.py",
        "        missing = tuple(dict.fromkeys(missing + self._tree.missing_of_rivals(_RIVALS, _RIVAL_BLOCKS)))",
        "        missing = tuple(dict.fromkeys(missing))",
        ("tests/node/core/test_importer.py",),
    ),
    Mutant(
        "one block under other rules stops an old node",
        "node/core/outdated.py",
        "    if newer is None or newer.blocks < NEWER_BLOCKS or newer.weight <= tree.weight(tree.best()):",
        "    if newer is None:",
        ("tests/node/core/test_upgrades.py",),
    ),
)
