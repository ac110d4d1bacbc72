"""``init``, ``keys``, ``config``, ``db``: data directories, with no node running."""

import json
import stat
from pathlib import Path

import pytest

from chain.address import format_account
from chain.genesis import PosParameters
from chain.genesis_file import read_genesis
from node.config import read_config
from node.service.home import open_home
from storage.database import META_SCHEMA, encode_version
from storage.keystore import KeyFiles
from tests.commands.conftest import QUICK
from tests.commands.terminal import done, fedchain


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A file with a password."""
    file = tmp_path / "password"
    file.write_text("open sesame\n")
    return file


# --- init ------------------------------------------------------------------------------------------


def test_init_makes_a_directory_that_only_its_owner_reads(tmp_path: Path):
    """Key, settings and genesis are there, and it says what to do next."""
    made = done("init", "--home", tmp_path / "a", "--mine", "--connect", "192.0.2.1:9470", *QUICK)
    home = Path(made["home"])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert read_genesis(Path(made["genesis_file"]).read_text()).id.hex() == made["genesis"]
    config = read_config(Path(made["config_file"]))
    assert config.mining.enabled
    assert config.network.connect == ("192.0.2.1:9470",)
    assert made["next"] == [f"fedchain node start --home {home}"]
    assert done("keys", "show", "--home", home)["account"] == made["account"]


def test_a_second_node_joins_with_the_first_ones_genesis(tmp_path: Path):
    """Both then belong to one network, under keys of their own."""
    first = done("init", "--home", tmp_path / "a", "--chain-id", "ours")
    second = done("init", "--home", tmp_path / "b", "--genesis", first["genesis_file"])
    assert second["genesis"] == first["genesis"]
    assert second["chain_id"] == "ours"
    assert second["account"] != first["account"]


def test_init_allocates_the_coins_it_is_told_to(tmp_path: Path):
    """In units, or in coins."""
    account = done("init", "--home", tmp_path / "a")["account"]
    made = done("init", "--home", tmp_path / "b", "--allocate", f"{account}=2.5coins")
    genesis = read_genesis(Path(made["genesis_file"]).read_text())
    assert [allocation.amount for allocation in genesis.allocations] == [2_500_000]


def test_init_speaks_to_people_too(tmp_path: Path):
    """The account, and the next command."""
    answer = fedchain("init", "--home", tmp_path / "a")
    assert answer.code == 0
    assert "fed1" in answer.out
    assert f"fedchain node start --home {tmp_path / 'a'}" in answer.out


def test_the_home_is_an_option_or_an_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``--home`` wins."""
    monkeypatch.setenv("FEDCHAIN_HOME", str(tmp_path / "named"))
    assert done("init")["home"] == str(tmp_path / "named")
    assert done("init", "--home", tmp_path / "other")["home"] == str(tmp_path / "other")


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["--genesis", "G", "--chain-id", "mine"], 2, "--genesis names a network that exists"),
        (["--genesis", "no-such-file"], 1, "No such file"),
        (["--genesis", "BROKEN"], 1, "not JSON"),
        (["--chain-id", "two words"], 1, "chain_id"),
        (["--block-ms", "0"], 2, ""),
        (["--allocate", "nobody"], 2, "ADDRESS=AMOUNT"),
        (["--allocate", "fed1qqq=5"], 1, "checksum"),
        (["--connect", "here"], 2, "is not HOST:PORT"),
        (["--listen", "here:99999"], 2, "is not HOST:PORT"),
        (["--password", "--password-file", "PASSWORD"], 2, "contradict each other"),
        (["--password"], 2, "no terminal"),
        (["--password-file", "EMPTY"], 1, "first line is empty"),
    ],
)
def test_init_refuses_what_does_not_fit_and_makes_nothing(
    home: Path, tmp_path: Path, password: Path, words: list[str], code: int, cause: str
):
    """The cause is named, and no half-made directory is left."""
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty").write_text("")
    files = {"G": home / "genesis.json", "BROKEN": tmp_path / "broken.json", "PASSWORD": password}
    files["EMPTY"] = tmp_path / "empty"
    answer = fedchain("init", "--home", tmp_path / "new", *(files.get(word, word) for word in words))
    assert answer.code == code
    assert cause in " ".join(answer.err.split())
    assert not (tmp_path / "new").exists()


def test_a_genesis_file_that_is_none_is_named(home: Path, tmp_path: Path):
    """The file, what is wrong with it, and where to get one."""
    answer = fedchain("init", "--home", tmp_path / "new", "--genesis", home / "config.toml", "--json")
    assert answer.code == 1
    assert str(home / "config.toml") in answer.error["cause"]
    assert "genesis.json" in answer.error["remedy"]


def test_init_says_who_can_reach_the_node(tmp_path: Path):
    """A node that listens on loopback waits in vain for other machines."""
    assert "this machine alone" in fedchain("init", "--home", tmp_path / "a", "--listen", "127.0.0.1:9999").out
    told = fedchain("init", "--home", tmp_path / "b b", "--listen", "0.0.0.0:9999").out
    assert "this machine alone" not in told
    assert "THIS-MACHINE:9999" in told
    assert f"fedchain node start --home '{tmp_path / 'b b'}'" in told


