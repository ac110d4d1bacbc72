"""``fedchain plan``: write FL plans, put them on the chain, follow them.

Rules of this file: it puts the group together; what needs no node stands in ``plan_files`` and ``plan_deal``, what
asks one in ``plan_submit``, ``plan_follow``, ``plan_dispute`` and ``plan_reproduce``.
"""

import typer

from commands import plan_deal, plan_dispute, plan_files, plan_follow, plan_reproduce, plan_submit
from commands.groups import Group

app = typer.Typer(cls=Group, help="FL plans: write them, put them on the chain, follow them.", no_args_is_help=True)

for part in (plan_files, plan_deal, plan_submit, plan_follow, plan_dispute, plan_reproduce):
    part.add_to(app)
