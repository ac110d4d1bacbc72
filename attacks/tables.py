"""Write the tables and plots of ``docs/attacks.md`` from ``build/attacks.json``: ``python -m attacks.tables``.

What stands between two marks that name a table is replaced whole; every figure comes from the document that the suite
wrote. Cells are the mean over the seeds with the least and the largest in brackets, shares in percent.

Rules of this file: it computes means and ranges, and nothing else of its own.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attacks.attackers import ATTACKS, BY_NAME
from attacks.collusion import DRAWS, collusion_lines
from attacks.defences import DEFENCES
from attacks.plots import draw_all
from attacks.results import Measure, NoResultsError, Runs, accuracy, read_groups, share_of
from attacks.run import RESULTS

PAGE: Final = Path("docs/attacks.md")
IMAGES: Final = Path("docs/images")
MARK: Final = "<!-- table {}: written by python -m attacks.tables -->"
END: Final = "<!-- end of table -->"


class TablesError(Exception):
    """The page has no place for a table; the text says which."""


def text_of(cell: tuple[float, float, float] | None) -> str:
    """Return a cell as the page shows it."""
    if cell is None:
        return "–"
    mean, least, largest = cell
    return f"{mean:.1f}" if largest - least < 0.05 else f"{mean:.1f} ({least:.1f}–{largest:.1f})"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, figures to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def _aims(runs: Runs, *aims: str) -> list[str]:
    return runs.names("attack", [each.name for each in ATTACKS if each.aim in aims])


def _defences(runs: Runs) -> list[str]:
    return runs.names("defence", [each.name for each in DEFENCES])


def attack_lines() -> str:
    """Return the table of the attacks."""
    lines = [(f"`{each.name}`", each.aim, "adaptive" if each.adaptive else "plain", each.summary) for each in ATTACKS]
    return table(("attack", "aim", "kind", "what it does"), lines).replace("---:", "---")


def defence_lines() -> str:
    """Return the table of the defences."""
    lines = [(f"`{each.name}`", each.summary) for each in DEFENCES]
    return table(("defence", "what is in the plan"), lines).replace("---:", "---")


def grid(runs: Runs, attacks: Sequence[str], measure: Measure, percent: int) -> str:
    """Return defences by attacks; the first column is the run that nobody attacks."""
    names = ["", *attacks]
    lines = []
    for defence in _defences(runs):
        cells = [runs.cell(measure, defence=defence, attack=name, percent=percent if name else 0) for name in names]
        lines.append([f"`{defence}`", *map(text_of, cells)])
    return table(["defence", "nobody", *[f"`{name}`" for name in attacks]], lines)


def share_of_attackers(runs: Runs, attacks: Sequence[str], measure: Measure) -> str:
    """Return defences by attacks of what means nothing where nobody attacks; rows without a figure are left out."""
    lines = []
    for defence in _defences(runs):
        cells = [runs.cell(measure, defence=defence, attack=name, percent=30) for name in attacks]
        if any(cell is not None for cell in cells):
            lines.append([f"`{defence}`", *map(text_of, cells)])
    return table(["defence", *[f"`{name}`" for name in attacks]], lines)


def share_grid(runs: Runs, defence: str, measure: Measure, attacks: Sequence[str], first: int = 1) -> str:
    """Return attacks by shares, from ``first`` percent on, under one defence."""
    percents = sorted({run["percent"] for run in runs.runs if run["percent"] >= first})
    lines = []
    for attack in attacks:
        cells = [runs.cell(measure, defence=defence, attack=attack, percent=percent) for percent in percents]
        lines.append([f"`{attack}`", *map(text_of, cells)])
    return table(["attack", *[f"{percent} %" for percent in percents]], lines)


def head_lines(runs: Runs) -> str:
    """Return what the literature reports beside the same share here."""
    lines = []
    for percent in (15, 30):
        for attack in _aims(runs, "harm", "plant"):
            cells = [runs.cell(accuracy, attack=attack, defence=name, percent=percent) for name in ("none", "combined")]
            if not any(cells):
                continue
            refused = runs.cell(share_of("refused"), attack=attack, defence="combined", percent=percent)
            paid = runs.cell(share_of("paid"), attack=attack, defence="combined", percent=percent)
            sevens = runs.cell(share_of("planted"), attack=attack, defence="combined", percent=percent)
            lines.append([f"`{attack}`", f"{percent} %", *map(text_of, (*cells, refused, paid, sevens))])
    honest = [runs.cell(accuracy, attack="", defence=name) for name in ("none", "combined")]
    lines.insert(0, ["nobody", "0 %", *map(text_of, honest), "–", "–", "–"])
    head = ("attack", "share", "undefended", "combined", "refused", "paid to attackers", "planted")
    return table(head, lines)


def both_lines(runs: Runs) -> str:
    """Return a small world's table: attacks and shares by defences."""
    defences = _defences(runs)
    lines = [["nobody", "0 %", *[text_of(runs.cell(accuracy, attack="", defence=name)) for name in defences]]]
    for attack in _aims(runs, "harm", "plant"):
        for percent in sorted({run["percent"] for run in runs.runs} - {0}):
            cells = [runs.cell(accuracy, attack=attack, defence=name, percent=percent) for name in defences]
            lines.append([f"`{attack}`", f"{percent} %", *map(text_of, cells)])
    return table(["attack", "share", *[f"`{name}`" for name in defences]], lines)


