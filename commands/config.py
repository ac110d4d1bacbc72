"""``fedchain config``: is config.toml what a node can start with?"""

from dataclasses import asdict, fields

import typer

from commands.groups import Group
from commands.home import HomeOption, home_directory
from commands.output import JsonFlag, command, emit, example
from commands.show import listing, sentence
from node.config import Config, read_config

app = typer.Typer(cls=Group, help="A node's settings, config.toml.", no_args_is_help=True)


@app.command("check", epilog=example("fedchain config check --home alice"))
@command
def check(home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Check config.toml and show the settings that are not at their defaults.

    Every setting that does not fit is named, with what is allowed.
    """
    from storage.directory import DataDirectory

    directory = DataDirectory.find(home_directory(home))
    config = read_config(directory.config_file)
    changed = _changed(config)
    rows = [(name, value) for name, value in changed.items()] or [("(all)", "at their defaults")]
    emit(
        as_json,
        {"file": str(directory.config_file), "settings": asdict(config), "changed": changed},
        sentence(f"{directory.config_file} is fine.", "green"),
        listing(("setting", "value"), rows),
    )


def _changed(config: Config) -> dict[str, object]:
    default = Config()
    return {
        f"{section.name}.{setting.name}": getattr(getattr(config, section.name), setting.name)
        for section in fields(config)
        for setting in fields(getattr(config, section.name))
        if getattr(getattr(config, section.name), setting.name) != getattr(getattr(default, section.name), setting.name)
    }
