"""The one door to the jobs: a table from a spec's type to the function that does it."""

from collections.abc import Callable
from typing import Final, cast

from node.jobs import fleet, replaying
from node.jobs.auditing import open_segments, verify_opening
from node.jobs.blocks import build_block, execute_branch
from node.jobs.control import JobControl
from node.jobs.learning import find_device_stamp, inspect_data, open_chunk, train_task
from node.jobs.results import JobResult
from node.jobs.sealing import seal_block
from node.jobs.secrets import decrypt_part, share_secrets
from node.jobs.specs import (
    BuildBlock,
    CallRoll,
    CheckPiece,
    DecryptPart,
    ExecuteBranch,
    FindStamp,
    FindStamps,
    InspectData,
    InspectFleet,
    JobSpec,
    OpenChunk,
    OpenSegments,
    RepeatTraining,
    SealBlock,
    ShareSecrets,
    TrainFleet,
    TrainTask,
    VerifyOpening,
    VerifyUpdates,
)
from node.jobs.states import check_piece
from node.jobs.updates import verify_updates
from node.world import World

_Job = Callable[[JobSpec, World, JobControl], JobResult]

JOBS: Final[dict[type, _Job]] = {
    ExecuteBranch: cast(_Job, execute_branch),
    BuildBlock: cast(_Job, build_block),
    SealBlock: cast(_Job, seal_block),
    VerifyUpdates: cast(_Job, verify_updates),
    InspectData: cast(_Job, inspect_data),
    TrainTask: cast(_Job, train_task),
    ShareSecrets: cast(_Job, share_secrets),
    DecryptPart: cast(_Job, decrypt_part),
    OpenSegments: cast(_Job, open_segments),
    VerifyOpening: cast(_Job, verify_opening),
    RepeatTraining: cast(_Job, replaying.repeat),
    FindStamp: cast(_Job, find_device_stamp),
    OpenChunk: cast(_Job, open_chunk),
    CheckPiece: cast(_Job, check_piece),
    CallRoll: cast(_Job, fleet.call_roll),
    InspectFleet: cast(_Job, fleet.inspect_fleet),
    TrainFleet: cast(_Job, fleet.train_fleet),
    FindStamps: cast(_Job, fleet.find_stamps),
}


def run_job(spec: JobSpec, world: World, control: JobControl) -> JobResult:
    """Return what comes of a job; any exception is a fault of ours or the machine's (``events.JobFailed``)."""
    return JOBS[type(spec)](spec, world, control)
