"""What figures are made of: marks for the page, the same bytes, limits that nothing squeezes, looks."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from report.analysis.comparison import Standing
from report.analysis.intervals import Interval
from report.analysis.judgement import judge
from report.analysis.readings import Kind
from report.draw.accuracy import accuracy_limits
from report.draw.along import Along, along
from report.draw.axes import lines_of, without_outliers
from report.draw.claims import Level, in_order
from report.draw.curves import FLIPS, LEARNING, curve_figure, curve_limits, curve_numbers, leaves
from report.draw.layers import layer_titles
from report.draw.styles import glyph, looks_of
from report.draw.svg import draw, mark, marks, standalone
from tests.support.final_runs import method, task


def paint(figure: Figure) -> None:
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    with marks(axes, 'a "b" <c>', "92.34 & more"):
        axes.plot([0, 1, 2], [0.123, 0.456, 0.789], marker="o")
        axes.fill_between([0, 1], [0, 0], [1, 1], alpha=0.14)
    axes.set_yticks([0.25])


def test_a_mark_names_its_method_and_no_number_in_a_text_is_cut() -> None:
    picture = draw("x", 200, 100, paint)
    (found,) = re.findall(r"<g data-m=.*?</title>", picture.svg, re.DOTALL)  # of the line and of the area
    assert found == '<g data-m="a &quot;b&quot; &lt;c&gt;">\n<title>92.34 &amp; more</title>'
    # Places are cut to a tenth of a pixel, texts and styles are not.
    assert ">0.25</text>" in picture.svg and "fill-opacity: 0.14" in picture.svg
    assert not re.search(r' [dxy]="[^"]*\d\.\d\d', picture.svg)
    assert standalone(picture.svg).count("<style>") == 1


def test_neighbours_that_say_the_same_are_one_group_and_a_shape_is_there_once() -> None:
    def points(figure: Figure) -> None:
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        for whose, words in (
            ("a", "x"),
            ("a", "x"),
            ("a", "y"),
            ("b", "y"),
            ("b", ""),
            ("b", "y"),
            ("a", "x"),
        ):
            for line in axes.plot([0, 1], [0, 1], marker="o", color="#0072b2"):
                mark(line, whose, words)

    svg = draw("x", 200, 100, points).svg
    heads = re.findall(r'<g data-m="(.)">\n(?:<title>(.)</title>)?', svg)
    assert heads == [("a", "x"), ("a", "y"), ("b", "y"), ("b", ""), ("b", "y"), ("a", "x")]
    ElementTree.fromstring(svg)  # each group that is begun ends
    shapes = [
        shape
        for group in re.findall(r"<defs>.*?</defs>", svg, re.DOTALL)
        for shape in group.split("<path ")[1:]
    ]
    drawn = [re.sub(r'id="[^"]*"', "", shape) for shape in shapes]
    assert len(set(drawn)) == len(drawn)
    (marker,) = re.findall(r'<path id="([^"]*)"[^>]* C [^>]*>', svg)  # the circle, twice on each of 7 lines
    assert svg.count(f'href="#{marker}"') == 14


def test_means_far_apart_are_on_a_logarithmic_axis() -> None:
    def ticks(*values: float) -> set[str]:
        rows = [Level(name, value, None, "") for name, value in zip("abc", values, strict=True)]
        return set(re.findall(r">([\d.]+)</text>", in_order("x", rows, "flips", joined=True).svg))

    assert {"0.1", "1", "10", "100"} <= ticks(0.02, 3.0, 300.0)
    for near in ((10.0, 30.0, 290.0), (0.0, 3.0, 300.0), (math.nan, 3.0, 4.0)):
        assert not {"0.1", "1", "10", "100"} <= ticks(*near)


def test_along_a_hyperparameter_zero_stands_beside_powers_of_ten() -> None:
    at, means = (0.0, 1e-8, 1e-5), (300.0, 3.0, 0.02)
    lines = [
        Along("gamma 0.1", at, means, (None, Interval(2.0, 4.0), None)),
        Along("gamma 0.001", at, (math.nan, 1.0, math.nan), (None, None, None)),
        Along("gamma 1", at, (math.nan, math.nan, math.nan), (None, None, None)),
    ]
    svg = along("x", lines, "threshold", "flips per weight").svg
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert [text for text in texts if text in ("0", "1e-08", "1e-05")] == ["0", "1e-08", "1e-05"]
    # A line is named where its last number is, one without numbers not at all.
    assert {"threshold", "flips per weight", "gamma 0.1", "gamma 0.001"} <= set(texts)
    assert "gamma 1" not in texts
    assert "10²" in texts  # the means lie so far apart that the axis is logarithmic


def test_two_drawings_share_no_id_and_the_same_drawing_has_the_same_bytes() -> None:
    one, again, other = (draw(name, 200, 100, paint) for name in ("one", "one", "other"))
    assert (one.svg, one.pdf()) == (again.svg, again.pdf())
    assert one.pdf().startswith(b"%PDF") and b"CreationDate" not in one.pdf()
    ids = [set(re.findall(r' id="([^"]*)"', each.svg)) for each in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', one.svg))
    assert {first or second for first, second in used} <= ids[0]


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ([96.0, 95.0, 94.0, 20.0], [True, True, True, False]),
        ([-9.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 12.0], [True] * 8),  # far, but the others have room enough
        ([96.0, 20.0], [True, True]),  # of two, neither is the odd one
        ([96.0, float("nan"), 95.0, 94.0], [True, False, True, True]),
        ([5.0, 5.0, 5.0], [True, True, True]),
    ],
)
def test_an_outlier_does_not_squeeze_the_others(values: list[float], near: list[bool]) -> None:
    assert without_outliers(np.array(values)).tolist() == near


def test_the_limits_of_a_panel_leave_out_the_outlier_and_its_numbers_do_not() -> None:
    ends = {"a": 0.96, "b": 0.95, "c": 0.94, "d": 0.2}
    rows = [
        {"method": name, "epoch": epoch, "val_top1": end - 0.01 * (3 - epoch) + 0.002 * seed}
        for name, end in ends.items()
        for epoch in (1, 2, 3)
        for seed in (0, 1)
    ]
    lines = lines_of(pd.DataFrame(rows), "val_top1", scale=100.0)
    low, high = curve_limits(LEARNING[0], lines)
    assert 91 < low < 92.001 and 96.2 < high < 97
    assert leaves(lines, (low, high))
    del lines["d"]
    assert not leaves(lines, (low, high)) and leaves(lines, (low + 1, high)) and not leaves(lines, (0.0, 0.0))
    lines["d"] = lines_of(pd.DataFrame(rows), "val_top1", scale=100.0)["d"]
    last = curve_numbers(lines).to_dict("records")[-1]
    assert last == pytest.approx(
        {"method": "d", "epoch": 3, "mean": 20.1, "lowest": 20.0, "highest": 20.2}, nan_ok=False
    )


def test_a_log_axis_leaves_out_a_mean_of_zero_and_no_seed_that_is_zero() -> None:
    rates = {"rare": ([1e-3] * 5, [0.0, 0.0, 0.0, 0.0, 1e-5]), "ends": ([1e-2] * 5, [0.0] * 5)}
    rows = [
        {"method": name, "epoch": epoch, "flip_rate": rate}
        for name, epochs in rates.items()
        for epoch, seeds in enumerate(epochs, 1)
        for rate in seeds
    ]
    lines = lines_of(pd.DataFrame(rows), "flip_rate", log=True)
    rare, ends = lines["rare"], lines["ends"]
    assert rare.mean.tolist() == pytest.approx([1e-3, 2e-6]) and rare.lowest.tolist() == [1e-3, 0.0]
    assert ends.end == 0 and ends.drawn_end == pytest.approx(1e-2) and np.isnan(ends.drawn[-1])
    low, high = curve_limits(FLIPS[0], lines)
    assert 0 < low < 1e-3 and high > 1e-2
    assert curve_numbers(lines)["mean"].tolist() == pytest.approx([1e-2, 0.0, 1e-3, 2e-6])
    looks = looks_of(dict.fromkeys(rates, "x"))
    picture = curve_figure("x", FLIPS[0], lines, looks, list(rates), (low, high))
    assert ">ends \u2193</text>" in picture.svg and "<title>ends: 0 at the last epoch</title>" in picture.svg


def test_few_methods_have_a_colour_each_and_many_that_of_their_family() -> None:
    few = looks_of({"a": "x", "b": "x", "c": "y"})
    assert len({look.color for look in few.values()}) == 3
    many = looks_of({f"{n}": "xy"[n % 2] for n in range(20)})
    assert {many["0"].color} == {many["2"].color} != {many["1"].color}
    assert len({(look.color, look.marker, look.dashes) for look in many.values()}) == 20
    assert len({glyph(look) for look in many.values()}) == 20


def test_layers_are_named_by_kind_and_number() -> None:
    assert layer_titles(["0", "12"], ["conv", "dense"]) == {"0": "conv 1", "12": "dense 2"}
    assert layer_titles(["0", "12"], []) == {"0": "layer 1", "12": "layer 2"}


def test_a_method_that_varies_far_more_than_the_others_does_not_stretch_their_axis() -> None:
    tame = [
        method(f"m{n}", [0.9 + 0.001 * n + step for step in (0.0, 0.004, -0.004, 0.002)]) for n in range(10)
    ]
    wild = method("wild", [0.85, 0.7, 0.95, 0.5])
    evidence = task(*tame, wild)
    rows = zip(evidence.methods, judge(evidence).methods, strict=True)
    standings = [
        Standing(judged, tuple(each.scores for each in of.units), math.nan, None) for of, judged in rows
    ]
    assert standings[-1].judged.reading.kind == Kind.ERRATIC
    assert accuracy_limits([*standings[:3], standings[-1]])[0] > 85
    assert accuracy_limits(standings[-1:])[0] < 50  # alone it has the axis for itself
