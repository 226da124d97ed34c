"""Settings: from the environment, checked, described."""

from __future__ import annotations

from typing import Any

import pytest

from sse_app.settings import Settings, SettingsError, describe, load_settings, unknown_variables


def test_defaults_stand_where_nothing_is_set() -> None:
    assert load_settings({}) == Settings()
    assert Settings().database_url == "sqlite+aiosqlite:///sse-hub.db"


def test_the_environment_sets_and_the_command_line_wins() -> None:
    settings = load_settings({"SSE_PORT": "9000", "SSE_HEARTBEAT_SECONDS": "0.5", "SSE_HOST": "::1"}, port=9001)
    assert (settings.port, settings.heartbeat_seconds, settings.host) == (9001, 0.5, "::1")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("SSE_PORT", "many", "must be a whole number of at least 0 and at most 65535, not 'many'"),
        ("SSE_PORT", "65536", "must be a whole number of at least 0 and at most 65535, not '65536'"),
        ("SSE_PORT", "", "must be a whole number of at least 0 and at most 65535, not ''"),
        ("SSE_HEARTBEAT_SECONDS", "0", "must be a number above 0 and at most 3600, not '0'"),
        ("SSE_HEARTBEAT_SECONDS", "nan", "must be a number above 0 and at most 3600, not 'nan'"),
        ("SSE_RETENTION_DAYS", "-1", "must be a number above 0 and at most 36500, not '-1'"),
        ("SSE_DRAIN_SECONDS", "-1", "must be a number of at least 0 and at most 3600, not '-1'"),
        ("SSE_LOG_FORMAT", "xml", "must be one of text, json, not 'xml'"),
        ("SSE_ALLOW_UNAUTHENTICATED", "perhaps", "must be 1 or 0, not 'perhaps'"),
        ("SSE_HOST", "", "must be text that is not empty, not ''"),
        ("SSE_PATH_PREFIX", "api", "not a path prefix such as /api/v1/sse: 'api'"),
        ("SSE_PATH_PREFIX", "/api\n", "not a path prefix such as /api/v1/sse: '/api\\n'"),
        ("SSE_CORS_ORIGINS", "*", "not an origin such as https://app.example: '*'"),
        (
            "SSE_CORS_ORIGINS",
            "https://a.example, https://B.example",
            "such as https://app.example: 'https://B.example'",
        ),
        ("SSE_AUTH_SECRET", "s3cret", "not supported by this version; unset it"),
        ("SSE_REDIS_PREFIX", "two words", "must be 1 to 64 of [A-Za-z0-9_.:-], not 'two words'"),
        ("SSE_REDIS_PREFIX", "hub\n", "must be 1 to 64 of [A-Za-z0-9_.:-], not 'hub\\n'"),
        ("SSE_REDIS_PREFIX", "", "must be 1 to 64 of [A-Za-z0-9_.:-], not ''"),
        ("SSE_REDIS_PREFIX", "x" * 65, f"must be 1 to 64 of [A-Za-z0-9_.:-], not '{'x' * 65}'"),
        ("SSE_WORKERS", "0", "must be a whole number of at least 1 and at most 256, not '0'"),
    ],
)
def test_a_wrong_value_is_one_clear_line_that_names_the_setting(name: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({name: value})
    assert str(raised.value).startswith(f"{name}: ")
    assert str(raised.value).endswith(complaint)
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_origins_are_separated_by_commas() -> None:
    settings = load_settings({"SSE_CORS_ORIGINS": "https://a.example, http://localhost:3000,"})
    assert settings.origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"timeout_seconds": -1}, "SSE_TIMEOUT_SECONDS: must be a number above 0 and at most 3600, not -1"),
        ({"port": "8000"}, "SSE_PORT: must be a whole number of at least 0 and at most 65535, not '8000'"),
        ({"database_url": None}, "SSE_DATABASE_URL: must be text, not None"),
    ],
)
def test_values_given_in_code_are_checked_as_well(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(**given)
    assert str(raised.value) == complaint


def test_misspelt_variables_are_found_among_others() -> None:
    environment = {
        "SSE_PORT": "1",
        "SSE_PORTT": "1",
        "SSE_port": "1",
        "SSEPORT": "1",
        "SSE_AUTH_SECRET": "",
        "HOME": "/",
    }
    assert unknown_variables(environment) == ["SSE_PORTT", "SSE_port"]


def test_every_setting_is_described_with_its_value_as_the_environment_would_have_it() -> None:
    defaults = {row.variable: row for row in describe()}
    assert defaults["SSE_HEARTBEAT_SECONDS"].value == "30"
    assert defaults["SSE_ALLOW_UNAUTHENTICATED"].value == "0"
    assert all(row.purpose for row in defaults.values())
    changed = Settings(heartbeat_seconds=0.5, cors_origins="https://a.example", allow_unauthenticated=True)
    assert load_settings({row.variable: row.value for row in describe(changed)}) == changed


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:s3cret@localhost", "redis://:***@localhost"),
        ("rediss://hub:s3cret@localhost:6380/1", "rediss://hub:***@localhost:6380/1"),
        ("unix://:s3cret@/run/redis.sock?db=1", "unix://:***@/run/redis.sock?db=1"),
        ("redis+sentinel://hub:s3cret@a:26379,b:26379/main", "redis+sentinel://hub:***@a:26379,b:26379/main"),
        ("redis+cluster://:s3c/r@et@a:6379,b:6379", "redis+cluster://:***@a:6379,b:6379"),
        (
            "redis://localhost?db=1&password=s3cret&ssl_password=s3cret",
            "redis://localhost?db=1&password=***&ssl_password=***",
        ),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    described = {row.variable: row.value for row in describe(Settings(redis_url=url))}
    assert described["SSE_REDIS_URL"] == shown
