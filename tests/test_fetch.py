"""`fetch_image` against a real TLS server on this machine: what it gets, and where it will not go.

Only looking up and connecting are replaced: names stand for addresses of the test's choosing, and
a connection to a public address ends at the local server.
"""

import http.server
import io
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image as pillow

from vlm import fetch
from vlm.errors import ImageError
from vlm.fetch import fetch_image, is_public
from vlm.images import DEFAULT_LIMITS, ImageLimits, open_image
from vlm.strings import error_text

PUBLIC = "93.184.216.34"
HOSTS = {
    "pictures.example": [PUBLIC],
    "other.example": ["2606:2800:220:1::1", PUBLIC],
    "wrong.example": [PUBLIC],
    "inside.example": ["10.0.0.7"],
    "mixed.example": [PUBLIC, "10.0.0.7"],
    "xn--bcher-kva.example": [PUBLIC],
    "dead.example": ["203.0.114.9"],
    "nothing.example": [],
}
_file = io.BytesIO()
pillow.effect_noise((40, 30), 50).save(_file, "PNG")
PICTURE = _file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path, as well-behaved and as hostile servers do."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str]]]

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        self.close_connection = True
        name = self.path[1:].partition("?")[0].partition(".")[0]
        getattr(self, f"answer_{name}", self.answer_picture)()

    def reply(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content_Length": str(len(data)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def answer_picture(self) -> None:
        self.reply(200, PICTURE, Content_Type="text/html")

    def answer_missing(self) -> None:
        self.reply(404, PICTURE)

    def answer_page(self) -> None:
        self.reply(200, b"<!doctype html><p>Sign in first", Content_Type="image/png")

    def answer_to(self) -> None:
        self.reply(302, Location=self.path.partition("?")[2])

    def answer_raw(self) -> None:
        self.reply(302, Location="/caf\xc3\xa9.png")  # UTF-8 bytes, as many servers send them

    def answer_loop(self) -> None:
        count = int(self.path.partition("?")[2] or 10**6)
        self.reply(307, Location=f"/loop?{count - 1}" if count > 1 else "/cat.png")

    def answer_nowhere(self) -> None:
        self.reply(302)

    def answer_claims(self) -> None:
        self.reply(200, PICTURE, Content_Length="20000001")

    def answer_understates(self) -> None:
        self.reply(200, PICTURE, Content_Length="100")

    def answer_endless(self) -> None:
        self.reply(200, Transfer_Encoding="chunked", Content_Length="5")
        for _ in range(100):
            self.wfile.write(b"%x\r\n%s\r\n" % (10_000, bytes(10_000)))
        self.wfile.write(b"0\r\n\r\n")

    def answer_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE))

    def answer_trickles(self) -> None:
        """Sends its header byte by byte, each well within any time limit, a second in all."""
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20:
            self.wfile.write(bytes([byte]))
            time.sleep(0.025)
        self.wfile.write(b"\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE))

    def answer_dawdles(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        part = len(PICTURE) // 20 + 1
        for start in range(0, len(PICTURE), part):
            self.wfile.write(PICTURE[start : start + part])
            time.sleep(0.05)

    def answer_babbles(self) -> None:
        self.wfile.write(b"\0\1\2 this is not HTTP\r\n\r\n")

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """(certificate, key) for the hosts that the server may speak for."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificate")
    names = "pictures.example", "other.example", "xn--bcher-kva.example"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-keyout", "key.pem", "-out", "certificate.pem"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "certificate.pem", folder / "key.pem"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Clients that leave early are what these tests are about."""


@pytest.fixture
def asked(certificate, monkeypatch) -> Iterator[list[tuple[str, str]]]:
    """Runs the server; gives the (host, path) of each request it got."""

    class Recorder(Handler):
        asked: ClassVar[list[tuple[str, str]]] = []

    server = Server(("127.0.0.1", 0), Recorder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def open_socket(address: str, seconds: float) -> socket.socket:
        if address != PUBLIC:
            raise ConnectionRefusedError(address)
        return socket.create_connection(server.server_address[:2], timeout=seconds)

    monkeypatch.setattr(fetch, "resolve", HOSTS.__getitem__)
    monkeypatch.setattr(fetch, "open_socket", open_socket)
    monkeypatch.setattr(
        fetch, "trusted_context", lambda: ssl.create_default_context(cafile=certificate[0])
    )
    yield Recorder.asked
    server.shutdown()
    server.server_close()


def refused(url: str, key: str, limits: ImageLimits = DEFAULT_LIMITS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        fetch_image(url, limits=limits)
    assert caught.value.key == key
    numbers = [fact for fact in caught.value.facts.values() if isinstance(fact, int | float)]
    for language in ("en", "zh"):
        sentence = error_text(caught.value, language)
        assert all(f"{number:g}" in sentence for number in numbers), sentence
        assert "secret" not in sentence
    return caught.value


# ---- what it gets ----


@pytest.mark.parametrize(
    ("url", "host", "path", "name"),
    [
        ("https://pictures.example/a/cat.png", "pictures.example", "/a/cat.png", "cat.png"),
        ("HTTPS://Pictures.Example:443/c.png#x", "pictures.example", "/c.png", "c.png"),
        (" https://pictures.example?a=1\n", "pictures.example", "/?a=1", "pictures.example"),
        ("https://pictures.example/猫 1.png", "pictures.example", "/%E7%8C%AB%201.png", "猫 1.png"),
        ("https://pictures.example/a%2F..%2Fb", "pictures.example", "/a%2F..%2Fb", "b"),
        ("https://bücher.example/c", "xn--bcher-kva.example", "/c", "c"),
        ("https://pictures.example/chunked", "pictures.example", "/chunked", "chunked"),
    ],
)
def test_picture_is_fetched_and_named(asked, url, host, path, name):
    image = fetch_image(url)
    assert image == open_image(PICTURE)
    assert image.name == name
    assert asked == [(host, path)]


def test_next_address_is_tried_when_one_is_dead(asked):
    assert fetch_image("https://other.example/c.png") == open_image(PICTURE)


def test_proxies_of_the_environment_are_not_used(asked, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch_image("https://pictures.example/c.png") == open_image(PICTURE)


@pytest.mark.parametrize(
    "location",
    ["/c.png", "c.png", "https://other.example/c.png", "//other.example/c.png"],
)
def test_redirects_are_followed(asked, location):
    assert fetch_image(f"https://pictures.example/to?{location}") == open_image(PICTURE)
    assert len(asked) == 2


def test_raw_bytes_in_a_redirect_are_quoted(asked):
    assert fetch_image("https://pictures.example/raw").name == "café.png"
    assert asked[-1][1] == "/caf%C3%A9.png"


def test_three_redirects_are_the_most(asked):
    assert fetch_image("https://pictures.example/loop?3") == open_image(PICTURE)
    assert refused("https://pictures.example/loop?4", "fetch_redirects").facts["limit"] == 3
    asked.clear()
    refused("https://pictures.example/loop", "fetch_redirects")
    assert len(asked) == 4


# ---- where it will not go ----


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://pictures.example/c.png?secret", "fetch_not_https"),
        ("ftp://pictures.example/c.png", "fetch_not_https"),
        ("file:///etc/passwd", "fetch_not_https"),
        ("data:image/png;base64,AAAA", "fetch_not_https"),
        ("/etc/passwd", "fetch_not_https"),
        ("", "fetch_not_https"),
        ("https:///c.png", "fetch_address"),
        ("https://pictures.example:x/", "fetch_address"),
        ("https://[::1/", "fetch_address"),
        ("https://a..b/", "fetch_address"),
        ("https://pictures.example/" + "x" * 5000, "fetch_address"),
        ("https://me:secret@pictures.example/", "fetch_login"),
        ("https://@pictures.example/", "fetch_login"),
        ("https://pictures.example:8443/", "fetch_port"),
        ("https://pictures.example:0/", "fetch_port"),
        ("https://inside.example/", "fetch_private"),
        ("https://mixed.example/", "fetch_private"),
        ("https://nothing.example/", "fetch_unresolved"),
        ("https://dead.example/", "fetch_failed"),
        ("https://wrong.example/", "fetch_certificate"),
    ],
)
def test_address_is_refused_before_anything_is_asked(asked, url, key):
    refused(url, key)
    assert asked == []


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("http://pictures.example/c.png", "fetch_not_https"),
        ("http://169.254.169.254/latest/meta-data/", "fetch_not_https"),
        ("https://inside.example/c.png", "fetch_private"),
        ("//inside.example/c.png", "fetch_private"),
        ("https://mixed.example/c.png", "fetch_private"),
        ("https://me:secret@pictures.example/c.png", "fetch_login"),
        ("https://pictures.example:22/c.png", "fetch_port"),
        ("https://[::1/", "fetch_address"),
    ],
)
def test_redirect_is_checked_like_the_first_address(asked, location, key):
    refused(f"https://pictures.example/to?{location}", key)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_local_addresses_are_refused_by_the_real_lookup(monkeypatch, url):
    monkeypatch.setattr(fetch, "open_socket", lambda *arguments: pytest.fail("connected"))
    refused(url, "fetch_private")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1"),
        *("64:ff9b:1::1", "2002:a00:1::", "2002:5db8:d822::1", "2001:0:1::1", "100::1", "5f00::1"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "192.0.0.9"],
)
def test_addresses_that_are_public(address):
    assert is_public(address)


