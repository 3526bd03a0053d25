"""A table as a CSV or Parquet file: rows are added run by run, and the file gets its name at the end."""

import codecs
import contextlib
import csv
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from report.export.tables import Columns, Row
from suite.records.files import written_whole

BATCH = 100_000  # rows that are kept in memory before they are written as a part of a Parquet file

Add = Callable[[list[Row]], None]


@contextlib.contextmanager
def csv_file(path: Path, columns: Columns) -> Iterator[Add]:
    """A CSV file: UTF-8, a header, numbers in full, True and False; an empty cell where there is no value."""
    with written_whole(path) as file:
        writer = csv.DictWriter(codecs.getwriter("utf-8")(file), list(columns), lineterminator="\n")
        writer.writeheader()
        yield lambda rows: writer.writerows(map(filled, rows))


@contextlib.contextmanager
def parquet_file(path: Path, columns: Columns) -> Iterator[Add]:
    """A Parquet file: texts, 64-bit numbers and booleans; null where there is no value. Needs pyarrow."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    waiting: list[Row] = []

    def write() -> None:
        writer.write_table(arrow.Table.from_pylist(waiting, schema=schema))
        waiting.clear()

    def add(rows: list[Row]) -> None:
        waiting.extend(map(filled, rows))
        if len(waiting) >= BATCH:
            write()

    with written_whole(path) as file, parquet.ParquetWriter(file, schema) as writer:
        yield add
        write()


def filled(row: Row) -> Row:
    """The cells of a row that hold something: NaN and an empty text are no values."""
    return {name: value for name, value in row.items() if value == value and value != ""}
