"""The reference says what the code does: every setting, command, error and dependency."""

from __future__ import annotations

import inspect
import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
import typer.main

from keystile.cli import app
from keystile.config.load import load
from keystile.config.secret_places import Secret
from keystile.config.settings import Settings
from keystile.model import errors

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def rows(page: Path, columns: int) -> list[list[str]]:
    """Give the rows of a page's tables whose first cell is code."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in found if row[0].startswith("`") and len(row) == columns]


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    kinds = (list, dict, Union, types.UnionType)
    wrapped = get_origin(hint) in kinds or hasattr(hint, "__metadata__")
    candidates = (_struct_in(part) for part in get_args(hint)) if wrapped else ()
    return next((struct for struct in candidates if struct), None)


def settings_of(
    struct: type[msgspec.Struct], prefix: str = "", values: Any = None
) -> Iterator[tuple[str, str]]:
    """Give every setting that a file may hold, as the page writes it, with its default."""
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        name, inner = prefix + field.name, _struct_in(hints[field.name])
        default = getattr(values, field.name) if values is not None else _default(field)
        if inner is None:
            yield name, _written(default)
        elif inner is Secret:
            yield name, "required" if field.required else "none"
        elif get_origin(hints[field.name]) is list:
            yield name, _written(default)
            yield from settings_of(inner, f"{name}[].")
        elif get_origin(hints[field.name]) is dict:
            yield name, _written(default)
            yield from settings_of(inner, f"{name}.NAME.")
        else:
            yield from settings_of(inner, f"{name}.", default)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return None if field.required else field.default_factory()


def _written(default: Any) -> str:
    if default is None:
        return "required"
    if default == "":
        return "empty"
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_every_setting_and_its_default_is_on_the_page() -> None:
    wanted = dict(settings_of(Settings)) | dict(settings_of(Secret, "…."))
    del wanted["folder"]  # where the file stands, which the program fills in
    shown = {row[0].strip("`"): row[1] for row in rows(REFERENCE / "configuration.md", 3)}
    assert shown == wanted


def _configurations() -> list[str]:
    texts = (page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    every = (ROOT / "README.md").read_text(encoding="utf-8") + "".join(texts)
    return re.findall(r"```yaml\n(# keystile\.yaml\n.*?)```", every, re.DOTALL)


@pytest.mark.parametrize("block", _configurations())
def test_configurations_in_pages_load(block: str, tmp_path: Path) -> None:
    file = tmp_path / "keystile.yaml"
    file.write_text(block, encoding="utf-8")
    assert load(file).upstream.every_connection


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give every command by its full name."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "list_commands"):
        yield " ".join(("keystile", *path)), command
        return
    for name in command.list_commands(None):
        yield from commands(command.get_command(None, name), (*path, name))


def options_of(command: Any) -> set[str]:
    """Give the option words of one command."""
    return {word for one in command.params for word in one.opts if word.startswith("-")}


def _cells(section: str) -> list[str]:
    return re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)


def test_every_command_and_option_is_on_the_page() -> None:
    text = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    sections = re.split(r"^### `(.+)`$", text, flags=re.MULTILINE)[1:]
    shown = {
        name: {word for row in _cells(body) for word in re.findall(r"`(-[\w-]+)`", row)}
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    }
    assert shown == {name: options_of(command) for name, command in commands()}


def test_every_error_is_on_the_page_as_clients_see_it() -> None:
    wanted = {
        (name, str(error.http_status), error.reason)
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.KeystileError)
    }
    shown = {tuple(c.strip("`") for c in row[:3]) for row in rows(REFERENCE / "errors.md", 5)}
    assert shown == wanted


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0].lower()


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {
        "at run time": project["project"]["dependencies"],
        "for development": project["dependency-groups"]["dev"],
        "to build": project["build-system"]["requires"],
    }
    page = ROOT / "docs" / "explanation" / "dependencies.md"
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    shown = {
        section.splitlines()[0].lower(): {cell.strip("`") for cell in _cells(section)}
        for section in sections
    }
    for when, requirements in wanted.items():
        assert shown[when] == {_name(requirement) for requirement in requirements}, when
