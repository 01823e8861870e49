"""Dates as people write the end of a consent: the last day on which it counts, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from audiotune.errors import ConsentError


def parse_last_day(text: str) -> datetime:
    """The end of the day that is written as in 2027-03-31: the first moment that does not count. Raises ConsentError."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return day + timedelta(days=1)
    except (ValueError, OverflowError) as e:
        raise ConsentError(f"{text[:40]!r} is no date", cure="write it as in 2027-03-31") from e


def format_last_day(until: datetime | None) -> str:
    """The other way round; empty for no end."""
    return f"{until.astimezone(UTC) - timedelta(microseconds=1):%Y-%m-%d}" if until else ""
