"""The common jobs of Google's general API client, googleapiclient."""

from __future__ import annotations

import io
import json
import os
import time
from typing import Any
from uuid import uuid4

import google.auth
from checks import check, main
from googleapiclient import discovery
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload

PROJECT = "acme-shop"
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/bigquery"])
service = discovery.build(
    "bigquery",
    "v2",
    credentials=credentials,
    client_options={"api_endpoint": f"{os.environ['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/"},
)
SHOP = {"projectId": PROJECT, "datasetId": "shop"}
CUSTOMERS = "SELECT id, name, email, ssn FROM shop.customers ORDER BY id LIMIT 20"
TABLE = {"projectId": PROJECT, "datasetId": "lab", "tableId": "discovered"}
SCHEMA = {"fields": [{"name": "id", "type": "INTEGER"}]}


def query(sql: str, by: Any = service, **more: Any) -> Any:
    body = {"query": sql, "useLegacySql": False, **more}
    return by.jobs().query(projectId=PROJECT, body=body).execute()


def rows(answer: Any) -> Any:
    return answer["schema"]["fields"], answer.get("rows", [])


def started(sql: str) -> str:
    job = {"projectId": PROJECT, "jobId": uuid4().hex}
    configuration = {"query": {"query": sql, "useLegacySql": False}}
    body = {"jobReference": job, "configuration": configuration}
    service.jobs().insert(projectId=PROJECT, body=body).execute()
    return job["jobId"]


def finished(job: str) -> Any:
    while True:
        answer = service.jobs().getQueryResults(projectId=PROJECT, jobId=job).execute()
        if answer["jobComplete"]:
            return answer


def refused(request: Any) -> Any:
    try:
        answer = request()
    except HttpError as error:
        error = json.loads(error.content)["error"]
        return {"code": error["code"], "errors": error["errors"], "status": error["status"]}
    raise AssertionError(f"no error but {answer}")


@check()
def jobs_query() -> Any:
    return rows(query(CUSTOMERS))


@check()
def jobs_insert() -> Any:
    return rows(finished(started(CUSTOMERS)))


@check()
def pages() -> Any:
    job, sizes, token = started("SELECT id FROM shop.orders ORDER BY id"), [], None
    finished(job)
    while True:
        asked = {"projectId": PROJECT, "jobId": job, "maxResults": 300, "pageToken": token}
        answer = service.jobs().getQueryResults(**asked).execute()
        sizes.append(len(answer["rows"]))
        token = answer.get("pageToken")
        if not token:
            return sizes


@check()
def dry_run() -> Any:
    answer = query("SELECT id, total FROM shop.orders", dryRun=True)
    return answer["totalBytesProcessed"], answer["schema"]


@check()
def job_get() -> Any:
    job = started("SELECT 1 AS x")
    finished(job)
    answer = service.jobs().get(projectId=PROJECT, jobId=job).execute()
    return answer["status"]["state"], answer["configuration"]["query"]["query"]


@check()
def job_list() -> Any:
    job = started("SELECT 2 AS x")
    finished(job)
    answer = service.jobs().list(projectId=PROJECT, maxResults=50).execute()
    return [one["status"]["state"] for one in answer["jobs"] if one["jobReference"]["jobId"] == job]


@check()
def datasets() -> Any:
    answer = service.datasets().list(projectId=PROJECT).execute()
    return sorted(one["datasetReference"]["datasetId"] for one in answer["datasets"])


@check()
def dataset() -> Any:
    answer = service.datasets().get(**SHOP).execute()
    return answer["id"], answer["location"]


@check()
def tables() -> Any:
    answer = service.tables().list(**SHOP).execute()
    return [[one["id"], one["type"]] for one in answer["tables"]], answer["totalItems"]


@check()
def table() -> Any:
    answer = service.tables().get(**SHOP, tableId="customers").execute()
    return answer["schema"], answer["type"]


@check()
def partial_response() -> Any:
    asked = service.tables().get(**SHOP, tableId="orders")
    asked.uri += "&fields=id,schema(fields(name))"
    return asked.execute()


