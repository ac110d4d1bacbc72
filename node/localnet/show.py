"""The tables a run ends with, for people, at 80 columns."""

import shlex
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_COIN = 10**6


def result(summary: dict[str, Any]) -> RenderableType:
    """Return the tables of a finished run: scores, rewards with computation times, and what the nodes agree on."""
    shown = counts(summary) if "values" in summary else scores(summary)
    return Group(
        shown, Text(""), _rewards(summary), Text(""), _agreement(summary), _written(summary["out"], "values" in summary)
    )


def counts(summary: dict[str, Any]) -> Table:
    """Return the table of a run that counted: each value's estimate, its standard error, and the truth."""
    table = Table(title=f"Rows of {summary['counted_rows']:,} with each value", title_justify="left", width=78)
    table.add_column("value", no_wrap=True)
    for heading in ("estimate", "± error", "truth"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in summary["values"]:
        table.add_row(each["value"], f"{each['rows']:,.0f}", f"{each['rows_error']:,.0f}", f"{each['true_rows']:,}")
    table.caption = (
        f"root mean square error {summary['root_mean_square_error']:,.0f} rows; "
        f"theory expects {summary['expected_error']:,.0f}"
    )
    table.caption_justify = "left"
    return table


def scores(summary: dict[str, Any]) -> Table:
    """Return the table that compares the federated model with the central one and each device alone."""
    measures = list(summary["federated"])
    table = Table(title=f"Scores on the {summary['scores_on']}", title_justify="left", width=78)
    table.add_column("model", no_wrap=True)
    for measure in measures:
        table.add_column(measure.replace("_", "-"), justify="right", no_wrap=True)
    table.add_row("federated", *(f"{summary['federated'][name]:.4f}" for name in measures), style="bold")
    table.add_row("central (all rows pooled)", *(f"{summary['central'][name]:.4f}" for name in measures))
    for device, measured in summary["local"]["devices"].items():
        table.add_row(f"{device} alone", *(f"{measured[name]:.4f}" for name in measures), style="dim")
    if "delta_accuracy" in summary:
        table.caption = f"δ-accuracy loss |federated − central| = {summary['delta_accuracy']:.4f}"
        table.caption_justify = "left"
    return table


def _rewards(summary: dict[str, Any]) -> Table:
    table = Table(title="Rewards, in coins", title_justify="left", width=78)
    table.add_column("node", no_wrap=True)
    for heading in ("training", "verification", "blocks", "median compute"):
        table.add_column(heading, justify="right", no_wrap=True)
    rewards = summary["rewards"]
    paid = _in_coins(rewards["devices"])
    verified, mined = _in_coins(rewards["miners_verification"]), _in_coins(rewards["miners_blocks"])
    for name in sorted(rewards["devices"]):
        compute = summary["computation_ms"].get(name)
        table.add_row(name, paid[name], "", "", "" if compute is None else f"{compute:.2f} ms")
    for name in sorted({*rewards["miners_verification"], *rewards["miners_blocks"]}):
        table.add_row(name, "", verified.get(name, "0"), mined.get(name, "0"), "")
    return table


def _in_coins(amounts: dict[str, int]) -> dict[str, str]:
    """Return amounts in coins, all with as many decimals as the smallest needs to be seen."""
    least = min((amount for amount in amounts.values() if amount), default=_COIN)
    decimals = 2 if least >= _COIN else 4 if least >= _COIN // 100 else 6
    return {name: f"{amount / _COIN:,.{decimals}f}" for name, amount in amounts.items()}


def _agreement(summary: dict[str, Any]) -> Text:
    nodes = summary["miners"] + summary["devices"] - len(summary["dead"])
    text = Text()
    if summary["agreed"]:
        text.append(f"All {nodes} nodes agree", style="bold green")
    else:
        text.append(f"The {nodes} nodes do NOT agree", style="bold red")
    rounds = "1 round" if summary["rounds"] == 1 else f"{summary['rounds']} rounds"
    text.append(f" at block {summary['blocks']}, after {rounds}, in {summary['seconds']:.0f} s\n")
    for killed in summary["killed"]:
        back = "came back" if killed["restarted"] else "stayed dead"
        where = f"in round {killed['round']}, in its {killed['step'] or 'last'} step"
        text.append(f"  killed     {killed['node']} {where}; it {back}\n")
    for label, name in (("head", "head"), ("state root", "state_root"), ("model", "model_digest")):
        text.append(f"  {label:<11}{summary[name]}\n")
    text.append(
        f"  updates    {summary['updates_accepted']} accepted, {summary['updates_refused']} refused; supply "
        f"{'conserved' if summary['supply_conserved'] else 'NOT CONSERVED'}; "
        f"largest process {summary['peak_rss_mb']:.0f} MB\n"
    )
    return text


def _written(out: str, is_count: bool = False) -> Text:
    """Return where things are, and what can be done with them."""
    text = Text("\nWritten to ").append(f"{out}\n", style="bold")
    picture = ("loss.png", "the picture: loss against rounds, and the scores")
    if is_count:
        picture = ("frequencies.png", "the picture: each value's share, with its error, and the truth")
    for name, meaning in (
        picture,
        ("summary.json", "all figures"),
        ("model.npz", "the counters" if is_count else "the model"),
        ("nodes/", "each node's data directory; its log is logs/node.log"),
    ):
        text.append(f"  {name:<16}{meaning}\n")
    if is_count:
        return text.append(f"\nSee what was counted:\n  fedchain model frequencies {shlex.quote(f'{out}/model.npz')}")
    return text.append(f"\nUse the model:\n  fedchain model predict {shlex.quote(f'{out}/model.npz')} DATA")
