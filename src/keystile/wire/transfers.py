"""Load, copy and extract jobs that a client asks for, as typed data. Only fields on a list pass.

What reads or writes somewhere that the request does not name, or gives rights, is refused with its
reason; what is not known at all raises `InvalidRequestError` with its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.strict import converted, int64, without_refused
from keystile.wire.targets import (
    configuration_of,
    named_table,
    reference,
)
from keystile.wire.transfer_bodies import (
    BODIES,
    REFUSED,
    CopyBody,
    ExtractBody,
    Kind,
    LoadBody,
    check_schema,
)

_URI = re.compile(r"gs://[^/\x00-\x1f]+/[^\x00-\x1f]+")

_MOST_NAMED = (
    1200  # BigQuery's own bound on the source tables of a copy; files are named by far less
)

_MOST_URIS = 10_000  # BigQuery's own bound
_FIRST = re.compile(r"-- (load|copy|extract) job( with uploaded data)?")


class Transfer(msgspec.Struct, frozen=True):
    """A load, copy or extract job.

    `configuration` is what was asked, of the fields on the list alone, with every table in full.
    `uris` are the files that it reads or writes: none for an `upload`, whose bytes come with the
    request. `reshapes` tells whether it may give a table that there is other columns.
    """

    kind: Kind
    configuration: dict[str, object]
    sources: tuple[TableId, ...] = ()
    destination: TableId | None = None
    uris: tuple[str, ...] = ()
    creates: bool = False
    replaces: bool = False
    reshapes: bool = False
    upload: bool = False

    @property
    def text(self) -> str:
        """Say exactly what was asked, for people and for the digest of an approval."""
        asked = msgspec.json.format(
            msgspec.json.encode(self.configuration, order="deterministic"), indent=2
        )
        return f"-- {self.kind} job{' with uploaded data' * self.upload}\n{asked.decode()}"


def kind_of(configuration: Mapping[str, object]) -> Kind | None:
    """Tell which kind of transfer a job configuration is of; nothing for a query.

    Raises `InvalidRequestError` for one of several kinds.
    """
    kinds = [kind for kind in BODIES if configuration.get(kind) is not None]
    if len(kinds) + (configuration.get("query") is not None) > 1:
        raise InvalidRequestError("a job has one of `query`, `load`, `copy` and `extract`")
    return kinds[0] if kinds else None


def transfer_of(project: str, kind: Kind, given: object, *, upload: bool = False) -> Transfer:
    """Read a configuration.

    Raises `InvalidRequestError` for what is malformed or unknown, `RefusedError` for what is
    understood and not served.
    """
    if not isinstance(given, dict):
        raise InvalidRequestError(f"`{kind}` is not an object")
    body = converted(without_refused(given, REFUSED[kind]), BODIES[kind])
    if isinstance(body, LoadBody):
        return _load(project, body, upload=upload)
    return _copy(project, body) if isinstance(body, CopyBody) else _extract(project, body)


def transfer_of_text(project: str, text: str) -> Transfer:
    """Read `Transfer.text` again. Raises as `transfer_of`, and `ValueError` for another text."""
    first, _, configuration = text.partition("\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        raise ValueError("it is no load, copy or extract job")
    kind = msgspec.convert(found[1], Kind)
    given = msgspec.json.decode(configuration, type=dict[str, object])
    return transfer_of(project, kind, given, upload=bool(found[2]))


def _load(project: str, body: LoadBody, *, upload: bool) -> Transfer:
    uris = _uris(body.source_uris or ())
    if upload and uris:
        raise InvalidRequestError("`sourceUris` and an upload exclude each other")
    if not upload and not uris:
        raise InvalidRequestError(
            "Load configuration must specify at least one source URI", hint="name it in sourceUris"
        )
    # Python's client writes them as texts; in jobs they are numbers, and Go's reads no other.
    counts = {
        "maxBadRecords": int64(body.max_bad_records, "maxBadRecords"),
        "skipLeadingRows": int64(body.skip_leading_rows, "skipLeadingRows"),
    }
    check_schema(body.schema or {})
    destination = named_table(project, body.destination_table, "destinationTable")
    replaces = body.write_disposition == "WRITE_TRUNCATE"
    return Transfer(
        "load",
        configuration_of(
            body,
            destinationTable=reference(destination),
            **{name: count for name, count in counts.items() if count is not None},
        ),
        destination=destination,
        uris=uris,
        creates=body.create_disposition != "CREATE_NEVER",
        replaces=replaces or body.write_disposition == "WRITE_TRUNCATE_DATA",
        reshapes=replaces or bool(body.schema_update_options),
        upload=upload,
    )


def _copy(project: str, body: CopyBody) -> Transfer:
    if (body.source_table is None) == (not body.source_tables):
        raise InvalidRequestError("a copy job has one of `sourceTable` and `sourceTables`")
    named = body.source_tables or (body.source_table,)
    if len(named) > _MOST_NAMED:
        raise InvalidRequestError(f"there are more than {_MOST_NAMED} source tables")
    sources = tuple(named_table(project, each, "sourceTable") for each in named if each)
    destination = named_table(project, body.destination_table, "destinationTable")
    asked = configuration_of(body, destinationTable=reference(destination))
    if body.source_table:
        asked["sourceTable"] = reference(sources[0])
    else:
        asked["sourceTables"] = [reference(source) for source in sources]
    replaces = body.write_disposition == "WRITE_TRUNCATE"
    return Transfer(
        "copy",
        asked,
        sources,
        destination,
        creates=body.create_disposition != "CREATE_NEVER",
        replaces=replaces or body.write_disposition == "WRITE_TRUNCATE_DATA",
        reshapes=replaces,
    )


def _extract(project: str, body: ExtractBody) -> Transfer:
    uris = _uris(body.destination_uris or ((body.destination_uri,) if body.destination_uri else ()))
    if not uris:
        raise InvalidRequestError(
            "Required parameter is missing: destinationUri", hint="name a file to write"
        )
    source = named_table(project, body.source_table, "sourceTable")
    return Transfer(
        "extract", configuration_of(body, sourceTable=reference(source)), (source,), uris=uris
    )


def _uris(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(given) > _MOST_URIS:
        raise InvalidRequestError(f"there are more than {_MOST_URIS} addresses")
    for uri in given:
        if not _URI.fullmatch(uri):
            raise RefusedError(
                f"the address `{uri[:200]}` is not served", hint="use `gs://bucket/file`"
            )
    return given
