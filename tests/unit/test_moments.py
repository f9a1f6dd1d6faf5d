"""Dates and times as people write them."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.cli.selection import DateRange
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import DAY, HOUR, ticks_of
from hunting_pipeline.moments import FORMS, ticks_at

NOW = datetime(2026, 11, 29, 23, 27, 36, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "instant"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T05", datetime(2026, 11, 1, 5, tzinfo=UTC)),
        ("2026-11-01T05:06:07.5", datetime(2026, 11, 1, 5, 6, 7, 500_000, UTC)),
        ("2026-11-01T05:06Z", datetime(2026, 11, 1, 5, 6, tzinfo=UTC)),
        ("2026-11-01 05:06+02:00", datetime(2026, 11, 1, 3, 6, tzinfo=UTC)),
        ("today", datetime(2026, 11, 29, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 28, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 22, tzinfo=UTC)),
        ("0d", datetime(2026, 11, 29, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 29, 11, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 28, 23, tzinfo=UTC)),
        (date(2026, 11, 1), datetime(2026, 11, 1, tzinfo=UTC)),
        (datetime(2026, 11, 1, 5), datetime(2026, 11, 1, 5, tzinfo=UTC)),  # noqa: DTZ001 # it is UTC
        (NOW, NOW),
    ],
)
def test_each_form_is_one_instant(moment: str | date, instant: datetime) -> None:
    assert ticks_at(moment, ticks_of(NOW)) == ticks_of(instant)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", "-7d", "7D", "7w", "1000000d", "٧d", "2026-13-01", "now"]
)
def test_another_text_is_refused_with_all_accepted_forms(text: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        ticks_at(text, ticks_of(NOW))
    assert str(raised.value) == f"{text!r} is not a date or a time. Write one of: {FORMS}"


@given(st.integers(0, 99_999), st.datetimes(timezones=st.just(UTC)))
def test_a_time_before_now_is_at_most_one_unit_earlier_than_exact(amount: int, now: datetime) -> None:
    ticks = ticks_of(now)
    for letter, unit in (("d", DAY), ("h", HOUR)):
        found = ticks_at(f"{amount}{letter}", ticks)
        assert found % unit == 0
        assert 0 <= ticks - amount * unit - found < unit


@given(st.datetimes(timezones=st.just(UTC)) | st.dates())
def test_an_instant_equals_its_own_iso_text(moment: date) -> None:
    assert ticks_at(moment.isoformat(), 0) == ticks_at(moment, 0) == ticks_of(moment)


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,9}[dhT:-]*", fullmatch=True))
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    with suppress(Misconfigured):
        assert isinstance(ticks_at(text, ticks_of(NOW)), int)


def test_options_of_a_command_are_relative_to_its_clock() -> None:
    found = DateRange.of("2d", "yesterday", now=ticks_of(NOW), retention_days=30)
    day = ticks_of(datetime(2026, 11, 29, tzinfo=UTC))
    assert (found.window.start, found.window.end) == (day - 2 * DAY, day - DAY)
    assert found.open_end is False
    later = DateRange.of("2d", "yesterday", now=ticks_of(NOW + timedelta(days=1)), retention_days=30)
    assert later.window.start == day - DAY
