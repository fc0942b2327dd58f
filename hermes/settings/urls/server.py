"""What is checked in the URL of every server.

No error repeats anything of the text, because that may contain a password.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True, slots=True)
class UrlForm:
    """How the URL of one kind of server is written.

    ``name`` begins the errors; ``examples`` stand after an unknown scheme, the first after every other error.
    ``escapes`` says how signs are written in a password. Only a URL of ``path_schemes`` may have a path.
    """

    name: str
    schemes: Sequence[str]
    examples: Sequence[str]
    escapes: str
    path_schemes: Sequence[str] = ()


def split_url(text: str, form: UrlForm) -> tuple[SplitResult, int | None]:
    """Return the parts of a URL, and its port.

    Raises ValueError without a known scheme, and for a host, a port or white space that no server has.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(
            f"{form.name}'s host or port cannot be read; write {form.examples[0]}, {form.escapes}"
        ) from None
    if parts.scheme not in form.schemes or not text.partition(":")[2].startswith("//"):
        *first, last = [f"{scheme}://" for scheme in form.schemes]
        raise ValueError(
            f"{form.name} does not begin with {', '.join(first)} or {last}; write {', '.join(form.examples)}"
        )
    if any(sign.isspace() or not sign.isprintable() for sign in text):
        raise _no_host(form)
    return parts, port


def check_server(parts: SplitResult, form: UrlForm) -> None:
    """Check that the parts name one server, and perhaps a user.

    Raises ValueError.
    """
    if not parts.hostname:
        raise _no_host(form)
    try:
        parts.hostname.encode("idna")
    except UnicodeError:  # the resolver would report the same, in many lines
        raise ValueError(
            f"{form.name}'s host has an empty label, or one of over 63 characters; write {form.examples[0]}"
        ) from None
    if parts.port == 0:
        raise ValueError(f"{form.name}'s port is 0; write one from 1 to 65535, or none for the default")
    has_path = parts.path not in ("", "/") and parts.scheme not in form.path_schemes
    if has_path or parts.query or parts.fragment:
        raise ValueError(f"{form.name} has something after host and port; write {form.examples[0]}, {form.escapes}")
    if parts.username == "" or (parts.username is None and parts.password is not None):
        raise ValueError(f"{form.name} has a password and no user, or an empty user; write {form.examples[0]}")


def _no_host(form: UrlForm) -> ValueError:
    return ValueError(f"{form.name} has no host, or contains white space; write {form.examples[0]}")
