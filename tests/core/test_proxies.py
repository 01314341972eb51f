"""The proxy, the certificates and the key that the environment configures."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from leadfeeder_async import (
    AccessToken,
    AsyncLeadfeeder,
    AttemptTimeoutError,
    ConfigurationError,
    ConnectError,
    MissingKeyError,
    ProtocolError,
    ServerError,
)
from leadfeeder_async._proxies import proxy_from_environment
from leadfeeder_async.settings import find_api_key, read_account_id, read_base_url
from tests.support.clients import KEY, client_of
from tests.support.requirements import is_windows, needs_case_sensitive_variables
from tests.support.servers import RawServer, http, listening, port_of, raw_server

API = "https://api.leadfeeder.com"
OK = http(b'{"data": {"id": "1", "type": "user", "attributes": {}}}')


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    return monkeypatch


@pytest.fixture
async def proxy() -> AsyncIterator[RawServer]:
    async with raw_server(OK) as running:
        yield running


@pytest.mark.parametrize(
    ("value", "url", "credentials"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128", None),
        ("proxy.test:3128", "http://proxy.test:3128", None),
        (" HTTP://proxy.test:3128/ ", "http://proxy.test:3128", None),
        ("proxy.test", "http://proxy.test:80", None),
        ("someone:pa%40ss@proxy.test:8080", "http://proxy.test:8080", "someone:pa@ss"),
        ("http://[::1]:3128", "http://[::1]:3128", None),
    ],
)
def test_proxy_address(environment: pytest.MonkeyPatch, value: str, url: str, credentials: str | None) -> None:
    """An address may have no scheme, and credentials are decoded."""
    environment.setenv("HTTPS_PROXY", value)
    proxy = proxy_from_environment(API)
    assert proxy is not None
    assert (proxy.url, proxy.variable) == (url, "HTTPS_PROXY")
    assert (proxy.credentials and proxy.credentials.reveal()) == credentials
    assert "pa" not in repr(proxy_from_environment(API)).replace("'http://", "")


@pytest.mark.parametrize(
    "value",
    [
        "https://proxy.test:3128", "socks5://proxy.test:1080", "socks5h://u:pa55@proxy.test:1080", "socks4://proxy.test",
        "http://proxy.test:99999", "proxy.test:0", "http://u:pa55@proxy.test:x", "http://u:pa#55@proxy.test:80", "http://",
        "http://[::1", "http://u%3Av:pa55@proxy.test:1", "http://u:55#pa@proxy.test:80", "http://u:55/pa@proxy.test:80",
        "u:55?pa@proxy.test:80",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_unusable_proxy_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A proxy that cannot be used is an error before anything is sent, and its password is not shown."""
    environment.setenv(name, value)
    shown = name.upper() if is_windows else name
    with pytest.raises(ConfigurationError, match=shown) as caught:
        client_of(API, trust_env=True)
    assert caught.value.sent == "no"
    assert "55" not in str(caught.value)
    async with aiohttp.ClientSession(trust_env=True) as session:
        with pytest.raises(ConfigurationError, match=shown):
            client_of(API, session=session)
    client_of(API)  # without trust_env, the environment is not read


