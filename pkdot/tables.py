"""Tables of predictions on disk: written and read in parts, so that memory does not grow with their length.

Names (of samples, subjects, classes, methods) are stored once a part and read as categories. In a table of several
methods, folds or seeds each part belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 18  # of a part, at most


class TableWriter:
    """A Parquet file that is written part by part; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, table: pd.DataFrame | pa.Table) -> None:
        """Add a part; all parts have the same columns."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if isinstance(table, pd.DataFrame):
            table = pa.Table.from_pandas(table, preserve_index=False)
        table = table.cast(pa.schema([_with_names_once(field) for field in table.schema]))
        if self._writer is None:
            self._writer = ParquetWriter(self.path, table.schema)
        self._writer.write_table(table, row_group_size=ROWS)


def _with_names_once(field: pa.Field) -> pa.Field:
    import pyarrow as pa

    text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    if text or pa.types.is_dictionary(field.type) or pa.types.is_null(field.type):
        return pa.field(field.name, pa.dictionary(pa.int32(), pa.string()))
    return pa.field(field.name, field.type)


def read_parts(
    path: Path, columns: list[str] | None = None, method: str | None = None, seed: int | None = None
) -> Iterator[pd.DataFrame]:
    """Yield a table of predictions part by part.

    Parameters
    ----------
    path : Path
        A file that ``TableWriter`` wrote.
    columns : list of str or None
        The columns to read; all of them by default.
    method, seed : str and int, or None
        Only the parts of this method and of this seed.
    """
    from pyarrow.parquet import ParquetFile

    wanted = {name: value for name, value in (("method", method), ("seed", seed)) if value is not None}
    with ParquetFile(path) as file:
        places = {name: file.schema_arrow.names.index(name) for name in wanted}
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if all(_only_value(group.column(places[name])) == value for name, value in wanted.items()):
                for batch in file.iter_batches(ROWS, row_groups=[number], columns=columns, use_threads=False):
                    yield batch.to_pandas()


def _only_value(column: Any) -> Any:
    """Return the value of a column that is the same in a whole part, from its statistics."""
    statistics = column.statistics
    return statistics.min if statistics is not None and statistics.min == statistics.max else None


def copy_parts(path: Path, writer: TableWriter) -> None:
    """Add all parts of a table to another file."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            writer.write(file.read_row_group(number, use_threads=False))
