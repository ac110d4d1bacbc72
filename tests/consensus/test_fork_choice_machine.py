"""The choice of the fork against a model that knows nothing clever: it looks at every block, every time.

The machine grows a tree, completes and condemns blocks, sets them aside, makes them final, follows the choice and
restarts, in any order. After each step the tree and the model must agree on what to download, what to execute and what
is missing; and nothing that is final is ever left.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chain.block import Header, block_id
from chain.ids import Hash, Height
from consensus.engine import VALID_HEADER, HeaderView
from consensus.errors import ConflictingFinality
from consensus.frontier import break_tie
from consensus.headertree import HeaderTree, Outcome
from tests.consensus.engine.test_headertree import GENESIS, ROOT, StubEngine, make_header


class FinalEngine(StubEngine):
    """Final is what certificates decided, and what lies deeper than a limit."""

    def finalized(self, chain: HeaderView, tip: Hash) -> Height:
        return max(super().finalized(chain, tip), chain.decided_height(tip))


@dataclass
class Model:
    """Blocks and marks, and the rules said once more without any bookkeeping."""

    max_reorg: int
    headers: dict[Hash, Header] = field(default_factory=lambda: {ROOT: GENESIS})
    complete: set[Hash] = field(default_factory=lambda: {ROOT})
    invalid: set[Hash] = field(default_factory=set)
    aside: set[Hash] = field(default_factory=set)
    head: Hash = ROOT
    final: Hash = ROOT
    decided: Hash = ROOT

    def chain(self, id: Hash) -> list[Hash]:
        """The block and all its ancestors, the block first."""
        ids = [id]
        while ids[-1] != ROOT:
            ids.append(self.headers[ids[-1]].parent)
        return ids

    def weight(self, id: Hash) -> int:
        return sum(self.headers[each].time_ms for each in self.chain(id) if each != ROOT)

    def stands_on(self, id: Hash, floor: Hash) -> bool:
        return floor in self.chain(id)

    def is_barred(self, id: Hash) -> bool:
        return any(each in self.invalid or each in self.aside for each in self.chain(id))

    def is_ready(self, id: Hash) -> bool:
        return all(each in self.complete and each not in self.invalid for each in self.chain(id))

    def may_download(self, id: Hash) -> bool:
        return not self.is_barred(id) and self.stands_on(id, self.final) and self.stands_on(id, self.decided)

    def may_execute(self, id: Hash) -> bool:
        if self.is_barred(id) or not self.is_ready(id) or not self.stands_on(id, self.final):
            return False
        return self.stands_on(id, next(each for each in self.chain(self.decided) if self.is_ready(each)))

    def choose(self, may) -> Hash:
        """The heaviest of the allowed blocks that no allowed one stands on directly; a draw among equals."""
        allowed = {id for id in self.headers if may(id)}
        parents = {self.headers[id].parent for id in allowed if id != ROOT}
        tips = [id for id in allowed if id not in parents]
        greatest = max(self.weight(id) for id in tips)
        return break_tie([id for id in tips if self.weight(id) == greatest])

    def settle(self) -> None:
        """Raise the floor of the head's chain."""
        ids = self.chain(self.head)[::-1]
        shared = [id for id in ids if id in self.chain(self.decided)]
        height = max(self.headers[self.final].height, len(ids) - 1 - self.max_reorg, len(shared) - 1)
        self.final = ids[height]


