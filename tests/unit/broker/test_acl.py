"""Access rules of the embedded broker: what each device account may publish to."""

import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from hermes.broker.accounts import Account, parse_account
from hermes.broker.acl import AclBuilder
from hermes.errors import AccountError, TemplateError
from hermes.ids import DeviceId, TenantId
from hermes.topics.isolation import isolation_problems
from hermes.topics.topic_map import TopicMap
from tests.support.examples import EXAMPLES

D1 = Account(TenantId("acme"), DeviceId("d1"))

HOSTILE_IDS = ("a/b", "b/a", "+", "#", "a+", "$SYS", "$share", "%u", "%2F", "..", " ", "", "a b")
IDS = st.one_of(st.sampled_from(("a", "b", "c")), st.sampled_from(("a", "b", "c")), st.sampled_from(HOSTILE_IDS))
FIELDS = ("{tenant_id}", "{device_id}", "{device_id}", "{device_id:!a}", "{device_id:a|b}", "{device_id...}")
LEVELS = (*FIELDS, "{x}", "{x:!a}", "{x:a|b}", "a", "b", "{x}-{y}", "{tenant_id}-{y}")
WORDS = ("a", "b", "c", "a-b")


@st.composite
def some_templates(draw: st.DrawFn) -> list[str]:
    """Up to three templates; most of them give each id a whole level or a constant."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        levels = draw(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4, unique_by=lambda text: text[:4]))
        text = "/".join([*levels, *draw(st.sampled_from(([], [], ["{s...}"], ["{s?}"])))])
        missing = [name for name in ("tenant_id", "device_id") if name not in text]
        found.append(";".join([text, *(f"{name}=a" for name in missing)]))
    return found


def topics_of(text: str) -> Iterator[str]:
    """Topics of a filter: each combination of a few words in place of + and of up to two levels for #."""
    levels = text.removesuffix("#").removesuffix("/").split("/")
    for count in range(3 if text.endswith("#") else 1):
        choices = [WORDS if level == "+" else (level,) for level in levels] + [WORDS] * count
        yield from map("/".join, itertools.product(*choices))


@settings(max_examples=6 * EXAMPLES, deadline=None)
@given(some_templates(), IDS, IDS)
def test_whatever_a_device_may_publish_is_read_as_its_own(entries: list[str], tenant_id: str, device_id: str) -> None:
    """Whatever its ids and the templates are: no topic that its rules allow has other ids."""
    account = Account(TenantId(tenant_id), DeviceId(device_id))
    try:
        topics = TopicMap(entries)
        filters = AclBuilder(topics).filters(account)
    except (TemplateError, AccountError):
        return
    for text in filters:
        for topic in itertools.islice(topics_of(text), 500):
            match = topics.match(topic) if topic_matches_sub(text, topic) else None  # + does not match $SYS
            assert match is None or (match.tenant_id, match.device_id) == account, topic


def test_a_rule_is_never_wider_than_the_filters_of_its_template() -> None:
    """Also if the patterns list so many texts that + replaces a level."""
    sixteen, seventeen = "|".join(f"d{n}" for n in range(16)), "|".join(f"x{n}" for n in range(17))
    one = f"{{device_id:{sixteen}}}/{{x:{seventeen}}}/{{y:a|b}};tenant_id=home"
    topics = TopicMap([one, "{x}/{device_id}/c;tenant_id=home"])
    assert isolation_problems(topics.templates) == []
    filters = AclBuilder(topics).filters(parse_account("home/d1"))
    assert not any(topic_matches_sub(text, "d1/x1/c") for text in filters)


