"""All methods of BigQuery's API in one table: what each one is, and what becomes of it here.

Source of fact: the discovery document of `bigquery:v2`, which lists 47 methods. The API serves
exactly those that are served here, and docs/reference/api.md says the same in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from keystile.wire.jsonbody import MAX_BODY_BYTES
from keystile.wire.streaming import MAX_BYTES


class Access(StrEnum):
    """What a method gives or changes."""

    METADATA = "read-metadata"
    DATA = "read-data"
    WRITE = "write-data"
    SCHEMA = "schema"
    JOBS = "job control"
    RIGHTS = "access"


class Method(msgspec.Struct, frozen=True):
    """One method: HTTP verb, path, class of access, and the query parameters that are its own.

    A method that is served says what is checked (`checks`) and what is masked or left out
    (`withheld`); one that is refused says what to do instead. `body_bytes` bounds its body.
    """

    verb: str
    path: str
    access: Access
    parameters: tuple[str, ...] = ()
    checks: str = ""
    withheld: str = ""
    instead: str = ""
    body_bytes: int = MAX_BODY_BYTES

    @property
    def served(self) -> bool:
        """Whether the gateway serves it."""
        return not self.instead


_PROJECT = "projects/{project}"
_DATASET = f"{_PROJECT}/datasets/{{dataset}}"
_TABLE = f"{_DATASET}/tables/{{table}}"
_MODEL = f"{_DATASET}/models/{{item}}"
_ROUTINE = f"{_DATASET}/routines/{{item}}"
_POLICY = f"{_TABLE}/rowAccessPolicies/{{item}}"

_LIST = ("maxResults", "pageToken")
_ROWS = (*_LIST, "startIndex")
_FORMAT = ("formatOptions.useInt64Timestamp", "formatOptions.timestampOutputFormat")
_VERSION = ("accessPolicyVersion",)
_UPDATE = (*_VERSION, "updateMode")
_DETECT = ("autodetect_schema",)

_BY_STATEMENT = "write it as a statement and run it as a query, so that policy decides on it"
_OPTIONS = "description, friendly name, labels"
_ASK = "ask the gateway's operator"
_RIGHTS = f"an agent changes and tests no rights here; {_ASK}"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "projects.list": Method(
            "GET",
            "projects",
            Access.METADATA,
            _LIST,
            checks="lists the projects in which policy allows the agent anything",
        ),
        "projects.getServiceAccount": Method(
            "GET",
            f"{_PROJECT}/serviceAccount",
            Access.METADATA,
            checks="the project must be visible",
            withheld="the gateway's own account: this one is BigQuery's, for customers' keys",
        ),
        "jobs.query": Method(
            "POST",
            f"{_PROJECT}/queries",
            Access.DATA,
            checks="policy decides on what the SQL does; waits up to `timeoutMs`, at most 10 s",
            withheld="protected columns are masked where the table is read",
        ),
        "jobs.getQueryResults": Method(
            "GET",
            f"{_PROJECT}/queries/{{job}}",
            Access.DATA,
            ("location", "timeoutMs", *_ROWS, *_FORMAT),
            checks="own jobs only; `maxResults=0` is answered with the first page",
            withheld="as decided when the job was accepted",
        ),
        "jobs.insert": Method(
            "POST",
            f"{_PROJECT}/jobs",
            Access.DATA,
            checks="policy decides on what the SQL, or the load, copy or extract job, does; one"
            " that waits for people is `PENDING`",
            withheld="as in `jobs.query`; a load, copy or extract job moves nothing that is masked",
        ),
        "jobs.list": Method(
            "GET",
            f"{_PROJECT}/jobs",
            Access.JOBS,
            (
                "allUsers",
                "maxCreationTime",
                "maxResults",
                "minCreationTime",
                "pageToken",
                "parentJobId",
                "projection",
                "stateFilter",
            ),
            checks="own jobs only, also with `allUsers`; with `parentJobId`, a script's statements",
            withheld="as in `jobs.get`",
        ),
        "jobs.get": Method(
            "GET",
            f"{_PROJECT}/jobs/{{job}}",
            Access.JOBS,
            ("location", "projection"),
            checks="own jobs only",
            withheld="plan, timeline, the rewritten text and Google accounts",
        ),
        "jobs.cancel": Method(
            "POST",
            f"{_PROJECT}/jobs/{{job}}/cancel",
            Access.JOBS,
            ("location", "projection"),
            checks="own jobs only; ends an open approval request too",
            withheld="as in `jobs.get`",
        ),
        "jobs.delete": Method(
            "DELETE",
            f"{_PROJECT}/jobs/{{job}}/delete",
            Access.JOBS,
            ("location",),
            instead="what an agent did stays on record; leave the job alone",
        ),
        "datasets.list": Method(
            "GET",
            f"{_PROJECT}/datasets",
            Access.METADATA,
            ("all", "filter", *_LIST),
            checks="lists the datasets in which policy allows the agent anything",
            withheld="access lists and key names",
        ),
        "datasets.get": Method(
            "GET",
            _DATASET,
            Access.METADATA,
            ("datasetView", *_VERSION),
            checks="a dataset that is hidden looks absent",
            withheld="access lists and key names",
        ),
        "datasets.insert": Method(
            "POST",
            f"{_PROJECT}/datasets",
            Access.SCHEMA,
            _VERSION,
            checks="policy decides as on `CREATE SCHEMA`; no rights, links or keys",
            withheld="as in `datasets.get`",
        ),
        "datasets.patch": Method(
            "PATCH",
            _DATASET,
            Access.SCHEMA,
            _UPDATE,
            checks=f"policy decides as on `ALTER SCHEMA`; {_OPTIONS}, default expirations, rounding"
            " and time travel only",
            withheld="as in `datasets.get`",
        ),
        "datasets.update": Method(
            "PUT",
            _DATASET,
            Access.SCHEMA,
            _UPDATE,
            checks="as in `datasets.patch`; takes away those that it does not name",
            withheld="as in `datasets.get`",
        ),
        "datasets.delete": Method(
            "DELETE",
            _DATASET,
            Access.SCHEMA,
            ("deleteContents",),
            checks="policy decides as on `DROP SCHEMA`",
        ),
        "datasets.undelete": Method(
            "POST",
            f"{_DATASET}:undelete",
            Access.SCHEMA,
            instead=f"it brings back what was deleted; {_ASK}",
        ),
        "tables.list": Method(
            "GET",
            f"{_DATASET}/tables",
            Access.METADATA,
            _LIST,
            checks="lists the tables on which policy allows the agent anything",
            withheld="as in `tables.get`",
        ),
        "tables.get": Method(
            "GET",
            _TABLE,
            Access.METADATA,
            ("selectedFields", "view"),
            checks="a table that is hidden looks absent; of results, own ones only",
            withheld="texts of views, sources of external tables, policy tags,"
            " default values of labelled columns or that the agent may not change,"
            " names of keys for encryption, rights, foreign keys to hidden tables, and sizes that"
            " tell of masked values",
        ),
        "tables.insert": Method(
            "POST",
            f"{_DATASET}/tables",
            Access.SCHEMA,
            checks="policy decides as on `CREATE TABLE` or `CREATE VIEW`, whose query is masked; no"
            " tags, keys or rows that lie elsewhere; one without columns cannot wait for approval",
            withheld="as in `tables.get`",
        ),
        "tables.patch": Method(
            "PATCH",
            _TABLE,
            Access.SCHEMA,
            _DETECT,
            checks=f"policy decides as on `ALTER TABLE` or `ALTER VIEW`; {_OPTIONS}, expiration,"
            " new columns, keys and clustering only",
            withheld="as in `tables.get`",
        ),
        "tables.update": Method(
            "PUT",
            _TABLE,
            Access.SCHEMA,
            _DETECT,
            checks="as in `tables.patch`; takes away the options, keys and clustering that it does"
            " not name",
            withheld="as in `tables.get`",
        ),
        "tables.delete": Method(
            "DELETE", _TABLE, Access.SCHEMA, checks="policy decides as on `DROP TABLE` and the like"
        ),
        "tables.getIamPolicy": Method(
            "POST", f"{_TABLE}:getIamPolicy", Access.RIGHTS, instead=_RIGHTS
        ),
        "tables.setIamPolicy": Method(
            "POST", f"{_TABLE}:setIamPolicy", Access.RIGHTS, instead=_RIGHTS
        ),
        "tables.testIamPermissions": Method(
            "POST",
            f"{_TABLE}:testIamPermissions",
            Access.METADATA,
            checks="answered from policy: `bigquery.tables.get`, `getData`, `export`, `updateData`,"
            " `update` and `delete`; one that needs approval is there; a table that is hidden looks"
            " absent",
            withheld="all other permissions, and those of the gateway's account",
        ),
        "tabledata.list": Method(
            "GET",
            f"{_TABLE}/data",
            Access.DATA,
            ("selectedFields", *_ROWS, *_FORMAT),
            checks="policy decides as on `SELECT` of the same columns, of which it makes a job; of"
            " results, own ones only",
            withheld="as in `jobs.query`",
        ),
        "tabledata.insertAll": Method(
            "POST",
            f"{_TABLE}/insertAll",
            Access.WRITE,
            checks="policy decides as on `INSERT` of constants; one that needs approval, and"
            " `templateSuffix`, are refused; at most 10 MiB and 50,000 rows",
            body_bytes=MAX_BYTES,
        ),
        "models.list": Method(
            "GET",
            f"{_DATASET}/models",
            Access.METADATA,
            _LIST,
            checks="a dataset that is hidden looks absent",
            withheld="all but names, kinds, labels and times",
        ),
        "models.get": Method(
            "GET",
            _MODEL,
            Access.DATA,
            instead=f"a model tells of the rows that it was made from; {_ASK}",
        ),
        "models.patch": Method("PATCH", _MODEL, Access.SCHEMA, instead=_BY_STATEMENT),
        "models.delete": Method("DELETE", _MODEL, Access.SCHEMA, instead=_BY_STATEMENT),
        "routines.list": Method(
            "GET",
            f"{_DATASET}/routines",
            Access.METADATA,
            ("filter", *_LIST, "readMask"),
            checks="a dataset that is hidden looks absent",
            withheld="as in `routines.get`",
        ),
        "routines.get": Method(
            "GET",
            _ROUTINE,
            Access.METADATA,
            ("readMask",),
            checks="a dataset that is hidden looks absent",
            withheld="libraries, connections, and what the routine does, except for whom policy"
            " allows to replace it",
        ),
        "routines.insert": Method(
            "POST",
            f"{_DATASET}/routines",
            Access.SCHEMA,
            checks="policy decides as on `CREATE FUNCTION` or `CREATE TABLE FUNCTION`, whose reads"
            " are masked; SQL and JavaScript only, no libraries and connections",
            withheld="as in `routines.get`",
        ),
        "routines.update": Method(
            "PUT",
            _ROUTINE,
            Access.SCHEMA,
            checks="as in `routines.insert`, with `OR REPLACE`: it says all of the function",
            withheld="as in `routines.get`",
        ),
        "routines.delete": Method(
            "DELETE",
            _ROUTINE,
            Access.SCHEMA,
            checks="policy decides as on `DROP FUNCTION` and the like",
        ),
        "routines.getIamPolicy": Method(
            "POST", f"{_ROUTINE}:getIamPolicy", Access.RIGHTS, instead=_RIGHTS
        ),
        "routines.setIamPolicy": Method(
            "POST", f"{_ROUTINE}:setIamPolicy", Access.RIGHTS, instead=_RIGHTS
        ),
        "routines.testIamPermissions": Method(
            "POST", f"{_ROUTINE}:testIamPermissions", Access.RIGHTS, instead=_RIGHTS
        ),
        "rowAccessPolicies.list": Method(
            "GET",
            f"{_TABLE}/rowAccessPolicies",
            Access.RIGHTS,
            ("pageSize", "pageToken"),
            instead=_RIGHTS,
        ),
        "rowAccessPolicies.get": Method("GET", _POLICY, Access.RIGHTS, instead=_RIGHTS),
        "rowAccessPolicies.insert": Method(
            "POST", f"{_TABLE}/rowAccessPolicies", Access.RIGHTS, instead=_RIGHTS
        ),
        "rowAccessPolicies.update": Method("PUT", _POLICY, Access.RIGHTS, instead=_RIGHTS),
        "rowAccessPolicies.delete": Method(
            "DELETE", _POLICY, Access.RIGHTS, ("force",), instead=_RIGHTS
        ),
        "rowAccessPolicies.batchDelete": Method(
            "POST", f"{_TABLE}/rowAccessPolicies:batchDelete", Access.RIGHTS, instead=_RIGHTS
        ),
        "rowAccessPolicies.getIamPolicy": Method(
            "POST", f"{_POLICY}:getIamPolicy", Access.RIGHTS, instead=_RIGHTS
        ),
        "rowAccessPolicies.testIamPermissions": Method(
            "POST", f"{_POLICY}:testIamPermissions", Access.RIGHTS, instead=_RIGHTS
        ),
    }
)
"""Every method of the API, by its name."""
