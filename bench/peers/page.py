"""The record of one comparison: the turns as CSV, the tables as Markdown, one picture."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from bench.chart import grouped
from bench.machine import machine
from bench.peers.tables import groups_of, markdown, summary, verdicts

ENTRIES = ("ours bfloat16", "ours float32", "larq bfloat16", "larq float32", "naive float32")
REFERENCE = "larq float32"


def write_page(folder: Path, turns: pd.DataFrame, versions: Mapping[str, Mapping[str, str]]) -> str:
    """Write turns.csv, summary.csv, peers.md and peers.svg. Returns the text of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    turns.to_csv(folder / "turns.csv", index=False, float_format="%.4f")
    table = summary(turns)
    table.to_csv(folder / "summary.csv", index=False, float_format="%.4g")
    (folder / "peers.svg").write_text(picture(turns), encoding="utf-8")
    text = page(turns, table, versions)
    (folder / "peers.md").write_text(text)
    return text


def page(turns: pd.DataFrame, table: pd.DataFrame, versions: Mapping[str, Mapping[str, str]]) -> str:
    software = "; ".join(
        f"{name}: " + ", ".join(f"{package} {number}" for package, number in packages.items())
        for name, packages in versions.items()
    )
    here = machine(torch.device("cpu"))
    arguments = f' ARGS="{shlex.join(sys.argv[1:])}"' if len(sys.argv) > 1 else ""
    return f"""# Speed of a training step next to peers

{here["device"]}, {os.cpu_count()} cores, one thread of one process measured at a time.
{software}. This project at {here["commit"]}.

Medians over {turns["round"].nunique()} rounds; a ratio is the median of the ratios within a round, above 1
where the entry is faster. The clock "cpu" is the CPU time of all threads, the steadier one on a shared
machine; the goals are judged by it. Written by `make bench-peers{arguments}`;
`bench/peers/README.md` describes what is compared.

![Speed by CPU time, relative to larq in float32](peers.svg)

## Goals

{markdown(verdicts(turns))}

## All entries

{markdown(table)}
"""


def picture(turns: pd.DataFrame) -> str:
    """Bars: speed by CPU time relative to larq in float32, one group per network and method."""
    groups = list(groups_of(turns))
    return grouped(
        [f"{group.network}\n{group.method}" for group in groups],
        {entry: [group.ratio(entry, REFERENCE, "cpu") for group in groups] for entry in ENTRIES},
        f"images per CPU second\nrelative to {REFERENCE}",
    )