def test_init_never_touches_a_directory_in_use(home: Path, tmp_path: Path):
    """Neither a node's, nor one with other things in it."""
    before = (home / "keys" / "node.json").read_bytes()
    assert "already is a data directory" in fedchain("init", "--home", home, "--json").error["cause"]
    assert (home / "keys" / "node.json").read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    answer = fedchain("init", "--home", tmp_path / "letters", "--json")
    assert answer.code == 1
    assert "is not empty" in answer.error["cause"]


# --- keys ------------------------------------------------------------------------------------------


def test_keys_are_made_listed_and_shown_and_their_secrets_are_not(home: Path, password: Path):
    """A key with a password is encrypted."""
    made = done("keys", "new", "savings", "--home", home, "--password-file", password)
    assert made["encrypted"]
    assert [key["name"] for key in done("keys", "list", "--home", home)["keys"]] == ["node", "savings"]
    shown = fedchain("keys", "show", "savings", "--home", home)
    assert made["account"] in shown.out
    seed = KeyFiles(home / "keys").load("savings", "open sesame").seed.hex()
    assert seed not in shown.out + fedchain("keys", "list", "--home", home).out


def test_a_key_name_is_taken_once(home: Path):
    """And a key that is not there is not made up."""
    assert "already a key" in fedchain("keys", "new", "node", "--home", home, "--json").error["cause"]
    assert "no key 'x'" in fedchain("keys", "show", "x", "--home", home, "--json").error["cause"]
    assert fedchain("keys", "new", "Bad Name", "--home", home).code == 1


def test_a_directory_without_a_node_says_so(tmp_path: Path):
    """With the command that makes one."""
    for words in (["keys", "list"], ["config", "check"], ["node", "start"], ["status"], ["db", "check"]):
        error = fedchain(*words, "--home", tmp_path / "nothing", "--json").error
        assert "is not a data directory" in error["cause"]
        assert "fedchain init" in error["cause"]


# --- config ----------------------------------------------------------------------------------------


def test_config_check_shows_what_is_not_at_its_default(home: Path):
    """What init wrote is fine."""
    checked = done("config", "check", "--home", home)
    assert checked["changed"] == {"network.port": 0, "rpc.port": 0}
    assert checked["settings"]["mining"]["enabled"] is False
    assert "is fine" in fedchain("config", "check", "--home", home).out


def test_config_check_names_every_setting_that_does_not_fit(home: Path):
    """With the value found and what is allowed; ``node start`` refuses the same file."""
    (home / "config.toml").write_text('[rpc]\nport = "x"\n[network]\nconnect = ["here"]\nprot = 1\n')
    for words in (["config", "check"], ["node", "start"]):
        answer = fedchain(*words, "--home", home, "--json")
        assert answer.code == 1
        assert {one["field"] for one in answer.error["problems"]} == {"rpc.port", "network.connect", "network.prot"}
    assert "rpc.port" in fedchain("config", "check", "--home", home).err


# --- db --------------------------------------------------------------------------------------------


def test_db_commands_say_that_no_node_has_run(home: Path, tmp_path: Path):
    """There is nothing to check yet."""
    for words in (["check"], ["compact"], ["export", "--out", tmp_path / "x"]):
        error = fedchain("db", *words, "--home", home, "--json").error
        assert "no node has run" in error["cause"]
    assert not (tmp_path / "x").exists()


def test_a_damaged_key_file_or_genesis_is_named(home: Path):
    """What to do is said with it."""
    (home / "keys" / "node.json").chmod(0o644)
    assert "chmod 600" in fedchain("keys", "list", "--home", home, "--json").error["cause"]
    (home / "keys" / "node.json").chmod(0o600)
    (home / "genesis.json").write_text(json.dumps({"chain_id": 7}))
    error = fedchain("node", "start", "--home", home, "--json").error
    assert "genesis" in error["cause"]


@pytest.fixture
def used(home: Path) -> Path:
    """A data directory with a database, as a node leaves it."""
    with open_home(home):
        pass
    return home


def test_a_sound_database_is_checked_compacted_and_exported(used: Path, tmp_path: Path):
    """Exit code 0; an export is never overwritten."""
    checked = done("db", "check", "--home", used)
    assert checked["sound"]
    assert checked["main_chain"] == 1
    assert "sound" in fedchain("db", "check", "--home", used).out
    assert done("db", "compact", "--home", used)["bytes_after"] > 0
    assert done("db", "export", "--home", used, "--out", tmp_path / "chain.fed")["blocks"] == 1
    assert "exists already" in fedchain("db", "export", "--home", used, "--out", tmp_path / "chain.fed").err


