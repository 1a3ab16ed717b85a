"""A server that looks like S3, as much as the start of a cluster asks of it. It may create what is there already."""

import contextlib
import http.server
import re
import threading
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape


class Lookalike(http.server.ThreadingHTTPServer):
    """Objects by their paths, `/bucket/name`."""

    def __init__(self, *, creates_exclusively):
        super().__init__(("127.0.0.1", 0), Answers)
        self.creates_exclusively = creates_exclusively
        self.objects = {}
        self.created = []
        self.lock = threading.Lock()
        self.is_tried = threading.Event()
        self.may_try = threading.Event()
        self.may_try.set()

    def url(self, directory, auth):
        return f"s3://bucket/{directory}?endpoint=http://127.0.0.1:{self.server_address[1]}&auth={auth}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Lookalike

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if "/probe/" in self.path:
            self.server.is_tried.set()
            self.server.may_try.wait()
        with self.server.lock:
            exclusive = self.server.creates_exclusively and self.headers["If-None-Match"] == "*"
            if exclusive and self.path in self.server.objects:
                return self.answer(412, "<Error><Code>PreconditionFailed</Code></Error>")
            self.server.objects[self.path] = content
            self.server.created.append(self.path)
        return self.answer(200)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        with self.server.lock:
            objects = dict(self.server.objects)
        if query:
            return self.listing(objects, urllib.parse.parse_qs(query)["prefix"][0])
        if path not in objects:
            return self.answer(404, "<Error><Code>NoSuchKey</Code></Error>")
        return self.answer(200, objects[path])

    def do_HEAD(self):
        self.do_GET()

    def listing(self, objects, prefix):
        names = [path.removeprefix("/bucket/") for path in objects]
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(objects['/bucket/' + name])}</Size><ETag>e</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in sorted(names)
            if name.startswith(prefix)
        )
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")

    def do_POST(self):
        """Deletes several."""
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        names = re.findall("<Key>(.*?)</Key>", asked)
        with self.server.lock:
            for name in names:
                self.server.objects.pop(f"/bucket/{name}", None)
        deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
        self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>")

    def answer(self, status, content=b""):
        content = content if isinstance(content, bytes) else content.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # Who asked was killed.
                self.wfile.write(content)

    def log_message(self, *_):
        """Standard error is for errors."""


@contextlib.contextmanager
def lookalike(*, creates_exclusively):
    """Runs it; gives it."""
    with Lookalike(creates_exclusively=creates_exclusively) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
