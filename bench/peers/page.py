"""The record of one comparison: the turns as CSV, the tables as Markdown, one picture."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from bench.peers.tables import groups_of, markdown, summary, verdicts
from optimizers import METHODS
from suite.machine.environment import environment

COLOURS = {
    "ours bfloat16": "#1b6ca8",
    "ours float32": "#7fb3d5",
    "larq bfloat16": "#c0562f",
    "larq float32": "#e6b08c",
    "naive float32": "#9a9a9a",
}


def write_page(folder: Path, turns: pd.DataFrame, versions: Mapping[str, Mapping[str, str]]) -> str:
    """Write turns.csv, summary.csv, peers.md and peers.png; the text of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    turns.to_csv(folder / "turns.csv", index=False, float_format="%.4f")
    table = summary(turns)
    table.to_csv(folder / "summary.csv", index=False, float_format="%.4g")
    draw(turns, folder / "peers.png")
    text = page(turns, table, versions)
    (folder / "peers.md").write_text(text)
    return text


def page(turns: pd.DataFrame, table: pd.DataFrame, versions: Mapping[str, Mapping[str, str]]) -> str:
    software = "; ".join(
        f"{name}: " + ", ".join(f"{package} {number}" for package, number in packages.items())
        for name, packages in versions.items()
    )
    here = environment(torch.device("cpu"), METHODS["bop"])
    arguments = f' ARGS="{shlex.join(sys.argv[1:])}"' if len(sys.argv) > 1 else ""
    changed = " with changes" if here["git"]["dirty"] else ""
    return f"""# Speed of a training step beside peers

{here["device_name"]}, {os.cpu_count()} cores, one thread of one process measured at a time.
{software}. This project at {here["git"]["commit"]}{changed}.

Medians over {turns["round"].nunique()} rounds; a ratio is the median of the ratios within a round, above 1
where the entry is faster. The clock "cpu" is the CPU time of all threads, the steadier one on a shared
machine; the goals are judged by it. Written by `make bench-peers{arguments}`;
`bench/peers/README.md` says what is compared.

![Speed by CPU time, relative to larq in float32](peers.png)

## Goals

{markdown(verdicts(turns))}

## All entries

{markdown(table)}
"""


def draw(turns: pd.DataFrame, path: Path) -> None:
    """Bars: speed by CPU time relative to larq in float32, one group per network and method."""
    from matplotlib.figure import Figure

    groups = list(groups_of(turns))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(COLOURS)
    for n, (entry, colour) in enumerate(COLOURS.items()):
        heights = [group.ratio(entry, "larq float32", "cpu") for group in groups]
        places = [g + (n - (len(COLOURS) - 1) / 2) * width for g in range(len(groups))]
        bars = axes.bar(places, heights, width, color=colour, label=entry)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.axhline(1.0, color="black", linewidth=0.6)
    axes.set_xticks(range(len(groups)), [f"{group.network}\n{group.method}" for group in groups])
    axes.set_ylabel("images per CPU second\nrelative to larq in float32")
    axes.legend(ncols=len(COLOURS), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