@check()
def table_data() -> Any:
    listed = service.tabledata().list(
        **SHOP, tableId="customers", maxResults=10, selectedFields="id,ssn,email"
    )
    return listed.execute()["rows"]


@check()
def address_too_long() -> Any:
    """Send what it turns into a POST that says GET."""
    asked = service.tables().get(**SHOP, tableId="orders")
    asked.uri += f"&fields=id,{','.join(['type'] * 500)}"
    return asked.execute()


@check()
def table_made_and_dropped() -> Any:
    tables_ = service.tables()
    body = {"tableReference": TABLE, "schema": SCHEMA}
    made = tables_.insert(projectId=PROJECT, datasetId="lab", body=body).execute()
    tables_.delete(**TABLE).execute()
    return made["id"], made["schema"]


@check()
def insert_all() -> Any:
    query("CREATE OR REPLACE TABLE lab.poured (id INT64)")
    rows_ = {"rows": [{"json": {"id": 1}}, {"json": {"id": 2}}]}
    place = TABLE | {"tableId": "poured"}
    answer = service.tabledata().insertAll(**place, body=rows_).execute()
    return answer.get("insertErrors"), rows(query("SELECT id FROM lab.poured ORDER BY id"))


@check("through", like="jobs_query")
def discovery_document() -> Any:
    return rows(query(CUSTOMERS, discovered()))


@check()
def two_rows() -> Any:
    return rows(query("SELECT id FROM UNNEST([1, 2]) AS id ORDER BY id"))


@check("through", like="two_rows")
def media_upload() -> Any:
    return loaded("uploaded", resumable=False)


@check("through", like="two_rows")
def resumable_upload() -> Any:
    return loaded("resumed", resumable=True)


def discovered() -> Any:
    """Make the client from the server's own description, without which uploads always use TLS."""
    url = f"{os.environ['BIGQUERY_EMULATOR_HOST']}/discovery/v1/apis/bigquery/v2/rest"
    return discovery.build("bigquery", "v2", credentials=credentials, discoveryServiceUrl=url)


def loaded(name: str, *, resumable: bool) -> Any:
    load = {
        "destinationTable": TABLE | {"tableId": name},
        "schema": SCHEMA,
        "sourceFormat": "CSV",
        "writeDisposition": "WRITE_TRUNCATE",
    }
    media = MediaIoBaseUpload(io.BytesIO(b"1\n2\n"), mimetype="text/csv", resumable=resumable)
    body = {"configuration": {"load": load}}
    job = discovered().jobs().insert(projectId=PROJECT, body=body, media_body=media).execute()
    while job["status"]["state"] != "DONE":
        time.sleep(0.2)
        id_ = job["jobReference"]["jobId"]
        job = service.jobs().get(projectId=PROJECT, jobId=id_).execute()
    return rows(query(f"SELECT id FROM lab.{name} ORDER BY id"))


@check()
def syntax_error() -> Any:
    return refused(lambda: query("SELEC 1"))


@check()
def unknown_table() -> Any:
    return refused(lambda: query("SELECT * FROM shop.nothing"))


@check()
def unknown_dataset() -> Any:
    return refused(service.tables().list(projectId=PROJECT, datasetId="nowhere").execute)


@check()
def unknown_job() -> Any:
    return refused(service.jobs().get(projectId=PROJECT, jobId="nothing").execute)


@check("approval")
def approval() -> Any:
    return rows(finished(started("SELECT id, ssn FROM shop.customers WHERE id = 1")))


@check("refusal")
def denial() -> Any:
    job = started("SELECT id, ssn FROM shop.customers WHERE id = 2")
    return refused(lambda: finished(job))


@check("refusal")
def expiry() -> Any:
    job = started("SELECT phone FROM shop.customers WHERE id = 3")
    return refused(lambda: finished(job))


@check("refusal")
def withdrawal() -> Any:
    job = started("SELECT id, ssn FROM shop.customers WHERE id = 4")
    service.jobs().cancel(projectId=PROJECT, jobId=job).execute()
    return refused(lambda: finished(job))


if __name__ == "__main__":
    main()
