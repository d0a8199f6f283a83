"""Read rows from CSV, Parquet and Arrow files, in order and block by block."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import import_extra
from .manifest import file_sizes

__all__ = [
    "TableFiles",
    "check_columns",
    "check_numbers",
    "import_tables",
    "labels_like",
    "labels_of_text",
    "what_is_wrong",
]

#: Bytes of a table that are read at a time; in a CSV file the first tell the types.
BLOCK_BYTES = 2**22

#: Cells of a CSV file that are missing: those of pandas.
MISSING = [
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
    "",
]

#: Whole numbers, and those with zeros before them, which are codes and no numbers.
WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,300})")
PADDED = re.compile(r"[+-]?0[0-9]+")

#: What else may stand between columns, and its name.
OTHER_MARKS = {b";": "semicolons", b"\t": "tabs", b"|": "vertical bars"}

#: How files begin that are in UTF-16.
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def import_tables() -> tuple[Any, Any]:
    """Import pyarrow and pandas.

    Raises
    ------
    ImportError
        If one of them is not installed. The message says how to install it.
    """
    needed = "A CSV, Parquet or Arrow file", "'skdisentangle[parquet]'"
    return import_extra("pyarrow", *needed), import_extra("pandas", *needed)


def check_numbers(frame: Any, remedy: str) -> None:
    """Raise ValueError unless all columns of a data frame hold numbers."""
    for name, dtype in frame.dtypes.items():
        if dtype.kind not in "fiub":
            raise ValueError(
                f"input: the column {name!r} must hold numbers; got {dtype}. {remedy}"
            )


def what_is_wrong(column: Any) -> str:
    """Why a column of a whole table is no feature, by its first bad row; or nothing."""
    if column.dtype.kind not in "fiub":
        cells = column.tolist()
        odd = (
            i for i, c in enumerate(cells) if isinstance(c, str) and not _is_number(c)
        )
        row = next(odd, None)
        if row is None:
            return f"holds {column.dtype}"
        return f"holds text, {cells[row]!r:.80} in row {row + 1:,}"
    missing = column.isna().to_numpy()
    if missing.any():
        first = int(missing.argmax()) + 1
        rows = f"{missing.sum():,} row{'' if missing.sum() == 1 else 's'}"
        return f"lacks numbers in {rows}, first in row {first:,}"
    infinite = np.isinf(column.to_numpy(dtype=np.float64))
    if infinite.any():
        return f"is not finite in row {int(infinite.argmax()) + 1:,}"
    return ""


def labels_of_text(texts: Any) -> Any:
    """Turn labels of a CSV file into numbers or booleans, if all of them are.

    Parameters
    ----------
    texts : pandas.Series
        Cells as text, or missing.

    Returns
    -------
    pandas.Series
        Whole numbers stay exact. Numbers with leading zeros, such as zip codes, are text.

    Raises
    ------
    ValueError
        If most cells are numbers, some of them fractions, and others are not.
    """
    pa, pd = import_tables()
    missing = texts.isna().to_numpy()
    cells = [text.strip() for text in texts[~missing].tolist()]

    def labels(values: Any, dtype: Any) -> Any:
        held = np.full(len(texts), None, dtype=object)
        held[~missing] = values
        return pd.Series(held, texts.index, name=texts.name).astype(dtype)

    if any(PADDED.fullmatch(cell) for cell in cells):
        return texts
    if all(WHOLE.fullmatch(cell) for cell in cells):
        numbers = [int(cell) for cell in cells]
        most = max(map(abs, numbers), default=0)
        if missing.any() and most <= 2**53:
            return labels(numbers, np.float64)
        kind = "Int64" if most < 2**63 else "UInt64" if most < 2**64 else "object"
        if kind == "UInt64" and min(numbers) < 0:
            kind = "object"
        return labels(numbers, kind if missing.any() else kind.lower())
    lower = [cell.lower() for cell in cells]
    if set(lower) <= {"true", "false"}:
        return labels(
            [c == "true" for c in lower], "boolean" if missing.any() else bool
        )
    try:
        return labels(pa.array(cells).cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowInvalid:
        _check_few_numbers(texts.name, texts.tolist(), missing)
        return texts


def labels_like(texts: Any, classes: NDArray[Any] | None) -> Any:
    """Turn labels of a CSV file into those of a fit.

    Parameters
    ----------
    texts : pandas.Series
        Cells as text, or missing.
    classes : ndarray or None
        Classes of the task in the fit; None if its labels are numbers.

    Returns
    -------
    pandas.Series

    Raises
    ------
    ValueError
        If a cell is text, but the labels of the fit are not.
    """
    if classes is not None and all(isinstance(each, str) for each in classes.tolist()):
        return texts
    labels = labels_of_text(texts)
    if labels is not texts:
        return labels
    cells = texts.tolist()
    row = next(
        (
            i
            for i, cell in enumerate(cells)
            if isinstance(cell, str) and not _is_number(cell)
        ),
        None,
    )
    if row is None:  # numbers with zeros before them
        return texts.astype(float)
    known = "numbers" if classes is None else f"classes such as {classes.tolist()[0]!r}"
    raise ValueError(
        f"input: task {texts.name!r} was fitted on {known}; got {cells[row]!r:.80} in row "
        f"{row + 1:,}. Correct the cell, or leave it empty."
    )


def _check_few_numbers(name: str, cells: list[Any], missing: Any) -> None:
    """Raise ValueError if some cells are not numbers, probably by mistake."""
    there = np.flatnonzero(~missing)
    odd = [row for row in there if not _is_number(cells[row])]
    fractions = (
        len(there)
        - len(odd)
        - sum(WHOLE.fullmatch(cells[row].strip()) is not None for row in there)
    )
    if fractions and 2 * len(odd) < len(there):
        raise ValueError(
            f"input: the column {name!r} holds numbers and, in row {odd[0] + 1:,}, "
            f"{cells[odd[0]]!r:.80}. Correct the cell, or empty it if there is no label."
        )


class TableFiles:
    """Rows of CSV, Parquet or Arrow files, one after the other, as pandas data frames.

    Columns have the types of the first file; those of a CSV file are told from its
    first 4 MB, and whole numbers in it are read as float64.

    Parameters
    ----------
    kind : {"csv", "parquet", "arrow"}
    files : list of Path
        All with the columns wanted; others are not looked at.
    columns : sequence of str or None
        Columns to read, in the order wanted. None takes all of the first file that are not
        kept.
    keep : sequence of str, optional
        Columns that only travel along. Of a CSV file they are text, as it stands there.
    texts : sequence of str, optional
        Columns of CSV files that are to be read as text.

    Attributes
    ----------
    columns : list of str
    kept : pyarrow.Table
        Of the rows that were read last, the columns to keep, in the types of the file.
    at_end, row_bytes
        As in :class:`ArrayFiles`.
    """

    def __init__(
        self,
        kind: str,
        files: list[Path],
        columns: Sequence[str] | None,
        keep: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> None:
        self._pa, self._pd = import_tables()
        self._kind, self._files = kind, files
        self._read_schema, self._read_blocks = TABLES[kind]
        schema = self._schema(files[0])
        if columns is None:
            # not those that hold the index of a pandas data frame
            index = (schema.pandas_metadata or {}).get("index_columns", [])
            columns = [
                name for name in schema.names if name not in index and name not in keep
            ]
        self.columns, self._keep = list(columns), list(keep)
        check_columns(schema.names, self.columns, files[0])
        check_columns(schema.names, self._keep, files[0])
        more = [name for name in self._keep if name not in self.columns]
        self._types = self._pa.schema(
            [schema.field(name) for name in self.columns]
            + [self._kept_field(schema.field(name)) for name in more]
        )
        unread = [f.name for f in self._types if self._pa.types.is_binary(f.type)]
        if kind == "csv" and unread:
            raise ValueError(_not_utf8(files[0], f"; the column {unread[0]!r} is not"))
        if kind == "csv":
            self._types = self._pa.schema(
                field.with_type(self._pa.string()) if field.name in texts else field
                for field in self._types
            )
        self.row_bytes = 8 * len(self.columns)
        self._sizes = file_sizes(files)
        self.kept: Any = None
        self._bytes_read = 0.0
        self._held: list[Any] = []
        self._n_held = 0
        self._batches = self._iterate()
        self._hold(0)

    @property
    def at_end(self) -> bool:
        return self._n_held == 0

    def _kept_field(self, field: Any) -> Any:
        """Type in which a column is kept."""
        types = self._pa.types
        if types.is_dictionary(field.type):
            field = field.with_type(field.type.value_type)
        if types.is_nested(field.type):
            raise ValueError(
                f"keep: the column {field.name!r} holds {field.type}; only columns of "
                "plain values, such as numbers, text and dates, can be kept."
            )
        as_text = self._kind == "csv" and not types.is_binary(field.type)
        return field.with_type(self._pa.string()) if as_text else field

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for the rows to be the same."""
        found: dict[str, Any] = {"kind": self._kind, "files": self._sizes}
        for key, names in (("columns", self.columns), ("kept", self._keep)):
            if names or key == "columns":
                found[key] = [[n, str(self._types.field(n).type)] for n in names]
        return found

    def share_read(self) -> float:
        """Share of the input that has been read."""
        return self._bytes_read / int(sum(file["bytes"] for file in self._sizes))

    def read(self, n_rows: int) -> Any:
        """Next rows; fewer than asked for at the end only."""
        self._hold(n_rows)
        table = self._pa.Table.from_batches(self._held, self._types)
        rest = table.slice(n_rows)
        self._held, self._n_held = rest.to_batches(), rest.num_rows
        block = table.slice(0, n_rows)
        self.kept = block.select(self._keep)
        return block.select(self.columns).to_pandas(ignore_metadata=True)

    def checksum(self, rows: Any, before: int) -> int:
        """CRC-32 of the rows that were read last, going on from that of those before."""
        for part in (rows, self.kept.to_pandas()) if self._keep else (rows,):
            hashes = self._pd.util.hash_pandas_object(part, index=False)
            before = zlib.crc32(hashes.to_numpy(), before)
        return before

    def _hold(self, n_rows: int) -> None:
        """Read on until there are more rows than these, or no more at all."""
        while self._n_held <= n_rows:
            batch = next(self._batches, None)
            if batch is None:
                return
            self._held.append(batch)
            self._n_held += batch.num_rows

    def _iterate(self) -> Iterator[Any]:
        before = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if file != self._files[0]:
                check_columns(self._schema(file).names, self.columns, file)
            with _naming(file, self._pa):
                for batch, share in self._read_blocks(file, self._types):
                    self._bytes_read = before + share * size["bytes"]
                    yield batch.cast(self._types)
            before += size["bytes"]

    def _schema(self, file: Path) -> Any:
        with _naming(file, self._pa):
            return self._read_schema(file)


