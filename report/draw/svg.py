"""Draws matplotlib figures as SVG and PDF: the same bytes every time, the SVG for light and dark pages."""

import contextlib
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

TEXT, MUTED, RULE, FAINT = "#1f2429", "#626b74", "#d5dade", "#b9c0c6"
# Okabe and Ito's hues (safe for colour-blind readers), darkened until they also carry small text on white.
SERIES = ("#0072b2", "#c24e00", "#007a5a", "#b04a8b", "#966500", "#5a5f66", "#2a86bd", "#7a7000")
# The same colours on a dark page; RULES swaps them, in the page as well as in a file of its own.
DARK = dict(
    zip(
        (TEXT, MUTED, RULE, FAINT, *SERIES),
        (
            "#e4e7ea",
            "#9aa4ae",
            "#3a424a",
            "#565f68",
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
    "pdf.compression": 9,
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


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG text; as PDF it is drawn when it is asked for, which takes as long again."""

    name: str
    width: float
    height: float
    paint: Callable[[Figure], None]
    svg: str

    def pdf(self) -> bytes:
        """The drawing as a PDF of one page, without a date."""
        nothing: dict[str, None] = {"CreationDate": None, "Creator": None, "Producer": None}
        return rendered(self.name, self.width, self.height, self.paint, "pdf", nothing)


def draw(name: str, width: float, height: float, paint: Callable[[Figure], None]) -> Picture:
    """What `paint` draws on an empty figure of this size in CSS pixels.

    `name` comes before every id in the drawing, so that many drawings can share one page. The user's
    matplotlibrc has no influence.
    """
    svg = rendered(name, width, height, paint, "svg", {"Date": None, "Creator": None})
    return Picture(name, width, height, paint, clean(svg.decode(), name))


def rendered(
    name: str,
    width: float,
    height: float,
    paint: Callable[[Figure], None],
    form: str,
    metadata: dict[str, None],
) -> bytes:
    """A figure of this size in CSS pixels, painted, as the bytes of a file."""
    buffer = io.BytesIO()
    with style.context(STYLE | {"svg.hashsalt": name}, after_reset=True):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()


MARK = "mark"  # an artist's id that begins so becomes attributes of its group in the SVG


def mark(artist: Artist, method: str, words: str = "") -> None:
    """Let the page know whose this is, so that it can hide it; `words` appear while a pointer is on it."""
    artist.set_gid(".".join((MARK, method.encode().hex(), words.encode().hex())))


@contextlib.contextmanager
def marks(axes: Axes, method: str, words: str = "") -> Iterator[None]:
    """`mark` everything that the block draws on these axes."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            mark(artist, method, words)


PLOT = "plot"


def mark_epochs(axes: Axes) -> None:
    """Let the page know where the epochs are: left and right in pixels, and the epochs there."""
    box, (first, last) = axes.get_window_extent(), axes.get_xlim()
    axes.set_gid(f"{PLOT} {box.x0:.1f} {box.x1:.1f} {first:g} {last:g}")


def marked_group(gid: str) -> str:
    """The start of the group of a marked artist; of another one without its id: nothing refers to it."""
    if gid.startswith(PLOT):
        return f'<g data-plot="{gid.removeprefix(PLOT).strip()}">'
    kind, *texts = gid.split(".")
    if kind != MARK:
        return "<g>"
    method, words = (bytes.fromhex(text).decode() for text in texts)
    title = f"\n<title>{html.escape(words, quote=False)}</title>" if words else ""
    return f'<g data-m="{html.escape(method)}">{title}'


def clean(svg: str, name: str) -> str:
    """The SVG without prolog, fixed size and font names, with ids of its own, and small.

    A page holds many drawings. Nothing refers to the ids of groups, groups without attributes do nothing, and
    a tenth of a pixel is precise enough.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r'<g id="([^"]*)">', lambda found: marked_group(found[1]), svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' (?:d|x|y|points|transform)="[^"]*"', tenths, svg)
    svg = svg.replace(' transform="rotate(-0 ', ' data-0="(').replace(" xlink:href=", " href=")
    svg = re.sub(r' data-0="[^"]*"', "", svg)
    svg = re.sub(r"\n\s+", "\n", svg)
    groups = 1
    while groups:  # the innermost first
        svg, groups = re.subn(r"<g>\n((?:(?!</?g[ >]).)*)</g>\n", r"\1", svg, flags=re.DOTALL)
    svg = re.sub(r'<g data-m="[^"]*">\n(?:<title>[^<]*</title>\n)?</g>\n', "", svg)
    svg = re.sub(r"(<g[^>]*)>\n((?:<use [^>]* style=\"([^\"]*)\"/>\n)+)</g>", markers_of_a_line, svg)
    return with_short_ids(with_shared_shapes(with_joined_groups(svg)), name)


def with_joined_groups(svg: str) -> str:
    """The SVG with one group in place of neighbours that belong to the same method and say the same."""
    lines, joined = svg.split("\n"), list[str]()
    heads: list[list[str]] = []  # of the groups around the line
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("<g"):
            heads.append(_head(lines, at))
        elif line == "</g>":
            head = heads.pop()
            if head[0].startswith("<g data-m=") and _head(lines, at + 1) == head:
                heads.append(head)
                at += 1 + len(head)
                continue
        joined.append(line)
        at += 1
    return "\n".join(joined)


def _head(lines: Sequence[str], at: int) -> list[str]:
    """The start of a group, with its title if it has one."""
    last = at
    if lines[at + 1 : at + 2] and lines[at + 1].startswith("<title>"):
        last = next(n for n in range(at + 1, len(lines)) if lines[n].endswith("</title>"))
    return list(lines[at : last + 1])


def with_shared_shapes(svg: str) -> str:
    """The SVG with each shape that is used again and again, such as a marker, defined once, at its top."""
    first: dict[str, str] = {}  # the id of each shape, by what it draws
    other: dict[str, str] = {}  # the id that takes the place of another one
    for shape, drawn in SHAPE.findall(svg):
        other[shape] = first.setdefault(drawn, shape)
    if not first:
        return svg
    shapes = "".join(f'<path id="{shape}"{drawn}/>\n' for drawn, shape in first.items())
    head, body = SHAPE.sub("", svg).split(">\n", 1)
    body = re.sub(r' href="#([^"]*)"', lambda found: f' href="#{other.get(found[1], found[1])}"', body)
    return f"{head}>\n<defs>\n{shapes}</defs>\n{body}"


SHAPE = re.compile(r'<defs>\n<path id="([^"]*)"([^>]*)/>\n</defs>\n')


def markers_of_a_line(found: re.Match[str]) -> str:
    """A group of markers; a style that all of them have is that of the group."""
    style = f' style="{found[3]}"'
    if found[2].count(style) != found[2].count("<use ") or "style=" in found[1]:
        return found[0]
    return f"{found[1]}{style}>\n{found[2].replace(style, '')}</g>"


def with_short_ids(svg: str, name: str) -> str:
    """The SVG with ids that no other drawing has: a hash of its name and a number."""
    start = hashlib.sha256(name.encode()).hexdigest()[:6]
    ids = {each: f"{start}-{number}" for number, each in enumerate(re.findall(r' id="([^"]*)"', svg))}
    return re.sub(
        r'( id="|href="#|url\(#)([^")]*)', lambda found: found[1] + ids.get(found[2], found[2]), svg
    )


def tenths(attribute: re.Match[str]) -> str:
    """The same places, to a tenth of a pixel; of a path, a line is what follows a place anyway."""
    short = re.sub(r"(\d\.\d)\d+", r"\1", attribute[0])
    return re.sub(r"\.0\b", "", short).replace(" \nL ", " ").replace(" \n", " ").replace("\n", " ")


def standalone(svg: str) -> str:
    """The drawing as a file of its own, with the style rules that a page otherwise brings."""
    head, body = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><style>{RULES}</style>{body}'
