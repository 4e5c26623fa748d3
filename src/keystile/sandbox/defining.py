"""What a DDL statement defines, read from its resolved tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.model.schema import Field, Mode
from keystile.sandbox.describing import resolved
from keystile.sandbox.dialect import Argument, Column, Spelled, Statement, kind_of, place
from keystile.sandbox.errors import unsupported
from keystile.sandbox.keys import Key, foreign_key, primary_key
from keystile.sandbox.names import parse, path_of
from keystile.wire.schema import field_of

OR_REPLACE, IF_NOT_EXISTS = 1, 2
_TEMPORARY = 3
_CASCADE = 2

Options = dict[str, object]


class Alteration(msgspec.Struct, frozen=True):
    """One action of an ALTER. `kind` is the engine's, such as `AddColumn` or `RenameTo`.

    `path` is a new name, `lenient` says IF EXISTS or IF NOT EXISTS.
    """

    kind: str
    column: str = ""
    field: Field | None = None
    attributes: dict[str, dict[str, object]] = {}
    default: str = ""
    path: tuple[str, ...] = ()
    options: Options = {}
    lenient: bool = False
    key: Key | None = None


class Definition(msgspec.Struct, frozen=True):
    """A DDL statement. `mode` is `OR_REPLACE`, `IF_NOT_EXISTS` or 0; `lenient` says IF EXISTS.

    `sql` is the text of the query or the body; `object_type` what a DROP names; `partition` and
    `clustering` are SQL texts. A column that has a default is in `defaults` with its SQL.
    """

    kind: str
    path: tuple[str, ...]
    mode: int = 0
    temporary: bool = False
    lenient: bool = False
    cascade: bool = False
    object_type: str = ""
    options: Options = {}
    fields: tuple[Field, ...] = ()
    attributes: dict[str, dict[str, object]] = {}
    defaults: dict[str, str] = {}
    partition: str = ""
    clustering: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    sql: str = ""
    columns: tuple[str, ...] = ()
    alterations: tuple[Alteration, ...] = ()
    arguments: tuple[Argument, ...] = ()
    returns: Column | None = None
    table: tuple[Column, ...] = ()
    language: str = ""
    aggregate: bool = False
    connection: str = ""


def define(engine: Engine, statement: Statement) -> Definition:
    """Read a statement that has been described already. Raises `InvalidQueryError`."""
    wrapped = resolved(engine, statement)
    node = protos.unwrapped(wrapped)
    (parsed,) = parse(engine, statement.sql).statement_list_node.statement_list
    reader = _Reader(node, protos.unwrapped(parsed), statement)
    return reader.read(kind_of(wrapped, "Resolved", "StmtProto"))


class _Reader:
    def __init__(self, node: Any, syntax: Any, statement: Statement) -> None:
        self._node = node
        self._syntax = syntax
        self._data = statement.sql.encode()
        self._tables = statement.tables

    def read(self, kind: str) -> Definition:
        made = Definition(
            kind=kind,
            path=tuple(self._get("name_path", ())),
            mode=self._get("create_mode", 0),
            temporary=self._get("create_scope", 0) == _TEMPORARY,
            lenient=self._get("is_if_exists", default=False),
            options=_options(self._get("option_list", ())),
        )
        if kind in ("CreateTable", "CreateTableAsSelect"):
            return self._table(made)
        if kind in ("CreateView", "CreateMaterializedView"):
            return msgspec.structs.replace(made, sql=self._text("query"), columns=self._renamed())
        if kind in ("CreateFunction", "CreateTableFunction"):
            return self._routine(made)
        if kind == "Drop":
            cascade = self._node.drop_mode == _CASCADE
            object_type = self._node.object_type
            return msgspec.structs.replace(made, object_type=object_type, cascade=cascade)
        if kind.startswith("Alter"):
            actions = self._get("alter_action_list", ())
            altered = tuple(_alteration(action, self._tables) for action in actions)
            return msgspec.structs.replace(made, alterations=altered)
        return made

    def _get(self, name: str, default: Any) -> Any:
        for level in protos.levels(self._node):
            if name in level.DESCRIPTOR.fields_by_name:
                return getattr(level, name)
        return default

    def _text(self, field: str) -> str:
        if not protos.has(self._syntax, field):
            return ""
        start, end = place(protos.inherited(self._syntax, field))
        return self._data[start:end].decode()

    def _table(self, made: Definition) -> Definition:
        columns = self._get("column_definition_list", ())
        fields = tuple(_field(c.name, c.type, c.annotations) for c in columns)
        defaults = {c.name: c.default_value.sql for c in columns if c.HasField("default_value")}
        partition = self._text("partition_by")
        clustering = (
            tuple(self._expressions(self._syntax.cluster_by.clustering_expressions))
            if protos.has(self._syntax, "cluster_by")
            else ()
        )
        return msgspec.structs.replace(
            made,
            fields=fields,
            attributes={
                path: told
                for column, field in zip(columns, fields, strict=True)
                for path, told in _type_parameters(field, column.annotations, field.name)
            },
            defaults=defaults,
            partition=partition,
            clustering=clustering,
            keys=tuple(self._keys()),
            sql=self._text("query"),
        )

    def _keys(self) -> Iterator[Key]:
        if protos.has(self._node, "primary_key"):
            yield primary_key(protos.inherited(self._node, "primary_key"))
        for node in self._get("foreign_key_list", ()):
            yield foreign_key(node, self._tables)

    def _expressions(self, nodes: Any) -> list[str]:
        ranges = [place(protos.unwrapped(node)) for node in nodes]
        return [self._data[start:end].decode().strip("`") for start, end in ranges]

    def _renamed(self) -> tuple[str, ...]:
        if not protos.has(self._syntax, "column_with_options_list"):
            return ()
        columns = protos.inherited(self._syntax, "column_with_options_list").column_with_options
        return tuple(column.name.id_string for column in columns)

    def _routine(self, made: Definition) -> Definition:
        signature = self._node.signature
        names = self._node.argument_name_list
        arguments = (
            _argument(name, argument)
            for name, argument in zip(names, signature.argument, strict=True)
        )
        table = self._node.DESCRIPTOR.name == "ResolvedCreateTableFunctionStmtProto"
        columns = self._node.signature.return_type.options.relation_input_schema.column
        is_known = signature.return_type.HasField("type")
        declared = table and self._node.has_explicit_return_schema
        return msgspec.structs.replace(
            made,
            arguments=tuple(arguments),
            returns=("", protos.sql_type(signature.return_type.type)) if is_known else None,
            table=tuple((c.name, protos.sql_type(c.type)) for c in columns) if declared else (),
            language=self._node.language.upper(),
            sql=self._node.code,
            aggregate=not table and self._node.is_aggregate,
            connection=self._connection(),
        )

    def _connection(self) -> str:
        for level in protos.levels(self._syntax):
            for field, value in level.ListFields():
                if field.name == "with_connection_clause":
                    path = value.connection_clause.connection_path
                    return ".".join(path_of(path))
        return ""


def _argument(name: str, argument: Any) -> Argument:
    if argument.HasField("type"):
        return Argument(name, protos.sql_type(argument.type))
    columns = argument.options.relation_input_schema.column
    return Argument(name, table=tuple((c.name, protos.sql_type(c.type)) for c in columns))


def _field(name: str, type_proto: Any, annotations: Any) -> Field:
    return _annotated(field_of(name, protos.sql_type(type_proto)), annotations)


def _annotated(field: Field, annotations: Any) -> Field:
    """Add what a column definition says beside the type: NOT NULL and the description."""
    if field.mode is Mode.REPEATED:  # an array's annotations hold those of its element
        inner = annotations.child_list[0] if annotations.child_list else None
    else:
        inner = annotations
    children = inner.child_list if inner is not None else ()
    parts = tuple(
        _annotated(part, children[at]) if at < len(children) else part
        for at, part in enumerate(field.fields)
    )
    options = _options(annotations.option_list)
    required = annotations.not_null and field.mode is not Mode.REPEATED
    return msgspec.structs.replace(
        field,
        fields=parts,
        mode=Mode.REQUIRED if required else field.mode,
        description=str(options.get("description") or ""),
    )


def _type_parameters(
    field: Field, annotations: Any, path: str
) -> Iterator[tuple[str, dict[str, object]]]:
    """Give what a resource tells of types such as `STRING(9)`, by the path of the field."""
    if field.mode is Mode.REPEATED:  # an array's annotations hold those of its element
        if not annotations.child_list:
            return
        annotations = annotations.child_list[0]
    text = annotations.type_parameters.string_type_parameters
    number = annotations.type_parameters.numeric_type_parameters
    time = annotations.type_parameters.timestamp_type_parameters
    given = {
        "maxLength": text.max_length,
        "precision": number.precision,
        "scale": number.scale,
        "timestampPrecision": time.precision,
    }
    if told := {name: str(value) for name, value in given.items() if value}:
        yield path, dict(told)
    for part, inner in zip(field.fields, annotations.child_list, strict=False):
        yield from _type_parameters(part, inner, f"{path}.{part.name}")


def _alteration(wrapped: Any, tables: Iterable[Spelled]) -> Alteration:
    node = protos.unwrapped(wrapped)
    kind = kind_of(node, "Resolved", "ActionProto")
    made = Alteration(
        kind,
        column=next((v for v in (_value(node, "column"), _value(node, "name")) if v), ""),
        path=tuple(_value(node, "new_path") or ()),
        options=_options(_value(node, "option_list") or ()),
        lenient=bool(_value(node, "is_if_exists") or _value(node, "is_if_not_exists")),
    )
    if kind == "AddColumn":
        column = node.column_definition
        field = _field(column.name, column.type, column.annotations)
        return msgspec.structs.replace(
            made,
            column=column.name,
            field=field,
            attributes=dict(_type_parameters(field, column.annotations, field.name)),
            default=column.default_value.sql,
        )
    if kind == "AlterColumnSetDataType":
        return msgspec.structs.replace(
            made, field=field_of(made.column, protos.sql_type(node.updated_type))
        )
    if kind == "AddConstraint":
        constraint = protos.unwrapped(node.constraint)
        is_primary = kind_of(constraint, "Resolved", "Proto") == "PrimaryKey"
        key = primary_key(constraint) if is_primary else foreign_key(constraint, tables)
        return msgspec.structs.replace(made, key=key)
    if kind == "RenameColumn":
        return msgspec.structs.replace(made, path=(node.new_name,))
    return made


def _value(node: Any, name: str) -> Any:
    for level in protos.levels(node):
        if name in level.DESCRIPTOR.fields_by_name:
            return getattr(level, name)
    return None


def _options(entries: Any) -> Options:
    return {entry.name: _literal(entry) for entry in entries}


def _literal(entry: Any) -> object:
    node = protos.unwrapped(entry.value)
    if node.DESCRIPTOR.name != "ResolvedLiteralProto":
        raise unsupported(f"the option `{entry.name}` with a value that is no literal")
    return _plain(node.value.value)


def _plain(value: Any) -> object:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.element]
    if kind == "struct_value":
        return [_plain(item) for item in value.struct_value.field]
    if kind == "timestamp_value":
        return value.timestamp_value.seconds * 1000
    found = getattr(value, kind)
    return found if isinstance(found, str | int | float | bool) else str(found)


DEFINE = Task(define, Statement, Definition)
