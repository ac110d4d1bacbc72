"""The one door to the jobs: a table from a spec's type to the function that does it."""

from node.jobs.control import JobControl
from node.jobs.results import JobResult
from node.jobs.specs import JobSpec
from node.world import World


def run_job(spec: JobSpec, world: World, control: JobControl) -> JobResult:
    """Return what comes of a job; any exception is a fault of ours or the machine's (``events.JobFailed``)."""
    raise NotImplementedError
