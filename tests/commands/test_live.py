"""The commands that ask a node, against a real one: it mines, holds private data, and owns the plans it submits."""

import json
import socket
from pathlib import Path

import pytest

from fl.model_file import load_model
from tests.commands.conftest import QUICK, LiveNode
from tests.commands.terminal import WIDTH, done, fedchain

pytestmark = pytest.mark.processes


# --- how it is -------------------------------------------------------------------------------------


def test_status_tells_place_roles_and_coins(live: LiveNode):
    """In JSON with the RPC's own names; for people within 80 columns."""
    status = done("status", "--home", live.home)
    assert status["account"] == live.account
    assert set(status["roles"]) == {"miner", "device"}
    assert status["balance"] > 0
    text = fedchain("status", "--home", live.home).out
    assert status["genesis"][:12] in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_node_alone_has_no_peers(live: LiveNode):
    """An empty list, and a sentence."""
    assert done("peers", "--home", live.home) == {"peers": []}
    assert fedchain("peers", "--home", live.home).out == "No peers.\n"


def test_a_running_node_is_backed_up_and_the_copy_can_be_checked(live: LiveNode, tmp_path: Path):
    """It goes on meanwhile; the copy is sound, and its checkpoint is a block of the chain."""
    copy = tmp_path / "copy"
    before = done("status", "--home", live.home)
    backup = done("db", "backup", str(copy), "--home", live.home)
    assert backup["height"] >= before["height"]
    assert backup["payloads"] >= 0
    assert done("db", "check", "--home", str(copy))["sound"] is True
    assert fedchain("db", "backup", str(copy), "--home", live.home).code == 1
    height, _, block = done("node", "checkpoint", "--home", live.home)["checkpoint"].partition(":")
    assert done("block", height, "--home", live.home)["id"] == block
    assert before["trust"]["says"] == "genesis"
    assert "trusts" in fedchain("status", "--home", live.home).out


def test_a_host_is_banned_until_it_is_let_back_in(live: LiveNode):
    """With when and why; an address of this machine is refused, and so is to unban whom nobody banned."""
    home = ("--home", live.home)
    assert fedchain("node", "bans", *home).out == "Nobody is banned.\n"
    assert done("node", "ban", "192.0.2.7", *home, "--hours", "2", "--reason", "too loud")["hours"] == 2
    (ban,) = done("node", "bans", *home)["bans"]
    assert (ban["subject"], ban["reason"]) == ("192.0.2.7", "too loud")
    text = fedchain("node", "bans", *home).out
    assert "192.0.2.7" in text
    assert "too loud" in text
    assert done("node", "unban", "192.0.2.7", *home) == {"unbanned": "192.0.2.7"}
    assert fedchain("node", "unban", "192.0.2.7", *home).code != 0
    assert fedchain("node", "ban", "127.0.0.1", *home).code != 0


def test_an_account_is_shown_with_a_proof_that_is_checked(live: LiveNode):
    """The node's own by default; any by its address."""
    assert done("account", "--home", live.home)["account"] == live.account
    view = done("account", live.account, "--home", live.home, "--prove")
    assert view["proof_checked"]
    assert view["proof"]["state_root"]
    assert "holds" in fedchain("account", "--home", live.home, "--prove").out


def test_a_block_is_named_by_height_or_id_or_is_the_head(live: LiveNode):
    """All three lead to blocks of the chain."""
    genesis = done("block", 0, "--home", live.home)
    assert done("block", genesis["id"], "--home", live.home)["height"] == 0
    assert done("block", "--home", live.home)["main_chain"]
    assert genesis["id"] in fedchain("block", 0, "--home", live.home).out


def test_coins_are_sent_and_the_transaction_is_in_a_block(live: LiveNode, tmp_path: Path):
    """Units and coins mean the same."""
    other = done("init", "--home", tmp_path / "other", *QUICK)["account"]
    sent = done("transfer", other, "0.5coins", "--home", live.home, "--wait")
    assert sent["amount"] == 500_000
    assert sent["state"] == "included"
    assert done("account", other, "--home", live.home)["balance"] == 500_000
    block = fedchain("block", sent["height"], "--home", live.home).out
    assert "transfer" in block
    assert sent["transaction"][:12] in block
    answer = fedchain("transfer", other, "1000000000coins", "--home", live.home, "--json")
    assert answer.code == 1
    assert "1,000,000,000 coins to send" in answer.error["cause"], "in coins, before anything is signed"


