"""The languages of the console: which one a user gets, and that all have the same texts."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from hermes.app import resource_dir
from hermes.web.console.i18n import ACCEPTED_MAX, Language, Languages
from tests.support.gateways import Hermes

STATIC = resource_dir("static")
TEMPLATES = resource_dir("templates")
LANGUAGES = Languages.load(STATIC / "console" / "strings")
ENGLISH = LANGUAGES.by_tag["en"].strings
OTHERS = [language for tag, language in LANGUAGES.by_tag.items() if tag != "en"]
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("de,es;q=0.4", "es"),
        ("en;q=0.3, es;q=0.7", "es"),
        ("es;q=0", "en"),
        ("es;q=lots, en", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("", "en"),
        (",;,q=", "en"),
    ],
)
def test_the_best_language_of_the_browser_is_used(accepted: str, tag: str) -> None:
    """By weight and primary tag; English if there is none."""
    assert LANGUAGES.pick(wanted=None, accepted=accepted).tag == tag


@pytest.mark.parametrize(("wanted", "tag"), [("es", "es"), ("en", "en"), ("xx", "es"), ("", "es"), ("../es", "es")])
def test_the_choice_of_the_user_takes_precedence(wanted: str, tag: str) -> None:
    """An unknown language is ignored."""
    assert LANGUAGES.pick(wanted=wanted, accepted="es").tag == tag


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.tag)
def test_every_language_has_the_same_keys_and_placeholders(language: Language) -> None:
    """Each text is translated, and is not empty."""
    strings = language.strings
    assert set(strings) == set(ENGLISH)
    for key, text in ENGLISH.items():
        assert set(PLACEHOLDER.findall(strings[key])) == set(PLACEHOLDER.findall(text)), key
        assert text.strip(), key
        assert strings[key].strip(), key


def scripts() -> Iterable[str]:
    """Return the texts of the scripts and templates of the console."""
    return [path.read_text() for path in [*(STATIC / "console").rglob("*.js"), *TEMPLATES.rglob("*.html")]]


def test_every_string_is_used() -> None:
    """By its key, or by a composed key: ``t(`state.${state}`)``, ``tOptional(`close.${code}`)``."""
    text = "\n".join(scripts())
    composed = set(re.findall(r"[`'\"]([a-z_.]+\.)(?:\$\{|[\"'] ~)", text))
    plurals = set(re.findall(r"tPlural\('([\w.]+)'", text))
    unused = [
        key
        for key in ENGLISH
        if f"'{key}'" not in text
        and f'"{key}"' not in text
        and not key.startswith(tuple(composed))
        and not any(key.startswith(f"{plural}.") for plural in plurals)
        and not re.search(rf"~ [\"']\.{re.escape(key.rpartition('.')[2])}[\"']", text)
    ]
    assert unused == []


@pytest.mark.gen_test
async def test_the_page_is_in_the_language_and_theme_of_the_user(hermes: Hermes) -> None:
    """By header, and by the cookies that its own menus set; other values of a cookie are ignored."""
    english = await hermes.request("/")
    assert b'<html lang="en" data-theme="auto">' in english.body
    spanish = await hermes.request("/", headers={"Accept-Language": "es-ES"})
    assert b'<html lang="es" data-theme="auto">' in spanish.body
    assert "Dispositivos" in spanish.body.decode()
    chosen = await hermes.request("/", headers={"Cookie": "hermes_language=es; hermes_theme=dark"})
    assert b'<html lang="es" data-theme="dark">' in chosen.body
    odd = await hermes.request("/", headers={"Cookie": 'hermes_language=%22%3E; hermes_theme="><script>'})
    assert b'<html lang="en" data-theme="auto">' in odd.body


def test_only_the_first_languages_of_a_header_are_read() -> None:
    """A header of 64 KiB must not hold the event loop."""
    spanish_last = "xx," * (ACCEPTED_MAX - 1) + "es"
    assert LANGUAGES.pick(wanted=None, accepted=spanish_last).tag == "es"
    assert LANGUAGES.pick(wanted=None, accepted=f"xx,{spanish_last}").tag == "en"


def test_no_string_contains_markup() -> None:
    """The console inserts them as text."""
    for language in LANGUAGES.by_tag.values():
        assert [key for key, text in language.strings.items() if "<" in text or "&" in text] == []


def test_every_file_of_the_folder_is_a_language_that_is_offered() -> None:
    """No translation is left unused."""
    assert {path.stem for path in Path(STATIC, "console", "strings").iterdir()} == set(LANGUAGES.by_tag)
