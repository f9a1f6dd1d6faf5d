"""The tenant over HTTP: token endpoint, the three surfaces, and a local admin door without a token."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qsl

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hunting_emulator import ticks
from hunting_emulator.encoding import odata_value
from hunting_emulator.engine import Answer, RequestTimeout, ResultTooBig, answer
from hunting_emulator.identity import Identity, TokenError
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.limits import Limits, Meter
from hunting_emulator.stats import Call, Record, kind_of
from hunting_emulator.surfaces import SURFACES, Surface, stream
from hunting_emulator.tenant import Tenant

_LARGEST_REQUEST = 1_000_000
_QUERIES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
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
    limiter: CapacityLimiter | None = None

    def app(self, *, compress: bool = False) -> Starlette:
        """The ASGI application; `compress` offers gzip."""
        self.tenant.cursor().create_function("odata_value", odata_value, ["VARCHAR"], "VARCHAR")
        authority = f"/{self.identity.tenant_id}"
        return Starlette(
            routes=[
                Route(f"{authority}/v2.0/.well-known/openid-configuration", self._discovery),
                Route(f"{authority}/oauth2/v2.0/token", self._token, methods=["POST"]),
                *(Route(surface.path, self._runner(surface), methods=["POST"]) for surface in SURFACES),
                Route("/_emulator/stats", self._stats),
                Route("/_emulator/reset", self._reset, methods=["POST"]),
                Route("/_emulator/config", self._configure, methods=["POST"]),
            ],
            middleware=[Middleware(GZipMiddleware, compresslevel=1)] if compress else [],
        )

    async def _discovery(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self.identity.discovery(self.base))

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        issued = self.identity.issue(form, f"{self.base}/{self.identity.tenant_id}/oauth2/v2.0/token")
        if isinstance(issued, TokenError):
            return JSONResponse(issued.body(), status_code=issued.status)
        return JSONResponse(issued)

    async def _stats(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"limits": asdict(self.limits), "now": ticks.text(self.tenant.now()), **self.record.report()})

    async def _reset(self, request: Request) -> Response:  # noqa: ARG002
        self.record.clear()
        self.meter.reset()
        return JSONResponse({})

    async def _configure(self, request: Request) -> Response:
        """Change limits, clock, late rows or licences; `revoke_tokens` makes every token invalid."""
        try:
            self._apply(await request.json())
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({})

    def _apply(self, changes: dict[str, object]) -> None:
        handlers: dict[str, Callable[[object], None]] = {
            "limits": lambda value: setattr(self, "limits", self.limits.changed(dict(value))),  # type: ignore[call-overload]
            "now": lambda value: self.tenant.configure(now=None if value is None else ticks.parse(str(value))),
            "late_share": lambda value: self.tenant.configure(late_share=value),
            "late_seconds": lambda value: self.tenant.configure(late_seconds=value),
            "unlicensed": lambda value: self.tenant.configure(unlicensed=frozenset(value)),  # type: ignore[call-overload]
            "token_seconds": lambda value: setattr(self.identity, "lifetime", float(str(value))),
            "revoke_tokens": lambda value: self.identity.revoke() if value else None,
        }
        for key, value in changes.items():
            handlers[key](value)

    def _runner(self, surface: Surface) -> Callable[[Request], object]:
        async def run(request: Request) -> Response:
            return await self._run(surface, request)

        return run

    async def _run(self, surface: Surface, request: Request) -> Response:
        query, started = "", time.monotonic()
        try:
            self._authorize(surface, request)
            query = _query_of(await request.body())
            self._admit(surface)
            found = await self._answer(surface, query)
        except Refusal as refusal:
            self._note(surface, query, refusal, None, time.monotonic() - started)
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
            body = surface.error(refusal.code, refusal.message)
            return Response(body, refusal.status, headers, media_type="application/json")
        self._note(surface, query, None, found, found.seconds)
        return StreamingResponse(stream(surface, found, self.base), media_type="application/json")

    def _authorize(self, surface: Surface, request: Request) -> None:
        audience = self.identity.audience(request.headers.get("authorization", ""))
        if audience is None:
            code = "InvalidAuthenticationToken" if surface.odata else "Unauthorized"
            raise Refusal(401, code, "Lifetime validation failed, the token is expired or not known.")
        if surface.role not in self.identity.app.roles:
            text = f"Missing application roles. API required roles: {surface.role}, application roles: none that fit."
            raise Refusal(403, "Forbidden", text)

    def _admit(self, surface: Surface) -> None:
        exceeded = self.meter.enter(self.limits, time.monotonic())
        if exceeded is None:
            return
        counted = exceeded.code == "429"
        code = "TooManyRequests" if surface.odata and counted else exceeded.code
        after = exceeded.seconds if surface.odata or counted else None
        raise Refusal(429, code, exceeded.message, retry_after=after)

    async def _answer(self, surface: Surface, query: str) -> Answer:
        if self.limiter is None:
            self.limiter = CapacityLimiter(_QUERIES_AT_ONCE)
        started = time.monotonic()
        try:
            found = await to_thread.run_sync(
                answer, self.tenant, query, self.limits, surface.dialect, limiter=self.limiter
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
        if surface.device_only and (foreign := [name for name in found.tables if not name.startswith("Device")]):
            found.body.close()
            text = f"Failed to resolve table or column expression named '{foreign[0]}'"
            raise Refusal(400, "BadRequest", text)
        return found

    def _note(
        self, surface: Surface, query: str, refusal: Refusal | None, found: Answer | None, seconds: float
    ) -> None:
        size = found.body.seek(0, 2) if found else 0
        if found:
            found.body.seek(0)
        self.record.add(
            Call(
                at=ticks.text(self.tenant.now()),
                surface=surface.name,
                kind=kind_of(query),
                tables=found.tables if found else (),
                query=query,
                status=refusal.status if refusal else 200,
                outcome=(refusal.outcome or refusal.code) if refusal else "ok",
                rows=found.rows if found else 0,
                bytes=size,
                seconds=round(seconds, 6),
            )
        )


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