@pytest.mark.parametrize(
    ("entries", "url", "is_excluded"),
    [
        ("*", API, True),
        ("leadfeeder.com", API, True),
        (".leadfeeder.com", API, True),
        ("*.leadfeeder.com", API, True),
        ("other.test, API.LEADFEEDER.COM", API, True),
        ("other.test api.leadfeeder.com:443", API, True),
        ("api.leadfeeder.com:8443", API, False),
        ("feeder.com,leadfeeder,,", API, False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("::1", "https://[::1]:8443", True),
    ],
)
def test_no_proxy(environment: pytest.MonkeyPatch, entries: str, url: str, *, is_excluded: bool) -> None:
    """NO_PROXY lists hosts, domains and networks, with or without a port."""
    environment.setenv("HTTPS_PROXY", "proxy.test:3128")
    environment.setenv("NO_PROXY", entries)
    assert (proxy_from_environment(url) is None) is is_excluded


class VariablesOfWindows(dict[str, str]):
    """Environment variables as Python shows them on Windows: their names are in upper case, and any case finds them."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.upper())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.upper(), default)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).upper())


def test_request_header_on_windows(environment: pytest.MonkeyPatch) -> None:
    """The header of a CGI request configures no proxy, although Windows finds its variable by a lowercase name too."""
    variables = VariablesOfWindows(HTTP_PROXY="http://proxy.test:3128")
    environment.setattr(os, "environ", variables)
    proxy = proxy_from_environment("http://sandbox.test:8080")
    assert (proxy and proxy.variable) == "HTTP_PROXY"
    variables["REQUEST_METHOD"] = "GET"
    assert proxy_from_environment("http://sandbox.test:8080") is None


@needs_case_sensitive_variables
def test_precedence_of_variables(environment: pytest.MonkeyPatch) -> None:
    """Lowercase names come first, then ALL_PROXY. The header of a CGI request configures no proxy."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "http_proxy"):
        environment.setenv(name, f"{name.lower().replace('_', '-')}{len(name)}.test:1")
    names = []
    for _ in range(2):
        proxy = proxy_from_environment("http://sandbox.test:8080")
        names.append(proxy and proxy.variable)
        environment.delenv("http_proxy")
        environment.setenv("http_proxy", " ")
    environment.setenv("REQUEST_METHOD", "GET")
    proxy = proxy_from_environment("http://sandbox.test:8080")
    assert [*names, proxy and proxy.variable] == ["http_proxy", "HTTP_PROXY", "ALL_PROXY"]


@pytest.mark.parametrize("value", ["http://proxy.test:3128", "socks5://127.0.0.1:1080"])
async def test_loopback_is_not_proxied(environment: pytest.MonkeyPatch, proxy: RawServer, value: str) -> None:
    """Unencrypted requests to this machine are never sent to a proxy, because it would see the key."""
    environment.setenv("HTTP_PROXY", value)
    async with client_of(proxy.url, trust_env=True) as lf:
        await lf.users.me()
    assert proxy.requests[0].startswith(b"GET /v1/")
    assert proxy_from_environment("https://localhost:8443") is None
    environment.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    assert proxy_from_environment("https://localhost:8443") is not None


@pytest.mark.parametrize("source", ["argument", "variable"])
async def test_proxy_with_login(environment: pytest.MonkeyPatch, proxy: RawServer, source: str) -> None:
    """The proxy receives its credentials, including characters outside Latin-1."""
    environment.setenv("HTTP_PROXY", proxy.url.replace("://", "://us%C4%8Dr:pass@"))
    if source == "variable":
        environment.setenv("LEADFEEDER_TRUST_ENV", "1")
    async with client_of("http://sandbox.test:8080", allow_http=True, trust_env=source == "argument" or None) as lf:
        await lf.users.me()
    (request,) = proxy.requests
    assert request.startswith(b"GET http://sandbox.test:8080/v1/")
    assert b"Proxy-Authorization: Basic dXPEjXI6cGFzcw==" in request


@pytest.mark.parametrize(
    "echo",
    [
        "Proxy-Authorization: Basic c29tZW9uZTpwYXNzd29yZA== (someone:password)",
        "The password of someone is password.",
        '{"title": "someone", "detail": "pas\\u0073word"}',
        "cGFzc3dvcmQ=",
    ],
)
async def test_login_echoed_by_a_proxy(environment: pytest.MonkeyPatch, echo: str) -> None:
    """The error page of a proxy that echoes its login shows it in no error, however often the token was renewed."""
    tokens = (AccessToken(f"token-{number}", expires_at=datetime.now(UTC)) for number in range(99))
    async with raw_server(*[http(echo.encode(), "502 Bad Gateway")] * 20) as server:
        environment.setenv("HTTP_PROXY", server.url.replace("://", "://someone:pass%77ord@"))
        base_url = "http://sandbox.test:8080"
        async with AsyncLeadfeeder(
            access_token=lambda: next(tokens), base_url=base_url, allow_http=True, trust_env=True, retries=0
        ) as lf:
            for _ in range(12):
                with pytest.raises(ServerError) as caught:
                    await lf.users.me()
    assert "***" in str(caught.value)
    assert not re.search("c29tZW9uZ|someone:password|is password|pas.*word|cGFzc3dv", str(caught.value)[4:])


async def test_netrc_is_not_read(environment: pytest.MonkeyPatch, tmp_path: Path, proxy: RawServer) -> None:
    """Passwords of .netrc are sent neither to the API nor to the proxy."""
    (tmp_path / "netrc").write_text("default login someone password pa55\n", encoding="utf-8")
    environment.setenv("NETRC", str(tmp_path / "netrc"))
    environment.setenv("HTTP_PROXY", proxy.url)
    async with client_of("http://sandbox.test:8080", allow_http=True, trust_env=True) as lf:
        await lf.users.me()
    assert b"authorization" not in proxy.requests[0].lower()


async def test_borrowed_session_uses_proxy(environment: pytest.MonkeyPatch, proxy: RawServer) -> None:
    """With trust_env, requests on a borrowed session are sent to the proxy."""
    environment.setenv("HTTP_PROXY", proxy.url)
    async with (
        aiohttp.ClientSession() as session,
        client_of("http://sandbox.test:8080", allow_http=True, trust_env=True, session=session) as lf,
    ):
        await lf.users.me()
    assert len(proxy.requests) == 1


async def test_tunnel_to_an_https_api(environment: pytest.MonkeyPatch) -> None:
    """HTTPS is sent through a tunnel. The proxy receives its own credentials and not the key."""
    head = asyncio.get_running_loop().create_future()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(refuse) as server:
        environment.setenv("HTTPS_PROXY", f"someone:pass@127.0.0.1:{port_of(server)}")
        async with client_of(API, trust_env=True, retries=0) as lf:
            with pytest.raises(Exception, match=r"proxy rejected the connection \(502\)"):
                await lf.users.me()
    request: bytes = await head
    assert request.startswith(b"CONNECT api.leadfeeder.com:443 ")
    assert b"Proxy-Authorization: Basic c29tZW9uZTpwYXNz" in request
    assert KEY.encode() not in request


async def test_tunnel_that_the_proxy_closes(environment: pytest.MonkeyPatch) -> None:
    """A request whose tunnel is closed is sent again by the client alone, and not by aiohttp."""
    connections = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with listening(close) as server:
        environment.setenv("HTTPS_PROXY", f"127.0.0.1:{port_of(server)}")
        async with client_of(API, trust_env=True, retries=1) as lf:
            with pytest.raises(ConnectError) as caught:
                await lf.users.me()
    assert (connections, lf.stats.requests, caught.value.context.sent) == (2, 2, "no")


async def test_tunnel_that_the_proxy_never_opens(environment: pytest.MonkeyPatch) -> None:
    """The time to connect includes the response of the proxy."""
    environment.setattr("leadfeeder_async._core.transport.CONNECT_TIMEOUT", 0.05)

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(wait) as server:
        environment.setenv("HTTPS_PROXY", f"127.0.0.1:{port_of(server)}")
        async with client_of(API, trust_env=True, retries=0) as lf:
            with pytest.raises(AttemptTimeoutError, match=r"No connection within 0\.05 s") as caught:
                await lf.users.me()
    assert (caught.value.context.sent, caught.value.context.phase) == ("no", "connect")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_certificates_of_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    """A certificate file replaces the certificates of the system. The error names a file that cannot be used."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with listening(RawServer(OK).handle, "localhost", ssl=context) as server:
        url = f"https://localhost:{port_of(server)}"
        environment.setenv(variable, str(tmp_path / "ca.pem"))
        async with client_of(url, trust_env=True) as lf:
            await lf.users.me()
        (tmp_path / "broken.pem").write_text("no certificate", encoding="utf-8")
        for name in ("broken.pem", "missing.pem"):
            environment.setenv(variable, str(tmp_path / name))
            with pytest.raises(ConfigurationError, match=f"{variable}=.*{name}"):
                await client_of(url, trust_env=True).users.me()


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "aes128gcm"])
async def test_content_encoding_of_a_proxy(encoding: str) -> None:
    """A response in an encoding that cannot be decoded is an error that names it."""
    response = http(b"\x1f\x9d\x90").replace(b"\r\n", b"\r\nContent-Encoding: " + encoding.encode() + b"\r\n", 1)
    async with raw_server(response) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(ProtocolError, match=encoding):
            await lf.users.me()


def test_plain_http_needs_permission(environment: pytest.MonkeyPatch) -> None:
    """An argument or a variable allows plain HTTP to another machine. The argument wins."""
    url = "http://sandbox:8080"
    with pytest.raises(ConfigurationError, match="LEADFEEDER_ALLOW_HTTP=1"):
        read_base_url(url)
    assert read_base_url(url, allow_http=True) == url
    environment.setenv("LEADFEEDER_ALLOW_HTTP", "1")
    assert read_base_url(url) == url
    AsyncLeadfeeder(KEY, base_url=url)
    with pytest.raises(ConfigurationError):
        AsyncLeadfeeder(KEY, base_url=url, allow_http=False)
    environment.setenv("LEADFEEDER_ALLOW_HTTP", "maybe")
    with pytest.raises(ConfigurationError, match="must be 1 or 0"):
        read_base_url(url)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "x", "-1"])
def test_invalid_port(port: str) -> None:
    """An invalid port is rejected before anything is sent."""
    with pytest.raises(ConfigurationError, match="invalid port") as caught:
        client_of(f"http://127.0.0.1:{port}")
    assert caught.value.sent == "no"
    with pytest.raises(ConfigurationError) as caught:
        client_of(f"http://user:pa55@127.0.0.1:{port}")
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("key", ["k3y-in-the-wrong-variable", "ab.k3y.cd", "k3y/abcdef==", "/k3y==", "k3y" * 2_000])
def test_key_in_the_variable_of_the_file(environment: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    """A key in the wrong variable is not shown. A path or the name of a file is."""
    environment.setenv("LEADFEEDER_API_KEY_FILE", key)
    with pytest.raises(MissingKeyError, match="its value is not shown") as mistaken:
        find_api_key(None)
    assert "k3y" not in str(mistaken.value)
    for path in ("key.txt", str(tmp_path / "missing" / "leadfeeder"), "~/missing/leadfeeder"):
        environment.setenv("LEADFEEDER_API_KEY_FILE", path)
        with pytest.raises(MissingKeyError, match=re.escape(f"='{path}' cannot be read")):
            find_api_key(None)


def test_key_from_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key may be the content of a file. An argument or LEADFEEDER_API_KEY comes first."""
    path = tmp_path / "key"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # PowerShell 5 writes UTF-16
        path.write_text("k3y\n", encoding=encoding)
        environment.setenv("LEADFEEDER_API_KEY_FILE", str(path))
        assert find_api_key(None).reveal() == "k3y"
    path.unlink()
    with pytest.raises(MissingKeyError, match=r"LEADFEEDER_API_KEY_FILE=.*cannot be read: No such file"):
        find_api_key(None)
    environment.setenv("LEADFEEDER_API_KEY_FILE", str(path))
    path.write_bytes(b"\xff\xfe\x00secret")
    with pytest.raises(MissingKeyError, match="is not text") as caught:
        find_api_key(None)
    assert "secret" not in str(caught.value)
    path.write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")
    assert find_api_key(None).reveal() == KEY
    assert find_api_key("other").reveal() == "other"
    environment.setenv("LEADFEEDER_API_KEY", "of-the-variable")
    assert find_api_key(None).reveal() == "of-the-variable"


@pytest.mark.parametrize("end", ["\r", "\r\n", " ", "\t\n"])
def test_white_space_around_key_and_account(environment: pytest.MonkeyPatch, end: str) -> None:
    """White space at the ends is removed, as of an .env file with CRLF. Inside an account ID it is rejected."""
    environment.setenv("LEADFEEDER_API_KEY", KEY + end)
    environment.setenv("LEADFEEDER_ACCOUNT_ID", f"310042{end}")
    assert (find_api_key(None).reveal(), read_account_id(None), read_account_id(f" 7{end}")) == (KEY, "310042", "7")
    with pytest.raises(ConfigurationError, match="account_id"):
        read_account_id(f"31{end}42")