BAD_QUESTIONS = [
    (["account", "fed1qqq"], 1, "typing error"),
    (["block", "999999"], 1, "no block of height"),
    (["block", "tomorrow"], 2, "must be a height"),
    (["block", "ab" * 32], 1, "no block"),
    (["plan", "show", "zz"], 2, "hex digits"),
    (["plan", "show", "abc"], 2, "at least 4"),
    (["plan", "show", "0000"], 1, "no plan on this chain begins with"),
    (["plan", "show", "00" * 32], 1, "no plan"),
    (["plan", "watch", "00" * 32], 1, "no plan"),
    (["plan", "cancel", "00" * 32], 1, "no plan"),
    (["device", "join", "0000"], 1, "no plan"),
    (["transfer", "fed1qqq", "5"], 1, "typing error"),
    (["transfer", "fed1qqq", "5", "--replace", "00" * 32], 1, "typing error"),
    (["transfer", "fed1qqq", "5", "--replace", "zz"], 2, "64 hex digits"),
    (["transfer", "fed1qqq", "five"], 2, "amount"),
]


@pytest.mark.parametrize(("words", "code", "cause"), BAD_QUESTIONS)
def test_a_question_that_has_no_answer_says_why(live: LiveNode, words: list[str], code: int, cause: str):
    """In a sentence and in JSON."""
    answer = fedchain(*words, "--home", live.home, "--json")
    assert answer.code == code
    assert cause in answer.error["cause"]
    assert cause.split()[0] in fedchain(*words, "--home", live.home).err


# --- a plan's life ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(live: LiveNode) -> str:
    """A plan that was submitted, joined by the node's device, and is finished."""
    submitted = done("plan", "submit", live.plan_file, "--home", live.home, "--wait")
    assert submitted["state"] == "included"
    assert submitted["escrow"] == sum(submitted["cost"].values())
    plan = submitted["plan"]
    assert fedchain("device", "join", plan[:8], "--home", live.home).code == 0
    answer = fedchain("plan", "watch", plan[:8], "--home", live.home, "--timeout", 180, "--json")
    assert answer.code == 0, answer.err
    events = [json.loads(line) for line in answer.out.splitlines()]
    assert [one["round"]["round"] for one in events if one["event"] == "round"] == [0, 1]
    assert events[-1]["event"] == "end"
    assert events[-1]["standing"]["status"] == "finished"
    return str(plan)


def test_a_finished_plan_is_listed_shown_and_watched_again(live: LiveNode, finished: str):
    """Its rounds with their losses; the plan itself as TOML."""
    assert finished in [
        one["plan"] for one in done("plan", "list", "--home", live.home, "--status", "finished")["plans"]
    ]
    shown = done("plan", "show", finished, "--home", live.home)
    assert shown["standing"]["rounds"] == 2
    assert shown["rounds"][1]["loss"] < shown["rounds"][0]["loss"]
    text = fedchain("plan", "show", finished[:6], "--home", live.home).out
    assert "finished" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert 'title = "A small plan"' in fedchain("plan", "show", finished, "--home", live.home, "--toml").out
    again = fedchain("plan", "watch", finished, "--home", live.home)
    assert again.code == 0
    assert "round   2/2" in again.out


def test_the_trained_model_is_exported_and_used(live: LiveNode, finished: str, tmp_path: Path):
    """The file's digest is the chain's; it predicts rows of the same kind."""
    exported = done("model", "export", finished[:8], "--home", live.home, "--out", tmp_path / "model.npz")
    assert exported["plan"] == finished
    assert exported["status"] == "finished"
    assert load_model(tmp_path / "model.npz").digest.hex() == exported["digest"]
    measured = done("model", "evaluate", tmp_path / "model.npz", live.data)
    assert measured["rows"] == 40


def test_a_finished_plan_is_made_again_from_its_data(live: LiveNode, finished: str, tmp_path: Path):
    """Every update and model bit for bit; with a row changed the command says whose rows it were, and fails."""
    for name in ("same", "changed"):
        (tmp_path / name).mkdir()
    table = live.data.read_text()
    (tmp_path / "same" / "clinic.csv").write_text(table)
    lines = table.splitlines()
    (tmp_path / "changed" / "clinic.csv").write_text("\n".join([*lines[:-1], "199,41,no,1"]) + "\n")
    again = done("plan", "reproduce", finished[:8], "--data", tmp_path / "same", "--home", live.home)
    assert (again["repeated"], again["updates"], again["models_equal"], again["models"]) == (4, 4, 2, 2)
    answer = fedchain("plan", "reproduce", finished, "--data", tmp_path / "changed", "--home", live.home)
    assert answer.code == 1
    assert "0 of 4 made again" in answer.out
    assert "clinic" in answer.out
    assert max(map(len, answer.out.splitlines())) <= WIDTH


def test_the_device_tells_what_it_did(live: LiveNode, finished: str):
    """The plan it took part in, and its releases: two exchanges in two rounds."""
    status = done("device", "status", "--home", live.home)
    assert status["registered"]
    assert status["role"]["releases"] == 4
    assert finished[:12] in fedchain("device", "status", "--home", live.home).out


