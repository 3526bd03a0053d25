"""How the comparison is to be read, in paragraphs below its tables."""

from collections.abc import Sequence

from report.analysis.judgement import Judgement

STUDIES = (
    "Each study is one tuning with the same budget, and n counts studies. The interval of “tuning again” is "
    "a 95 % t-interval over their means: it is about this way of tuning, and so is the comparison. “Training "
    "again” is about the settings that were found, on other seeds, pooled within the studies."
)
ONE_STUDY = (
    "Each row is the setting that one study has found, and n counts its runs on fresh seeds. The interval "
    "is a 95 % t-interval over them. The interval and the comparison are about these settings, given one "
    "draw of the tuning: another study might find others, and how far they would differ is not measured here."
)
UNTUNED = "n counts runs. The interval is a 95 % t-interval over them: the same setting on other seeds."
DIFFERENCES = (
    "d is the number of points behind the highest mean, and its interval is what the data do not exclude: "
    "95 % for all pairs of the task at once (Tukey's studentized range). Its standard error covers how "
    "{units} vary, where the other methods of the task inform a variance and never lower it, and the choice "
    "of the test images, from the images that each run has right. “Worse”: the interval lies above 0. “May "
    "be best”: with the highest mean in the set that holds the true best in 95 % of the cases (Dunnett, "
    "one-sided). “Not separated”: outside that set, and yet not shown to be worse.{equal} A difference that "
    "is not shown may still be there: the interval tells how large."
)
EQUAL = " “Equal within {margin:g}”: the 90 % interval, given here, lies within ±{margin:g} points."
DAMAGED = (
    "A verdict takes three {units} of each method. A method with a missing, failed or diverged run has a "
    "reading of its own and no verdict. A diverged run counts at chance in the mean; a failed or missing one "
    "is in no mean."
)


def reading_guide(tasks: Sequence[Judgement], margin: float | None) -> list[str]:
    """The paragraphs for these tasks of one experiment."""
    units = {task.unit for task in tasks}
    first = [
        STUDIES if "study" in units else "",
        ONE_STUDY if any(task.conditional for task in tasks) else "",
        UNTUNED if any(task.unit == "run" and not task.conditional for task in tasks) else "",
    ]
    noun = " and ".join({"study": "studies", "run": "runs"}[unit] for unit in sorted(units, reverse=True))
    equal = "" if margin is None else EQUAL.format(margin=margin)
    return [*filter(None, first), DIFFERENCES.format(units=noun, equal=equal), DAMAGED.format(units=noun)]
