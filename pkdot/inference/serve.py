"""``pkdot serve``: listens where it is told, and runs the application over a bundle."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from pkdot.errors import ConfigError
from pkdot.inference.bundle import folder_of, other_code, read_bundle, takes_any
from pkdot.inference.limits import Limits
from pkdot.inference.sources import Wanted


def serve(bundle: Path, host: str, port: int, limits: Limits, every: float | None = None) -> None:
    """Serve a bundle until the process is ended.

    Parameters
    ----------
    bundle : Path
        Its folder, or its exported file.
    host, port : str and int
        Where to listen; port 0 is one that is free. The address is printed once.
    limits : Limits
    every : float, optional
        Seconds from the start of a window to that of the next.

    Raises
    ------
    ConfigError
        No single file holds what the student takes, or the address cannot be used.
    """
    import python_multipart  # noqa: F401 - the application reads forms with it
    import uvicorn

    from pkdot.inference.application import make_app
    from pkdot.inference.exported import ExportedStudent
    from pkdot.inference.workers import pool_of

    exported = bundle.suffix == ".onnx"
    described = ExportedStudent.load(bundle).description if exported else read_bundle(bundle)
    if changed := other_code(described, bundle):
        print(f"pkdot serve: {changed}", file=sys.stderr)
    if not Wanted(described.modalities, partial=takes_any(described)).suffixes:
        takes = " and ".join(described.modalities)
        raise ConfigError(f"the student takes {takes}, which no single file holds; use pkdot predict with a table")
    folder = bundle.parent if exported else folder_of(bundle)
    listener = _listener(host, port)
    own, number = listener.getsockname()[:2]
    taken = {"length": limits.length, "pixels": limits.pixels, "megabytes": limits.megabytes}
    pool = pool_of(bundle, limits.parallel, limits.seconds, every=every, **taken)
    app = make_app(folder, described, pool, limits, sorted({host, own, "localhost", "127.0.0.1", "[::1]"}))
    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=5, server_header=False, lifespan="on")
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(app.state.ready.wait())
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            shown = f"[{own}]" if ":" in own else own
            print(f"pkdot serve: http://{shown}:{number}/  (Ctrl+C ends it; nothing that is sent is kept)", flush=True)
        ready.cancel()
        await serving

    asyncio.run(run())
    if not server.started:
        sys.exit(1)


def _listener(host: str, port: int) -> socket.socket:
    """Return an open socket."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{host}:{port}: cannot listen there ({why}); choose another --port") from error
