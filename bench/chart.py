"""The ratios and shares as one picture of bars."""

from collections.abc import Sequence
from pathlib import Path

from bench.race import Row


def draw(rows: Sequence[Row], path: Path) -> None:
    """An SVG with one bar for each row that has a ratio; the line at 1 is the row's baseline."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [row for row in rows if row.ratio is not None and row.variant != row.baseline]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.34 * len(shown)), layout="constrained")
    labels = [f"{row.part}: {row.case}, {row.variant}" for row in shown]
    ratios = [row.ratio or 0.0 for row in shown]
    bars = axes.barh(range(len(shown)), ratios, color="#3b6ea5")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(shown)), labels)
    axes.invert_yaxis()
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.set_xlabel("times as fast as its baseline")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)
