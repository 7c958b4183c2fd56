"""What YAML says badly of a file: another encoding, and keys that stand twice in it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import ConfigurationError


def require_utf_8(file: str | Path) -> None:
    """Refuse a file of a configuration that YAML could not read as text.

    Raises:
        ConfigurationError: it is no UTF-8; the message names the line.
    """
    content = Path(file).read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{file}, line {line}: is not text in UTF-8 ({error.reason}). Save it in UTF-8."
        ) from error


def refuse_repeated_keys(files: Iterable[str | Path]) -> None:
    """Refuse files in which a mapping has a key twice.

    Args:
        files: of a configuration, YAML or JSON, that could be read.

    Raises:
        ConfigurationError: one has; the message names the key and both lines.
    """
    # Later than at the top: most of the plan's users read no files.
    import yaml

    for file in files:
        for key, first, again in _repeated(yaml.compose(Path(file).read_text(encoding="utf-8"))):
            raise ConfigurationError(
                f"{file}: found {key} in line {first} and again in line {again}. Expected each key "
                "once, since only the last would count. Put what is below them into one."
            )


def _repeated(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, int, int]]:
    """Every repeated key below a node of YAML, dotted, and the two lines."""
    if isinstance(getattr(node, "value", None), str) or node is None:
        return
    seen: dict[str, int] = {}
    for item in node.value:
        if not isinstance(item, tuple):
            yield from _repeated(item, path)
            continue
        key, value = item
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            yield ".".join([*path, name]), seen[name], line
        seen[name] = line
        yield from _repeated(value, (*path, name))
