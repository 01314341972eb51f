"""The redaction of keys, tokens and passwords in every form. No other module redacts."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from hashlib import blake2b
from html.entities import codepoint2name

import msgspec

from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async._secret import Secret

EXCERPT_CHARS = 200
"""Characters of an unreadable response that an error shows."""

MAX_ERROR_BODY = 32_768
"""Bytes of an error response that are read for its message."""

MAX_TEXT_CHARS = 4_096
"""Characters of a message or an id that an error contains."""

MAX_ENCODED_CHARS = 24
"""Characters that one character of a secret takes at most in an encoding."""

MIN_ENCODED_CHARS = 8
"""Shorter strings in base64 and other encodings are too common to redact."""

MAX_PATTERN_CHARS = 64
"""The most characters of a secret that its pattern contains. The pattern of a complete JSON web token would take long
to compile."""

MAX_SECRETS = 8
"""The most keys and tokens of one client that are redacted. Older ones are not sent any more."""

MIN_PASSWORD_CHARS = 4
"""Shorter passwords are parts of too many words to redact."""

ERROR_HEADERS = ("Retry-After", "X-Request-Id", "Location")
"""Response headers that errors use."""


class Redactor:
    """Redacts API keys and access tokens from what a server sent, in every encoding in which servers echo them.

    Args:
        secrets: The keys or tokens.

    """

    __slots__ = ("_margin", "_patterns", "_permanent")

    def __init__(self, *secrets: Secret) -> None:
        self._permanent: tuple[_SecretForms, ...] = ()
        self._patterns: tuple[_SecretForms, ...] = ()
        self._margin = 0
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Redact one more key or token from now on. Of many, the latest ones are kept."""
        pattern = self._compile_without_frames(secret)
        if pattern not in self._patterns:
            self._patterns = (pattern, *self._patterns[: MAX_SECRETS - 1])

    def add_permanently(self, secret: Secret) -> None:
        """Redact one more secret as long as the client exists."""
        self._permanent = (*self._permanent, self._compile_without_frames(secret))

    def _compile_without_frames(self, secret: Secret) -> _SecretForms:
        """Return the forms of a secret. Ctrl-C in between leaves no frames, because these contain the secret."""
        try:
            return self._compile(secret)
        except BaseException as error:  # noqa: BLE001 - also KeyboardInterrupt
            raise error.with_traceback(None)  # noqa: B904 - the same error

    def _compile(self, secret: Secret) -> _SecretForms:
        key = secret.reveal()
        self._margin = max(self._margin, MAX_ENCODED_CHARS * len(key))
        digest = blake2b(key.encode("utf-8", "surrogatepass")).digest()
        forms = _COMPILED.get(digest)
        if forms is None:
            rare = frozenset(form.lower() for form in _rare_forms(key) if len(form) >= MIN_ENCODED_CHARS)
            forms = _SecretForms(re.compile("|".join(_patterns(key)), re.IGNORECASE), rare)
            if len(_COMPILED) >= MAX_COMPILED:
                _COMPILED.clear()
            _COMPILED[digest] = forms
        return forms

    def __repr__(self) -> str:
        return "<Redactor>"

    def text(self, text: str) -> str:
        """Return the beginning of ``text`` with each key and token replaced by stars."""
        beginning = self.replace_in(text[: MAX_TEXT_CHARS + self._margin])
        return self._without_split_secret(beginning, is_cut=len(text) > MAX_TEXT_CHARS + self._margin)[:MAX_TEXT_CHARS]

    def excerpt(self, body: bytes) -> str:
        """Return the beginning of a body as one printable line."""
        text = self._beginning(body, 16 * EXCERPT_CHARS, "replace")
        return " ".join(text.split())[:EXCERPT_CHARS]

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return an unsuccessful response reduced to what errors use, without keys and tokens."""
        values = {name: response.header(name) for name in ERROR_HEADERS}
        headers = {name: self.text(value) for name, value in values.items() if value is not None}
        body = self._beginning(response.body, MAX_ERROR_BODY, "surrogateescape")
        return HttpResponse(response.status, headers, body.encode("utf-8", "surrogateescape"))

    def _beginning(self, body: bytes, size: int, errors: str) -> str:
        """Return the redacted beginning of a body, without the part of a secret that the limit splits."""
        # In UTF-16 and UTF-32, NULs would separate the characters of a secret.
        text = self.replace_in(body[: size + self._margin].replace(b"\0", b"").decode("utf-8", errors))
        return self._without_split_secret(text, is_cut=len(body) > size + self._margin)

    def replace_in(self, text: str) -> str:
        """Return a complete text with each key and token replaced by stars, which takes long for large texts."""
        lowered = text.lower()
        for forms in (*self._permanent, *self._patterns):
            text = forms.pattern.sub("***", text)
            for form in forms.rare:
                if form in lowered:  # much faster than one more alternative of the pattern
                    text = re.sub(re.escape(form) + r"[\w+/=-]*", "***", text, flags=re.IGNORECASE)
        return text

    def _without_split_secret(self, text: str, *, is_cut: bool) -> str:
        """Return a text without its end, which may be a part of a secret if the text was cut."""
        return text[: -self._margin] if is_cut and self._margin else text


class _SecretForms(msgspec.Struct, frozen=True):
    """The forms in which servers return a secret."""

    pattern: re.Pattern[str]
    rare: frozenset[str]
    """Forms without variants, in lower case."""


_COMPILED = dict[bytes, _SecretForms]()
"""The forms of recent secrets by their digests. To compile them takes tens of milliseconds, and a program may make a
client for each of its requests."""

MAX_COMPILED = 64
"""The most secrets whose forms are kept."""


def _rare_forms(key: str) -> Iterator[str]:
    """Yield the key reversed, in base32, in base64 within base64 or hex, and as UTF-16 in base64 or hex."""
    yield key[::-1]
    for offset in range(5):  # the form of a substring depends on its position
        yield base64.b32encode(b"\0" * offset + key.encode()).decode().rstrip("=")[-(-8 * offset // 5) : -1]
    for inner in _base64_parts(key.encode()):
        yield from (part.decode() for part in _base64_parts(inner))
        yield inner.hex()
    for data in (key.encode("utf-16-le"), key.encode("utf-16-be")):
        yield data.hex()
        for part in _base64_parts(data):
            yield part.decode()
            yield part.decode().translate(_URL_ALPHABET)


_URL_ALPHABET = str.maketrans("+/", "-_")


def _patterns(secret: str) -> Iterator[str]:
    """Yield the patterns of a secret. A long secret is matched by its beginning and the rest of the word."""
    if len(secret) <= MAX_PATTERN_CHARS:
        yield from _encodings(secret)
        return
    for pattern in _encodings(secret[:MAX_PATTERN_CHARS]):
        yield pattern + _REST


def _encodings(key: str) -> Iterator[str]:
    """Yield patterns for the key as it is, escaped as JSON, URL, HTML or bytes, also twice, and in base64 and hex."""
    data = key.encode()
    yield f"(?:{_WRAP}|{_BREAK}| )?".join(_encodings_of(char) for char in key)
    yield r"(?:(?:0|\\{1,4})x|[\s:,;-]){0,4}".join(f"{byte:02x}" for byte in data)
    if len(data) > 1:
        yield r"[\s,;]{1,4}".join(map(str, data))
    for inner in _base64_parts(data):  # the form of a substring depends on its position
        chars = (_BASE64_FORMS.get(char, char) for char in inner.decode())
        yield f"(?:{_WRAP})?".join(chars) + r"[\w+/-]{0,2}={0,2}"


def _base64_parts(data: bytes) -> Iterator[bytes]:
    """Yield the base64 forms of data within other data, without the characters that depend on it."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).rstrip(b"=")
        inner = encoded[(0, 2, 3)[offset] : -1]
        if len(inner) >= MIN_ENCODED_CHARS:
            yield inner


