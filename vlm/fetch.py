"""Fetches a picture from an https address, in a way that cannot reach into the local network.

Every address that a host name stands for must be public, the connection goes to just those, and
each redirect is checked anew. One deadline covers looking up, connecting and reading. Nothing is
taken from the environment: no proxies, no credentials.
"""

import concurrent.futures
import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import quote, unquote, urljoin, urlsplit

from vlm.errors import ImageError
from vlm.images import DEFAULT_LIMITS, ImageLimits, open_image
from vlm.messages import Image

SECONDS = 10.0
REDIRECTS = 3
PORT = 443
ADDRESS_CHARACTERS = 4096
CHUNK_BYTES = 65536
REDIRECT_CODES = (301, 302, 303, 307, 308)
UNQUOTED = "/?:@!$&'()*+,;=%~#[]"
"""What stands for itself in an address; everything else is written as %XX."""

GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def fetch_image(url: str, *, limits: ImageLimits = DEFAULT_LIMITS) -> Image:
    """Fetches and opens the picture at an https address. A hosted app must not offer this.

    Args:
        url: begins with https://, names a public host, port 443, no user or password.
        limits: the largest picture to take; its `file_megabytes` caps what is read.

    Raises:
        ImageError: the address is refused, does not answer within `SECONDS`, or sends something
            that `open_image` refuses.
    """
    deadline = time.monotonic() + SECONDS
    for _ in range(REDIRECTS + 1):
        host, target = _split(url)
        with _failures_named(host), _request(host, target, deadline) as response:
            redirected = response.status in REDIRECT_CODES
            location = response.getheader("Location") if redirected else None
            data = _read_body(response, host, limits) if location is None else b""
        if location is None:
            name = unquote(urlsplit(url).path.rpartition("/")[2])
            return open_image(data, limits=limits, name=name or host)
        url = _join(url, location)
    raise ImageError("fetch_redirects", host=host, limit=REDIRECTS)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also one wrapped in another."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in GLOBAL_UNICAST or ip.sixtofour is not None:
            return False
    return ip.is_global and not ip.is_multicast


def resolve(host: str) -> list[str]:
    """The IP addresses of a host, as the system knows them. OSError if there are none."""
    entries = socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


def open_socket(address: str, seconds: float) -> socket.socket:
    """A plain connection to one IP address."""
    return socket.create_connection((address, PORT), timeout=seconds)


def trusted_context() -> ssl.SSLContext:
    """Trusts the certificates that the system trusts, and those that browsers do."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class _DeadlineSocket(ssl.SSLSocket):
    """Gives up at one moment; with a plain timeout each byte that trickles in buys more time."""

    deadline = 0.0

    def recv_into(self, *arguments, **options) -> int:
        self.settimeout(_remaining(self.deadline))
        return super().recv_into(*arguments, **options)


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _split(url: str) -> tuple[str, str]:
    """(host, path and query) of an address that may be asked."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port
    except ValueError:
        raise ImageError("fetch_address", got=_shown(url)) from None
    if parts.scheme != "https":
        raise ImageError("fetch_not_https", got=_shown(url))
    if not host or len(url) > ADDRESS_CHARACTERS:
        raise ImageError("fetch_address", got=_shown(url))
    if parts.username is not None or parts.password is not None:
        raise ImageError("fetch_login", host=host)
    if port not in (None, PORT):
        raise ImageError("fetch_port", host=host, got=port, accepted=PORT)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, quote(target, safe=UNQUOTED)


def _join(url: str, location: str) -> str:
    # Headers are read as Latin-1; quoting with it gives back the bytes that were sent.
    location = quote(location, safe=UNQUOTED, encoding="latin-1", errors="replace")
    try:
        return urljoin(url, location)
    except ValueError:
        raise ImageError("fetch_address", got=_shown(location)) from None


def _shown(url: str) -> str:
    """An address for an error: what comes after ? or before @ may be secret."""
    text = url.partition("?")[0].rpartition("@")[2]
    return "".join(character for character in text if character.isprintable())[:200]


@contextlib.contextmanager
def _failures_named(host: str) -> Iterator[None]:
    """Turns what a network may raise into sentences about the host."""
    try:
        yield
    except TimeoutError as error:
        raise ImageError("fetch_too_slow", host=host, seconds=SECONDS) from error
    except ssl.SSLCertVerificationError as error:
        raise ImageError("fetch_certificate", host=host) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImageError("fetch_failed", host=host) from error


@contextlib.contextmanager
def _request(host: str, target: str, deadline: float) -> Iterator[http.client.HTTPResponse]:
    addresses = _public_addresses(host, deadline)
    context = trusted_context()
    context.sslsocket_class = _DeadlineSocket
    connection = http.client.HTTPSConnection(host, PORT, context=context)
    with contextlib.closing(connection):
        connection.sock = _connect(host, addresses, context, deadline)
        headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Diptych"}
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as response:
            yield response


def _public_addresses(host: str, deadline: float) -> list[str]:
    """Looks a host up once; refuses it when any of its addresses is not public."""
    pool = concurrent.futures.ThreadPoolExecutor(1)  # looking up has no time limit of its own
    future = pool.submit(resolve, host)
    pool.shutdown(wait=False)
    try:
        addresses = future.result(timeout=_remaining(deadline))
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError("fetch_unresolved", host=host) from error
    if not addresses:
        raise ImageError("fetch_unresolved", host=host)
    if not all(map(is_public, addresses)):
        raise ImageError("fetch_private", host=host)
    return addresses


def _connect(
    host: str, addresses: list[str], context: ssl.SSLContext, deadline: float
) -> ssl.SSLSocket:
    """A secured connection to the first address that answers; its certificate names the host."""
    failure: OSError = OSError("no address")
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            plain = open_socket(address, _remaining(deadline) / left)
        except OSError as error:
            failure = error
            continue
        with plain:  # wrapping takes the connection out of it, unless it fails
            plain.settimeout(_remaining(deadline))
            secured = context.wrap_socket(plain, server_hostname=host)
        assert isinstance(secured, _DeadlineSocket)
        secured.deadline = deadline
        return secured
    raise failure


def _read_body(response: http.client.HTTPResponse, host: str, limits: ImageLimits) -> bytes:
    if response.status != 200:
        raise ImageError("fetch_status", host=host, status=response.status)
    too_large = ImageError("fetch_too_large", host=host, limit=limits.file_megabytes)
    if response.length is not None and response.length > limits.file_bytes:
        raise too_large
    data = bytearray()
    while chunk := response.read(CHUNK_BYTES):
        data += chunk
        if len(data) > limits.file_bytes:
            raise too_large
    return bytes(data)
