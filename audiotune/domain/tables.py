"""Reads tables as spreadsheets and other programs write them: their encodings, separators, and decimal commas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from audiotune.errors import SourceError

_SEPARATORS = ",;\t|"
_HEADER_ROWS = 10  # how far down a header is looked for
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        columns: names in small letters, with `_` for blanks and hyphens, in order.
        rows: cells by column. A row may have other than the header's number of cells: see `fault`.
    """

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class TableRow:
    """One row. `fault` says why its cells cannot be trusted; empty for a sound row."""

    cells: Mapping[str, str]
    fault: str = ""


def decode_text(data: bytes, where: str) -> str:
    """UTF-8, or UTF-16 as spreadsheets save "Unicode text". Raises SourceError for other encodings."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    for guess, high_bytes in (("utf-16-le", data[1:64:2]), ("utf-16-be", data[:64:2])):
        if encoding == "utf-8" and high_bytes.count(0) * 2 > len(high_bytes):
            encoding = guess
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as e:
        raise SourceError(
            f"it is no {encoding.upper().removesuffix('-SIG')} text",
            where=where,
            cure="save it as UTF-8 (in a spreadsheet: CSV UTF-8)",
        ) from e


def parse_table(text: str, where: str) -> Table:
    """A table with commas, semicolons, tabs or bars between its cells; `sep=;` in the first line is obeyed.

    Raises SourceError: quotes that do not end, or no header.
    """
    said = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    body = text[said.end() :] if said else text
    separator = said[1] if said else _guess_separator(body)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    try:
        filled = [cells for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as e:
        raise SourceError(f"the table is damaged: {e}", where=where, cure="export it again as CSV") from e
    if not filled:
        raise SourceError("the table is empty", where=where, cure="write column names in its first line")
    place, header = _find_header(filled)
    columns = _name_columns(header)
    return Table(columns, tuple(_build_row(columns, cells) for cells in filled[place + 1 :]))


def parse_seconds(text: str) -> float:
    """Seconds, with a decimal point or comma, or `h:mm:ss`. Raises ValueError."""
    seconds = 0.0
    for part in text.strip().replace(",", ".").split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def _find_header(rows: list[list[str]]) -> tuple[int, list[str]]:
    """(place, names) of the header: the first row with several cells, below a title in one cell; without empty cells at its end."""
    lengths = [max(number for number, cell in enumerate(cells, start=1) if cell.strip()) for cells in rows[:_HEADER_ROWS]]
    place = next((place for place, cells in enumerate(rows[:_HEADER_ROWS]) if sum(bool(cell.strip()) for cell in cells) > 1), 0)
    return place, rows[place][: lengths[place]]


def _name_columns(header: list[str]) -> tuple[str, ...]:
    """The columns' names. A name that stands twice gets a number, so that no cell is lost."""
    names = [re.sub(r"[\s-]+", "_", name.strip().lower()) for name in header]
    return tuple(
        f"{name}_{number}" if name and (number := names[:at].count(name) + 1) > 1 else name for at, name in enumerate(names)
    )


def _guess_separator(text: str) -> str:
    """The separator that stands most often in the first line that has any, outside quotes; a comma where there is none."""
    lines = re.sub(r'"[^"]*"', "", text[: 1 << 16]).splitlines()[:_HEADER_ROWS]
    header = next((line for line in lines if any(separator in line for separator in _SEPARATORS)), "")
    return max(_SEPARATORS, key=header.count)


def _build_row(columns: tuple[str, ...], cells: list[str]) -> TableRow:
    values = dict(zip(columns, (cell.strip() for cell in cells)))
    if len(cells) == len(columns) or (not any(cell.strip() for cell in cells[len(columns) :]) and len(cells) > len(columns)):
        return TableRow(values)
    fault = f"it has {len(cells)} cells, the table has {len(columns)} columns (a cell with commas needs quotes)"
    return TableRow({**dict.fromkeys(columns, ""), **values}, fault)
