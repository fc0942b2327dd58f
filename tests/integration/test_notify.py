"""``POST /notify``: its forms, its limits, its faults, and that what it carries travels verbatim."""

import json
from typing import Any

import pytest

from tests.support.gateways import KEY, Hermes, Socket, token

pytestmark = pytest.mark.usefixtures("complaints")

GOOD: dict[str, Any] = {"user_id": "123", "title": "t", "message": "m"}
KEYED = {"X-API-Key": KEY}


async def fault(hermes: Hermes, body: object, status: int, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The error of a refused request, whose form is checked."""
    response = await hermes.post(body, KEYED | (headers or {}))
    assert response.code == status, response.body
    assert response.headers["Content-Type"].startswith("application/json")
    return checked_error(json.loads(response.body))


def checked_error(answer: dict[str, Any]) -> dict[str, Any]:
    """The error of a fault's answer, in the only form there is."""
    assert set(answer) == {"status", "sent", "error"}
    assert (answer["status"], answer["sent"]) == ("error", False)
    error = answer["error"]
    assert isinstance(error, dict)
    assert set(error) - {"fields"} == {"code", "message"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


async def listener(hermes: Hermes) -> Socket:
    """The open socket of user 123."""
    return await hermes.open("/ws/notifications", token())


# -- single and array ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["info", "warning", "error", "success", None])
async def test_a_notification_is_delivered_as_documented(hermes: Hermes, kind: str | None) -> None:
    """The type defaults to ``info``; the id is made where none is given, a new one each time."""
    socket = await listener(hermes)
    answers = [await hermes.notify(GOOD | ({"type": kind} if kind else {})) for _ in range(2)]
    assert answers[0]["id"] != answers[1]["id"]
    for answer in answers:
        assert answer == {"status": "success", "sent": True, "id": answer["id"]}
        assert 1 <= len(answer["id"]) <= 64
        frame = await socket.hear()
        assert isinstance(frame.pop("timestamp"), int)
        assert frame == {
            "channel": "notifications",
            "id": answer["id"],
            "title": "t",
            "message": "m",
            "type": kind or "info",
        }


@pytest.mark.gen_test
@pytest.mark.parametrize("notice_id", ["n", "x" * 64, "🌡" * 64, "a b/c?d=\"e'<>", " "])
async def test_a_given_id_is_echoed(hermes: Hermes, notice_id: str) -> None:
    """In the answer and in the frame."""
    socket = await listener(hermes)
    assert (await hermes.notify(GOOD | {"id": notice_id}))["id"] == notice_id
    assert (await socket.hear())["id"] == notice_id


@pytest.mark.gen_test
async def test_an_array_is_answered_in_order_and_a_bad_element_fails_alone(hermes: Hermes) -> None:
    """Each answer has the form of a single one."""
    socket = await listener(hermes)
    elements: list[Any] = [
        GOOD | {"id": "a"},
        GOOD | {"id": "b", "type": "loud"},
        [GOOD],
        None,
        GOOD | {"id": "c", "user_id": "nobody"},
        GOOD | {"id": "d", "data": {"n": 1}},
        "x",
        {"tenant_id": "acme", "title": "t", "message": "m", "id": "e"},
    ]
    answer = await hermes.notify(elements)
    assert set(answer) == {"status", "results"}
    assert answer["status"] == "success"
    good = {0: ("a", True), 4: ("c", False), 5: ("d", True), 7: ("e", False)}
    assert len(answer["results"]) == len(elements)
    for place, result in enumerate(answer["results"]):
        if place in good:
            assert result == {"status": "success", "sent": good[place][1], "id": good[place][0]}
        else:
            assert checked_error(result)["code"] == "invalid"
    assert list(answer["results"][1]["error"]["fields"]) == ["type"]
    assert [(await socket.hear())["id"] for _ in range(2)] == ["a", "d"]
    await socket.silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [1, 2, 1_000])
async def test_an_array_holds_up_to_a_thousand(hermes: Hermes, count: int) -> None:
    """All of them are delivered, in order."""
    socket = await listener(hermes)
    answer = await hermes.notify([GOOD | {"title": str(n)} for n in range(count)])
    assert [result["sent"] for result in answer["results"]] == [True] * count
    assert [(await socket.hear())["title"] for _ in range(count)] == [str(n) for n in range(count)]


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [0, 1_001])
async def test_an_array_of_none_or_too_many_is_refused_whole(hermes: Hermes, count: int) -> None:
    """And nobody hears any of it."""
    socket = await listener(hermes)
    assert (await fault(hermes, [GOOD] * count, 422))["code"] == "invalid"
    await socket.silence()


@pytest.mark.gen_test
async def test_a_list_of_lists_is_a_list_of_faults(hermes: Hermes) -> None:
    """An array's element is an object."""
    answer = await hermes.notify([[], [GOOD], [[GOOD]]])
    assert [checked_error(result)["code"] for result in answer["results"]] == ["invalid"] * 3


