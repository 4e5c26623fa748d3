from __future__ import annotations

import re
from typing import Any

import pytest

from keystile.wire.discovery import document
from keystile.wire.methods import METHODS
from keystile.wire.paths import route
from keystile.wire.uploads import upload_call


@pytest.fixture
def said() -> Any:
    return document("https://gateway.example")


def methods(said: Any) -> dict[str, Any]:
    return {
        f"{resource}.{verb}": method
        for resource, described in said["resources"].items()
        for verb, method in described["methods"].items()
    }


def test_it_names_what_is_served_and_nothing_else(said: Any) -> None:
    assert set(methods(said)) == {name for name, method in METHODS.items() if method.served}
    for name, method in methods(said).items():
        assert method["id"] == f"bigquery.{name}"
        inside = {one for one, is_in in method["parameters"].items() if is_in["location"] == "path"}
        assert list(method["parameterOrder"]) == re.findall(r"{(\w+)}", method["path"])
        assert inside == set(method["parameterOrder"])
        assert method["parameters"].keys() - inside == set(METHODS[name].parameters)


def test_every_address_in_it_leads_to_its_method(said: Any) -> None:
    assert said["baseUrl"] == said["rootUrl"] + said["servicePath"]
    assert said["rootUrl"] == "https://gateway.example/"
    for name, method in methods(said).items():
        path = f"/{said['servicePath']}" + re.sub(r"{\w+}", "x1", method["path"])
        assert route(method["httpMethod"], path, "").method == name


def test_a_load_job_takes_its_data_where_uploads_are_served(said: Any) -> None:
    uploading = {
        name: one["mediaUpload"] for name, one in methods(said).items() if "mediaUpload" in one
    }
    assert set(uploading) == {"jobs.insert"}
    assert methods(said)["jobs.insert"]["supportsMediaUpload"]
    places = [one["path"] for one in uploading["jobs.insert"]["protocols"].values()]
    assert [upload_call(re.sub(r"{\w+}", "x1", one), "").call for one in places] == [
        route("POST", "/bigquery/v2/projects/x1/jobs", "")
    ] * len(places)


def test_what_is_changed_can_be_said(said: Any) -> None:
    bodies = {name for name, one in methods(said).items() if "request" in one}
    changing = {
        n for n, one in methods(said).items() if one["httpMethod"] in {"POST", "PUT", "PATCH"}
    }
    assert bodies == changing - {"jobs.cancel"}


def test_it_names_no_address_of_google(said: Any) -> None:
    assert "googleapis.com" not in str(said).replace("https://www.googleapis.com/auth/", "")
    assert "batchPath" not in said


def test_every_schema_that_is_named_is_there(said: Any) -> None:
    named = set(re.findall(r"'\$ref': '(\w+)'", str(said)))
    assert named == set(said["schemas"])