def reason_lines(runs: Runs) -> str:
    """Return who refused: the share of the attackers' updates in the combined plan, and by which policy."""
    lines = []
    for attack in runs.names("attack", BY_NAME):
        chosen = [run for run in runs.runs if run["attack"] == attack and run["defence"] == "combined"]
        total = sum(sum(run["reasons"].values()) for run in chosen)
        counts: dict[str, int] = {}
        for run in chosen:
            for reason, count in run["reasons"].items():
                counts[reason] = counts.get(reason, 0) + count
        said = ", ".join(f"{reason} {100 * count / total:.0f} %" for reason, count in sorted(counts.items())) or "–"
        where = {"attack": attack, "defence": "combined"}
        cells = [runs.cell(share_of(name), **where) for name in ("refused", "false_alarms", "paid")]
        lines.append([f"`{attack}`", *map(text_of, cells), said])
    return table(("attack", "refused", "false alarms", "paid to attackers", "refused by"), lines)


def tables_of(groups: Mapping[str, Runs], draws: int = DRAWS) -> dict[str, str]:
    """Return every table whose group has been run, by its mark's name."""
    found = {"attacks": attack_lines(), "defences": defence_lines(), "collusion": table(*collusion_lines(draws))}
    for name, runs in groups.items():
        harm, plant, pay = (_aims(runs, aim) for aim in ("harm", "plant", "pay"))
        if name == "policies":
            plain = [attack for attack in (*harm, *plant) if not BY_NAME[attack].adaptive]
            adaptive = [attack for attack in (*harm, *plant) if BY_NAME[attack].adaptive]
            found["policies-plain"] = grid(runs, plain, accuracy, 30)
            found["policies-adaptive"] = grid(runs, adaptive, accuracy, 30)
            found["policies-planted"] = share_of_attackers(runs, plant, share_of("planted"))
            found["policies-pay"] = share_of_attackers(runs, pay, share_of("paid"))
            found["policies-reasons"] = reason_lines(runs)
        elif name == "pay":
            found["pay"] = share_of_attackers(runs, pay, share_of("paid"))
        elif name == "public":
            found["public"] = grid(runs, [*harm, *plant], accuracy, 30)
        elif name == "shares":
            found["shares-none"] = share_grid(runs, "none", accuracy, [*harm, *plant])
            found["shares-combined"] = share_grid(runs, "combined", accuracy, [*harm, *plant])
            found["shares-planted"] = share_grid(runs, "combined", share_of("planted"), plant, 0)
            found["shares-planted-none"] = share_grid(runs, "none", share_of("planted"), plant, 0)
            found["shares-paid"] = share_grid(runs, "combined", share_of("paid"), [*harm, *plant])
        elif name == "unlike":
            found["unlike"] = grid(runs, [*harm, *plant], accuracy, 30)
            few = Runs([run for run in runs.runs if run["defence"] in ("none", "combined-clip")])
            found["unlike-15"] = grid(few, [*harm, *plant], accuracy, 15)
        elif name == "heads":
            found["heads"] = head_lines(runs)
        else:
            found[name] = both_lines(runs)
    return found


def replace_table(page: str, name: str, lines: str) -> str:
    """Return the page with a table between its marks; one that the page does not want is left out."""
    begin = MARK.format(name)
    if begin not in page:
        return page
    pattern = re.escape(begin) + ".*?" + re.escape(END)
    whole, count = re.subn(pattern, lambda _: f"{begin}\n\n{lines}\n\n{END}", page, count=1, flags=re.DOTALL)
    if not count:
        raise TablesError(f"{PAGE}: the table {name} has no end")
    return whole


def main() -> None:
    """Rewrite the page and draw its plots, or print the tables of other results."""
    parser = argparse.ArgumentParser(description="Write the tables and plots of docs/attacks.md")
    parser.add_argument("--show", type=Path, help="print the tables of these results instead")
    chosen = parser.parse_args()
    try:
        groups = read_groups(chosen.show or RESULTS)
        if chosen.show is not None:
            print("\n\n".join(f"{name}\n\n{lines}" for name, lines in tables_of(groups).items()))
            return
        page = PAGE.read_text(encoding="utf-8")
        for name, lines in tables_of(groups).items():
            page = replace_table(page, name, lines)
        PAGE.write_text(page, encoding="utf-8")
    except (NoResultsError, TablesError) as error:
        sys.exit(f"attacks.tables: {error}")
    draw_all(groups, IMAGES)


if __name__ == "__main__":
    main()
