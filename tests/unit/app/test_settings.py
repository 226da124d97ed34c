"""Settings: from the environment, checked, described."""

from __future__ import annotations

import pytest

from sse_app.settings import Settings, SettingsError, describe, load_settings


def test_defaults_stand_where_nothing_is_set() -> None:
    assert load_settings({}) == Settings()
    assert Settings().database_url == "sqlite+aiosqlite:///sse-hub.db"


def test_the_environment_sets_and_the_command_line_wins() -> None:
    settings = load_settings({"SSE_PORT": "9000", "SSE_HEARTBEAT_SECONDS": "0.5", "SSE_HOST": "::1"}, port=9001)
    assert (settings.port, settings.heartbeat_seconds, settings.host) == (9001, 0.5, "::1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSE_PORT", "many"),
        ("SSE_PORT", "65536"),
        ("SSE_PORT", ""),
        ("SSE_HEARTBEAT_SECONDS", "0"),
        ("SSE_HEARTBEAT_SECONDS", "nan"),
        ("SSE_RETENTION_DAYS", "-1"),
        ("SSE_LOG_FORMAT", "xml"),
        ("SSE_ALLOW_UNAUTHENTICATED", "perhaps"),
        ("SSE_PATH_PREFIX", "api"),
        ("SSE_CORS_ORIGINS", "*"),
        ("SSE_CORS_ORIGINS", "https://a.example/"),
        ("SSE_AUTH_SECRET", "s3cret"),
        ("SSE_REDIS_URL", "redis://localhost"),
    ],
)
def test_a_wrong_value_is_one_clear_line_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({name: value})
    assert str(raised.value).startswith(f"{name}: ")
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_values_given_in_code_are_checked_as_well() -> None:
    with pytest.raises(SettingsError, match="SSE_TIMEOUT_SECONDS"):
        Settings(timeout_seconds=-1)


def test_every_setting_is_described_with_its_default() -> None:
    rows = {name: (default, text) for name, default, text in describe()}
    assert rows["SSE_HEARTBEAT_SECONDS"][0] == "30"
    assert rows["SSE_ALLOW_UNAUTHENTICATED"][0] == "0"
    assert all(text for _, text in rows.values())
