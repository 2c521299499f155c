"""The application that `pkdot serve` runs: a student behind HTTP, with a page to try it. Nothing that is sent is kept.

An upload has no name on the disk: it lies in memory or in a file that was unlinked when it was made. What may be sent,
how large, how long and how much at once, is limited; a limit that is met is a status and a sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse

from pkdot.inference.bundle import BundleDescription, ModalityDescription, takes_any
from pkdot.inference.limits import Limits
from pkdot.inference.sources import WHOLE
from pkdot.inference.workers import ERROR, Event, File, Pool
from pkdot.layout import CARD

PAGE = Path(__file__).with_name("page")
LINES = "application/x-ndjson"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(Exception):
    """A request is not served; the reason is for whoever sent it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Counts:
    """What a server has done since it started."""

    now: int = 0
    served: int = 0
    refused: int = 0


def make_app(bundle: Path, described: BundleDescription, pool: Pool, limits: Limits, hosts: list[str]) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    bundle : Path
        Folder of the bundle, for its card.
    described : BundleDescription
    pool : Pool
        The processes that predict; the application starts and closes them.
    limits : Limits
    hosts : list of str
        Names under which the server may be called. Others are refused, so that no page of a stranger's site can
        reach it by a name that leads here.
    """

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await pool.start()
        app.state.ready.set()
        yield
        pool.close()

    about = f"{described.method} trained on {described.title}. Nothing that is sent here is kept."
    app = FastAPI(
        title="PKDOT student", description=about, version=str(described.schema_version), lifespan=running,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.ready = asyncio.Event()
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.middleware("http")(_guarded)
    _add_pages(app, bundle, described)
    _add_predict(app, pool, limits, list(described.modalities))
    return app


async def _guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse requests that another site's page makes, and add what browsers should know to every answer."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        answer: Response = JSONResponse({"error": "only the page of this server may ask"}, 403)
    else:
        answer = await call(request)
    answer.headers.update(HEADERS)
    return answer


def _seconds(modality: ModalityDescription) -> float:
    """Return how long a recording must be at least; 0 where any length will do."""
    window = modality.feature.options.get("window")
    return modality.seconds or (window[1] if window else 0.0)


def _add_pages(app: FastAPI, bundle: Path, described: BundleDescription) -> None:
    """Add the page, the card and the list of what can be asked."""
    kinds = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
    files = {name: (PAGE / name).read_bytes() for name in kinds}

    def page(name: str) -> Callable[[], Awaitable[Response]]:
        async def answer() -> Response:
            return Response(files[name], media_type=kinds[name])

        return answer

    app.get("/", include_in_schema=False)(page("page.html"))
    for name in ("page.js", "page.css"):
        app.get(f"/{name}", include_in_schema=False)(page(name))

    @app.get("/about", summary="What the student predicts, and from what")
    async def about() -> dict[str, Any]:
        answer = described.answer
        return {
            "experiment": described.experiment,
            "title": described.title,
            "method": described.method,
            "simulated": described.simulated,
            "classes": answer.classes,
            "targets": answer.targets,
            "units": described.units,
            "ranges": described.ranges,
            "takes": {name: one.feature.name for name, one in described.modalities.items()},
            "any": takes_any(described),
            "seconds": max(map(_seconds, described.modalities.values())),
        }

    @app.get("/card", summary="The model card, in Markdown", response_class=PlainTextResponse)
    async def card() -> Response:
        path = bundle / CARD
        if not path.is_file():
            return PlainTextResponse("this bundle has no card", 404)
        return PlainTextResponse(path.read_text(encoding="utf-8"), media_type="text/markdown")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_reference(app.openapi()))


def _reference(schema: dict[str, Any]) -> str:
    """Return the list of what can be asked as a page without scripts; /openapi.json has the rest."""
    rows = "".join(
        f"<tr><td><code>{escape(verb.upper())} {escape(path)}</code></td><td>{escape(one.get('summary', ''))}</td>"
        f"<td>{escape(one.get('description', ''))}</td><td>{escape(', '.join(one['responses']))}</td></tr>"
        for path, verbs in schema["paths"].items()
        for verb, one in verbs.items()
    )
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head><body><main>'
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f"<table><tr><th>ask</th><th>what</th><th>how</th><th>statuses</th></tr>{rows}</table>"
        '<p>The whole description is in <a href="/openapi.json">openapi.json</a>.</p></main></body></html>'
    )


RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "no file came, or under a name that is none of a modality"},
    403: {"description": "a page of another site asks"},
    408: {"description": "the file did not arrive in time"},
    413: {"description": "the file is too large"},
    422: {"description": "the file cannot be predicted; the reason says why"},
    503: {"description": "too many recordings at once; try again"},
    504: {"description": "the recording took too long to predict"},
}


def _add_predict(app: FastAPI, pool: Pool, limits: Limits, modalities: list[str]) -> None:
    """Add what predicts, and what says how the server is."""
    counts = Counts()
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": dict.fromkeys([WHOLE, *modalities], file)}
    body = {"content": {"application/octet-stream": {"schema": file}, "multipart/form-data": {"schema": form}}}

    async def predict(request: Request) -> Response:
        """Send the file as the body, or a form: with one file, or with the file of each modality under its name.

        The answer is JSON with all windows; where the request accepts application/x-ndjson, it is a line of JSON an
        event, as soon as it is known.
        """
        stack = contextlib.AsyncExitStack()
        try:
            await stack.enter_async_context(_admitted(counts, limits))
            files = await _received(request, limits, modalities, stack)
            events = pool.run(files)
            stack.push_async_callback(events.aclose)
            first = await anext(events)
            if first["event"] == ERROR:
                raise Refusal(first["status"], first["reason"])
            if LINES in request.headers.get("accept", ""):
                return StreamingResponse(_lines(first, events, counts, stack.pop_all()), media_type=LINES)
            return JSONResponse(await _whole(first, events, counts))
        except Refusal as refusal:
            counts.refused += 1
            more = {"Retry-After": "5"} if refusal.status == 503 else {}
            return JSONResponse({"error": refusal.reason}, refusal.status, headers={"Connection": "close", **more})
        finally:
            await stack.aclose()

    app.post("/predict", summary="Predict a recording", responses=RESPONSES, openapi_extra={"requestBody": body})(
        predict
    )

    @app.get("/health", summary="How the server is")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "now": counts.now, "served": counts.served, "refused": counts.refused}


@asynccontextmanager
async def _admitted(counts: Counts, limits: Limits) -> AsyncIterator[None]:
    """Count a request in, or refuse it where there are too many."""
    if counts.now >= limits.parallel + limits.waiting:
        raise Refusal(503, f"{counts.now} recordings are being worked on; try again in a few seconds")
    counts.now += 1
    try:
        yield
    finally:
        counts.now -= 1


async def _received(
    request: Request, limits: Limits, modalities: list[str], stack: contextlib.AsyncExitStack
) -> dict[str, File]:
    """Return the files that were sent, by the names of their modalities, or the one that stands for all of them."""
    form = request.headers.get("content-type", "").startswith("multipart/form-data")
    count = len(modalities) if form else 1
    most = int(limits.megabytes * 1e6) * count
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        await _discard(request)
        raise Refusal(413, _too_large(WHOLE if count == 1 else "form", int(declared), limits, count))
    limited = Request(request.scope, _limited(request, limits, count))
    try:
        return await (_of_form(limited, limits, modalities, stack) if form else _of_body(limited, stack))
    except HTTPException as error:
        raise Refusal(400, f"the form cannot be read: {error.detail}") from error
    except ClientDisconnect as error:
        raise Refusal(400, "the connection ended before the file had come") from error


async def _of_body(request: Request, stack: contextlib.AsyncExitStack) -> dict[str, File]:
    """Return the file that a body is."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    size = 0
    async for part in request.stream():
        file.write(part)
        size += len(part)
    if not size:
        raise Refusal(400, "no file came")
    file.flush()
    return {WHOLE: (file.fileno(), Path(request.headers.get("x-file-name", "")).suffix)}


