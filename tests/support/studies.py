"""The tuning study of the first task of records, as the report makes it."""

from report.analysis.comparison import compare
from report.analysis.study import TaskStudy, task_study
from report.read.records import Records


def study_of(records: Records) -> TaskStudy:
    task = records.tasks[0]
    return task_study(records, task, compare(records, task).judgement)
