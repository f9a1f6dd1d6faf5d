"""Quotas over sliding windows, with given clocks."""

import pytest

from hunting_emulator.limits import PROFILES, Limits, Meter


def test_calls_per_minute_free_up_as_the_window_slides() -> None:
    meter, limits = Meter(), Limits(calls_per_minute=2)
    assert meter.enter(limits, 0) is None
    assert meter.enter(limits, 30) is None
    refused = meter.enter(limits, 40)
    assert refused is not None
    assert refused.message == "API calls quota exceeded! maximum allowed 2 per 00:01:00"
    assert refused.seconds == 20
    assert meter.enter(limits, 60.5) is None


def test_calls_per_hour_have_their_own_words() -> None:
    meter, limits = Meter(), Limits(calls_per_hour=1)
    meter.enter(limits, 0)
    refused = meter.enter(limits, 100)
    assert refused is not None
    assert refused.message.endswith("maximum allowed 1 per 01:00:00")
    assert refused.seconds == 3500


def test_running_time_is_refused_until_enough_of_it_is_old() -> None:
    meter, limits = Meter(), Limits(running_seconds_per_hour=10)
    meter.enter(limits, 0)
    meter.spend(6, 6)
    assert meter.enter(limits, 7) is None
    meter.spend(6, 13)
    refused = meter.enter(limits, 14)
    assert refused is not None
    assert refused.code == "CpuQuotaExceeded"
    assert refused.message.endswith("You can run queries again in 3592 seconds")
    assert meter.enter(limits, 3606.5) is None


def test_profiles_are_the_documented_ones() -> None:
    original = PROFILES["original"]
    assert (original.calls_per_minute, original.running_seconds_per_hour, original.rows) == (10, 600, 100_000)
    assert PROFILES["endpoint"].calls_per_hour == 1_500
    assert PROFILES["graph"].bytes == 50_000_000
    assert all(profile.retention_days == 30 for profile in PROFILES.values())


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown limit 'call'"):
        Limits().changed({"call": 1})
