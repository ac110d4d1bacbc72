"""Faults in what strangers reach: addresses, debts, headers on trial, payloads, states from peers, the pool."""

from typing import Final

from tests.mutants.base import Mutant

MUTANTS: Final = (
    Mutant(
        "one group of sources reaches every new bucket",
        "p2p/addressbook.py",
        '        place = self._hash(b"place", source_group, placement_of(endpoint)) % BUCKETS_PER_SOURCE',
        '        place = self._hash(b"place", source_group, placement_of(endpoint)) % (BUCKETS_PER_SOURCE * 64)',
        ("tests/p2p/test_addresses.py", "tests/p2p/test_addresses_model.py"),
    ),
    Mutant(
        "a full bucket gives way to anybody",
        "p2p/addressbook.py",
        "            poor = [each for each in self._new.bucket(index) if self._entries[each].is_poor(now)]",
        "            poor = list(self._new.bucket(index))",
        ("tests/p2p/test_addresses.py", "tests/p2p/test_addresses_model.py"),
    ),
    Mutant(
        "a newcomer pushes callers of other networks out",
        "p2p/eviction.py",
        "    if not rest or (of_newcomer > 1 and of_newcomer > most):",
        "    if not rest:",
        ("tests/p2p/test_choosing.py",),
    ),
    Mutant(
        "points for misbehaviour never fade",
        "p2p/bans.py",
        "        halvings, rest = divmod(max(0, now - self.at), POINTS_HALF_LIFE_MS)",
        "        halvings, rest = 0, 0",
        ("tests/p2p/test_choosing.py",),
    ),
    Mutant(
        "each address of a /64 is a host of its own",
        "p2p/endpoints.py",
        "    if not isinstance(ip, IPv6Address) or not ip.is_global:",
        "    if ip is None or ip is not None:",
        ("tests/p2p/test_callers_again.py",),
    ),
    Mutant(
        "who hangs up and calls again owes nothing",
        "p2p/doorman.py",
        "        self._debts.leave(session.endpoint.host, session.budget, now)",
        "        pass",
        ("tests/p2p/test_callers_again.py",),
    ),
    Mutant(
        "a look at a full door ends with a handshake",
        "p2p/doorman.py",
        "        if self.dialer.purpose_of(session.endpoint) is Purpose.FEELER:\n            # A node",
        "        if False:\n            # A node",
        ("tests/p2p/test_callers_again.py",),
    ),
    Mutant(
        "headers of an answer cost nothing",
        "p2p/serving.py",
        "        session.budget.look_up(len(found) * HEADER_WORK, now)",
        "        pass",
        ("tests/p2p/test_budgets.py",),
    ),
    Mutant(
        "a chunk of another length condemns its giver",
        "p2p/fetcher.py",
        "            self.inventory.misfit(fetch, session.peer, now)\n            return",
        '            raise ProtocolError("a chunk that does not fit")',
        ("tests/p2p/test_lying_references.py",),
    ),
    Mutant(
        "light headers come in beside a heavy one",
        "node/core/presync.py",
        "            return TrialStep(heavy)",
        "            return TrialStep(headers)",
        ("tests/node/core/test_presync_evasion.py",),
    ),
    Mutant(
        "a chain of headers needs no work to be stored",
        "node/core/presync.py",
        "        return TrialStep((), goes_on=more and len(self._noted) < MAX_RUNS)",
        "        return TrialStep(headers)",
        ("tests/node/core/test_presync.py",),
    ),
    Mutant(
        "the second pass takes another chain than was judged",
        "node/core/presync.py",
        "                return TrialStep(tuple(released))  # another chain than was judged",
        "                released += self._buffer",
        ("tests/node/core/test_presync.py",),
    ),
    Mutant(
        "the work of unknown rules is read as if it were known",
        "node/core/presync.py",
        "                if find_rules_gap(self._genesis, header) is None:  # of others nobody here can read the work\n"
        "                    below +=",
        "                if header is not None:\n                    below +=",
        ("tests/node/core/test_presync_evasion.py",),
    ),
    Mutant(
        "a piece of a state is taken unchecked",
        "consensus/snapshot.py",
        "    if current != root:",
        "    if False:",
        ("tests/consensus/test_snapshot.py", "tests/node/core/test_statesync.py"),
    ),
    Mutant(
        "a gathered state goes on without a look at today's checkpoint",
        "node/core/statesync.py",
        "        if not self._is_trusted(StateOffer(self._chain.tree.height(self._target), self._target)):",
        "        if self._chain.tree.ancestor_id(\n"
        "            self._chain.tree.best(), self._chain.tree.height(self._target)\n"
        "        ) != self._target:",
        ("tests/node/core/test_statesync_withheld.py",),
    ),
    Mutant(
        "a checkpoint binds no header",
        "consensus/headertree.py",
        "        return height == self._trusted_height and id != self._trusted",
        "        return False",
        ("tests/node/core/test_statesync.py", "tests/node/core/test_checkpoint.py"),
    ),
    Mutant(
        "who promises a state and gives nothing is asked for ever",
        "node/core/statesync.py",
        "            self._let_rest(arrived.peer, turn.now)",
        "            pass",
        ("tests/node/core/test_statesync_withheld.py",),
    ),
    Mutant(
        "undo is pruned that a lifted limit needs",
        "node/core/pruning.py",
        "        self._keeps_all = config.retention.archive or not config.has_reorg_limit",
        "        self._keeps_all = config.retention.archive",
        ("tests/node/core/test_left_behind.py",),
    ),
    Mutant(
        "the payload of a block that was let go completes it",
        "node/core/importer.py",
        "            if id in self._tree:\n                self._tree.mark_complete(id)",
        "            self._tree.mark_complete(id)",
        ("tests/node/core/test_left_behind.py",),
        missed="since such blocks are forgotten with the tree, no payload of theirs is waited for: a second line",
    ),
    Mutant(
        "payloads of blocks that were let go are waited for",
        "node/core/importer.py",
        "        self._let_go(turn)\n\n    def _let_go",
        "\n    def _let_go",
        ("tests/node/core/test_left_behind.py",),
    ),
    Mutant(
        "a replacement in the pool costs nothing",
        "node/mempool.py",
        "        if entry.fee < least:",
        "        if False:",
        ("tests/node/core/test_mempool.py", "tests/node/core/test_mempool_machine.py"),
    ),
    Mutant(
        "peers that are gone keep a share of the pool each",
        "node/core/transactions.py",
        "        self._mempool.let_go(down.peer)\n",
        "",
        ("tests/node/core/test_mempool_fairness.py",),
    ),
    Mutant(
        "the dearest of all pushes others out of the pool, whoever brought most",
        "node/mempool.py",
        "    heaviest = shares.heaviest(entry, by_bytes=by_bytes)",
        "    heaviest = entry.source",
        ("tests/node/core/test_mempool_fairness.py",),
    ),
)
