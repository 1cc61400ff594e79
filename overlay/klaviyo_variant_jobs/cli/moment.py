"""Dates and times as people write them."""

from __future__ import annotations

import itertools
import re
import warnings
from datetime import UTC, datetime, timedelta

FORMS = "2026-11-24, 2026-11-24T14:00+01:00, '24 Nov 2026', '24 Nov 2026 14:00', yesterday, 2h"

_YEAR_FIRST = re.compile(r"\d{4}\D")
_AGO = re.compile(r"(?P<count>\d{1,9}) ?(?P<unit>[mhd])")
# People mean +03:00 by UTC+3. dateutil reads it, and any other name with a sign, in the POSIX way
# as -03:00. Refuse it.
_SIGNED_ZONE = re.compile(r"(utc|gmt|z)[+-]")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def read_moment(text: str, *, now: datetime) -> datetime:
    """The moment that `text` names, in UTC: a whole date with or without a time, or how long ago.

    A date without a time means midnight; without an offset it is in UTC. Raises `ValueError` for an
    incomplete date, and for one with two readings, such as `3/4/2026`.
    """
    word = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if word in ("today", "yesterday"):
            return midnight - timedelta(days=word == "yesterday")
        if ago := _AGO.fullmatch(word):
            return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
        moment = _date(text, word)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after 9999 in UTC") from None


def _date(text: str, word: str) -> datetime:
    # Imported late: it slows the start down, and only --since needs it.
    from dateutil import parser, tz

    # The parser fills gaps from `default`, and dayfirst even swaps the parts of 2026-11-02. A whole
    # date has the same reading whatever the default and the order are.
    defaults = (datetime(2000, 1, 1), datetime(2001, 2, 2))
    orders = (False, not _YEAR_FIRST.match(word))
    with warnings.catch_warnings():
        # By default dateutil only warns of an unknown zone and takes it for UTC.
        warnings.simplefilter("error", parser.UnknownTimezoneWarning)
        try:
            readings = [
                parser.parse(text, default=default, dayfirst=day_first)
                for default, day_first in itertools.product(defaults, orders)
            ]
            readings[0].utcoffset()  # Raises for an offset of more than a day.
        except parser.UnknownTimezoneWarning:
            raise ValueError(_unknown_zone(text)) from None
        except (ValueError, ArithmeticError):  # Huge numbers raise ArithmeticError.
            raise ValueError(f"{text!r} is no date; write it like one of {FORMS}") from None
    month_first, day_first, other, _ = readings
    # The year must have four digits: the parser reads 26-11-02 as a day of 2002.
    if month_first != other or f"{month_first.year:04}" not in text:
        raise ValueError(f"{text!r} names no full date; write it like one of {FORMS}")
    if month_first != day_first:
        raise ValueError(
            f"{text!r} can be {month_first:%Y-%m-%d} or {day_first:%Y-%m-%d}; write one of these"
        )
    zone = month_first.tzinfo
    if _SIGNED_ZONE.search(word) or (isinstance(zone, tz.tzoffset) and zone.tzname(None)):
        raise ValueError(_unknown_zone(text))
    return month_first


def _unknown_zone(text: str) -> str:
    return f"{text!r} names a time zone that is not known here; write its offset, as in +02:00"
