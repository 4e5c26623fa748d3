"""What a path in a query names: the rules of BigQuery for projects, datasets and defaults."""

from __future__ import annotations

import re

import msgspec

from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Parameter, TableId
from keystile.sandbox.dialect import Given
from keystile.sandbox.errors import unsupported

INFORMATION_SCHEMA = "INFORMATION_SCHEMA"
_MIN_PATH, _MAX_PATH = 1, 3
_META = re.compile(r"^__", re.IGNORECASE)  # `__TABLES__` and its like
_REGION = re.compile(r"region-[a-z0-9-]+", re.IGNORECASE)
_SESSION = "_session"


class Scope(msgspec.Struct, frozen=True):
    """What a script adds to the names of a statement.

    `dataset` is the hidden one with its temporary tables and functions; `variables` are its own,
    `system` those that are written `@@name`.
    """

    dataset: str = ""
    variables: tuple[Given, ...] = ()
    system: tuple[Given, ...] = ()


class Question(msgspec.Struct, frozen=True):
    """SQL with what its names and parameters mean. `numbered` is a table whose rows are numbered.

    The numbers stand in the pseudo column `ROW` of `modifying`. `using` are the values that EXECUTE
    IMMEDIATE hands in, where there are no parameters. `location` is where the job runs.
    `account` is whose rights hold; without one the sandbox itself asks.
    """

    sql: str
    project: str
    default_project: str = ""
    default_dataset: str = ""
    parameters: tuple[Parameter, ...] = ()
    scope: Scope = Scope()
    numbered: TableId | None = None
    using: tuple[Given, ...] = ()
    location: str = ""
    account: str = ""

    @property
    def given(self) -> tuple[Given, ...]:
        """The names and types of its parameters."""
        named = [(each.name, each.type) for each in self.parameters]
        named += [(each.name, each.type) for each in self.using]
        return tuple(Given(name, type_) for name, type_ in named)

    def of(self, sql: str, numbered: TableId | None = None) -> Question:
        """Give other SQL with the same meaning of names."""
        return msgspec.structs.replace(self, sql=sql, numbered=numbered)

    def without_default(self) -> Question:
        """Give the same with no default dataset."""
        return msgspec.structs.replace(self, default_project="", default_dataset="")


def table_id(path: tuple[str, ...], question: Question) -> TableId:
    """Give the table that a path names; temporary ones are told apart by the caller.

    Raises `InvalidQueryError` where it is no name of a table.
    """
    upper = tuple(name.upper() for name in path)
    if INFORMATION_SCHEMA in upper[:-1]:
        return _information(path, upper.index(INFORMATION_SCHEMA), question)
    if any(_META.search(name) for name in path):
        raise unsupported(f"the table `{'.'.join(path)}`")
    if not _MIN_PATH <= len(path) <= _MAX_PATH:
        raise InvalidQueryError(f"`{'.'.join(path)}` is not the name of a table")
    if question.scope.dataset and path[0].lower() == _SESSION and len(path) > 1:
        return TableId(question.project, question.scope.dataset, path[-1])
    if len(path) == _MIN_PATH and not question.default_dataset:
        raise InvalidQueryError(
            f'Table "{path[0]}" must be qualified with a dataset (e.g. dataset.table).'
        )
    if len(path) == _MIN_PATH:
        return TableId(question.default_project, question.default_dataset, path[0])
    return TableId(path[0] if len(path) == _MAX_PATH else question.project, *path[-2:])


def temporary_id(path: tuple[str, ...], question: Question) -> TableId | None:
    """Give the temporary table or function that a path could name."""
    if len(path) > 1 or not question.scope.dataset:
        return None
    return TableId(question.project, question.scope.dataset, path[0])


def routine_id(path: tuple[str, ...], question: Question) -> TableId | None:
    """Give the routine that a path could name; GoogleSQL's own functions are called alike."""
    if path and path[0].upper() == "SAFE":
        path = path[1:]
    if not _MIN_PATH <= len(path) <= _MAX_PATH:
        return None
    if len(path) == _MIN_PATH:
        if not question.default_dataset:
            return None
        return TableId(question.default_project, question.default_dataset, path[0])
    return TableId(path[0] if len(path) == _MAX_PATH else question.project, *path[-2:])


def dataset_id(path: tuple[str, ...], question: Question) -> tuple[str, str]:
    """Give the dataset that a path of one or two names means."""
    return (path[0] if len(path) > 1 else question.project, path[-1])


def _information(path: tuple[str, ...], at: int, question: Question) -> TableId:
    qualifier = path[:at]
    view = ".".join(path[at:]).upper()
    if not qualifier:
        return TableId(question.project, question.default_dataset, view)
    is_region = bool(_REGION.fullmatch(qualifier[-1]))
    if len(qualifier) == 1:
        return TableId(question.project, qualifier[0].lower() if is_region else qualifier[0], view)
    return TableId(qualifier[0], qualifier[1].lower() if is_region else qualifier[1], view)
