"""``node checkpoint``: which of the final blocks is named."""

import pytest

from chain.genesis import PowParameters
from commands.node import choose_checkpoint
from tests.node.core.town import key_of, make_genesis
from tests.node.service.test_trusted import stake_genesis


@pytest.mark.parametrize(("final", "epochs"), [(0, 0), (1, 0), (1, 1), (5, 1), (0, 3), (7, 12)])
def test_under_stake_it_is_the_end_of_an_epoch(final: int, epochs: int) -> None:
    """The last one that is final; before the first epoch has ended, the last final block there is."""
    engine = stake_genesis().engine
    assert not isinstance(engine, PowParameters)
    blocks = engine.epoch_blocks
    assert choose_checkpoint(epochs * blocks + final, engine) == (epochs * blocks or final)


def test_under_work_it_is_the_last_final_block() -> None:
    """Nothing stands between blocks there."""
    assert choose_checkpoint(1234, make_genesis([key_of(1)]).engine) == 1234
