"""The clients that are tried, where each comes from, and the programs that do its jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).resolve().parent / "programs"


class Client(NamedTuple):
    """A client, the kind of its environment, and its programs as lists of words.

    `small` are the programs that the repository's own environment can run; a client with `tls`
    takes its tokens from an `https` address alone.
    """

    name: str
    kind: str
    programs: tuple[tuple[str, ...], ...]
    small: tuple[tuple[str, ...], ...] = ()
    tls: bool = False


def _python(name: str) -> tuple[str, ...]:
    return ("python", str(PROGRAMS / "python" / f"{name}.py"))


_GOOGLE, _FRAMES = _python("google_cloud_bigquery"), _python("google_cloud_bigquery_frames")
_CURL = ("sh", str(PROGRAMS / "curl" / "curl.sh"))

CLIENTS = (
    Client("google-cloud-bigquery", "python", (_GOOGLE, _FRAMES), small=(_GOOGLE,)),
    Client("curl", "none", (_CURL,), small=(_CURL,)),
    Client("googleapiclient", "python", (_python("googleapiclient_jobs"),)),
    Client("pandas-gbq", "python", (_python("pandas_gbq_jobs"),)),
    Client("sqlalchemy-bigquery", "python", (_python("sqlalchemy_bigquery_jobs"),)),
    Client("ibis", "python", (_python("ibis_jobs"),)),
    Client("node-bigquery", "node", (("node", str(PROGRAMS / "node" / "bigquery.cjs")),)),
    Client("dbt-bigquery", "python", (_python("dbt_jobs"),)),
    Client("mcp-toolbox", "node", ((sys.executable, *_python("mcp_toolbox_jobs")[1:]),)),
    Client("go-bigquery", "go", (("clients",),)),
    Client("java-bigquery", "java", (("java", str(PROGRAMS / "java" / "Jobs.java")),), tls=True),
    Client("bq", "bq", ((sys.executable, *_python("bq_jobs")[1:]),)),
    Client("bigframes", "python", (_python("bigframes_jobs"),)),
)
