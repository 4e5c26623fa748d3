"""The common jobs of Google's command line, `bq`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen
from uuid import uuid4

from checks import check, main

CUSTOMERS = "SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 20"
ROWS = '{"id": 1, "note": "first"}\n{"id": 2, "note": null}\n'
COLUMNS = "id:INTEGER,note:STRING"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE = "urn:ietf:params:oauth:token-type"
_SCOPE = "https://www.googleapis.com/auth/bigquery"


def signed_in() -> dict[str, str]:
    """Exchange the agent's token, and give the variables that `bq` reads."""
    credential = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    form = {
        "grant_type": _EXCHANGE,
        "requested_token_type": f"{_TYPE}:access_token",
        "subject_token_type": f"{_TYPE}:jwt",
        "subject_token": Path(credential["credential_source"]["file"]).read_text(),
        "audience": credential["audience"],
        "scope": _SCOPE,
    }
    # Its own credential file says where.
    with urlopen(credential["token_url"], urlencode(form).encode(), timeout=30) as answer:  # noqa: S310
        token = json.load(answer)["access_token"]
    file = Path.cwd() / "token"
    file.write_text(token)
    return {
        **os.environ,
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(file),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{os.environ['BIGQUERY_EMULATOR_HOST']}/",
    }


ENVIRONMENT = signed_in()


def ran(*words: str) -> tuple[bool, str]:
    """Run a command; give whether it went well and what it printed."""
    command = ("bq", "--quiet", "--headless", "--format=json", "--project_id=acme-shop", *words)
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout or done.stderr


def bq(*words: str) -> Any:
    """Run a command that must go well, and give what it printed, read as JSON where it is."""
    well, said = ran(*words)
    if not well:
        raise RuntimeError(said)
    try:
        return json.loads(said)
    except ValueError:
        return " ".join(said.split())


def refused(*words: str) -> Any:
    """Run a command that must fail, and give the server's own words."""
    well, said = ran(*words)
    if well:
        raise AssertionError(f"nothing failed, it printed {said}")
    told = " ".join(said.replace("-\n", "-").split())
    around = r"^.*?(?: operation| query string): (?:Error processing job '[^']*': )?"
    return {"message": re.sub(around, "", told)}


def query(sql: str, *options: str) -> Any:
    return bq("query", "--nouse_legacy_sql", *options, sql)


def stored(name: str) -> Any:
    return query(f"SELECT id, note FROM lab.{name} ORDER BY id")


def file_of(text: str) -> str:
    """Write a file, and give its path."""
    file = Path.cwd() / uuid4().hex
    file.write_text(text)
    return str(file)


def chosen(resource: Mapping[str, Any], *names: str) -> Any:
    return {name: resource[name] for name in names if name in resource}


@check()
def query_rows() -> Any:
    return query(CUSTOMERS)


@check()
def query_types() -> Any:
    return query(
        "SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, TRUE AS t, 'é' AS s, b'x' AS y,"
        " DATE '2024-02-29' AS d, TIMESTAMP '2024-02-29 01:02:03.5+00' AS ts, [1, 2] AS a,"
        " STRUCT(1 AS x) AS st, CAST(NULL AS STRING) AS none"
    )


@check()
def parameters() -> Any:
    sql = "SELECT @city AS city, (SELECT COUNT(*) FROM shop.orders WHERE id <= @most) AS orders"
    return query(sql, "--parameter=city::Fairmont", "--parameter=most:INT64:3")


@check()
def dry_run() -> Any:
    told = query("SELECT id, total FROM shop.orders", "--dry_run")
    return told["statistics"]["totalBytesProcessed"], told["statistics"]["query"]["schema"]


@check()
def many_rows() -> Any:
    return len(query("SELECT id FROM shop.orders", "--max_rows=700"))


@check()
def script() -> Any:
    return query("DECLARE n INT64 DEFAULT 2; SELECT n AS n;")


@check()
def list_datasets() -> Any:
    return sorted(one["datasetReference"]["datasetId"] for one in bq("ls"))


@check()
def list_tables() -> Any:
    return [chosen(one, "id", "type") for one in bq("ls", "shop")]


@check()
def show_dataset() -> Any:
    return chosen(bq("show", "shop"), "id", "location")


@check()
def show_table() -> Any:
    return chosen(bq("show", "shop.orders"), "id", "schema", "numRows", "type")


@check()
def show_masked_table() -> Any:
    return bq("show", "--schema", "shop.customers")


@check()
def head() -> Any:
    return bq("head", "--max_rows=10", "--selected_fields=id,ssn,email", "shop.customers")


@check()
def list_and_show_jobs() -> Any:
    name = f"bq_{uuid4().hex}"
    query("SELECT 3 AS x", f"--job_id={name}")
    listed = [one["jobReference"]["jobId"] for one in bq("ls", "--jobs", "--max_results=20")]
    shown = bq("show", "--job", name)
    return name in listed, shown["status"]["state"], shown["configuration"]["query"]["query"]


@check()
def make_and_remove() -> Any:
    bq("mk", "--force", "--table", "lab.bq_made", COLUMNS)
    schema = bq("show", "--schema", "lab.bq_made")
    bq("rm", "--force", "--table", "lab.bq_made")
    return schema, ran("show", "lab.bq_made")[0]


@check()
def insert() -> Any:
    query("CREATE OR REPLACE TABLE lab.bq_rows (id INT64, note STRING)")
    bq("insert", "lab.bq_rows", file_of(ROWS))
    return stored("bq_rows")


@check()
def load() -> Any:
    format_ = "--source_format=NEWLINE_DELIMITED_JSON"
    bq("load", "--replace", format_, "lab.bq_loaded", file_of(ROWS), COLUMNS)
    return stored("bq_loaded")


@check()
def copy() -> Any:
    bq("cp", "--force", "lab.bq_loaded", "lab.bq_copy")
    return stored("bq_copy")


@check()
def update() -> Any:
    bq("update", "--description=to pay", "lab.bq_loaded")
    return bq("show", "lab.bq_loaded")["description"]


@check()
def extract() -> Any:
    bq("extract", "lab.bq_loaded", "gs://acme-shop-lab/bq.csv")
    return "extracted"


@check()
def destination_table() -> Any:
    sql = "SELECT id, status AS note FROM shop.orders WHERE id < 4"
    query(sql, "--replace", "--destination_table=lab.bq_kept")
    return stored("bq_kept")


@check()
def syntax_error() -> Any:
    return refused("query", "--nouse_legacy_sql", "SELEC 1")


@check()
def unknown_table() -> Any:
    return refused("query", "--nouse_legacy_sql", "SELECT * FROM shop.nothing")


@check()
def unknown_dataset() -> Any:
    return refused("ls", "nowhere")


@check("approval")
def approval() -> Any:
    return query("SELECT id, ssn FROM shop.customers WHERE id = 1")


@check("refusal")
def denial() -> Any:
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 2"
    return refused("query", "--nouse_legacy_sql", sql)


@check("refusal")
def expiry() -> Any:
    sql = "SELECT phone FROM shop.customers WHERE id = 3"
    return refused("query", "--nouse_legacy_sql", sql)


@check("refusal")
def withdrawal() -> Any:
    name = f"bq_{uuid4().hex}"
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 4"
    query(sql, "--nosync", f"--job_id={name}")
    bq("--nosync", "cancel", name)
    return refused("wait", name)


if __name__ == "__main__":
    main()
