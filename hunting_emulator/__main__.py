"""`python -m hunting_emulator`: serve an emulated tenant on this machine until Ctrl-C or SIGTERM."""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import uuid
from pathlib import Path
from types import FrameType

import trustme
import uvicorn
from cryptography import x509

from hunting_emulator import ticks
from hunting_emulator.apis import APIS
from hunting_emulator.identity import App, Identity
from hunting_emulator.kql.lexer import timespan
from hunting_emulator.limits import PROFILES, Limits
from hunting_emulator.schema import tables
from hunting_emulator.server import Service
from hunting_emulator.synthesis.volume import Burst
from hunting_emulator.tenant import Tenant, TenantOptions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hunting_emulator", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="port on localhost; 0, the default, selects a free port")
    add("--directory", type=Path, help="folder for ca.pem and temporary files; a temporary folder by default")
    add("--ready-file", type=Path, help="file for the JSON line that is printed when the emulator is ready")
    add("--profile", choices=sorted(PROFILES), default="graph", help="profile of the tenant's limits")
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one limit of the profile; 'off' disables the limit",
    )
    add("--seed", type=int, default=7, help="seed of the synthetic rows")
    add("--scale", type=float, default=1.0, help="factor for the default number of rows of all tables")
    add("--rows", action="append", default=[], metavar="TABLE=N", help="number of rows of a table in 30 days")
    add(
        "--burst",
        action="append",
        default=[],
        metavar="TABLE=START/DURATION/N",
        help="N extra rows in a time span, such as AlertInfo=2026-11-20T10:00/1h/150000",
    )
    add(
        "--load",
        action="append",
        default=[],
        metavar="TABLE=FILE",
        help="use the rows of a Parquet file for a table",
    )
    add("--unlicensed", action="append", default=[], metavar="TABLE", help="table without a license")
    add("--now", help="time (ISO 8601) at which the tenant's clock stands still; the real clock by default")
    add("--clock-runs", action="store_true", help="start the clock at --now instead of stopping it")
    add("--late-share", type=float, default=0.0, help="share of rows (0 to 1) that arrive after their time")
    add("--late-seconds", type=float, default=0.0, help="longest delay of late rows, in seconds")
    add("--token-seconds", type=float, default=3599.0, help="lifetime of tokens, in seconds")
    add(
        "--deny",
        action="append",
        default=[],
        choices=[api.name for api in APIS],
        help="do not grant the permission of an API",
    )
    add("--certificate", type=Path, help="PEM certificate with which the app may sign in")
    add("--config", metavar="JSON", help="JSON as for POST /_emulator/config: faults, manners, drift, ...")
    add("--gzip", action="store_true", help="compress replies for clients that accept gzip")
    return parser


def _pairs(items: list[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


def _bursts(items: list[str]) -> dict[str, tuple[Burst, ...]]:
    found: dict[str, tuple[Burst, ...]] = {}
    for item in items:
        match = re.fullmatch(r"(\w+)=([^/]+)/([^/]+)/(\d+)", item)
        if match is None:
            raise ValueError(f"{item!r} is not of the form TABLE=START/DURATION/N")
        table, start, width, rows = match.groups()
        found[table] = (*found.get(table, ()), Burst(ticks.parse(start), timespan(width), int(rows)))
    return found


def _limits(profile: str, changes: dict[str, str]) -> Limits:
    return PROFILES[profile].changed(
        {key: None if value == "off" else float(value) for key, value in changes.items()}
    )


def _tenant(options: argparse.Namespace, folder: Path) -> Tenant:
    unknown = set(options.unlicensed) - set(tables())
    if unknown:
        raise ValueError(f"unknown hunting table {min(unknown)!r}")
    tenant = Tenant(
        TenantOptions(
            seed=options.seed,
            scale=options.scale,
            rows={name: int(rows) for name, rows in _pairs(options.rows).items()},
            bursts=_bursts(options.burst),
            unlicensed=frozenset(options.unlicensed),
            now=None if options.now is None else ticks.parse(options.now),
            clock_runs=options.clock_runs,
            late_share=options.late_share,
            late_seconds=options.late_seconds,
        ),
        spill=folder / "spill",
    )
    for name, path in _pairs(options.load).items():
        tenant.load(name, Path(path))
    return tenant


def _app(options: argparse.Namespace) -> App:
    name = uuid.UUID(int=options.seed % (1 << 64))
    roles = frozenset(api.role for api in APIS if api.name not in options.deny)
    certificate = (
        x509.load_pem_x509_certificate(options.certificate.read_bytes()) if options.certificate else None
    )
    return App(str(uuid.uuid5(name, "client")), uuid.uuid5(name, "secret").hex, roles, certificate)


def _announce(options: argparse.Namespace, service: Service, ca_bundle: Path) -> None:
    app = service.identity.app
    line = json.dumps(
        {
            "url": service.base,
            "login_url": service.base,
            "ca_bundle": str(ca_bundle),
            "tenant_id": service.identity.tenant_id,
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "pid": os.getpid(),
            "stats_url": f"{service.base}/_emulator/stats",
        }
    )
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if options.ready_file:
        draft = options.ready_file.with_name(options.ready_file.name + ".tmp")
        draft.write_text(line + "\n", encoding="utf-8")
        draft.replace(options.ready_file)


def _serve(options: argparse.Namespace, folder: Path) -> None:
    authority = trustme.CA()
    ca_bundle, key = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca_bundle))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(key))
    tenant = _tenant(options, folder)
    try:
        with socket.create_server(("127.0.0.1", options.port)) as listener:
            base = f"https://localhost:{listener.getsockname()[1]}"
            identity = Identity(
                str(uuid.uuid5(uuid.NAMESPACE_URL, f"tenant/{options.seed}")),
                _app(options),
                options.token_seconds,
            )
            service = Service(tenant, identity, _limits(options.profile, _pairs(options.limit)), base)
            service.configure(json.loads(options.config or "{}"))
            application = service.app(compress=options.gzip)
            server = _Server(
                uvicorn.Config(
                    application,
                    ssl_certfile=str(key),
                    date_header=False,  # the application sends the date of the tenant's clock
                    log_level="warning",
                    timeout_graceful_shutdown=2,
                    lifespan="off",
                )
            )
            server.announce = lambda: _announce(options, service, ca_bundle)
            server.run([listener])
    finally:
        tenant.close()
        key.unlink()


class _Server(uvicorn.Server):
    """A server that calls `announce` when it is ready. After a signal, it ends without raising it again."""

    announce = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.announce()

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        def stop(number: int, frame: FrameType | None) -> None:
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def main() -> int:
    """Serve until a signal. Return 0 after a clean end, 2 for a wrong option."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="emulator-") as temporary:
        folder = options.directory or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _serve(options, folder)
        except (ValueError, TypeError, OSError) as error:
            sys.stderr.write(f"hunting_emulator: {error}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
