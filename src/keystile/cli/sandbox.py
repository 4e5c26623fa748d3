"""`keystile sandbox`: run the embedded BigQuery-compatible server."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from starlette.middleware.gzip import GZipMiddleware

from keystile.cli.common import out, reports_errors, run
from keystile.config.settings import EngineLimits
from keystile.googlesql.pool import EnginePool
from keystile.model.errors import UnsafeConfigurationError
from keystile.sandbox.data import STORAGE, Folder, read_folder
from keystile.sandbox.queries import Catalog
from keystile.sandbox.request_log import RequestLog
from keystile.sandbox.sample import write_sample
from keystile.sandbox.server import Sandbox
from keystile.sandbox.tasks import TASKS
from keystile.sandbox.tokens import TokenCheck
from keystile.sandbox.transfer.storage import Storage

app = typer.Typer(add_completion=False)

_WORTH_PACKING = 1024  # bytes of an answer

# The evaluator is linear and meant for small tables; a query that needs longer will not end soon.
_LIMITS = EngineLimits(deadline=60, queue=256)


@app.command(epilog="Example: keystile sandbox --data shop --sample --public-key k.pem")
@reports_errors
def sandbox(  # noqa: PLR0913, PLR0917 - one for each option
    data: Annotated[Path, typer.Option(help="The data folder: PROJECT/DATASET/TABLE files.")],
    public_key: Annotated[
        Path, typer.Option(help="PEM public keys or certificates of the accounts that may come in.")
    ],
    account: Annotated[
        list[str] | None,
        typer.Option(
            help="EMAIL=FILE: an account that the keys of this file alone sign for; repeatable."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8422,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    storage_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve the Storage Read API here too, as gRPC."),
    ] = None,
    *,
    sample: Annotated[
        bool, typer.Option("--sample", help="Fill an empty data folder with the sample shop.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="Write each request to this file, as a line of JSON.")
    ] = None,
) -> None:
    """Serve a data folder as BigQuery would, for a first try and for tests."""
    if sample:
        write_sample(data)
    folder = read_folder(data)
    tokens = TokenCheck(public_key, dict(map(_account, account or ())))
    run(_serve(folder, Storage(data / STORAGE), tokens, host, port, storage_port, log))


def _account(said: str) -> tuple[str, Path]:
    email, _, file = said.partition("=")
    if "@" not in email or not file:
        message = f"`{said}` does not say whose keys are in which file"
        raise UnsafeConfigurationError(message, hint="write --account EMAIL=FILE")
    return email, Path(file)


async def _serve(  # noqa: PLR0913, PLR0917 - as above
    folder: Folder,
    storage: Storage,
    tokens: TokenCheck,
    host: str,
    port: int,
    storage_port: int | None,
    log: Path | None,
) -> None:
    listening = _listen(host, port)
    pool = EnginePool(_LIMITS, TASKS)
    await pool.start()
    catalog = Catalog(folder, pool)
    served = Sandbox(catalog, tokens, storage)
    packed = GZipMiddleware(served, _WORTH_PACKING, compresslevel=1)
    logged = RequestLog(packed, log) if log else packed
    server = _Server(uvicorn.Config(logged, lifespan="off", log_level="warning", access_log=False))
    out.print(f"sandbox: http://{host}:{listening.getsockname()[1]}", soft_wrap=True)
    try:
        async with _reading(catalog, tokens, host, storage_port):
            await server.serve(sockets=[listening])
    finally:
        if isinstance(logged, RequestLog):
            logged.close()
        await served.close()
        await pool.close()


@asynccontextmanager
async def _reading(
    catalog: Catalog, tokens: TokenCheck, host: str, port: int | None
) -> AsyncIterator[None]:
    """Serve the Storage Read API beside, where a port for it is given."""
    if port is None:
        yield
        return
    # Here, for they take a second that nobody else needs to wait.
    from keystile.rpc.server import RpcServer  # noqa: PLC0415
    from keystile.sandbox.reading import read_service  # noqa: PLC0415

    reading = await RpcServer.listening(read_service(catalog, tokens), host, port, None)
    out.print(f"storage: {host}:{reading.port}", soft_wrap=True)
    try:
        yield
    finally:
        await reading.close()


class _Server(uvicorn.Server):
    """One that ends in order; uvicorn's own dies of the signal before its files are gone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self.handle_exit, sign, None)
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        message = f"cannot listen on `{host}:{port}`: {error.strerror}"
        raise UnsafeConfigurationError(message, hint="choose another with --port") from error
    return listening
