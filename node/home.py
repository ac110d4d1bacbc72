"""Make a node's data directory: the network it belongs to, its settings, its one key.

A node has one key, named ``node``: peers know it by this key, and its roles (miner, device, owner) sign with it.
"""

from pathlib import Path
from typing import Final

from chain.genesis import Genesis
from chain.keys import KeyPair
from node.config import Config, render_config
from storage.directory import DataDirectory
from storage.files import write_file

NODE_KEY: Final = "node"


def create_home(
    path: Path,
    genesis: Genesis,
    config: Config | None = None,
    *,
    key: KeyPair | None = None,
    password: str | None = None,
) -> DataDirectory:
    """Make a data directory with a fresh node key, or with ``key``, encrypted if a password is given.

    Default settings if none are given. ``storage.errors.UseError`` if the directory is in use or holds something else,
    ``GenesisError`` for a genesis that contradicts itself.
    """
    directory = DataDirectory.create(path, genesis)
    directory.keystore().add(NODE_KEY, key or KeyPair.generate(), password)
    write_file(directory.config_file, render_config(config or Config()).encode())
    return directory