async def _of_form(
    request: Request, limits: Limits, modalities: list[str], stack: contextlib.AsyncExitStack
) -> dict[str, File]:
    """Return the files of a form; a field in which nothing was chosen counts for nothing."""
    form = await stack.enter_async_context(request.form(max_files=len(modalities), max_fields=len(modalities) + 4))
    sent: dict[str, UploadFile] = {}
    for name, one in form.multi_items():
        if not (one.filename or one.size if isinstance(one, UploadFile) else one):
            continue
        if name not in (WHOLE, *modalities):
            raise Refusal(400, f"the form has a field '{name[:80]}', and this student takes {_fields(modalities)}")
        if not isinstance(one, UploadFile):
            raise Refusal(400, f"{name}: the form has text there and no file; with curl: -F {name}=@FILE")
        if name in sent:
            raise Refusal(400, f"{name} is given twice; a recording has one file of each modality")
        if (one.size or 0) > limits.megabytes * 1e6:
            raise Refusal(413, _too_large(WHOLE if name == WHOLE else f"{name} file", one.size or 0, limits))
        sent[name] = one
    if not any(one.size for one in sent.values()):
        raise Refusal(400, f"the form has no file; this student takes {_fields(modalities)}")
    if len(sent) > 1 and WHOLE in sent and WHOLE not in modalities:
        raise Refusal(400, f"the form has {' and '.join(sent)}; send {_fields(modalities)}")
    return {name: (one.file.fileno(), Path(one.filename or "").suffix) for name, one in sent.items()}


