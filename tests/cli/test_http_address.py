"""Addresses that the command is given: the webhook of a watch, and the document of ``contract check``."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from msgspec import convert

from leadfeeder_async import ConfigurationError, WebVisit
from leadfeeder_async.cli.http_address import HttpAddress
from leadfeeder_async.cli.webhook import Webhook, describe, message_of
from tests.cli.command import leadfeeder
from tests.support.servers import RawServer, http, listening, port_of, raw_server

FAR = "http://hooks.example.test/secret"
LOGIN = b"Proxy-Authorization: Basic c29tZW9uZTpwYTU1"
NO_PROXY: dict[str, str] = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "no_proxy"), "")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies and certificates that trusts them, as the command does."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEADFEEDER_TRUST_ENV", "1")
    return monkeypatch


@pytest.fixture
async def proxy() -> AsyncIterator[RawServer]:
    async with raw_server(http(b"{}")) as running:
        yield running


async def post(url: str, visit_id: str = "v") -> str | None:
    """Post a visit once. Return the reason of a failure, or None."""
    async with Webhook(url, "json") as receiver:
        return await receiver._try_post(visit_id, b"{}")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "url",
    [
        "http://[bad/secret", "http://h:abc/secret", "http://h:99999/secret", "http://h:0/secret", "http://h:-1/secret",
        f"http://{'a' * 64}.test/secret", f"http://{'ab.' * 100}test/secret", "http://a..b/secret", "http://.b/secret",
        "http://exa mple/secret", "http://x\0y/secret", "http://e%0asecret/", "http:///secret", "http:secret", "secret",
        "ftp://h/secret", "file:///secret", "//h/secret", "", "http://\udce9/secret", "http://user:secret@/",
        "http://user:sec/secret@h", "http://\u2100.test/secret",
        "https://user:4711#secret@h/x",
    ],
)  # fmt: skip
def test_invalid_address_is_refused(url: str) -> None:
    """An address that no request could reach is an error at the start, which does not show it."""
    with pytest.raises(ConfigurationError, match="The address of the webhook is not a valid URL") as caught:
        Webhook(url, "json")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.test/T000/x?y=z#f", "hooks.test"),
        (" HTTPS://Hooks.Test:8443 ", "hooks.test"),
        ("http://user:p@ss@my_host.:80/", "my_host."),
        ("http://[::1]:5/", "::1"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0"),
        ("http://münchen.test/ä", "münchen.test"),
        (f"http://{'a' * 63}.test/", f"{'a' * 63}.test"),
    ],
)
def test_valid_addresses(url: str, host: str) -> None:
    """Every other address of a web server is accepted."""
    address = HttpAddress(url, "webhook")
    assert address.host == host
    assert "@" not in address.without_login


@pytest.mark.parametrize("arguments", [("watch", "--webhook"), ("contract", "check")])
@pytest.mark.parametrize("url", ["http://[bad/secret", f"http://{'a' * 64}.test/secret", "http://h:99999/secret"])
async def test_invalid_address_ends_the_command(arguments: tuple[str, ...], url: str) -> None:
    """The command ends with the exit code of invalid usage, and sends nothing."""
    code, stdout, stderr = await leadfeeder(None, *arguments, url, LEADFEEDER_API_KEY="k")
    assert (code, stdout, "is not a valid URL" in stderr, "secret" in stderr) == (2, "", True, False)


async def test_webhook_through_a_proxy(environment: pytest.MonkeyPatch, proxy: RawServer) -> None:
    """Posts are sent to the proxy of the environment, with its login, unless NO_PROXY or the switch excludes it."""
    environment.setenv("ALL_PROXY", proxy.url.replace("://", "://someone:pa55@"))
    assert await post(FAR) is None
    assert proxy.requests[0].startswith(b"POST http://hooks.example.test/secret HTTP/1.1\r\n")
    assert LOGIN in proxy.requests[0]
    async with raw_server(http(b"{}")) as receiver:
        environment.setenv("NO_PROXY", "localhost")
        assert await post(receiver.url) is None
        environment.delenv("NO_PROXY")
        environment.setenv("LEADFEEDER_TRUST_ENV", "0")
        assert await post(receiver.url) is None
        environment.setenv("LEADFEEDER_TRUST_ENV", "1")
        environment.setenv("http_proxy", "http://proxy.test:1")  # a proxy on another machine, for this machine
        assert await post(receiver.url) is None
    assert len(receiver.requests) == 3
    assert not any(b"Proxy-Authorization" in request for request in receiver.requests)
    assert len(proxy.requests) == 1


async def test_tunnel_to_a_webhook(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """HTTPS is sent through a tunnel, so the proxy sees neither the path nor the visit."""
    async with raw_server(http(b"", "502 Bad Gateway")) as proxy:
        environment.setenv("https_proxy", proxy.url.replace("://", "://someone:pa55@"))
        assert await post("https://hooks.example.test/secret") == "the proxy rejected the connection (502)"
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT hooks.example.test:443 ")
    assert LOGIN in request
    assert b"secret" not in request
    assert "pa55" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["https://proxy.test:3128", "socks5://u:pa55@proxy.test:1080", "http://u:pa55@p:x"])
def test_unusable_proxy_of_a_webhook(environment: pytest.MonkeyPatch, value: str) -> None:
    """A proxy that cannot be used is an error, because posts would be sent around it otherwise."""
    environment.setenv("HTTP_PROXY", value)
    with pytest.raises(ConfigurationError, match="HTTP_PROXY") as caught:
        Webhook(FAR, "json")
    assert "pa55" not in str(caught.value)


async def test_certificates_of_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The certificates of the environment are trusted, and no others. A file that cannot be used is an error."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = RawServer(http(b"{}"))
    async with listening(server.handle, "localhost", ssl=context) as running:
        url = f"https://localhost:{port_of(running)}"
        assert await post(url) == "ClientConnectorCertificateError"
        environment.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert await post(url) is None
        environment.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
        with pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE=.*missing\.pem"):
            Webhook(url, "json")
    assert len(server.requests) == 1


async def test_document_through_a_proxy(proxy: RawServer) -> None:
    """The document is downloaded through the proxy. Messages do not show a login of its address."""
    proxy.script = [http(b"paths: {}"), http(b"", "404 Not Found")]
    url, variables = "http://someone:secret@docs.example.test/openapi.yaml", {**NO_PROXY, "HTTP_PROXY": proxy.url}
    for code, message in ((1, "http://docs.example.test/openapi.yaml: "), (5, "could not be downloaded")):
        found, stdout, stderr = await leadfeeder(None, "contract", "check", url, **variables)
        assert (found, message in stderr, "secret" in stdout + stderr) == (code, True, False)
    assert all(request.startswith(b"GET http://docs.example.test/openapi.yaml ") for request in proxy.requests)
    code, _, stderr = await leadfeeder(None, "contract", "check", url, **{**NO_PROXY, "HTTP_PROXY": "socks5://p:1"})
    assert (code, "HTTP_PROXY names a proxy with the scheme socks5" in stderr) == (2, True)


@pytest.mark.parametrize(
    ("visit_id", "key"),
    [
        ("0b8f-1:2/3=", "0b8f-1:2/3="),
        ("bad\n2", "bad%0A2"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil:%201"),
        ("é\u2028\0", "%C3%A9%E2%80%A8%00"),
        ("%0A", "%250A"),
        ("\ud800", "%5Cud800"),
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 100_000, f"sha256:{sha256(b'x' * 100_000).hexdigest()}"),
    ],
)
async def test_ids_in_headers(visit_id: str, key: str) -> None:
    """Every id is delivered: special characters are percent-encoded, and a long id is hashed."""
    async with raw_server(http(b"{}")) as server:
        assert await post(server.url, visit_id) is None
    head = server.requests[0].decode().split("\r\n")
    (found,) = [line.removeprefix("Idempotency-Key:").strip() for line in head if line.startswith("Idempotency-Key:")]
    assert found == key
    assert not any(line.startswith("X-Evil") for line in head)


async def test_cookies_of_a_receiver_are_not_stored() -> None:
    """A cookie that the receiver sets is not sent to it again."""
    async with raw_server(http(b"{}", headers="Set-Cookie: a=b; Path=/\r\n")) as server:
        async with Webhook(server.url, "json") as receiver:
            for visit_id in "ab":
                await receiver.post(WebVisit(id=visit_id))
    assert not any(b"Cookie" in request for request in server.requests)


def test_texts_in_messages() -> None:
    """Texts that visitors choose cannot forge lines, links or commands of a chat, and long ones are cut."""
    page = "/a\n\nAlert: [pay](https://evil.test) \u202e<!channel>\x1b"
    attributes = {"landing_page_path": page, "source": "x" * 100_000}
    company = {"id": "1" * 1_000, "attributes": {"name": " \n"}}
    visit = convert({"id": "v", "attributes": attributes, "relationships": {"company": company}}, WebVisit)
    text = describe(visit)
    shown = r"/a Alert: [pay](https://evil.test) \u202e<!channel>\u001b"
    assert text == f"Company {'1' * 200}… visited {shown} from {'x' * 200}…."
    assert "<!channel>" not in str(message_of(visit, "slack"))
    assert "[pay] (https://evil.test)" in str(message_of(visit, "teams"))