@pytest.mark.parametrize(
    ("topics", "account", "filters"),
    [
        (["hermes"], "acme/d1", ("tenants/acme/devices/d1/#",)),
        (["a/{tenant_id}/{device_id}", "b/{device_id}/{series};tenant_id=acme"], "acme/d1", ("a/acme/d1", "b/d1/+")),
        (["a/{tenant_id}/{device_id}", "b/{device_id}/{series};tenant_id=acme"], "globex/d1", ("a/globex/d1",)),
        (["zigbee/{device_id...};tenant_id=home"], "home/hall/lamp", ("zigbee/hall/lamp",)),
        (["tasmota"], "default/hall/plug", ("tele/hall/plug/+", "stat/hall/plug/+")),
        (["owntracks"], "jane/phone", ("owntracks/jane/phone", "owntracks/jane/phone/+")),
        (["v3/{app}@{x}/devices/{device_id}/{series...};tenant_id=home"], "home/d1", ("v3/+/devices/d1/#",)),
    ],
)
def test_a_device_may_publish_to_its_own_topics_of_each_template(
    topics: list[str], account: str, filters: tuple[str, ...]
) -> None:
    """And to no others."""
    assert AclBuilder(TopicMap(topics)).filters(parse_account(account)) == filters


@pytest.mark.parametrize(
    ("topics", "account"),
    [
        (["hermes"], "acme/hall/lamp"),
        (["{tenant_id}/{device_id}/{series...}"], "$SYS/broker"),
        (["z/{device_id...};tenant_id=home"], "home/" + "/".join("a" * 300)),
        (["z/{device_id...};tenant_id=home"], "acme/d1"),
        (["z/{device_id:a*};tenant_id=home"], "home/b"),
    ],
)
def test_a_device_that_no_template_can_hold_has_no_topics(topics: list[str], account: str) -> None:
    """The error names the device."""
    with pytest.raises(AccountError, match=re.escape(f"no template has a topic for {account}: check --topic")):
        AclBuilder(TopicMap(topics)).filters(parse_account(account))


@pytest.mark.parametrize(
    "topics",
    [
        ["site/{tenant_id}/{device_id}", "{tenant_id}/{device_id}/{series...}"],
        ["t/{tenant_id}-{device_id}"],
        ["hermes", "chirpstack"],
    ],
)
def test_templates_that_do_not_confine_devices_give_no_device_a_topic(topics: list[str]) -> None:
    """The settings refuse such templates at start; an older file of a running Hermes may name them."""
    builder = AclBuilder(TopicMap(topics))
    with pytest.raises(AccountError, match="one device could publish as another"):
        builder.filters(D1)
    assert builder.text([D1], unrestricted=["hermes"]) == "user hermes\ntopic readwrite #\n"


def test_accounts_without_a_topic_are_left_out_of_the_rules() -> None:
    """The others have theirs."""
    text = AclBuilder(TopicMap(["hermes"])).text([parse_account("acme/a/b"), D1], unrestricted=["hermes"])
    assert text.splitlines() == [
        *("user hermes", "topic readwrite #"),
        *("user acme/d1", "topic write tenants/acme/devices/d1/#"),
    ]


def test_hermes_may_read_topics_that_begin_with_a_dollar() -> None:
    """The filter # does not match them."""
    text = AclBuilder(TopicMap(["$aws/{tenant_id}/{device_id}"])).text([], unrestricted=["hermes"])
    assert text.splitlines() == ["user hermes", "topic readwrite #", "topic readwrite $aws/+/+"]


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=3 * EXAMPLES)
def test_no_id_adds_a_rule(tenant: str, device: str) -> None:
    """Each account is one user line and its topics, and the ids are in the levels of the template."""
    access = AclBuilder(TopicMap(["t/{tenant_id}/{device_id...}"]))
    for suffix in ("", "\ntopic readwrite #", " "):
        try:
            account = parse_account(f"{tenant}/{device}{suffix}")
            access.filters(account)
        except AccountError:
            continue
        text = access.text([account], unrestricted=[])
        assert text == f"user {account.user}\ntopic write t/{account.tenant_id}/{account.device_id}\n"
        assert [line for line in text.splitlines() if line.startswith("topic")] == text.splitlines()[1:]


def test_no_rule_is_longer_than_a_topic_can_be() -> None:
    """The broker must be able to read the file, whatever the template is."""
    level = "a" * 65_000
    access = AclBuilder(TopicMap([f"{level}/{{tenant_id}}/{{device_id}}"]))
    assert access.filters(D1)
    with pytest.raises(AccountError, match="no template has a topic"):
        access.filters(parse_account("acme/" + "d" * 900))
