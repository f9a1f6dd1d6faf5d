"""A small server that plays the XML API of Google Cloud Storage, as far as obstore uses it.

It keeps generations and preconditions. It is strict where the service is, or where we do not know it:
`If-Match` on a PUT has no effect, and a signed URL allows no unsigned `x-goog-` header. Each request needs a
credential, and any bearer token is one. The server refuses multipart uploads and keeps all objects in memory.

    python gcs.py PORT
"""

import hashlib
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

PAGE = 1000
"""Most keys and common prefixes of one page of a listing."""


class Refused(Exception):
    """An error that the server answers."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Stored:
    """One object."""

    data: bytes
    generation: int
    modified: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'

    def headers(self) -> dict[str, str]:
        return {
            "ETag": self.etag,
            "x-goog-generation": str(self.generation),
            "x-goog-metageneration": "1",
            "Last-Modified": format_datetime(self.modified, usegmt=True),
            "Accept-Ranges": "bytes",
        }


class Buckets:
    """All buckets and objects. One lock makes each check and its change one step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, dict[str, Stored]] = {}
        self._generations = count(1_700_000_000_000_000)

    def create(self, bucket: str) -> None:
        with self._lock:
            if bucket in self._buckets:
                raise Refused(409, "BucketAlreadyOwnedByYou")
            self._buckets[bucket] = {}

    def put(self, bucket: str, key: str, data: bytes, *, generation: str | None) -> Stored:
        with self._lock:
            objects = self._objects(bucket)
            _check_generation(objects.get(key), generation)
            objects[key] = Stored(data, next(self._generations), datetime.now(UTC))
            return objects[key]

    def get(self, bucket: str, key: str) -> Stored:
        with self._lock:
            found = self._objects(bucket).get(key)
        if found is None:
            raise Refused(404, "NoSuchKey")
        return found

    def delete(self, bucket: str, key: str, *, generation: str | None) -> None:
        with self._lock:
            objects = self._objects(bucket)
            if key not in objects:
                raise Refused(404, "NoSuchKey")
            _check_generation(objects[key], generation)
            del objects[key]

    def sorted(self, bucket: str) -> list[tuple[str, Stored]]:
        with self._lock:
            return sorted(self._objects(bucket).items())

    def _objects(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self._buckets:
            raise Refused(404, "NoSuchBucket")
        return self._buckets[bucket]


def _check_generation(present: Stored | None, expected: str | None) -> None:
    """Compare the present generation with `x-goog-if-generation-match`, where 0 means no object."""
    if expected is not None and int(expected) != (present.generation if present else 0):
        raise Refused(412, "PreconditionFailed")


def list_page(objects: list[tuple[str, Stored]], query: dict[str, str]) -> str:
    """Return one page of a listing. The continuation token is the last key or prefix of the page before."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token = query.get("continuation-token", "")
    after = token or query.get("start-after", "")
    most = min(int(query.get("max-keys", PAGE)), PAGE)
    lines: list[str] = []
    last, folder, more = "", "", False
    for key, stored in objects:
        seen = key <= after or (token.endswith(delimiter) and delimiter and key.startswith(token))
        if seen or not key.startswith(prefix) or (folder and key.startswith(folder)):
            continue
        if len(lines) == most:
            more = True
            break
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        folder = prefix + head + delimiter if cut else ""
        last = folder or key
        lines.append(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            if folder
            else _line(key, stored)
        )
    following = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://doc.s3.amazonaws.com/2006-03-01">'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(lines)}</KeyCount>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{''.join(lines)}</ListBucketResult>"
    )


def _line(key: str, stored: Stored) -> str:
    return (
        f"<Contents><Key>{escape(key)}</Key><Generation>{stored.generation}</Generation>"
        f"<LastModified>{stored.modified.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}</LastModified>"
        f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size></Contents>"
    )


class Handler(BaseHTTPRequestHandler):
    """One connection. `buckets` is set by `serve`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two packets
    buckets: Buckets

    def do_PUT(self) -> None:
        self._answer_with(self._put)

    def do_GET(self) -> None:
        self._answer_with(self._get)

    do_HEAD = do_GET  # noqa: N815 # http.server looks for these names

    def do_DELETE(self) -> None:
        self._answer_with(self._delete)

    def do_POST(self) -> None:
        self._answer_with(self._post)

    def _answer_with(self, operation: Any) -> None:
        """Read the request whole, run the operation and send its answer or its error."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        bucket, _, key = unquote(path.removeprefix("/")).partition("/")
        try:
            if path != "/token":
                self._check_credential()
            status, headers, body = operation(bucket, key)
        except Refused as refused:
            text = f'<?xml version="1.0"?><Error><Code>{refused.code}</Code></Error>'
            status, headers, body = refused.status, {"Content-Type": "application/xml"}, text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in {204, 304}:
            self.wfile.write(body)

    def _check_credential(self) -> None:
        if "X-Goog-Signature" not in self.query:
            if not self.headers.get("Authorization", "").removeprefix("Bearer").strip():
                raise Refused(403, "AccessDenied")
            return
        signed = self.query["X-Goog-SignedHeaders"].split(";")
        if any(name.lower().startswith("x-goog-") and name.lower() not in signed for name in self.headers):
            raise Refused(400, "MalformedSecurityHeader")
        start = datetime.strptime(self.query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > start + timedelta(seconds=int(self.query["X-Goog-Expires"])):
            raise Refused(400, "ExpiredToken")

    def _put(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        if not key:
            self.buckets.create(bucket)
            return 200, {}, b""
        if "uploadId" in self.query:
            raise Refused(501, "NotImplemented")
        generation = self.headers.get("x-goog-if-generation-match")
        return 200, self.buckets.put(bucket, key, self.body, generation=generation).headers(), b""

    def _get(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        if not key:
            page = list_page(self.buckets.sorted(bucket), self.query)
            return 200, {"Content-Type": "application/xml"}, page.encode()
        stored = self.buckets.get(bucket, key)
        if self.query.get("generation", str(stored.generation)) != str(stored.generation):
            raise Refused(404, "NoSuchKey")
        if (wanted := self.headers.get("If-Match")) and stored.etag.strip('"') != wanted.strip('"'):
            raise Refused(412, "PreconditionFailed")
        if (known := self.headers.get("If-None-Match")) and stored.etag.strip('"') == known.strip('"'):
            return 304, stored.headers(), b""
        if span := self.headers.get("Range"):
            return _part(stored, span)
        return 200, stored.headers(), stored.data

    def _delete(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        self.buckets.delete(bucket, key, generation=self.headers.get("x-goog-if-generation-match"))
        return 204, {}, b""

    def _post(self, bucket: str, key: str) -> tuple[int, dict[str, str], bytes]:
        if bucket != "token":
            raise Refused(501, "NotImplemented")
        token = b'{"access_token": "stand-in", "token_type": "Bearer", "expires_in": 3600}'
        return 200, {"Content-Type": "application/json"}, token

    def log_message(self, *_: object) -> None:
        """Keep the log empty."""


def _part(stored: Stored, span: str) -> tuple[int, dict[str, str], bytes]:
    """Return the bytes of a `Range` header: first and last, from first on, or the last so many."""
    first, _, last = span.removeprefix("bytes=").partition("-")
    size = len(stored.data)
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        raise Refused(416, "InvalidRange")
    headers = {**stored.headers(), "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return 206, headers, stored.data[start:stop]


def serve(port: int) -> None:
    """Serve on loopback until the process ends."""
    handler = type("Bound", (Handler,), {"buckets": Buckets()})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
