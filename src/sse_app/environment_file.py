"""Settings from a file, which unlike the environment of a process can change while it runs."""

from __future__ import annotations

from pathlib import Path

from sse_app.settings import SettingsError

_QUOTES = "\"'"


def read_environment_file(path: Path) -> dict[str, str]:
    """The variables of a file of `NAME=VALUE` lines, as systemd and shells know them.

    A value may stand in quotes, a name after `export`. Empty lines and those that begin with `#` are passed over.
    Raises SettingsError, which shows no value.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    variables = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not (equals and name):
            raise SettingsError(f"{path}, line {number}: must be NAME=VALUE")
        if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
            value = value[1:-1]
        variables[name] = value
    return variables
