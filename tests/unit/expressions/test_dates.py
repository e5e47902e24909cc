"""Dates and times: what is read, in which zone, and calendar corners."""

import pytest

from tests.support.expressions import error_of, value_of


@pytest.mark.parametrize(
    ("given", "iso"),
    [
        ("2026-03-01", "2026-03-01"),
        ("20260301", "2026-03-01"),
        ("2026-W10-1", "2026-03-02"),
        (" 2026-03-01 10:30 ", "2026-03-01T10:30:00+01:00"),
        ("2026-07-01T10:30:15.5", "2026-07-01T10:30:15.500000+02:00"),
        ("2026-03-01T10:30:00Z", "2026-03-01T10:30:00+00:00"),
        ("2026-03-01T10:30:00-05:00", "2026-03-01T10:30:00-05:00"),
        ("2026/3/1", "2026-03-01"),
        ("2026/03/01 10:30:15", "2026-03-01T10:30:15+01:00"),
        ("01.03.2026", "2026-03-01"),
        ("1.3.2026 09:05", "2026-03-01T09:05:00+01:00"),
        ("1 March 2026", "2026-03-01"),
        ("1. Mar 2026", "2026-03-01"),
        ("March 1, 2026", "2026-03-01"),
        ("Sept 5, 2026, 5:30 PM", "2026-09-05T17:30:00+02:00"),
        ("Mar 1, 2026 12:05 am", "2026-03-01T00:05:00+01:00"),
        ("Sun, 01 Mar 2026 10:30:00 GMT", "2026-03-01T10:30:00+00:00"),
        (1772361000, "2026-03-01T10:30:00+00:00"),
        (1772361000.5, "2026-03-01T10:30:00.500000+00:00"),
        (1772361000123, "2026-03-01T10:30:00.123000+00:00"),
        ("1772361000", "2026-03-01T10:30:00+00:00"),
        (-1, "1969-12-31T23:59:59+00:00"),
    ],
)
def test_dates_are_read_in_the_workflows_timezone(given, iso):
    assert value_of("item.at | date", {"at": given}, timezone="Europe/Berlin") == iso


