"""The job of a replay: repeat a training from the data that its device shares."""

from chain.ids import AccountId
from consensus.problems import compile_document
from fl.models.warm import warm_up
from fl.shared import decode_shared, repeat_training
from node.jobs.control import JobControl
from node.jobs.results import Declined, JobResult, TrainingRepeated
from node.jobs.specs import RepeatTraining
from node.world import World


def repeat(spec: RepeatTraining, world: World, control: JobControl) -> JobResult:
    """Say whether the training gives the update's payload, bit for bit."""
    problem = compile_document(spec.plan)
    shared = world.payloads.payload(spec.shared)
    if shared is None:
        return Declined("the device's shared data are not in the store")
    warm_up(problem, decode_shared(problem, shared, spec.samples))
    device = AccountId(spec.device)
    made = repeat_training(problem, spec.task, device, spec.samples, spec.model, spec.carry, shared)
    return TrainingRepeated(made == spec.update, made)
