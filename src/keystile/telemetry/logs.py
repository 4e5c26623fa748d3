"""JSON logs: one object a line, safe against forged lines and scrubbed of credentials.

INVARIANT: a line holds no token, key or exception message. Messages of unexpected exceptions may
quote a protected value, so a fault is logged as its type and the places it passed through.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED = "[redacted]"

# Names whose values are credentials whatever they look like.
_SECRET_NAME = re.compile(
    r"(?i)(authorization|cookie|password|secret|credential|private_key|assertion|token)$"
)

# What asyncio calls a fault, before it shows the future or the handle, with what is in them.
_ASYNCIO_WORDS = re.compile(r"[\w ,.'-]*")

# Texts that are credentials wherever they stand: Authorization values, JSON Web Tokens (RFC 7519),
# Google's access tokens and ours, and PEM private keys (RFC 7468).
_SECRET_TEXT = re.compile(
    r"(?i:bearer)\s+[^\s\"']+"
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|ya29\.[\w.-]+"
    r"|\bks_[\w-]{43}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def configure(stream: TextIO | None = None, level: str = "info") -> None:
    """Send every log of this process, libraries' included, to `stream` (standard error).

    `level` is a name of the standard library's levels; libraries speak from `warning` on.
    """
    target = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_fault,
        name_loop_fault,
        redact,
    ]
    render = structlog.processors.JSONRenderer(serializer=json.dumps, default=str)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=target),
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def report_crashes() -> None:
    """Log what nobody catches in this process as a fault, where Python would print its message."""
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, None)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, None)
    logging.captureWarnings(capture=True)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None
) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        return
    logger("process").critical("uncaught_fault", exc_info=error)


def logger(room: str) -> FilteringBoundLogger:
    """Give the logger of a room; each line carries the room's name."""
    bound: FilteringBoundLogger = structlog.get_logger(room=room)
    return bound


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace credentials by `REDACTED`, by name and by look, at any depth."""
    for name, value in event.items():
        event[name] = _scrub(name, value)
    return event


def describe_fault(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn `exc_info` into `fault` (the types, innermost first) and `frames`, with no message."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if info else None
    if error is not None:
        event["fault"] = _types(error)
        event["frames"] = _frames(error.__traceback__)
    return event


def name_loop_fault(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave of what asyncio says of a fault its name alone: it quotes the exception's message."""
    if event.get("logger") == "asyncio":
        words = _ASYNCIO_WORDS.match(str(event["event"]))
        event["event"] = words[0].strip() if words else ""
    return event


def _types(error: BaseException) -> str:
    names: list[str] = []
    link: BaseException | None = error
    while link is not None:
        names.append(type(link).__qualname__)
        link = link.__cause__
    return " < ".join(reversed(names))


def _frames(trace: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        # Two parts of the path tell which file it is, and not where it is installed.
        place = "/".join(Path(code.co_filename).parts[-2:])
        frames.append(f"{place}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames


def _scrub(name: str, value: object) -> object:
    if _SECRET_NAME.search(name):
        return REDACTED
    match value:
        case None | bool() | int() | float():
            clean: object = value
        case Mapping():
            clean = {str(key): _scrub(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            clean = [_scrub("", inner) for inner in value]
        case bytes():
            clean = f"[{len(value)} bytes]"
        case _:
            clean = _SECRET_TEXT.sub(REDACTED, str(value))
    return clean