class ForkChoiceMachine(RuleBasedStateMachine):
    """A tree and its model."""

    @initialize(max_reorg=st.sampled_from([3, 10**9]))
    def begin(self, max_reorg: int) -> None:
        self.model = Model(max_reorg)
        self.tree = HeaderTree(FinalEngine(max_reorg), GENESIS)
        self.salt = 0
        self.grow([(1, 1, True), (0, 1, True), (2, 2, True), (2, 1, False), (3, 1, True), (0, 1, False)])
        self.settled: set[Hash] = set()

    def pick(self, number: int) -> Hash:
        ids = list(self.model.headers)
        return ids[-1 - number % len(ids)]

    @rule(several=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3), st.booleans()), min_size=1, max_size=8))
    def grow(self, several: list[tuple[int, int, bool]]) -> None:
        """New headers arrive, some with their blocks."""
        for parent, weight, is_complete in several:
            self.grow_one(parent, weight, is_complete)

    def grow_one(self, parent: int, weight: int, is_complete: bool) -> None:
        model, on = self.model, self.pick(parent)
        self.salt += 1
        header = make_header(model.headers[on], weight, self.salt)
        id = block_id(header)
        is_out = not (model.stands_on(on, model.final) and model.stands_on(on, model.decided))
        is_condemned = any(each in model.invalid for each in model.chain(on))
        expected = Outcome.INVALID if is_condemned else Outcome.TOO_DEEP if is_out else Outcome.ADDED
        assert self.tree.insert(header, VALID_HEADER) is expected
        if id in self.tree:
            model.headers[id] = header
            if is_complete:
                self.complete_block(id)

    @rule(block=st.integers(0, 30))
    def complete(self, block: int) -> None:
        """A block's body and payloads are here."""
        self.complete_block(self.pick(block))

    def complete_block(self, id: Hash) -> None:
        self.tree.mark_complete(id)
        self.model.complete.add(id)

    @rule(block=st.integers(0, 30))
    def condemn(self, block: int) -> None:
        """A block breaks a rule; one that was executed, or that is final, can't."""
        id, model = self.pick(block), self.model
        if id == ROOT or id in model.chain(model.head):
            with pytest.raises(ValueError, match=r"by definition|was applied"):
                self.tree.mark_invalid(id, "breaks a rule")
        elif id in model.chain(model.decided):
            with pytest.raises(ConflictingFinality, match="is final and breaks a rule"):
                self.tree.mark_invalid(id, "breaks a rule")
        else:
            self.tree.mark_invalid(id, "breaks a rule")
            model.invalid.add(id)

    @rule(block=st.integers(0, 30))
    def set_aside(self, block: int) -> None:
        """A block lost its view; a final one can't."""
        id = self.pick(block)
        self.tree.set_aside([id])
        if id not in self.model.chain(self.model.decided):
            self.model.aside.add(id)

    @rule(block=st.integers(0, 30))
    def take_back(self, block: int) -> None:
        """A block was notarised after all: it comes back, with what it stands on."""
        id = self.pick(block)
        if id in self.tree and self.model.stands_on(id, self.model.decided):
            self.tree.take_back(id)
            self.model.aside -= set(self.model.chain(id))

    @rule(block=st.integers(0, 30), is_wild=st.booleans())
    def finalize(self, block: int, is_wild: bool) -> None:
        """A certificate makes a block final, complete or not; beside what is final it is refused."""
        model = self.model
        fitting = [
            id for id in model.headers if model.stands_on(id, model.decided) and model.stands_on(id, model.final)
        ]
        id = self.pick(block) if is_wild else fitting[block % len(fitting)]
        if id in model.chain(model.decided):
            self.tree.finalize(id)
            return
        is_invalid = any(each in model.invalid for each in model.chain(id))
        if is_invalid or not model.stands_on(id, model.decided) or not model.stands_on(id, model.final):
            with pytest.raises(ConflictingFinality):
                self.tree.finalize(id)
            return
        self.tree.finalize(id)
        model.aside -= set(model.chain(id))
        model.decided = id
        if model.may_execute(model.head):
            model.settle()

    @precondition(lambda self: self.model.choose(self.model.may_execute) != self.model.head)
    @rule()
    def follow(self) -> None:
        """The node executes what is chosen."""
        model, chosen = self.model, self.tree.best_complete()
        self.tree.set_head(chosen)
        model.head = chosen
        model.settle()

    @rule(block=st.integers(0, 30))
    def jump(self, block: int) -> None:
        """What was chosen when a job began may not be any more: only what may be the head becomes it."""
        id, model = self.pick(block), self.model
        assert self.tree.may_be_head(id) == model.may_execute(id)
        if self.tree.may_be_passed(id):
            assert model.stands_on(model.decided, id)  # on the way to what is final
            assert model.stands_on(id, model.final)
        elif not model.may_execute(id):
            with pytest.raises(ValueError, match=r"invalid|not complete|leaves the chain"):
                self.tree.set_head(id)

    @rule()
    def restart(self) -> None:
        """Headers, bodies, verdicts, the head and the latest certificate are on disk; the rest is forgotten."""
        model = self.model
        self.tree = HeaderTree(FinalEngine(model.max_reorg), GENESIS)
        for id, header in model.headers.items():
            if id != ROOT:
                self.tree.insert(header, VALID_HEADER)
        for id in model.complete:
            self.tree.mark_complete(id)
        self.tree.set_head(model.head)
        for id in model.invalid:
            self.tree.mark_invalid(id, "breaks a rule")
        self.tree.finalize(model.decided)
        model.aside, model.final = set(), ROOT
        model.settle()

    @invariant()
    def they_agree(self) -> None:
        """Tree and model choose alike, and what is missing is the way from the one choice to the other."""
        model = self.model
        assert self.tree.best() == model.choose(model.may_download)
        assert self.tree.best_complete() == model.choose(model.may_execute)
        way = [id for id in model.chain(self.tree.best()) if id not in model.chain(self.tree.best_complete())]
        assert list(self.tree.missing_blocks(99)) == [id for id in way[::-1] if id not in model.complete]
        assert self.tree.decided == model.decided
        assert (
            self.tree.decided_height(model.head)
            == len(set(model.chain(model.head)) & set(model.chain(model.decided))) - 1
        )

    @invariant()
    def what_is_final_stays(self) -> None:
        """The head never leaves a block that a certificate made final once it was executed, nor the limit's floor."""
        model = self.model
        assert model.stands_on(model.head, model.final)
        if model.stands_on(model.head, model.decided):
            self.settled |= set(model.chain(model.decided))
            assert self.tree.final_height >= model.headers[model.decided].height
        assert self.settled <= set(model.chain(model.head))


ForkChoiceMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestForkChoice = ForkChoiceMachine.TestCase
