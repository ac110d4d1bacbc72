"""``plan.*``: FL plans, their open tasks, settled rounds and global models."""

from base64 import b64encode
from typing import Any, Final

from chain.hashing import content_id
from chain.ids import Hash
from consensus.queries import (
    PlanEntry,
    RoundRecord,
    get_contributions,
    get_history,
    get_model,
    get_open_task,
    get_plan,
    get_plan_document,
    list_plans,
)
from fl.plan.dimensions import holdout_policy, parameter_count
from fl.plan.render import render_plan
from fl.plan.schema import Plan, encode_plan, plan_id
from fl.policies.holdout import LOSS_BITS
from fl.steps import step_table
from node.rpc.doors import NodeDoors, Reader
from node.rpc.methods.convert import address, not_found, read_id
from node.rpc.params import PlanListParams, PlanParams
from node.rpc.registry import Method
from node.rpc.render import show
from node.rpc.shapes import (
    ContributionView,
    HistoryView,
    ModelView,
    OpenTaskView,
    PlanDetail,
    PlanView,
    RoundView,
    TaskView,
)


def _read_plan(reader: Reader, id: Hash) -> tuple[PlanEntry, Plan]:
    entry, document = get_plan(reader.view, id), get_plan_document(reader.view, id)
    if entry is None or document is None:
        raise not_found("plan", id.hex(), "plan.list lists the plans on the chain")
    return entry, document


def _plan_view(entry: PlanEntry, document: Plan, prefix: str) -> PlanView:
    return PlanView(
        plan=entry.plan.hex(),
        title=document.title,
        owner=address(entry.owner, prefix),
        status=entry.status,
        reason=entry.reason,
        submitted=entry.submitted,
        enrol_deadline=entry.enrol_deadline,
        closed=entry.closed,
        enrolled=entry.enrolled,
        samples=entry.samples,
        rounds=entry.rounds,
        max_rounds=document.stopping.rounds,
        funds=show(entry.funds, prefix),
    )


async def _list(doors: NodeDoors, params: PlanListParams) -> tuple[PlanView, ...]:
    prefix = doors.genesis.prefix

    def question(reader: Reader) -> tuple[PlanView, ...]:
        entries = [entry for entry in list_plans(reader.view) if params.status in (None, entry.status)]
        return tuple(_plan_view(*_read_plan(reader, entry.plan), prefix) for entry in entries)

    return await doors.read(question)


async def _get(doors: NodeDoors, params: PlanParams) -> PlanDetail:
    def question(reader: Reader) -> PlanDetail:
        entry, document = _read_plan(reader, read_id(params.plan))
        return PlanDetail(
            standing=_plan_view(entry, document, reader.genesis.prefix),
            toml=render_plan(document),
            encoded=encode_plan(document).hex(),
        )

    return await doors.read(question)


async def _task(doors: NodeDoors, params: PlanParams) -> OpenTaskView:
    def question(reader: Reader) -> OpenTaskView:
        _, document = _read_plan(reader, read_id(params.plan))
        return OpenTaskView(
            plan=params.plan, height=reader.head.height, task=_task_view(reader, read_id(params.plan), document)
        )

    return await doors.read(question)


def _task_view(reader: Reader, id: Hash, document: Plan) -> TaskView | None:
    open_task = get_open_task(reader.view, id)
    if open_task is None:
        return None
    task, prefix = open_task.task, reader.genesis.prefix
    return TaskView(
        task=task.digest.hex(),
        round=task.round,
        attempt=task.attempt,
        phase=task.phase,
        phase_name=step_table(document)[task.phase].phase.name,
        step=open_task.step,
        opened=open_task.opened,
        opened_ms=open_task.opened_ms,
        deadline=open_task.deadline,
        selected=tuple(address(device, prefix) for device in open_task.selected),
        committed=tuple(address(device, prefix) for device in open_task.committed),
        shared=tuple(address(device, prefix) for device in open_task.shared),
        decrypted=tuple(address(helper, prefix) for helper in open_task.decrypted),
        revealed=tuple(address(device, prefix) for device in open_task.revealed),
        model=task.model.hex(),
    )


async def _history(doors: NodeDoors, params: PlanParams) -> HistoryView:
    def question(reader: Reader) -> HistoryView:
        _, document = _read_plan(reader, read_id(params.plan))
        unit = 2.0**-document.fraction_bits
        rounds = get_history(reader.view, read_id(params.plan))
        return HistoryView(
            plan=params.plan,
            height=reader.head.height,
            rounds=tuple(
                _round_view(record, unit, reader.genesis.prefix, _contributions(reader, document, record.round))
                for record in rounds
            ),
        )

    return await doors.read(question)


def _contributions(reader: Reader, document: Plan, number: int) -> tuple[ContributionView, ...]:
    """Return what the updates of a round were worth, a row of the opened chunk and a walk over the devices."""
    record, policy = get_contributions(reader.view, plan_id(document), number), holdout_policy(document)
    if record is None or policy is None:
        return ()
    unit = 2.0**-LOSS_BITS / (policy.rows * max(record.walks, 1))
    return tuple(
        ContributionView(
            device=address(each.device, reader.genesis.prefix),
            value=None if each.value is None else each.value * unit,
            stands=each.stands,
        )
        for each in record.devices
    )


def _round_view(
    record: RoundRecord, unit: float, prefix: str, contributions: tuple[ContributionView, ...]
) -> RoundView:
    return RoundView(
        round=record.round,
        attempts=record.attempts,
        height=record.height,
        time_ms=record.time_ms,
        loss=None if record.loss is None else record.loss * unit,
        gradient_norm=None if record.gradient_norm is None else record.gradient_norm * unit,
        model=record.model.hex(),
        devices=show(record.devices, prefix),
        miners=show(record.miners, prefix),
        refused=show(record.refused, prefix),
        contributions=contributions,
    )


async def _model(doors: NodeDoors, params: PlanParams) -> ModelView:
    def question(reader: Reader) -> ModelView:
        entry, document = _read_plan(reader, read_id(params.plan))
        model = get_model(reader.view, entry.plan)
        return ModelView(
            plan=params.plan,
            status=entry.status,
            rounds=entry.rounds,
            height=reader.head.height,
            digest=content_id(model).hex(),
            fraction_bits=document.fraction_bits,
            parameters=parameter_count(document),
            base64=b64encode(model).decode("ascii"),
        )

    return await doors.read(question)


PLAN_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method("plan.list", "Returns the plans on the chain.", PlanListParams, tuple[PlanView, ...], _list),
    Method("plan.get", "Returns a plan, its TOML text and its standing.", PlanParams, PlanDetail, _get),
    Method("plan.task", "Returns a plan's open task.", PlanParams, OpenTaskView, _task),
    Method("plan.history", "Returns a plan's settled rounds.", PlanParams, HistoryView, _history),
    Method("plan.model", "Returns a plan's global model.", PlanParams, ModelView, _model),
]
