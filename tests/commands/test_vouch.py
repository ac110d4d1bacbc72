"""``fedchain device vouch``: a registrar's statement, from its home into a file."""

from chain.address import format_account
from chain.keys import KeyPair
from node.statementfile import read_statement
from storage.directory import DataDirectory
from tests.commands.terminal import done, fedchain


def test_a_registrar_vouches_for_a_device(home, tmp_path):
    """The file is about that device on that network; the plan's author is told how plans name the registrar."""
    device = KeyPair(b"d" * 32).account
    genesis = DataDirectory.find(home).genesis()
    address, out = format_account(device, genesis.prefix), tmp_path / "statement.json"
    told = done("device", "vouch", address, "--until", 900, "--measurement", "c0ffee", "--out", out, "--home", home)
    statement = read_statement(out, genesis.chain_id, device)
    assert (statement.expiry, statement.measurement, statement.kind) == (900, b"\xc0\xff\xee", "software")
    assert told["registrar"] == statement.registrar.hex()
    wrong = fedchain("device", "vouch", address, "--until", 900, "--measurement", "tea", "--out", out, "--home", home)
    assert wrong.code == 2
    assert "must be hex digits" in wrong.err
