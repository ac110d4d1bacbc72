"""Upgrades as a header tree sees them: other rules are heard and weighed, never chosen, never condemned."""

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.genesis import Genesis
from chain.ids import Hash, Height, Millis
from chain.upgrades import read_upgrades, write_upgrades
from consensus.engine import Verdict
from consensus.headertree import Outcome
from tests.consensus.engine.networks import BLOCK_MS, START, Network, pow_genesis

AT = 3
OLD = pow_genesis(hashes_per_block=64)
NEW = read_upgrades(write_upgrades(OLD, [{"height": AT, "version": 2}]), OLD)
BLIND = read_upgrades(write_upgrades(OLD, [{"height": AT, "version": 9, "release": "fedchain 4"}]), OLD)
"""An old program that was given the new document: it knows where its knowledge ends."""


class Party(Network):
    """Somebody who follows the rules of a genesis of his own."""

    def draft(self, parent: Hash, now: int, salt: int = 0) -> Header:
        draft = super().draft(parent, now, salt)
        return replace(draft, version=self.genesis.rules_at(draft.height).version)

    def chain(self, length: int, salt: int = 0) -> list[Header]:
        return [self.header(id) for id in self.extend(self.root, length, salt)]


def party(genesis: Genesis) -> Party:
    return Party.of(genesis)


def test_the_networks_are_one():
    """Upgraded or not, a network begins with one block and one id."""
    assert party(OLD).root == party(NEW).root
    assert OLD.id == NEW.id == BLIND.id


def test_an_old_node_weighs_the_newer_chain_and_stays_below_it():
    """Headers under newer rules are neither added nor invalid; their chain's length and weight are known."""
    new, old = party(NEW), party(OLD)
    headers = new.chain(AT + 6)
    outcomes = [old.add(header).outcome for header in headers]
    assert outcomes == [Outcome.ADDED] * (AT - 1) + [Outcome.OTHER_RULES] * 7
    assert old.tree.best() == block_id(headers[AT - 2])
    newer = old.tree.newer_chain()
    assert newer is not None
    assert (newer.version, newer.height, newer.blocks) == (2, AT, 7)
    assert newer.weight == new.tree.weight(block_id(headers[-1]))


def test_the_newer_chain_is_weighed_in_whatever_order_it_comes():
    """A header under newer rules that comes before its parent waits for it like any other."""
    new, old = party(NEW), party(OLD)
    for header in reversed(new.chain(AT + 4)):
        old.add(header)
    newer = old.tree.newer_chain()
    assert newer is not None
    assert newer.blocks == 5


def test_an_upgraded_node_does_not_condemn_those_who_stayed_behind():
    """Blocks of old rules above the height are other rules too; they are no reason to stop."""
    new, old = party(NEW), party(OLD)
    outcomes = [new.add(header).outcome for header in old.chain(AT + 3)]
    assert outcomes == [Outcome.ADDED] * (AT - 1) + [Outcome.OTHER_RULES] * 4
    assert new.tree.newer_chain() is None


def test_a_program_that_was_told_stops_before_the_height():
    """Where its knowledge ends no header is valid, of whatever version it says it is."""
    new, old, blind = party(NEW), party(OLD), party(BLIND)
    for header in [*new.chain(AT + 2), *old.chain(AT + 2, salt=1)]:
        assert blind.add(header).outcome is (Outcome.ADDED if header.height < AT else Outcome.OTHER_RULES)
    assert blind.tree.height(blind.tree.best()) == AT - 1


def test_newer_rules_have_to_be_paid_for():
    """A header that names newer rules with next to no work behind it is a stranger's joke, and invalid."""
    old = party(OLD)
    parent = old.chain(AT - 1)[-1]
    joke = replace(old.draft(block_id(parent), START + 9 * BLOCK_MS), version=2)
    verdicts = {
        old.engine.check_header(old.tree, replace(joke, seal=bytes(4) + nonce.to_bytes(4, "big")), joke.time_ms).verdict
        for nonce in range(60)
    }
    assert Verdict.INVALID in verdicts
    assert Verdict.VALID not in verdicts
    shifted = replace(joke, height=Height(7))
    assert old.engine.check_header(old.tree, shifted, Millis(START)).verdict is Verdict.INVALID


def test_what_is_kept_of_newer_rules_is_bounded():
    """However long the newer chain grows, a node that can't follow keeps no more than it needs to know."""
    new, old = party(NEW), party(OLD)
    for header in new.chain(400):
        old.add(header)
    newer = old.tree.newer_chain()
    assert newer is not None
    assert newer.blocks >= 200
    assert len(old.tree) == AT