@pytest.mark.parametrize(
    "given",
    [
        "",
        "soon",
        "03/01/2026",
        "2026-13-01",
        "31.02.2026",
        "1 Mai 2026",
        "5 Foo 2026",
        "Mar 1, 2026 13:00 PM",
        "x" * 100,
        "Mon, 99 Foo",
        "2026",
    ],
)
def test_a_text_that_is_no_known_date_is_refused_with_the_way_to_read_it(given):
    error = error_of("item.at | date", {"at": given})
    assert error.message == "this text is no date that is known here"
    assert error.hint == 'Say how to read it: date("%d/%m/%Y").'


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('"03/01/2026" | date("%m/%d/%Y")', "2026-03-01"),
        ('"1.3.26 10h" | date("%d.%m.%y %Hh")', "2026-03-01T10:00:00+00:00"),
        ('"2026-01-15 12:00" | date(timezone="America/New_York")', "2026-01-15T12:00:00-05:00"),
        ('"2026-01-31" | date_add(months=1)', "2026-02-28"),
        ('"2024-01-31" | date_add(months=1)', "2024-02-29"),
        ('"2026-01-31" | date_add(months=-2)', "2025-11-30"),
        ('"2024-02-29" | date_add(years=1, days=1)', "2025-03-01"),
        ('"2026-03-01" | date_add(weeks=1)', "2026-03-08"),
        ('"2026-03-01" | date_add(hours=1)', "2026-03-01T01:00:00+00:00"),
        ('"2026-03-01" | date_add(days=0.5)', "2026-03-01T12:00:00+00:00"),
        ('"2026-03-01" | date_add(2)', "2026-03-03"),
        ("0 | date_add(minutes=1, seconds=1)", "1970-01-01T00:01:01+00:00"),
        ('"2026-03-01" | date_diff("2026-03-04")', -3),
        ('"2026-03-01T12:00:00Z" | date_diff("2026-03-01")', 0.5),
        ('"2026-03-01T12:00:00+02:00" | date_diff("2026-03-01T12:00:00Z", "hour")', -2),
        ('"2026-03-31" | date_diff("2026-02-28", "months")', 1),
        ('"2026-03-27" | date_diff("2026-02-28", "months")', 0),
        ('"2026-02-28" | date_diff("2026-03-31", "months")', -1),
        ('"2026-02-28" | date_diff("2024-02-29", "years")', 2),
        ('"2024-02-29" | date_diff("2026-02-27", "years")', -1),
        ('"2026-03-01" | date_diff("2026-02-01", "weeks")', 4),
        ('"2026-05-15 13:45:10" | start_of("year")', "2026-01-01T00:00:00+00:00"),
        ('"2026-05-15 13:45:10" | start_of("day")', "2026-05-15T00:00:00+00:00"),
        ('"2026-05-15 13:45:10" | start_of("hour")', "2026-05-15T13:00:00+00:00"),
        ('"2026-05-15 13:45:10" | start_of("minute")', "2026-05-15T13:45:00+00:00"),
        ('"2026-01-01T00:30:00+01:00" | timezone("UTC")', "2025-12-31T23:30:00+00:00"),
        ('"2026-01-01T00:00:00Z" | timestamp("milliseconds")', 1767225600000),
        ('"2026-01-01T00:00:00.5Z" | timestamp', 1767225600.5),
        ("today()", "2026-03-15"),
        ("now | date_format", "2026-03-15"),
        (
            '"2026-03-01T05:06:07.000089Z" | date_format("%Y %y %m %d %H %I %M %S %f %j %G %V %u %w %p %%")',
            "2026 26 03 01 05 05 06 07 000089 060 2026 09 7 0 AM %",
        ),
        (
            '"2026-03-01T15:06:07Z" | date_format("%-d.%-m. %-I %p %B %b %A %a %F %T %z %Z")',
            "1.3. 3 PM March Mar Sunday Sun 2026-03-01 15:06:07 +0000 UTC",
        ),
        ('"2026-07-01T00:00:00Z" | date_format("%H:%M %Z", "Europe/Berlin")', "02:00 CEST"),
        ('0 | date_format("")', ""),
    ],
)
def test_dates_are_moved_compared_and_written(expression, value):
    found = value_of(expression)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('0 | date_format("%q")', "a date format has no %q"),
        ('0 | date_format("%-B")', "a date format has no %-B"),
        ('0 | date_format("%")', "a date format has no %"),
        ('0 | date_format("%1000000d")', "a date format has no %1"),
        ('0 | date_format("x" | pad(300))', "a date format may have 200 characters"),
        ('0 | timezone("Mars/Base")', "there is no such timezone"),
        ('0 | timezone("../../etc/passwd")', "there is no such timezone"),
        ('0 | timezone("/etc/passwd")', "there is no such timezone"),
        ('0 | timezone("Europe")', "there is no such timezone"),
        ('0 | timezone("")', "there is no such timezone"),
        ('"2026-03-01" | date_diff("2026-03-01", "fortnights")', "date_diff knows no such unit"),
        ('"2026-03-01" | start_of("decade")', "start_of knows no such unit"),
        ('"2026-03-01" | timestamp("days")', 'timestamp gives "seconds" or "milliseconds"'),
        ('"x" | date("%Y")', "this text is no date of the format given"),
        ('"x" | date("%d%d%d")', "this text is no date of the format given"),
        ('5 | date("%Y")', "date reads only short texts by a format"),
        ("1e300 | date", "this number is no Unix time"),
        ("(10 ** 400) | date", "a number is too large"),
        ('"2026-03-01" | date_add(years=9000)', "a number is too large"),
        ('"2026-03-01" | date_add(days=1e300)', "a number is too large"),
        ("none | date", "date needs text or a number, but none is null (column 11)"),
    ],
)
def test_what_dates_refuse(expression, message):
    assert error_of("{{ " + expression + " }}").message == message
