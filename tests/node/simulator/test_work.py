"""Jobs in virtual time."""

from typing import get_args

from node.jobs.specs import ExecuteBranch, JobSpec, SealBlock
from node.simulator.work import _SPANS_MS


def test_every_job_has_a_span() -> None:
    """A new kind of job would end a world with a KeyError; the two whose span depends on what is in them have none."""
    assert set(get_args(JobSpec)) == {*_SPANS_MS, ExecuteBranch, SealBlock}