def test_what_comes_next_names_the_same_home(live: LiveNode, finished: str):
    """Commands to copy work as they are."""
    told = fedchain("device", "join", finished[:8], "--home", live.home).out
    assert f"fedchain device status --home {live.home}" in told
    assert max(len(line) for line in told.splitlines() if "fedchain" not in line) <= 80


def test_the_same_plan_is_refused_a_second_time(live: LiveNode, finished: str):
    """And the sender is told what to change."""
    answer = fedchain("plan", "submit", live.plan_file, "--home", live.home, "--json")
    assert answer.code == 1
    assert "change its nonce" in answer.error["cause"]


def test_an_underfunded_plan_is_refused_with_its_cost(live: LiveNode, tmp_path: Path):
    """An escrow below the worst case, and an account that cannot pay; nothing is sent."""
    answer = fedchain("plan", "submit", live.plan_file, "--home", live.home, "--escrow", "5", "--json")
    assert answer.code == 1
    assert "rewards" in answer.error["cause"]
    dear = tmp_path / "dear.toml"
    dear.write_text(live.plan_file.read_text().replace("devices = 1000", f"devices = {10**17}"))
    (tmp_path / "holdout.csv").write_bytes((live.plan_file.parent / "holdout.csv").read_bytes())
    answer = fedchain("plan", "submit", dear, "--home", live.home, "--json")
    assert answer.code == 1
    assert live.account in answer.error["cause"]
    assert "has" in answer.error["cause"]


def test_a_plan_is_cancelled_by_its_owner_and_watching_it_says_so(live: LiveNode, tmp_path: Path):
    """Exit code 1: the plan did not come to its end."""
    (tmp_path / "holdout.csv").write_bytes((live.plan_file.parent / "holdout.csv").read_bytes())
    other = tmp_path / "plan.toml"
    other.write_text(live.plan_file.read_text().replace("nonce = 1", "nonce = 2"))
    plan = done("plan", "submit", other, "--home", live.home, "--wait")["plan"]
    assert done("plan", "cancel", plan, "--home", live.home, "--wait")["state"] == "included"
    answer = fedchain("plan", "watch", plan, "--home", live.home, "--timeout", 120)
    assert answer.code == 1
    assert "cancelled" in answer.out
    assert "cancelled by its owner" in answer.err
    lines = fedchain("plan", "watch", plan, "--home", live.home, "--json").out.splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["event", "event", "error"]
    refused = fedchain("plan", "cancel", plan, "--home", live.home, "--json")
    assert refused.code == 1
    assert "cancelled already" in refused.error["cause"]


# --- what can't be ---------------------------------------------------------------------------------


def test_a_second_node_on_the_same_directory_is_refused(live: LiveNode):
    """And so are the tools that need the database for themselves; the first goes on."""
    for words in (["node", "start"], ["db", "check"], ["db", "compact"]):
        answer = fedchain(*words, "--home", live.home, "--json")
        assert answer.code == 1
        assert "in use by another process" in answer.error["cause"]
    assert done("status", "--home", live.home)["account"] == live.account


def test_a_port_in_use_is_named(home: Path):
    """With what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = fedchain("node", "start", "--home", home, "--listen", f"127.0.0.1:{port}", "--json")
    assert answer.code == 1
    assert f"port {port}" in answer.error["cause"]
    assert answer.error["remedy"]


def test_a_device_needs_consent(home: Path, live: LiveNode):
    """Nothing starts without it."""
    for words in (["node", "start", "--device", live.data], ["device", "run", live.data]):
        answer = fedchain(*words, "--home", home, "--json")
        assert answer.code == 2
        assert "consent" in answer.error["cause"]


def test_nobody_answers_where_no_node_runs(home: Path):
    """With the command that starts one."""
    for words in (["status"], ["peers"], ["plan", "list"], ["node", "stop"], ["device", "status"]):
        answer = fedchain(*words, "--home", home, "--json")
        assert answer.code == 1
        assert f"fedchain node start --home {home}" in answer.error["remedy"]


def test_a_wrong_password_does_not_open_the_key(tmp_path: Path):
    """Neither for a node nor for a plan."""
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    home = tmp_path / "home"
    done("init", "--home", home, "--password-file", tmp_path / "right", *QUICK)
    answer = fedchain("node", "start", "--home", home, "--password-file", tmp_path / "wrong", "--json")
    assert answer.code == 1
    assert "wrong password" in answer.error["cause"]
    assert "try again" in answer.error["remedy"]
    answer = fedchain("node", "start", "--home", home, "--json")
    assert answer.code == 2
    assert "--password-file" in answer.error["remedy"]
