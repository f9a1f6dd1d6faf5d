"""The tenant over HTTP: the token endpoint, the three APIs, and local admin routes that need no token."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from anyio import CapacityLimiter, sleep, to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hunting_emulator import ticks
from hunting_emulator.apis import APIS, Api, falsified, stream, wrecked
from hunting_emulator.encoding import odata_value
from hunting_emulator.engine import Answer, RequestTimeout, ResultTooBig, answer
from hunting_emulator.faults import REFUSALS, Chaos, Manners
from hunting_emulator.identity import Identity, TokenError
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.limits import Limits, Meter
from hunting_emulator.schema import drifts, tables
from hunting_emulator.stats import Call, Record, kind_of
from hunting_emulator.tenant import Tenant

_LARGEST_REQUEST = 1_000_000
_QUERIES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """An error reply."""

    status: int
    code: str
    message: str
    outcome: str = ""
    retry_after: int | None = None


@dataclass
class Service:
    """One tenant at one address."""

    tenant: Tenant
    identity: Identity
    limits: Limits
    base: str
    meter: Meter = field(default_factory=Meter)
    record: Record = field(default_factory=Record)
    chaos: Chaos = field(default_factory=Chaos)
    manners: Manners = field(default_factory=Manners)
    limiter: CapacityLimiter | None = None
    echo_sign_in: bool = False

    def app(self, *, compress: bool = False) -> Starlette:
        """Return the ASGI application. With `compress`, it supports gzip."""
        self.tenant.cursor().create_function("odata_value", odata_value, ["VARCHAR"], "VARCHAR")
        authority = f"/{self.identity.tenant_id}"
        return Starlette(
            routes=[
                Route(f"{authority}/v2.0/.well-known/openid-configuration", self._discovery),
                Route(f"{authority}/oauth2/v2.0/token", self._token, methods=["POST"]),
                *(Route(api.path, self._runner(api), methods=["POST"]) for api in APIS),
                Route("/_emulator/stats", self._stats),
                Route("/_emulator/reset", self._reset, methods=["POST"]),
                Route("/_emulator/config", self._configure, methods=["POST"]),
            ],
            middleware=[
                Middleware(_Dated, date=self._date),
                *([Middleware(GZipMiddleware, compresslevel=1)] if compress else []),
            ],
        )

    def _date(self) -> str | None:
        skew = self.manners.date_skew
        return None if skew is None else ticks.http_date(self.tenant.now() + round(skew * ticks.SECOND))

    async def _discovery(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self.identity.discovery(self.base))

    async def _token(self, request: Request) -> Response:
        body = (await request.body()).decode(errors="replace")
        if self.echo_sign_in:
            refused = TokenError(401, "invalid_client", 9002313, f"The request is not valid: {body}")
            return JSONResponse(refused.body(), status_code=refused.status)
        form = dict(parse_qsl(body))
        self.record.add_sign_in()
        issued = self.identity.issue(form, f"{self.base}/{self.identity.tenant_id}/oauth2/v2.0/token")
        if isinstance(issued, TokenError):
            return JSONResponse(issued.body(), status_code=issued.status)
        return JSONResponse(issued)

    async def _stats(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(
            {"limits": asdict(self.limits), "now": ticks.text(self.tenant.now()), **self.record.report()}
        )

    async def _reset(self, request: Request) -> Response:  # noqa: ARG002
        self.record.clear()
        self.meter.reset()
        return JSONResponse({})

    async def _configure(self, request: Request) -> Response:
        try:
            self.configure(await request.json())
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({})

    def configure(self, changes: dict[str, object]) -> None:
        """Apply a request to the admin route. Raise ValueError or TypeError if it is not valid."""
        handlers: dict[str, Callable[[object], None]] = {
            "limits": lambda value: setattr(self, "limits", self.limits.changed(dict(value))),  # type: ignore[call-overload]
            "now": lambda value: self.tenant.configure(
                now=None if value is None else ticks.parse(str(value))
            ),
            "late_share": lambda value: self.tenant.configure(late_share=value),
            "late_seconds": lambda value: self.tenant.configure(late_seconds=value),
            "unlicensed": lambda value: self.tenant.configure(unlicensed=frozenset(value)),  # type: ignore[call-overload]
            "faults": lambda value: self.chaos.configure(dict(value)),  # type: ignore[call-overload]
            "manners": lambda value: setattr(self, "manners", self.manners.changed(dict(value))),  # type: ignore[call-overload]
            "load": lambda value: self._load(dict(value)),  # type: ignore[call-overload]
            "drift": lambda value: self.tenant.configure(drift=drifts(value)),
            "token_seconds": lambda value: setattr(self.identity, "lifetime", float(str(value))),
            "echo_sign_in": lambda value: setattr(self, "echo_sign_in", bool(value)),
            "revoke_tokens": lambda value: self.identity.revoke() if value else None,
        }
        for key, value in changes.items():
            if key not in handlers:
                raise ValueError(f"unknown setting {key!r}")
            handlers[key](value)

    def _load(self, files: Mapping[str, str]) -> None:
        for table, path in files.items():
            self.tenant.load(table, Path(path))

    def _runner(self, api: Api) -> Callable[[Request], object]:
        async def run(request: Request) -> Response:
            return await self._run(api, request)

        return run

    async def _run(self, api: Api, request: Request) -> Response:
        query, started = "", time.monotonic()
        try:
            self._authorize(api, request)
            query = _query_of(await request.body())
            self._admit(api)
            fault = self.chaos.draw(kind_of(query))
            await self._misbehave(api, request, fault)
            found = await self._answer(api, query)
        except Refusal as refusal:
            self._note(api, query, refusal, None, time.monotonic() - started)
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
            if refusal.message.startswith("<html>"):
                return Response(refusal.message, refusal.status, headers, media_type="text/html")
            body = api.error(refusal.code, refusal.message)
            return Response(body, refusal.status, headers, media_type="application/json")
        self._note(api, query, None, found, found.seconds, fault or "ok")
        found = falsified(found, fault, self.manners)
        blocks = stream(api, found, self.base, self.manners)
        if fault is not None:
            blocks = wrecked(fault, blocks, found, self.manners, lambda: _hang_up(request))
        return StreamingResponse(blocks, media_type="application/json")

    async def _misbehave(self, api: Api, request: Request, fault: str | None) -> None:
        """Apply the faults that replace an answer or delay it."""
        if fault == "hang":
            await sleep(self.manners.hang_seconds)
        if fault == "reset":
            _hang_up(request)
            raise Refusal(500, "InternalServerError", "", outcome=fault)
        if fault == "gateway":
            raise Refusal(502, fault, "<html><body><h1>502 Bad Gateway</h1></body></html>", outcome=fault)
        if fault in REFUSALS:
            status, code, message = REFUSALS[fault]
            wait = self.manners.wait_seconds
            text = message.format(
                authorization=request.headers.get("authorization"),
                wait=wait,
                clock=f"{wait // 3600:02d}:{wait // 60 % 60:02d}:{wait % 60:02d}",
            )
            if fault == "quota" and api.odata:
                code = "TooManyRequests"
            raise Refusal(
                status, code, text, outcome=fault, retry_after=wait if fault == "quota_after" else None
            )

    def _authorize(self, api: Api, request: Request) -> None:
        audience = self.identity.audience(request.headers.get("authorization", ""))
        if audience is None:
            code = "InvalidAuthenticationToken" if api.odata else "Unauthorized"
            raise Refusal(401, code, "Lifetime validation failed, the token is expired or not known.")
        if api.role not in self.identity.app.roles:
            held = ", ".join(sorted(self.identity.app.roles))
            text = f"Missing application roles. API required roles: {api.role}, given: {held}."
            raise Refusal(403, "Forbidden", text)

    def _admit(self, api: Api) -> None:
        exceeded = self.meter.enter(self.limits, time.monotonic())
        if exceeded is None:
            return
        counted = exceeded.code == "429"
        code = "TooManyRequests" if api.odata and counted else exceeded.code
        after = exceeded.seconds if api.odata or counted else None
        raise Refusal(429, code, exceeded.message, retry_after=after)

    async def _answer(self, api: Api, query: str) -> Answer:
        if self.limiter is None:
            self.limiter = CapacityLimiter(_QUERIES_AT_ONCE)
        started = time.monotonic()
        try:
            found = await to_thread.run_sync(
                answer, self.tenant, query, self.limits, api.spoken(self.manners), limiter=self.limiter
            )
        except KqlError as error:
            raise Refusal(400, "BadRequest", str(error)) from None
        except ResultTooBig:
            text = f"Query result set has exceeded the allowed result size of {self.limits.bytes} bytes."
            raise Refusal(400, "BadRequest", text, outcome="ResultTooBig") from None
        except RequestTimeout:
            raise Refusal(504, "UnknownError", "") from None
        finally:
            self.meter.spend(time.monotonic() - started, time.monotonic())
        if api.device_only and (foreign := [name for name in found.tables if not name.startswith("Device")]):
            found.body.close()
            text = f"Failed to resolve table or column expression named '{foreign[0]}'"
            raise Refusal(400, "BadRequest", text)
        return found

    def _note(
        self,
        api: Api,
        query: str,
        refusal: Refusal | None,
        found: Answer | None,
        seconds: float,
        outcome: str = "ok",
    ) -> None:
        size = found.body.seek(0, 2) if found else 0
        if found:
            found.body.seek(0)
        self.record.add(
            Call(
                at=ticks.text(self.tenant.now()),
                api=api.name,
                kind=kind_of(query),
                tables=tuple(sorted(tables().keys() & re.findall(r"\w+", query))),
                query=query,
                status=refusal.status if refusal else 200,
                outcome=(refusal.outcome or refusal.code) if refusal else outcome,
                rows=found.rows if found else 0,
                bytes=size,
                seconds=round(seconds, 6),
            )
        )


class _Dated:
    """A middleware that adds the header `Date` to every reply, with the time of the tenant's clock."""

    def __init__(self, app: ASGIApp, date: Callable[[], str | None]) -> None:
        self._app = app
        self._date = date

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start" and (date := self._date()) is not None:
                message["headers"] = [*message["headers"], (b"date", date.encode())]
            await send(message)

        await self._app(scope, receive, dated)


def _query_of(body: bytes) -> str:
    if len(body) > _LARGEST_REQUEST:
        raise Refusal(413, "RequestEntityTooLarge", "The request body is too large.")
    try:
        parsed = json.loads(body)
    except ValueError:
        raise Refusal(400, "InvalidRequestBody", "Missing query.") from None
    query = parsed.get("Query") if isinstance(parsed, dict) else None
    if not isinstance(query, str) or not query.strip():
        raise Refusal(400, "InvalidRequestBody", "Missing query.")
    return query


def _hang_up(request: Request) -> None:
    """Close the connection abruptly, like a broken network."""
    cycle = getattr(request.receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is not None:
        transport.abort()