def _fields(modalities: list[str]) -> str:
    """Say what a form may have."""
    return f"one file as '{WHOLE}', or the file of a modality by its name ({', '.join(modalities)})"


def _too_large(what: str, size: int, limits: Limits, count: int = 1) -> str:
    """Say that something is larger than what ``count`` files may have together."""
    return f"the {what} has {size / 1e6:,.1f} MB, and {limits.megabytes * count:.4g} MB are allowed"


async def _discard(request: Request) -> None:
    """Read on for a second at the most: a client that is still sending would otherwise lose the answer."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(1.0):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _limited(request: Request, limits: Limits, count: int) -> Callable[[], Awaitable[Any]]:
    """Return what receives the parts of a request of so many files, until they are too many or too slow."""
    seconds, most = limits.upload * count, int(limits.megabytes * 1e6) * count
    deadline, size = time.monotonic() + seconds, 0

    async def receive() -> Any:
        nonlocal size
        try:
            message = await asyncio.wait_for(request.receive(), max(0.01, deadline - time.monotonic()))
        except TimeoutError as error:
            raise Refusal(408, f"the file did not come within {seconds:.4g} s") from error
        size += len(message.get("body", b""))
        if size > most:
            await _discard(request)
            raise Refusal(413, f"the file has more than the {most / 1e6:.4g} MB that are allowed")
        return message

    return receive


async def _lines(
    first: Event, events: AsyncIterator[Event], counts: Counts, stack: contextlib.AsyncExitStack
) -> AsyncIterator[str]:
    """Yield events as lines of JSON; what the stack holds is let go at the end, or when nobody reads on."""
    async with stack:
        yield json.dumps(first) + "\n"
        async for event in events:
            if event["event"] == ERROR:
                counts.refused += 1
            yield json.dumps(event) + "\n"
        counts.served += 1


async def _whole(first: Event, events: AsyncIterator[Event], counts: Counts) -> dict[str, Any]:
    """Return all windows in one answer."""
    windows = [first]
    async for event in events:
        if event["event"] == ERROR:
            raise Refusal(event["status"], event["reason"])
        windows.append(event)
    counts.served += 1
    return {
        "windows": [{key: one[key] for key in one if key != "event"} for one in windows if one["event"] == "window"]
    }
