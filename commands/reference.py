"""docs/cli.md and the table of docs/plans.md, written from the commands and the plan's schema.

``python -m commands.reference`` renews both, a test holds them to what they are written from.

Rules of this file: text out of the command tree; nothing is said here that the commands do not say.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.main import get_command

if TYPE_CHECKING:
    from fl.plan.options import Option

FILE: Final = Path(__file__).parent.parent / "docs" / "cli.md"
PLANS: Final = FILE.with_name("plans.md")
_BEGIN: Final = "<!-- fields: written by python -m commands.reference -->\n"
_END: Final = "<!-- end of fields: written by python -m commands.reference -->\n"
_FIELD_HEAD: Final = "| field | meaning | allowed | default |\n|---|---|---|---|"
_SECTIONS: Final = frozenset(
    {
        "roles", "model", "algorithm", "participation", "deadlines", "verification", "privacy", "aggregation",
        "compression", "rewards", "stopping", "training", "contribution", "column", "statistic",
    }
)  # fmt: skip
"""Parts of a plan that are tables: each has a table of its own here."""
_HEAD: Final = """\
# The command line

Written by `python -m commands.reference` from the commands themselves.

Every command takes `--json` (one JSON document on standard output; `plan watch` prints one a line) and `--help`.
Results go to standard output, progress and errors to standard error. Exit codes: **0** done, **1** it could not be
done, **2** wrong use, **130** interrupted. With `--json` a failure is the document
`{"error": {"cause", "remedy", "exit_code"}}`, with `"problems": [{"field", "value", "allowed"}]` where a plan or
config.toml has several; what is not even a command or an option is told on standard error alone.

`--home DIR` names a node's data directory; without it `$FEDCHAIN_HOME` does, else the platform's directory for user
data. Commands that ask a node talk to the one that runs in that directory.

Amounts are whole numbers of the smallest unit, as in plans, genesis.json and all JSON; `2.5coins` means 2500000 of
them. A plan is named by its id or by the first digits of it, four at least.
"""


def render_reference() -> str:
    """Return the text of docs/cli.md."""
    from cli import app

    commands = list(walk(get_command(app), "fedchain"))
    contents = [f"- [`{path}`](#{path.replace(' ', '-')}): {_first_line(command)}" for path, command in commands]
    sections = [section for path, command in commands for section in _section(path, command)]
    return "\n".join([_HEAD, *contents, "", *sections]).rstrip("\n") + "\n"


def render_plans() -> str:
    """Return the text of docs/plans.md, with the table of its fields made anew."""
    before, _, rest = PLANS.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "\n".join(_fields()) + "\n" + _END + after


def _fields() -> Iterator[str]:
    from fl.plan.options import plan_options

    parts: dict[str, list[Option]] = {"The plan itself": []}
    for option in plan_options():
        part = re.split(r"[.(\[]", option.field)[0]
        parts.setdefault(part if part in _SECTIONS else "The plan itself", []).append(option)
    for part, options in parts.items():
        yield f"\n### {part}\n\n{_FIELD_HEAD}"
        yield from map(_field, options)


def _field(option: "Option") -> str:
    default = f"`{_cell(option.default)}`" if option.default else "required"
    meaning = _cell(option.meaning[:1].upper() + option.meaning[1:]).replace("``", "`")
    return f"| `{_cell(option.field)}` | {meaning} | {_cell(option.allowed)} | {default} |"


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, with the words that call it."""
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
        return
    for name, member in members.items():
        yield from walk(member, f"{path} {name}")


def _first_line(command: Any) -> str:
    return str(command.help or "").split("\n\n")[0].strip()


def _section(path: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    yield f"## {path}"
    yield ""
    yield str(command.help or "").strip()
    yield ""
    yield "```console"
    yield f"$ {' '.join([path, *map(_usage, arguments), *(_usage(one) for one in options if one.required)])}"
    yield "```"
    yield ""
    if arguments or options:
        yield "| | | |"
        yield "|---|---|---|"
        for parameter in [*arguments, *options]:
            yield f"| {_name(parameter)} | {_value(parameter)} | {_cell(parameter.help or '')}{_default(parameter)} |"
        yield ""
    yield from _example(command.epilog or "")


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.metavar or parameter.name.upper())
        return name if parameter.required else f"[{name}]"
    return f"{parameter.opts[0]} {parameter.metavar or parameter.name.upper()}"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_usage(parameter)}`"
    return f"`{parameter.opts[0]}`" + (" (required)" if parameter.required else "")


def _value(parameter: Any) -> str:
    if parameter.param_type_name == "argument" or parameter.is_flag:
        return ""
    return f"`{parameter.metavar or parameter.name.upper()}`"


def _default(parameter: Any) -> str:
    default = parameter.default
    shown = parameter.show_default and default not in (None, False) and not callable(default)
    return f" Default: `{getattr(default, 'value', default)}`." if shown else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _example(epilog: str) -> Iterator[str]:
    lines = [line.strip().replace(r"\[", "[") for line in epilog.replace("Example:", "").splitlines()]
    commands = [line for line in lines if line.startswith("fedchain ")]
    if commands:
        yield "```console"
        yield from (f"$ {line}" for line in commands)
        yield "```"
        yield ""


def main() -> None:
    """Write both anew."""
    FILE.write_text(render_reference(), encoding="utf-8")
    PLANS.write_text(render_plans(), encoding="utf-8")


if __name__ == "__main__":
    main()
