"""The stores on disk against those in memory, through any sequence of what a node does, restarts among it."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.storage.history import Historian, look
from tests.storage.test_crash import memory_stores, open_stores


class StoreMachine(RuleBasedStateMachine):
    """Every rule is done to both; afterwards nobody can tell them apart."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.directory = TemporaryDirectory()
        self.stack = ExitStack()
        self.model = memory_stores()
        self.historian = Historian(self.model, seed)
        self.real = open_stores(Path(self.directory.name), self.stack)

    @rule(kind=st.sampled_from(Historian.KINDS))
    def write(self, kind: str) -> None:
        for write in self.historian.writes_of(kind):
            write.do(self.real)
            write.do(self.model)
        assert look(self.real) == look(self.model)

    @rule()
    def restart(self) -> None:
        self.stack.close()
        self.real = open_stores(Path(self.directory.name), self.stack)
        assert look(self.real) == look(self.model)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()
            self.directory.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)