# -- fields -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "change",
    [
        {"title": "x"},
        {"title": "ä🌡" * 128},
        {"title": " "},
        {"message": ""},
        {"message": "🔥" * 5_000},
        {"message": "x" * 16_384},
        {"message": '"},{\\\n\u2028\x00</script>'},
        {"user_id": "x" * 256},
        {"user_id": "ä" * 256},
        {"user_id": 0},
        {"user_id": -5},
        {"user_id": 2**53 + 1},
        {"user_id": 2**63 - 1},
        {"user_id": 2**64},
        {"user_id": 10**30 + 1},
        {"user_id": "../%2F#+"},
        {"data": {}},
        {"id": "x"},
    ],
    ids=lambda change: ascii(change)[:40],
)
async def test_each_field_is_good_up_to_its_bound(hermes: Hermes, change: dict[str, Any]) -> None:
    """Characters count, not bytes; what was sent is what arrives, at exactly that user."""
    body = GOOD | change
    socket = await hermes.open("/ws/notifications", token(body["user_id"]))
    assert (await hermes.notify(body))["sent"] is True
    frame = await socket.hear()
    assert {name: frame[name] for name in body if name != "user_id"} == {
        name: value for name, value in body.items() if name != "user_id"
    }


def each(field: str, *wrong: object) -> list[tuple[dict[str, object], str]]:
    """Each of these values in this field, and the field's name."""
    return [({field: value}, field) for value in wrong]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("change", "field"),
    [
        *each("title", "", "x" * 257, None, 5, ["t"], {}, True),
        *each("message", "x" * 16_385, None, 5, ["m"]),
        *each("type", "loud", "", "INFO", "info ", 1, None, ["info"], {"a": 1}),
        *each("user_id", "", "x" * 257, True, False, 1.0, 1.5, [], ["123"], {}),
        *each("id", "", "x" * 65, 5, ["a"], True),
        *each("data", [], "x", 1, True, [{}]),
        ({"unknown": 1}, "unknown"),
        ({"userId": "123"}, "userId"),
        ({"": 1}, ""),
        ({"timestamp": 5}, "timestamp"),
        ({"channel": "device"}, "channel"),
        ({"a.b[0]": 1}, "a.b[0]"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_each_faulty_field_is_named(hermes: Hermes, change: dict[str, Any], field: str) -> None:
    """422, with the field's own sentence, and nothing is delivered."""
    socket = await listener(hermes)
    error = await fault(hermes, GOOD | change, 422)
    assert error["code"] == "invalid"
    assert list(error["fields"]) == [field]
    assert isinstance(error["fields"][field], str)
    assert error["fields"][field]
    await socket.silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("tenant_id", ["", "x" * 257, True, 1.5, []])
async def test_a_broadcasts_tenant_has_the_same_rules(hermes: Hermes, tenant_id: object) -> None:
    """A string of 1 to 256 characters, or an integer."""
    error = await fault(hermes, {"tenant_id": tenant_id, "title": "t", "message": "m"}, 422)
    assert list(error["fields"]) == ["tenant_id"]


@pytest.mark.gen_test
async def test_every_faulty_field_is_named_at_once(hermes: Hermes) -> None:
    """A caller need not try again and again to learn them one by one."""
    error = await fault(hermes, {"user_id": "", "title": 5, "type": "loud", "colour": "red", "size": 1}, 422)
    assert set(error["fields"]) == {"user_id", "title", "message", "type", "colour", "size"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "addressee",
    [{}, {"user_id": "1", "tenant_id": "acme"}, {"user_id": 1, "tenant_id": 1}],
    ids=["neither", "both", "int"],
)
async def test_exactly_one_addressee_is_needed(hermes: Hermes, addressee: dict[str, Any]) -> None:
    """A user or a tenant; both or neither is a fault of those fields."""
    error = await fault(hermes, addressee | {"title": "t", "message": "m"}, 422)
    assert error["code"] == "invalid"
    assert set(error["fields"]) & {"user_id", "tenant_id"}
    assert "user_id" in json.dumps(error["fields"])
    assert "tenant_id" in json.dumps(error["fields"])


@pytest.mark.gen_test
@pytest.mark.parametrize("body", ["null", "1", '"text"', "true", "{}"])
async def test_json_that_is_no_notification_is_invalid(hermes: Hermes, body: str) -> None:
    """It is JSON, so 422."""
    assert (await fault(hermes, body, 422))["code"] == "invalid"


# -- data ---------------------------------------------------------------------------------------------------------

VERBATIM = [
    "{}",
    '{"a":1.0e2,"b":1E5,"c":-0,"d":-0.0,"e":1.10}',
    '{"n":123456789012345678901234567890,"m":0.1234567890123456789012345678901234567890}',
    '{"z":1,"a":2,"m":{"y":1,"b":2}}',
    '{"u":"\\u00e4\\uD83C\\uDF21\\/","v":"ä🌡/"}',
    '{ "a" :\t[ 1 , 2 ] , "b" : { } }',
    '{"data":{"data":"{\\"data\\":1}"}}',
    '{"s":"},{[]\\"\\\\","t":"\\\\"}',
    '{"a":1,"a":2}',
    '{"":null,"\\"":[true,false,null]}',
    '{"deep":' + "[" * 200 + "]" * 200 + "}",
    '{"big":"' + "x" * 60_000 + '"}',
    '{"channel":"device","id":"other","timestamp":0}',
    '{"u":"\u2028\u2029"}',
]


@pytest.mark.gen_test
@pytest.mark.parametrize("data", VERBATIM, ids=lambda data: ascii(data)[:30])
@pytest.mark.parametrize("form", ["single", "array"])
async def test_data_travels_verbatim(hermes: Hermes, data: str, form: str) -> None:
    """Every digit, the order of keys, the escapes, the white space: the frame holds the very text that was posted."""
    socket = await listener(hermes)
    body = f'{{"user_id":"123", "title":"\\"data\\":{{}}","message":"{{","data" : {data} , "id":"d"}}'
    if form == "array":
        body = f'[{{"user_id":"nobody","title":"data","message":"[,"}}, {body},{body} ]'
    await hermes.notify(body.encode())
    for _ in range(2 if form == "array" else 1):
        text = await socket.raw()
        assert text is not None
        assert f'"data":{data}' in text
        frame = json.loads(text)
        assert (frame["channel"], frame["id"], frame["title"]) == ("notifications", "d", '"data":{}')
        assert frame["data"] == json.loads(data)


@pytest.mark.gen_test
async def test_of_two_members_called_data_the_last_counts(hermes: Hermes) -> None:
    """As JSON parsers have it; also where the name is written with an escape."""
    socket = await listener(hermes)
    for first, last in (("data", "data"), ("data", "d\\u0061ta"), ("d\\u0061ta", "data")):
        await hermes.notify(f'{{"user_id":"123","title":"t","{first}":{{"n":1}},"message":"m","{last}":{{"n":2.0}}}}')
        text = await socket.raw()
        assert text is not None
        assert '"data":{"n":2.0}' in text
        assert '"n":1' not in text


# -- what is no JSON ----------------------------------------------------------------------------------------------

NOT_JSON = {
    "no body": b"",
    "white space": b" \r\n\t",
    "half": b'{"user_id":"123","title":"t","mess',
    "half an array": b'[{"user_id":"123","title":"t","message":"m"}',
    "two": b'{"user_id":"1","title":"t","message":"m"} {}',
    "trailing comma": b'{"user_id":"1","title":"t","message":"m",}',
    "single quotes": b"{'user_id':'1'}",
    "form": b"user_id=123&title=t",
    "NaN": b'{"user_id":"1","title":"t","message":"m","data":{"n":NaN}}',
    "Infinity": b'{"user_id":"1","title":"t","message":"m","data":{"n":-Infinity}}',
    "not UTF-8": b'{"user_id":"1","title":"\xff","message":"m"}',
    "UTF-16": '{"user_id":"1"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"user_id":"1","title":"t","message":"m"}',
    "surrogate in bytes": b'{"user_id":"1","title":"\xed\xa0\x80","message":"m"}',
    "lone surrogate in title": b'{"user_id":"1","title":"\\ud800","message":"m"}',
    "lone surrogate in data": b'{"user_id":"1","title":"t","message":"m","data":{"a":"\\udfff"}}',
    "lone surrogate in a key": b'{"user_id":"1","title":"t","message":"m","\\ud800":1}',
    "control character": b'{"user_id":"1","title":"a\nb","message":"m"}',
    "open brackets": b"[" * 60_000,
    "open objects": b'{"a":' * 10_000,
    "deep": b"[" * 30_000 + b"]" * 30_000,
    "deep data": b'{"user_id":"1","title":"t","message":"m","data":{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}}",
    "leading zeros": b'{"user_id":007,"title":"t","message":"m"}',
    "NUL": b"\x00",
}  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["open brackets", "open objects", "deep", "deep data"])
async def test_deep_nesting_is_called_so(hermes: Hermes, name: str) -> None:
    """With how deep it may be."""
    message = (await fault(hermes, NOT_JSON[name], 400))["message"]
    assert message == "the body is nested too deeply: at most 1,024 levels of arrays and objects"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"[" * 191, b"[1," * 80, b"[" * 1_024])
async def test_brackets_that_nobody_closes_are_no_want_of_memory(hermes: Hermes, body: bytes) -> None:
    """The parser's own words would send an operator to look for memory."""
    message = (await fault(hermes, body, 400))["message"]
    assert message == "the body is truncated, or nested too deeply"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_is_told_so(hermes: Hermes, body: bytes) -> None:
    """400 ``invalid_json``."""
    assert (await fault(hermes, body, 400))["code"] == "invalid_json"
