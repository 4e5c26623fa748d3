"""A sample agent: any program that uses Google's own BigQuery client.

Nothing here knows of Keystile. Where to go and who it is comes from three environment variables
and the credential file that they name, as `keystile run` sets them.
"""

from __future__ import annotations

import json
import sys
import time

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery


def main(queries: list[str]) -> None:
    """Run each query and print what came of it, one JSON object a line."""
    client = bigquery.Client()
    for sql in queries:
        began = time.monotonic()
        try:
            rows = [dict(row) for row in client.query(sql).result()]
            answer: dict[str, object] = {"rows": rows}
        except GoogleAPICallError as error:
            answer = {"error": type(error).__name__, "message": error.message}
        except GoogleAuthError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        seconds = round(time.monotonic() - began, 2)
        print(json.dumps({"sql": sql, **answer, "seconds": seconds}, default=str), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
