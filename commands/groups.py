"""Groups of commands whose help says no more than people need: a flag is there or not, it has no type.

Rules of this file: how help looks, nothing that a command does.
"""

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group of commands; every ``typer.Typer`` here is made with ``cls=Group``."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by name, with its flags' types hidden."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _hide_flag_types([*command.params, command.get_help_option(ctx)])
        return command

    def get_params(self, ctx: Any) -> Any:
        """Return the group's own options, with their flags' types hidden."""
        parameters = super().get_params(ctx)
        _hide_flag_types(parameters)
        return parameters


def _hide_flag_types(parameters: list[Any]) -> None:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
