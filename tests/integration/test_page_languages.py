"""The console's languages: which one a reader gets, and that each says all that the others say."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from hermes.app import resource_dir
from hermes.web.console.i18n import Language, Languages
from tests.support.gateways import Hermes

STATIC = resource_dir("static")
TEMPLATES = resource_dir("templates")
LANGUAGES = Languages.load(STATIC / "console" / "strings")
ENGLISH = LANGUAGES.by_tag["en"].strings
OTHERS = [language for tag, language in LANGUAGES.by_tag.items() if tag != "en"]
PLACE = re.compile(r"\{(\w+)\}")


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
def test_the_browsers_best_language_is_taken(accepted: str, tag: str) -> None:
    """By weight, by primary tag; English where there is none."""
    assert LANGUAGES.pick(wanted=None, accepted=accepted).tag == tag


@pytest.mark.parametrize(("wanted", "tag"), [("es", "es"), ("en", "en"), ("xx", "es"), ("", "es"), ("../es", "es")])
def test_the_readers_own_choice_wins_where_there_is_such_a_language(wanted: str, tag: str) -> None:
    """Else it is as if nothing had been chosen."""
    assert LANGUAGES.pick(wanted=wanted, accepted="es").tag == tag


@pytest.mark.parametrize("language", OTHERS, ids=lambda language: language.tag)
def test_every_language_has_the_same_keys_and_places_to_fill(language: Language) -> None:
    """Nothing is left untranslated, and nothing is filled in one language only."""
    strings = language.strings
    assert set(strings) == set(ENGLISH)
    for key, words in ENGLISH.items():
        assert set(PLACE.findall(strings[key])) == set(PLACE.findall(words)), key
        assert words.strip(), key
        assert strings[key].strip(), key


def scripts() -> Iterable[str]:
    """The console's scripts and templates."""
    return [path.read_text() for path in [*(STATIC / "console").rglob("*.js"), *TEMPLATES.rglob("*.html")]]


def test_every_string_is_used() -> None:
    """By its own key, or by a key that is put together: ``t(`state.${state}`)``, ``maybe(`close.${code}`)``."""
    text = "\n".join(scripts())
    made = set(re.findall(r"[`'\"]([a-z_.]+\.)(?:\$\{|[\"'] ~)", text))
    plurals = set(re.findall(r"plural\('([\w.]+)'", text))
    unused = [
        key
        for key in ENGLISH
        if f"'{key}'" not in text
        and f'"{key}"' not in text
        and not key.startswith(tuple(made))
        and not any(key.startswith(f"{plural}.") for plural in plurals)
        and not re.search(rf"~ [\"']\.{re.escape(key.rpartition('.')[2])}[\"']", text)
    ]
    assert unused == []


@pytest.mark.gen_test
async def test_the_page_comes_in_the_readers_language_and_theme(hermes: Hermes) -> None:
    """By header, and by the cookies that its own choosers set; what else a cookie says is ignored."""
    english = await hermes.request("/")
    assert b'<html lang="en" data-theme="auto">' in english.body
    spanish = await hermes.request("/", headers={"Accept-Language": "es-ES"})
    assert b'<html lang="es" data-theme="auto">' in spanish.body
    assert "Dispositivos" in spanish.body.decode()
    chosen = await hermes.request("/", headers={"Cookie": "hermes_language=es; hermes_theme=dark"})
    assert b'<html lang="es" data-theme="dark">' in chosen.body
    odd = await hermes.request("/", headers={"Cookie": 'hermes_language=%22%3E; hermes_theme="><script>'})
    assert b'<html lang="en" data-theme="auto">' in odd.body


def test_no_string_holds_markup() -> None:
    """They only ever become text."""
    for language in LANGUAGES.by_tag.values():
        assert [key for key, words in language.strings.items() if "<" in words or "&" in words] == []


def test_the_folder_holds_no_other_language() -> None:
    """A file that nobody reads would only look translated."""
    assert {path.stem for path in Path(STATIC, "console", "strings").iterdir()} == set(LANGUAGES.by_tag)
