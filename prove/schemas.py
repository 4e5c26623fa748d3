"""The schemas that the proof asks about: small ones, rich ones, and some with confusing names."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from keystile.analysis.text import quoted
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.masks import (
    BucketMask,
    ConstantMask,
    DefaultMask,
    EmailMask,
    IpMask,
    JsonPathsMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
    RoundMask,
    SqlMask,
    TokenMask,
    TruncateMask,
    UrlHostMask,
)
from keystile.model.schema import (
    Argument,
    ColumnRef,
    Field,
    Mode,
    Routine,
    RoutineId,
    RoutineKind,
    SqlType,
    Table,
    TableId,
    TableKind,
)
from prove.shop import DATASET, MASKS, PROJECT, TABLES
from prove.worlds import Filtered, Schema

SCALARS = (
    *("BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "FLOAT64", "INT64", "INTERVAL", "JSON"),
    *("NUMERIC", "RANGE", "STRING", "TIME", "TIMESTAMP"),
)


def _table(name: str, *fields: Field) -> Table:
    return Table(TableId(PROJECT, DATASET, name), TableKind.TABLE, fields, "1")


def _masked(table: Table, path: str, mask: Mask) -> ColumnMask:
    return ColumnMask(ColumnRef(table.id, tuple(path.split("."))), "secret", mask)


def _of_type(name: str, type_: str) -> Field:
    return Field(name, type_, range_element="DATE" if type_ == "RANGE" else "")


_PEOPLE = _table("people", Field("id", "INT64"), Field("name", "STRING"), Field("ssn", "STRING"))
_VISITS = _table("visits", Field("id", "INT64"), Field("place", "STRING"), Field("n", "INT64"))
SMALL = Schema("small", (_PEOPLE, _VISITS), (_masked(_PEOPLE, "ssn", PatternMask("XXX")),))
"""One protected text beside an open table."""

_PAY = _table(
    "pay", Field("k", "INT64"), Field("v", "INT64"), Field("tags", "STRING", Mode.REPEATED)
)
_KEYS = _table("keys", Field("k", "INT64"), Field("w", "STRING"))
NUMBERS = Schema(
    "numbers",
    (_PAY, _KEYS),
    (_masked(_PAY, "v", DefaultMask()), _masked(_KEYS, "w", NullMask())),
)
"""A protected number and a text of which nothing is left."""

_PARTLY = _table("partly", Field("id", "INT64"), Field("mail", "STRING"), Field("card", "STRING"))
PARTLY = Schema(
    "partly",
    (_PARTLY, _VISITS),
    (_masked(_PARTLY, "mail", EmailMask()), _masked(_PARTLY, "card", KeepLastMask(2))),
)
"""Masks that show a part, which is the same in every world."""

_X = _table(
    "x",
    Field("x", "STRUCT", fields=(Field("x", "STRING"), Field("Y", "STRING"))),
    Field("Id", "INT64"),
)
_SSN = _table("ssn", Field("id", "INT64"), Field("ssn", "STRING"), Field("x", "STRING"))
SHADOWS = Schema(
    "shadows",
    (_X, _SSN),
    (_masked(_X, "x.Y", ConstantMask("y")), _masked(_SSN, "ssn", PatternMask("s"))),
)
"""Tables, columns and fields of one name."""

_UPPER = _table("Clients", Field("id", "INT64"), Field("Name", "STRING"))
_LOWER = _table("clients", Field("id", "INT64"), Field("Name", "STRING"))
CASES = Schema("cases", (_UPPER, _LOWER), (_masked(_UPPER, "Name", PatternMask("N")),), cased=True)
"""A protected table and an open one whose names differ by case only."""

_HIDDEN = _table(
    "hidden", Field("id", "INT64"), *(_of_type(f"c_{type_.lower()}", type_) for type_ in SCALARS)
)
_SHOWN = _table("shown", *(_of_type(f"o_{type_.lower()}", type_) for type_ in SCALARS))
TYPES = Schema(
    "types",
    (_HIDDEN, _SHOWN),
    tuple(
        _masked(_HIDDEN, f"c_{type_.lower()}", NullMask() if index % 3 == 1 else DefaultMask())
        for index, type_ in enumerate(SCALARS)
    ),
)
"""Every scalar type, protected and open."""

_DEEP = _table(
    "deep",
    Field("id", "INT64"),
    Field(
        "a",
        "STRUCT",
        Mode.REPEATED,
        fields=(
            Field("k", "STRING"),
            Field(
                "b",
                "STRUCT",
                Mode.REPEATED,
                fields=(
                    Field("s", "STRING"),
                    Field("c", "STRUCT", fields=(Field("n", "INT64"), Field("o", "STRING"))),
                ),
            ),
        ),
    ),
)
DEEP = Schema(
    "deep",
    (_DEEP, _VISITS),
    (_masked(_DEEP, "a.b.s", PatternMask("s")), _masked(_DEEP, "a.b.c.n", DefaultMask())),
)
"""Repeated fields in repeated fields."""

_DATED = replace(
    _table("dated", Field("id", "INT64"), Field("pin", "STRING"), Field("n", "INT64")),
    pseudo_columns=(Field("_PARTITIONTIME", "TIMESTAMP"), Field("_PARTITIONDATE", "DATE")),
)
DATED = Schema(
    "dated",
    (_DATED, _VISITS),
    (_masked(_DATED, "pin", KeepLastMask(1)), _masked(_DATED, "n", NullMask())),
)
"""Pseudo columns beside protected ones."""


_STEPS = _table(
    "steps",
    Field("id", "INT64"),
    Field("day", "DATE"),
    Field("moment", "TIMESTAMP"),
    Field("n", "INT64"),
    Field("price", "NUMERIC"),
    Field("weight", "FLOAT64"),
    Field("note", "JSON"),
)
STEPS = Schema(
    "steps",
    (_STEPS, _VISITS),
    (
        _masked(_STEPS, "day", TruncateMask("month")),
        _masked(_STEPS, "moment", TruncateMask("quarter")),
        _masked(_STEPS, "n", BucketMask(10)),
        _masked(_STEPS, "price", BucketMask(4)),
        _masked(_STEPS, "weight", RoundMask(20)),
        _masked(_STEPS, "note", JsonPathsMask(("$.a", "$.c.d"))),
    ),
)
"""Masks that show roughly how great a value is, and some places of JSON."""

_TRACES = _table(
    "traces",
    Field("id", "INT64"),
    Field("iban", "STRING"),
    Field("page", "STRING"),
    Field("ip", "STRING", Mode.REPEATED),
    Field("code", "STRING"),
)
TRACES = Schema(
    "traces",
    (_TRACES, _VISITS),
    (
        _masked(_TRACES, "iban", KeepFirstMask(2)),
        _masked(_TRACES, "page", UrlHostMask()),
        _masked(_TRACES, "ip", IpMask()),
        _masked(_TRACES, "code", SqlMask("SAFE.LEFT(value, 3)")),
    ),
)
"""Masks that show a part of a text, one of them written in SQL."""

_SIGNED = _table(
    "signed",
    Field("id", "INT64"),
    Field("who", "STRING"),
    Field("seal", "BYTES"),
    Field("stay", "STRUCT", fields=(Field("home", "STRING"), Field("n", "INT64"))),
)
KEYED = Schema(
    "keyed",
    (_SIGNED, _VISITS),
    (
        _masked(_SIGNED, "who", KeyedHashMask("named")),
        _masked(_SIGNED, "seal", KeyedHashMask()),
        _masked(_SIGNED, "stay.home", TokenMask()),
    ),
)
"""Masks with keys, which the evaluator is handed so that they look at open parts alone."""


def _routine(name: str, body: str, *arguments: str, **more: Any) -> Routine:
    """Make a function; an argument is a name and a type, or a name alone for any type."""
    given = tuple(
        Argument(one, SqlType(type_) if type_ else None)
        for one, _, type_ in (argument.partition(" ") for argument in arguments)
    )
    more = {"kind": RoutineKind.SCALAR} | more
    id_ = RoutineId(PROJECT, "fn", name)
    return Routine(id_, language="SQL", arguments=given, body=body, **more)


_TEXT = SqlType("STRING")
_PLACES = ".".join(quoted(part) for part in str(_VISITS.id).split("."))
CALLING = Schema(
    "calling",
    (_PEOPLE, _VISITS),
    SMALL.masks,
    routines=(
        _routine("same", "x", "x"),
        _routine("both", "CONCAT(x, '-', y)", "x STRING", "y INT64", returns=_TEXT),
        _routine("more", f"`{PROJECT}`.fn.both(x, LENGTH(x))", "x STRING", returns=_TEXT),
        _routine("failing", "IF(x > '4', ERROR(x), x)", "x STRING", returns=_TEXT),
        _routine(
            "looked",
            f"(SELECT MAX(v.place) FROM {_PLACES} AS v WHERE v.place > x)",  # noqa: S608
            "x STRING",
            returns=_TEXT,
        ),
        _routine("last", "MAX(x)", "x STRING", returns=_TEXT, kind=RoutineKind.AGGREGATE),
        _routine(
            "rows_of",
            f"SELECT x AS t, v.id FROM {_PLACES} AS v WHERE v.place > x",  # noqa: S608
            "x STRING",
            columns=(Field("t", "STRING"), Field("id", "INT64")),
            kind=RoutineKind.TABLE_VALUED,
        ),
    ),
)
"""Functions in SQL, which get what is masked as arguments."""

_STAFF = _table(
    "staff",
    Field("id", "INT64"),
    Field("team", "STRING"),
    Field("pay", "INT64"),
    Field("tags", "STRING", Mode.REPEATED),
)
FILTERED = Schema(
    "filtered",
    (_STAFF, _VISITS),
    (_masked(_STAFF, "team", KeepFirstMask(0)), _masked(_STAFF, "pay", BucketMask(10))),
    derived=(ColumnRef(_STAFF.id, ()),),  # how many rows there are is hidden, too
    filtered=(Filtered(RowFilter(_STAFF.id, "mine", "team = 'red'"), "team", "'red'"),),
)
"""A table of which some rows are there, by a column that is masked itself."""


def _view(name: str, query: str, *fields: Field) -> Table:
    id_ = TableId(PROJECT, DATASET, name)
    return Table(id_, TableKind.VIEW, fields, "1", " ".join(query.split()))


_PERSONS = _table("persons", *_PEOPLE.fields)
_RANKED = _view(
    "ranked",
    f"""SELECT e.id, RANK() OVER (ORDER BY e.ssn) AS place, COUNT(*) OVER () AS n
    FROM `{PROJECT}.{DATASET}.everyone` AS e""",  # noqa: S608 - its own words
    *(Field("id", "INT64"), Field("place", "INT64"), Field("n", "INT64")),
)
_EVERYONE = _view(
    "everyone",
    f"SELECT * FROM `{PROJECT}.{DATASET}.persons`",  # noqa: S608
    *_PERSONS.fields,
)
_PLAIN = _view(
    "plain",
    f"SELECT id, name AS ssn FROM `{PROJECT}.{DATASET}.persons`",  # noqa: S608
    *(Field("id", "INT64"), Field("ssn", "STRING")),
)
_CHOSEN = _view(
    "chosen",
    f"""WITH persons AS (SELECT * FROM `{PROJECT}.{DATASET}.persons`)
    SELECT persons.name, v.place FROM persons JOIN `{PROJECT}.{DATASET}.visits` AS v
    ON v.id = persons.id WHERE persons.ssn > '4'""",  # noqa: S608
    *(Field("name", "STRING"), Field("place", "STRING")),
)
VIEWS = Schema(
    "views",
    (_RANKED, _EVERYONE, _PLAIN, _CHOSEN, _PERSONS, _VISITS),
    (_masked(_PERSONS, "ssn", PatternMask("XXX")),),
    derived=(
        ColumnRef(_RANKED.id, ()),  # its rows come in the order of what is masked
        ColumnRef(_EVERYONE.id, ("ssn",)),
        ColumnRef(_CHOSEN.id, ()),
    ),
)
"""Views of a protected table: of all of it, in an order, by a filter, and of nothing protected."""

SHOP = Schema("shop", TABLES, MASKS)
"""The shop, with many masks in one table."""

SCHEMAS = {
    schema.name: schema
    for schema in (
        SMALL,
        NUMBERS,
        PARTLY,
        SHADOWS,
        CASES,
        TYPES,
        DEEP,
        DATED,
        VIEWS,
        STEPS,
        TRACES,
        KEYED,
        FILTERED,
        CALLING,
        SHOP,
    )
}

WEIGHTS = {
    "small": 24,
    "numbers": 16,
    "partly": 10,
    "shadows": 12,
    "cases": 8,
    "types": 5,
    "deep": 6,
    "dated": 4,
    "views": 4,
    "steps": 5,
    "traces": 5,
    "keyed": 1,
    "filtered": 6,
    "calling": 6,
    "shop": 4,
}
"""How many of some hundred cases ask about each; a rich table costs some five times a small one."""

SERVED = {
    name: schema
    for name, schema in SCHEMAS.items()
    if not schema.routines
    and not any(table.view_query or table.pseudo_columns for table in schema.tables)
}
"""The schemas of plain tables, which are also asked about through the whole gateway."""
