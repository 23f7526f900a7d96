#!/usr/bin/env python3
"""An HTTP proxy in front of a registry that breaks off downloads, as networks do.

    flaky_proxy.py PORT UPSTREAM_PORT [--cut-after BYTES] [--times N]

It listens on 127.0.0.1:PORT and hands all requests, with their headers (Range and Authorization among them), to the
registry on 127.0.0.1:UPSTREAM_PORT. With --cut-after, the first N downloads of a blob that would send more than BYTES
get the right headers, then BYTES bytes, and then the end of the connection. Each request is a line on stderr.
"""

from __future__ import annotations

import argparse
import http.client
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 64 * 1024
BLOB = re.compile(r"/v2/.+/blobs/[^/]+$")
# They belong to one connection, and each of the two makes its own (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Cuts:
    """How many downloads are still to be cut, and after how many bytes."""

    def __init__(self, after: int | None, times: int) -> None:
        self.after = after
        self.left = times
        self.lock = threading.Lock()

    def take(self, length: int) -> int | None:
        """The bytes to send of a blob of this length when it is to be cut."""
        with self.lock:
            if self.after is None or length <= self.after or self.left <= 0:
                return None
            self.left -= 1
            return self.after


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, upstream: int, cuts: Cuts) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream = upstream
        self.cuts = cuts


class Handler(BaseHTTPRequestHandler):
    server: Server
    # Connections stay open between requests, which is what clients of registries count on.
    protocol_version = "HTTP/1.1"

    def body(self) -> Iterator[bytes]:
        """The request's body, of a known length or in chunks of unknown number (as Skopeo uploads)."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(CHUNK, left))
            if not data:
                raise ConnectionError("the client broke off its upload")
            left -= len(data)
            yield data

    def forward(self) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            # Header by header: clients repeat some of them (Accept), and nothing of this library's is to be added.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            chunked = "Transfer-Encoding" in self.headers
            if chunked:
                upstream.putheader("Transfer-Encoding", "chunked")
            has_body = chunked or "Content-Length" in self.headers
            upstream.endheaders(self.body() if has_body else None, encode_chunked=chunked)
            self.answer(upstream.getresponse())
        except OSError as error:
            self.log(f"broken: {error}")
            self.close_connection = True
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - the base class looks for these

    def here(self, location: str) -> str:
        """Where a redirect leads: the registry names the host it was asked by, which is this proxy, or else itself."""
        proxy = self.headers.get("Host", f"127.0.0.1:{self.server.server_port}")
        return re.sub(rf"^http://(127\.0\.0\.1|localhost):{self.server.upstream}(?=/|$)", f"http://{proxy}", location)

    def answer(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, self.here(value) if name.lower() == "location" else value)
        length = response.getheader("Content-Length")
        # Without a length the end of the connection is the end of the body.
        bodiless = self.command == "HEAD" or response.status in {204, 304}
        if length is None and not bodiless:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        cut = None
        if self.command == "GET" and response.status in {200, 206} and length and BLOB.search(self.path):
            cut = self.server.cuts.take(int(length))
        sent = 0
        while data := response.read(CHUNK if cut is None else min(CHUNK, cut - sent)):
            self.wfile.write(data)
            sent += len(data)
        self.wfile.flush()
        if cut is not None:
            self.close_connection = True
        self.log(f"{response.status} {sent} bytes" + (f", CUT of {length}" if cut is not None else ""))

    def log(self, outcome: str) -> None:
        notes = [f"{name}={self.headers[name]}" for name in ("Range",) if name in self.headers]
        if "Authorization" in self.headers:
            notes.append("with login")  # not which: logs are shown around
        sys.stderr.write(f"{' '.join([self.requestline, *notes])} -> {outcome}\n")
        sys.stderr.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        # Clients try TLS first, which is no text.
        sys.stderr.write(ascii(format % args)[:100] + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("upstream_port", type=int)
    parser.add_argument("--cut-after", type=int, metavar="BYTES")
    parser.add_argument("--times", type=int, default=1, metavar="N")
    options = parser.parse_args()
    server = Server(options.port, options.upstream_port, Cuts(options.cut_after, options.times))
    sys.stderr.write(f"listening on 127.0.0.1:{server.server_port}\n")
    sys.stderr.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