def test_a_name_is_looked_up_once(asked, monkeypatch):
    """A second answer of the name server, after the check, must not count."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    monkeypatch.setattr(fetch, "resolve", lambda host: next(answers))
    assert fetch_image("https://pictures.example/c.png") == open_image(PICTURE)
    refused("https://pictures.example/c.png", "fetch_private")


def test_unknown_host_is_named(monkeypatch):
    def resolve(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(fetch, "resolve", resolve)
    assert "none.example" in str(refused("https://none.example/", "fetch_unresolved"))


def test_certificates_are_checked_by_default():
    context = fetch.trusted_context()
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.cert_store_stats()["x509_ca"] > 50


def test_certificate_of_nobody_is_refused(asked, monkeypatch):
    monkeypatch.setattr(fetch, "trusted_context", ssl.create_default_context)
    refused("https://pictures.example/c.png", "fetch_certificate")
    assert asked == []


# ---- what it will not take ----


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("missing", "fetch_status"),
        ("nowhere", "fetch_status"),
        ("page", "image_format"),
        ("claims", "fetch_too_large"),
        ("understates", "image_damaged"),
        ("babbles", "fetch_failed"),
    ],
)
def test_answers_that_are_no_picture(asked, path, key):
    refused(f"https://pictures.example/{path}", key)
    assert len(asked) == 1


def test_more_than_the_limit_is_not_read(asked):
    limits = ImageLimits(file_megabytes=0.05)
    refused("https://pictures.example/endless", "fetch_too_large", limits)
    refused("https://pictures.example/endless", "image_unknown")
    exactly = ImageLimits(file_megabytes=len(PICTURE) / 1e6)
    assert fetch_image("https://pictures.example/c.png", limits=exactly)
    less = ImageLimits(file_megabytes=(len(PICTURE) - 1) / 1e6)
    refused("https://pictures.example/c.png", "fetch_too_large", less)
    refused("https://pictures.example/chunked", "fetch_too_large", less)


@pytest.mark.parametrize("path", ["trickles", "dawdles"])
def test_one_deadline_holds_however_the_bytes_trickle_in(asked, monkeypatch, path):
    assert fetch_image(f"https://pictures.example/{path}") == open_image(PICTURE)
    monkeypatch.setattr(fetch, "SECONDS", 0.4)
    refused(f"https://pictures.example/{path}", "fetch_too_slow")


def test_slow_lookup_counts(asked, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(fetch, "resolve", lambda host: [PUBLIC] if go_on.wait(5) else [])
    monkeypatch.setattr(fetch, "SECONDS", 0.1)
    refused("https://pictures.example/c.png", "fetch_too_slow")
    go_on.set()


def test_server_that_never_says_hello_counts(asked, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        monkeypatch.setattr(
            fetch, "open_socket", lambda _, seconds: socket.create_connection(address, seconds)
        )
        monkeypatch.setattr(fetch, "SECONDS", 0.2)
        refused("https://pictures.example/c.png", "fetch_too_slow")


def test_sockets_are_closed(asked, monkeypatch):
    opened: list[socket.socket] = []
    connect = fetch.open_socket

    def open_socket(address: str, seconds: float) -> socket.socket:
        opened.append(connect(address, seconds))
        return opened[-1]

    secured: list[ssl.SSLSocket] = []
    original = fetch._connect
    monkeypatch.setattr(fetch, "open_socket", open_socket)
    monkeypatch.setattr(
        fetch, "_connect", lambda *given: secured.append(original(*given)) or secured[-1]
    )
    fetch_image("https://pictures.example/to?/c.png")
    refused("https://pictures.example/claims", "fetch_too_large")
    refused("https://wrong.example/", "fetch_certificate")
    assert (len(opened), len(secured)) == (4, 3)
    assert all(each.fileno() == -1 for each in (*opened, *secured))
