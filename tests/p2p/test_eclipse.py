"""An attacker that floods the address book has no more of a node's outbound peers than its networks, and never all."""

import pytest

from tests.p2p.eclipse import OUTBOUND, Attack, run


@pytest.mark.parametrize(("groups", "mean"), [(2, 1.0), (12, 4.0), (40, 5.5)])
def test_an_attackers_share_after_a_restart_is_bounded(groups: int, mean: float) -> None:
    """At most one peer a network, two anchors are out of its reach, and with few networks it has far less than that."""
    counts = run(Attack(groups, hours=24), seed=groups)
    assert max(counts) <= min(groups, OUTBOUND - 2)
    assert sum(counts) / len(counts) <= mean
    assert groups < 12 or sum(counts) > 0, "an attack that reaches nobody shows nothing"
