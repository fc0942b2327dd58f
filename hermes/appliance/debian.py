"""Version and changelog of the Debian package."""

import re
import textwrap


def debian_version(version: str) -> str:
    """Return a Python version as Debian sorts it: a pre-release before its release.

    Source: deb-version(7), PEP 440.

    >>> debian_version("0.2.0.dev0"), debian_version("1.0rc1"), debian_version("1.0"), debian_version("1.0.post1")
    ('0.2.0~dev0', '1.0~rc1', '1.0', '1.0+post1')
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)*)((?:a|b|rc)\d+)?(?:\.(post\d+))?(?:\.(dev\d+))?", version)
    if match is None:
        raise ValueError(f"{version!r} is not a version that a Debian package can have")
    release, early, post, dev = match.groups()
    return "".join([release, f"~{early}" if early else "", f"+{post}" if post else "", f"~{dev}" if dev else ""])


def changelog(package: str, version: str, date: str) -> str:
    """Return the changelog, in Debian's format, of the one version."""
    return textwrap.dedent(f"""\
        {package} ({version}) unstable; urgency=medium

          * The changes are in NEWS.md.gz.

         -- The Hermes authors <hermes@users.noreply.github.com>  {date}
        """)