def test_an_exported_chain_is_imported(used: Path, tmp_path: Path):
    """Into a new directory of the same network; one of another network, and a file that is none, are refused."""
    file, new = tmp_path / "chain.fed", tmp_path / "new"
    done("db", "export", "--home", used, "--out", file)
    done("init", "--home", new, "--genesis", used / "genesis.json")
    assert done("db", "import", file, "--home", new) == {"imported": 0, "known": 1, "left": 0, "height": 0}
    assert "0 blocks taken in" in fedchain("db", "import", file, "--home", new).out
    assert done("db", "check", "--home", new)["main_chain"] == 1
    done("init", "--home", tmp_path / "other", "--chain-id", "other")
    refused = fedchain("db", "import", file, "--home", tmp_path / "other", "--json")
    assert refused.code == 1
    assert "use a data directory of that network" in refused.error["cause"]
    file.write_bytes(file.read_bytes()[:-1])
    refused = fedchain("db", "import", file, "--home", new, "--json")
    assert (refused.code, "cut short" in refused.error["cause"]) == (1, True)


def test_a_database_cut_short_is_told(used: Path):
    """Exit code 1, with the directory that is damaged."""
    with open_home(used) as opened:
        opened.store.database.compact()
    for file in (used / "chain").glob("*.ldb"):
        file.write_bytes(file.read_bytes()[:40])
    answer = fedchain("db", "check", "--home", used, "--json")
    assert answer.code == 1
    assert str(used / "chain") in answer.error["cause"]


def test_a_database_of_a_newer_version_is_refused(used: Path):
    """It is left as it is."""
    with open_home(used) as opened:
        opened.store.database.write(lambda writer: writer.put(META_SCHEMA, encode_version(999)), sync=True)
    for words in (["db", "check"], ["node", "start"]):
        answer = fedchain(*words, "--home", used, "--json")
        assert answer.code == 1
        assert "999" in answer.error["cause"]


def test_a_foreign_genesis_is_refused(used: Path, tmp_path: Path):
    """A chain of one network is not continued with the genesis of another."""
    other = done("init", "--home", tmp_path / "other", *QUICK)
    (used / "genesis.json").write_bytes(Path(other["genesis_file"]).read_bytes())
    for words in (["db", "check"], ["node", "start"]):
        answer = fedchain(*words, "--home", used, "--json")
        assert answer.code == 1
        assert "belongs to the network with genesis" in answer.error["cause"]


# --- engines ---------------------------------------------------------------------------------------


def test_a_network_of_stake_begins_with_its_own_node_as_validator(tmp_path: Path):
    """Nobody else is named, so this node votes, beside the coins it has."""
    made = done("init", "--home", tmp_path / "a", "--engine", "pos", "--epoch-blocks", "50")
    genesis = read_genesis(Path(made["genesis_file"]).read_text(encoding="utf-8"))
    assert made["engine"] == "pos"
    assert isinstance(genesis.engine, PosParameters)
    assert [format_account(one.account) for one in genesis.engine.validators] == [made["account"]]
    assert (genesis.engine.epoch_blocks, genesis.engine.permissioned, genesis.engine.registrars) == (50, False, ())


def test_a_consortium_is_founded_by_keys_made_before(tmp_path: Path, password: Path):
    """Each member makes a key; one writes the genesis; all take part under the keys it names."""
    keys = [done("keys", "new", name, "--out", tmp_path / "keys") for name in ("one", "two")]
    sealed = done("keys", "new", "three", "--out", tmp_path / "keys", "--password-file", password)
    named = [word for key in (*keys, sealed) for word in ("--validator", f"{key['account']}=1000coins")]
    first = done("init", "--home", tmp_path / "a", "--key", keys[0]["file"], "--engine", "consortium", *named)
    assert first["account"] == keys[0]["account"]
    genesis = read_genesis(Path(first["genesis_file"]).read_text(encoding="utf-8"))
    assert isinstance(genesis.engine, PosParameters)
    assert genesis.engine.permissioned
    assert [format_account(account) for account in genesis.engine.registrars] == [first["account"]]
    assert {format_account(one.account) for one in genesis.engine.validators} == {
        key["account"] for key in (*keys, sealed)
    }
    joined = done(
        *("init", "--home", tmp_path / "b", "--key", sealed["file"], "--genesis", first["genesis_file"]),
        *("--password-file", password),
    )
    assert joined["account"] == sealed["account"]
    assert joined["engine"] == "consortium"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--engine", "poa"], "must be pow, pos, consortium"),
        (["--engine", "pos", "--hashes-per-block", "9"], "--hashes-per-block says nothing to --engine pos"),
        (["--registrar", "fed1x"], "--registrar says nothing to --engine pow"),
        (["--engine", "pos", "--validator", "fed1x"], "must be ADDRESS=AMOUNT"),
    ],
)
def test_options_that_do_not_fit_the_engine_are_refused(tmp_path: Path, words: list[str], cause: str):
    """Nothing is made, and the message says which option is wrong."""
    answer = fedchain("init", "--home", tmp_path / "a", *words, "--json")
    assert cause in answer.error["cause"]
    assert not (tmp_path / "a").exists()