def _encodings_of(char: str) -> str:
    """Return the pattern of one character. The number of repeated escapes is bounded, so that matching stays fast."""
    code, name = ord(char), _HTML_NAMES.get(char)
    forms = [
        rf"\\{{0,4}}{re.escape(char)}",
        rf"\\{{1,4}}(?:u(?:0000)?00{code:02x}|x{code:02x}|u\{{0{{0,4}}{code:x}\}}|0?{code:03o})",
        f"%(?:25){{0,2}}(?:u00)?{code:02x}",
        f"={code:02x}",
        f"&(?:amp;){{0,2}}#(?:0{{0,5}}{code}|x0{{0,5}}{code:x});",
    ]
    if name is not None:
        forms.append(f"&(?:amp;){{0,2}}{name}")
    return f"(?:{'|'.join(forms)})"


_WRAP = r"(?:=?\r?\n|=?(?:\\{1,4}r)?\\{1,4}n)[ \t]{0,8}"
"""Where servers wrap long lines, also in JSON: MIME wraps base64, and quoted-printable adds an equals sign."""

_BREAK = r"[\0\u00ad\u200b\u2060\ufeff]|\\u(?:0000|00ad|200b)|<wbr\s?/?>|&(?:shy|#0*(?:173|8203|xad|x200b));"
"""Invisible characters between those of a secret, with which pages break long words, and NULs."""

_REST = (
    r"""(?:[^\s"'<>\\]|\\+(?![\\"'rn])|"""
    rf"""{_WRAP}(?=[\w+/=%.-]{{8}})|(?:{_BREAK})(?=\S)| (?=\S(?: |$))|"""
    r"""[ :,;-]{1,2}(?=(?:0x)?[0-9a-f]{2}\b))*"""
)
"""The rest of a word, also if it continues in further lines or in further bytes in hex."""

_BASE64_FORMS = {"+": r"(?:\+|-|%2b|\\u002b)", "/": r"(?:\\{0,4}/|_|%2f|\\u002f)"}
"""Patterns of the characters of base64 that are encoded again in URLs and in JSON."""

_HTML_NAMES = {chr(code): f"(?:{name});" for code, name in codepoint2name.items() if code < 128} | {
    "+": "plus;",
    "/": "sol;",
    "=": "equals;",
    "-": "(?:hyphen|dash);",
    "_": "lowbar;",
    ".": "period;",
    ":": "colon;",
}
"""The names of ASCII characters in HTML."""


def code_without_data(code: str | None) -> str | None:
    """Return an error code, or None for a text that does not look like one, which may contain data of the account.

    A code begins with a lower-case letter and has up to 60 lower-case letters, digits, hyphens, dots and underscores.
    It has no four digits in a row.
    """
    return code if code is not None and _CODE.fullmatch(code) else None


def request_id_without_data(request_id: str | None) -> str | None:
    """Return a request id, or None for a text that does not look like one.

    An id has 6 to 64 letters, digits, hyphens and underscores, and at least one digit.
    """
    return request_id if request_id is not None and _REQUEST_ID.fullmatch(request_id) else None


_CODE = re.compile(r"(?!.*\d{4})[a-z][a-z0-9_.-]{0,59}")

_REQUEST_ID = re.compile(r"(?=.*\d)[A-Za-z0-9_-]{6,64}")
