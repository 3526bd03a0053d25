"""The tables of the report next to what papers report."""

from dataclasses import replace
from pathlib import Path

from report.page.gather import gather
from report.page.html import markdown_page, page
from report.read.experiment import read_records
from suite.records.schema import PublishedScore
from tests.support.fake_records import TASKS, write_experiment, write_plan


def test_published_scores_stand_next_to_those_of_their_task(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path, methods=("bop", "latent_sgd"), seeds=2, trials=0)
    plan = read_records(folder).plan
    (data, model), *_ = TASKS
    published = [
        PublishedScore(method="bop", top1=91.3, source="A, https://example.org/a"),
        PublishedScore(method="bop", data=data, model=model, top1=88.7, top5=99.5, source="B <b>"),
        PublishedScore(method="latent_sgd", data="another", top1=1.0, source="C"),
    ]
    write_plan(folder, replace(plan, published=published))
    report = gather(read_records(folder))
    first, *others = report.tasks
    column = first.tables.accuracy.columns.index("published,\u00a0%")
    assert [row[column] for row in first.tables.accuracy.rows] == ["91.3, 88.7 / 99.5", "—"]
    assert first.published == ["bop 91.3 (A, https://example.org/a)", "bop 88.7 / 99.5 (B <b>)"]
    for other in others:
        assert [row[column] for row in other.tables.accuracy.rows] == ["91.3", "—"]
    whole = page(report)
    assert "bop 88.7 / 99.5 (B &lt;b&gt;)" in whole and '<a href="https://example.org/a">' in whole
    assert "Published, in other settings than these: bop 91.3 (A" in markdown_page(report)
    write_plan(folder, plan)
    without = gather(read_records(folder))
    assert not any("published" in name for name in without.tasks[0].tables.accuracy.columns)
    assert "Published, in" not in markdown_page(without)
