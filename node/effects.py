"""Effects: everything the core wants done outside itself. Records, so that a replay can compare them.

The runner carries them out in order. Storage is not among them: the core writes to its world's store itself.
"""

from chain.codec import Record
from chain.ids import HashField, MillisField, Natural
from node.jobs.specs import JobSpec
from node.notices import Notice
from p2p.events import Close, Dial, Send

__all__ = [
    "Accepted",
    "CancelJob",
    "Close",
    "Dial",
    "Effect",
    "Halt",
    "Outcome",
    "Publish",
    "Refused",
    "Reply",
    "Send",
    "StartJob",
    "Wake",
]


class StartJob(Record, tag="start-job"):
    """Run a job beside the core; ends in exactly one ``events.JobDone`` or ``events.JobFailed`` of this number."""

    job: Natural
    spec: JobSpec


class CancelJob(Record, tag="cancel-job"):
    """Make a job's ``JobControl.is_cancelled`` true. Its end, if it comes, is ignored."""

    job: Natural


class Accepted(Record, tag="accepted"):
    """A request was carried out; ``id`` names what came of it (a transaction's id)."""

    id: HashField


class Refused(Record, tag="refused"):
    """A request was not carried out: the rule that stands against it and a sentence that says how."""

    rule: str
    reason: str


Outcome = Accepted | Refused


class Reply(Record, tag="reply"):
    """Answer a user's request."""

    request: Natural
    outcome: Outcome


class Publish(Record, tag="publish"):
    """Tell subscribers and the log what happened."""

    topic: str
    notice: Notice


class Wake(Record, tag="wake"):
    """Send an ``events.Tick`` when this time has come, beside the regular ones."""

    at: MillisField


class Halt(Record, tag="halt"):
    """Stop the process loudly: something happened that no rule foresees. Nothing was changed by it."""

    reason: str


Effect = Send | Close | Dial | StartJob | CancelJob | Reply | Publish | Wake | Halt