def check_columns(names: Sequence[str], columns: Sequence[str], file: Path) -> None:
    """Raise ValueError unless each column exists once and is requested once."""
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(
            f"input: {str(file)!r} lacks the columns {_listed(missing)}; it has "
            f"{_listed(names)}."
        )
    twice = [n for n in columns if list(names).count(n) > 1]
    if twice:
        raise ValueError(
            f"input: {str(file)!r} must have different column names; it has several "
            f"columns {_listed(twice)}."
        )
    again = [name for name in columns if list(columns).count(name) > 1]
    if again:
        raise ValueError(f"input: the column {again[0]!r} is requested twice.")


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


@contextmanager
def _naming(file: Path, pa: Any) -> Iterator[None]:
    """Say which file it was that pyarrow could not read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(file, "; its first line is not")) from error
    except pa.ArrowException as error:
        if "invalid UTF8" in str(error):
            raise ValueError(_not_utf8(file)) from error
        raise ValueError(f"input: {str(file)!r} cannot be read: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(f"input: {str(file)!r} cannot be read: {error}") from error


def _not_utf8(file: Path, where: str = "") -> str:
    """What to do with a file of another encoding."""
    with file.open("rb") as stream:
        code = "utf-16" if stream.read(2) in UTF_16 else "latin1"
    return (
        f"input: {str(file)!r} must be encoded in UTF-8{where}. Convert it, as by iconv "
        f"-f {code} -t utf-8 {file.name!r} > utf8.csv."
    )


# -- the kinds of tables: the schema of a file; its blocks, and the share read ---------


def _csv_schema(file: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    with file.open("rb") as start:
        if start.read(2) in UTF_16:
            raise ValueError(_not_utf8(file))
        start.seek(0)
        names = start.readline(BLOCK_BYTES)
    for mark, shown in OTHER_MARKS.items():
        if mark in names and b"," not in names:
            raise ValueError(
                f"input: the columns of {str(file)!r} must be separated by commas; its "
                f"first line has {shown}. Write the file again, with commas between columns "
                "and decimal points in numbers."
            )
    with csv.open_csv(
        file,
        csv.ReadOptions(block_size=BLOCK_BYTES),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(null_values=MISSING),
    ) as reader:
        schema = reader.schema
    if all(_is_number(name) for name in schema.names):
        raise ValueError(
            f"input: the first line of {str(file)!r} must hold the names of the "
            f"columns; got {_listed(schema.names)}."
        )
    # a later block may have a fraction, or a number at all, where the first has none
    fields = [
        field.with_type(pa.float64())
        if pa.types.is_integer(field.type) or pa.types.is_null(field.type)
        else field
        for field in schema
    ]
    return pa.schema(fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _csv_blocks(file: Path, types: Any) -> Iterator[tuple[Any, float]]:
    import pyarrow as pa

    try:
        yield from _read_csv(file, types)
    except pa.ArrowInvalid as error:
        if "conversion error to double" not in str(error):
            raise
        where = _first_bad_cell(file, types) or str(error)
        raise ValueError(f"input: {str(file)!r} cannot be read: {where}") from error


def _first_bad_cell(file: Path, types: Any) -> str | None:
    """Row and column of what is no number in a column of numbers."""
    import pyarrow as pa

    names = [field.name for field in types if pa.types.is_floating(field.type)]
    n_before = 0
    for batch, _ in _read_csv(file, pa.schema([(n, pa.string()) for n in names])):
        odd = [
            (row, name, cell)
            for name in names
            for row, cell in enumerate(batch.column(name).to_pylist())
            if cell is not None and not _is_number(cell)
        ]
        if odd:
            row, name, cell = min(odd)
            return (
                f"the column {name!r} holds text, {cell!r:.80} in row "
                f"{n_before + row + 1:,}. Correct the cell, or choose other columns."
            )
        n_before += batch.num_rows
    return None


def _read_csv(file: Path, types: Any) -> Iterator[tuple[Any, float]]:
    import pyarrow as pa
    from pyarrow import csv

    size = file.stat().st_size
    convert = csv.ConvertOptions(
        column_types=types,
        include_columns=types.names,
        null_values=MISSING,
        strings_can_be_null=True,
    )
    # Not a file of Python's: pyarrow's own thread reads ahead, after an error, too, and
    # must not need the interpreter, which may have ended by then.
    with (
        pa.OSFile(str(file)) as stream,
        csv.open_csv(
            stream,
            csv.ReadOptions(block_size=BLOCK_BYTES),
            csv.ParseOptions(newlines_in_values=True),
            convert,
        ) as reader,
    ):
        for batch in reader:
            yield batch, stream.tell() / size


def _parquet_schema(file: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_schema(file)


def _parquet_blocks(file: Path, types: Any) -> Iterator[tuple[Any, float]]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as reader:
        n_read = 0
        batch_size = max(1, BLOCK_BYTES // (8 * max(1, len(types))))
        for batch in reader.iter_batches(batch_size, columns=types.names):
            n_read += batch.num_rows
            yield batch.select(types.names), n_read / reader.metadata.num_rows


def _arrow_schema(file: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(file)) as stream, pa.ipc.open_file(stream) as reader:
        return reader.schema


def _arrow_blocks(file: Path, types: Any) -> Iterator[tuple[Any, float]]:
    import pyarrow as pa

    # not mapped: else all that was read stays in memory
    with pa.OSFile(str(file)) as stream, pa.ipc.open_file(stream) as reader:
        count = reader.num_record_batches
        for index in range(count):
            yield reader.get_batch(index).select(types.names), (index + 1) / count


TABLES = {
    "csv": (_csv_schema, _csv_blocks),
    "parquet": (_parquet_schema, _parquet_blocks),
    "arrow": (_arrow_schema, _arrow_blocks),
}
