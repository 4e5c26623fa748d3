"""What the programs for Python's clients share: they print each check's outcome as a line of JSON.

The first line names the checks that will run: `{"checks": [NAME, …]}`. Each further line is
`{"check": NAME, "result": …}` or `{"check": NAME, "error": {"type": …, "message": …}}`, and has
`like` where the result is to be compared with another check's: what is of the kind `through` can be
had from the gateway alone. So can `frames`, which directly need BigQuery's Storage API, and
`storage`, which need the gateway's. The arguments say which kinds run.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

_CHECKS: dict[str, tuple[str, str, Callable[[], Any]]] = {}
_SECONDS = 90
"""No check takes as long; a client that tries again and again in silence is given up."""


def check(kind: str = "common", *, like: str = "") -> Callable[[Callable[[], Any]], Any]:
    """Make a function a check: `common`, `through`, `frames`, `storage`, `approval`, `refusal`."""

    def registered(function: Callable[[], Any]) -> Callable[[], Any]:
        _CHECKS[function.__name__] = (kind, like, function)
        return function

    return registered


def main() -> None:
    """Run the checks of the kinds that the arguments name."""
    chosen = {name: entry for name, entry in _CHECKS.items() if entry[0] in sys.argv[1:]}
    _say({"checks": list(chosen)})
    signal.signal(signal.SIGALRM, _give_up)
    for name, (_, like, function) in chosen.items():
        signal.alarm(_SECONDS)
        try:
            outcome: dict[str, Any] = {"result": shown(function())}
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
            traceback.print_exc()
            outcome = {"error": failure(error)}
        finally:
            signal.alarm(0)
        _say({"check": name} | ({"like": like} if like else {}) | outcome)


def failure(error: BaseException) -> dict[str, str]:
    """Give what a client made of a refusal: the exception's class, the reason, the server's words.

    Google's exceptions put the address and the job around the words, and keep them in `errors`.
    """
    said = (getattr(error, "errors", None) or [None])[0]
    told = said if isinstance(said, Mapping) else {"message": str(error)}
    kind = type(error).__name__
    return {"type": kind, "reason": told.get("reason", ""), "message": told["message"]}


def raised(function: Callable[[], Any]) -> dict[str, str]:
    """Call a function that must raise, and give what it raised."""
    try:
        value = function()
    except Exception as error:  # noqa: BLE001 - the class is what is compared
        return failure(error)
    raise AssertionError(f"nothing was raised, the answer is {value!r}")


def shown(value: Any) -> Any:
    """Give a value as JSON that keeps its type."""
    if isinstance(value, float) and math.isnan(value):
        return "float nan"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return f"{type(value).__name__} {value}"


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no end after {_SECONDS} seconds")


def _say(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), flush=True)
