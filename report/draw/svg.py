"""Draws matplotlib figures as SVG text: the same bytes every time, legible on light and dark pages."""

import io
import re
from collections.abc import Callable
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

TEXT, MUTED, RULE = "#1f2429", "#626b74", "#d5dade"
# Okabe and Ito's hues (safe for colour-blind readers), darkened until they also carry small text on white.
SERIES = ("#0072b2", "#c24e00", "#007a5a", "#b04a8b", "#966500", "#5a5f66", "#2a86bd", "#7a7000")
# The same colours on a dark page; RULES swaps them, in the page as well as in a file of its own.
DARK = dict(
    zip(
        (TEXT, MUTED, RULE, *SERIES),
        (
            "#e4e7ea",
            "#9aa4ae",
            "#3a424a",
            "#5ab4f0",
            "#f58b4c",
            "#35c79b",
            "#e596c6",
            "#e3b23c",
            "#b4bac1",
            "#9cd3f5",
            "#d8cc4a",
        ),
        strict=True,
    )
)
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SWAPS = "".join(
    f'svg [style*="{side}: {light}"]{{{side}:{dark}!important}}'
    for light, dark in DARK.items()
    for side in ("fill", "stroke")
)
RULES = f"svg text{{font-family:{FONTS}}}@media (prefers-color-scheme: dark){{{SWAPS}}}"
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so that every machine measures the same widths
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "text.color": TEXT,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 11.5,
}


def draw(name: str, width: float, height: float, paint: Callable[[Figure], None]) -> str:
    """The SVG of what `paint` draws on an empty figure of this size in CSS pixels.

    `name` comes before every id in the drawing, so that many drawings can share one page. The user's
    matplotlibrc has no influence.
    """
    buffer = io.StringIO()
    with style.context(STYLE | {"svg.hashsalt": name}, after_reset=True):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return clean(buffer.getvalue(), name)


def clean(svg: str, name: str) -> str:
    """The SVG without prolog, fixed size and font names, with `name` before every id, and small.

    A page holds many drawings. Nothing refers to the ids of groups, groups without attributes do nothing, and
    a hundredth of a pixel is precise enough.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    svg = re.sub(r"\n\s+", "\n", svg)
    groups = 1
    while groups:  # the innermost first
        svg, groups = re.subn(r"<g>\n((?:(?!</?g[ >]).)*)</g>\n", r"\1", svg, flags=re.DOTALL)
    for before in (' id="', 'href="#', "url(#"):
        svg = svg.replace(before, f"{before}{name}-")
    return svg


def standalone(svg: str) -> str:
    """The drawing as a file of its own, with the style rules that a page otherwise brings."""
    head, body = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><style>{RULES}</style>{body}'
