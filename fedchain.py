"""fedchain for programs: ask and command a node, write plans, train without a chain, bring your own data.

Ask a node (it must run; ``from_home`` finds its address and cookie in its data directory)::

    async with fedchain.Client.from_home("~/.local/share/fedchain") as node:
        plan, _ = await node.submit_plan(fedchain.load_plan("plan.toml").plan, escrow=5_000_000)
        await node.wait_for_plan(plan)
        model = await node.get_model(plan)

Try a plan in this process, with the same arithmetic and no chain:

>>> import fedchain
>>> from pathlib import Path
>>> plan = fedchain.load_plan(Path("examples/heart/plan.toml")).plan
>>> hospitals = {
...     files.name: fedchain.load_dataset(files.train, plan.roles[0])
...     for files in fedchain.list_devices(Path("examples/heart/data"))
... }
>>> run = fedchain.train_federated(fedchain.compile_problem(plan), hospitals)
>>> run.loss < run.history[0].loss
True

Count how often values occur, each row reported at random on its device (``kind = "statistics"``):

>>> census = fedchain.compile_problem(fedchain.load_plan(Path("examples/census/plan.toml")).plan)
>>> role = census.plan.roles[0]
>>> offices = {
...     files.name: fedchain.load_dataset(files.train, role)
...     for files in fedchain.list_devices(Path("examples/census/data"))
... }
>>> found = fedchain.estimate_values(census.plan, census.plan_id, fedchain.count_in_memory(census, offices))
>>> max(found, key=lambda each: each.rows).value
'HS-grad'

A device reads its data from a file, or through a reader of your own, which ``[device] data = "ward:7"`` then names:

>>> class Ward:
...     def __init__(self, number: str) -> None:
...         self.name = f"ward {number}"
...     def load(self, role: fedchain.Role) -> fedchain.Dataset:
...         return hospitals["cleveland"]  # rows from a hospital's database, say, encoded for the role
>>> fedchain.register_source("ward", Ward)
>>> fedchain.open_source("ward:7").name
'ward 7'

``fedchain.run_node(home)`` runs a node in the program that registered the reader; it blocks until the node is stopped.

Names are loaded when they are first used: a program that only asks a node never loads the numerical libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chain.keys import KeyPair
    from fl.data.sources import DataSource, list_devices, load_dataset, open_source, register_source
    from fl.dataset import Dataset, DenseData, SparseData
    from fl.errors import DataError, FLError, PlanError
    from fl.metrics import Evaluation, evaluate
    from fl.model_file import load_model, save_model
    from fl.plan.bind import load_plan
    from fl.plan.options import plan_options
    from fl.plan.parse import parse_plan
    from fl.plan.render import render_plan
    from fl.plan.schema import Plan, Role, plan_id
    from fl.plan.validate import check_plan
    from fl.problem import Problem, compile_problem
    from fl.statistics.estimates import Estimate, estimate_values
    from fl.statistics.run import count_in_memory
    from fl.train import FederatedRun, RoundReport, train_central, train_federated, train_local
    from node.client import (
        BadCall,
        Client,
        ClientError,
        ConnectionRefused,
        Disconnected,
        FetchedModel,
        NotFound,
        ProtocolError,
        Refused,
        Timeout,
        Unauthorized,
    )
    from node.config import Config
    from node.errors import ConfigError, NodeError, StartupError
    from node.home import create_home
    from node.service.process import run_node

_NAMES = {
    "chain.keys": ("KeyPair",),
    "fl.data.sources": ("DataSource", "list_devices", "load_dataset", "open_source", "register_source"),
    "fl.dataset": ("Dataset", "DenseData", "SparseData"),
    "fl.errors": ("DataError", "FLError", "PlanError"),
    "fl.metrics": ("Evaluation", "evaluate"),
    "fl.model_file": ("load_model", "save_model"),
    "fl.plan.bind": ("load_plan",),
    "fl.plan.options": ("plan_options",),
    "fl.plan.parse": ("parse_plan",),
    "fl.plan.render": ("render_plan",),
    "fl.plan.schema": ("Plan", "Role", "plan_id"),
    "fl.plan.validate": ("check_plan",),
    "fl.problem": ("Problem", "compile_problem"),
    "fl.statistics.estimates": ("Estimate", "estimate_values"),
    "fl.statistics.run": ("count_in_memory",),
    "fl.train": ("FederatedRun", "RoundReport", "train_central", "train_federated", "train_local"),
    "node.client": (
        "BadCall",
        "Client",
        "ClientError",
        "ConnectionRefused",
        "Disconnected",
        "FetchedModel",
        "NotFound",
        "ProtocolError",
        "Refused",
        "Timeout",
        "Unauthorized",
    ),
    "node.config": ("Config",),
    "node.errors": ("ConfigError", "NodeError", "StartupError"),
    "node.home": ("create_home",),
    "node.service.process": ("run_node",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "BadCall",
    "Client",
    "ClientError",
    "Config",
    "ConfigError",
    "ConnectionRefused",
    "DataError",
    "DataSource",
    "Dataset",
    "DenseData",
    "Disconnected",
    "Estimate",
    "Evaluation",
    "FLError",
    "FederatedRun",
    "FetchedModel",
    "KeyPair",
    "NodeError",
    "NotFound",
    "Plan",
    "PlanError",
    "Problem",
    "ProtocolError",
    "Refused",
    "Role",
    "RoundReport",
    "SparseData",
    "StartupError",
    "Timeout",
    "Unauthorized",
    "check_plan",
    "compile_problem",
    "count_in_memory",
    "create_home",
    "estimate_values",
    "evaluate",
    "list_devices",
    "load_dataset",
    "load_model",
    "load_plan",
    "open_source",
    "parse_plan",
    "plan_id",
    "plan_options",
    "register_source",
    "render_plan",
    "run_node",
    "save_model",
    "train_central",
    "train_federated",
    "train_local",
]


def __getattr__(name: str) -> Any:
    """Return a public name from the module that has it."""
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"fedchain has no {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
