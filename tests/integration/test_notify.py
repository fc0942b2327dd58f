"""``POST /notify``: single notifications and arrays, limits, errors, verbatim ``data``."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from hermes.testing import ClientSocket
from tests.support.gateways import KEY, Hermes, token

pytestmark = pytest.mark.usefixtures("complaints")

GOOD: dict[str, Any] = {"user_id": "123", "title": "t", "message": "m"}
KEYED = {"X-API-Key": KEY}


async def error_of(hermes: Hermes, body: object, status: int, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Post a body; return the error of the response after checking its form."""
    response = await hermes.post(body, KEYED | (headers or {}))
    assert response.code == status, response.body
    assert response.headers["Content-Type"].startswith("application/json")
    return checked_error(json.loads(response.body))


def checked_error(result: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a response or of an array's result after checking its form."""
    assert set(result) == {"status", "sent", "error"}
    assert (result["status"], result["sent"]) == ("error", False)
    error = result["error"]
    assert isinstance(error, dict)
    assert set(error) - {"fields"} == {"code", "message"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


async def open_socket(hermes: Hermes) -> ClientSocket:
    """Open a socket of user 123."""
    return await hermes.open("/ws/notifications", token())


# -- single and array ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["info", "warning", "error", "success", None])
async def test_a_notification_is_delivered_as_documented(hermes: Hermes, kind: str | None) -> None:
    """The type is ``info`` by default; without an id, a new one is created each time."""
    socket = await open_socket(hermes)
    responses = [await hermes.notify(GOOD | ({"type": kind} if kind else {})) for _ in range(2)]
    assert responses[0]["id"] != responses[1]["id"]
    for response in responses:
        assert response == {"status": "success", "sent": True, "id": response["id"]}
        assert 1 <= len(response["id"]) <= 64
        frame = await socket.receive()
        assert isinstance(frame.pop("timestamp"), int)
        assert frame == {
            "channel": "notifications",
            "id": response["id"],
            "title": "t",
            "message": "m",
            "type": kind or "info",
        }


@pytest.mark.gen_test
@pytest.mark.parametrize("notification_id", ["n", "x" * 64, "🌡" * 64, "a b/c?d=\"e'<>", " "])
async def test_a_given_id_is_in_the_response_and_in_the_frame(hermes: Hermes, notification_id: str) -> None:
    """Unchanged, up to 64 characters."""
    socket = await open_socket(hermes)
    assert (await hermes.notify(GOOD | {"id": notification_id}))["id"] == notification_id
    assert (await socket.receive())["id"] == notification_id


@pytest.mark.gen_test
async def test_the_results_of_an_array_are_in_order_and_an_invalid_element_fails_alone(hermes: Hermes) -> None:
    """Each result has the form of the response to a single notification."""
    socket = await open_socket(hermes)
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
    response = await hermes.notify(elements)
    assert set(response) == {"status", "results"}
    assert response["status"] == "success"
    good = {0: ("a", True), 4: ("c", False), 5: ("d", True), 7: ("e", False)}
    assert len(response["results"]) == len(elements)
    for index, result in enumerate(response["results"]):
        if index in good:
            assert result == {"status": "success", "sent": good[index][1], "id": good[index][0]}
        else:
            assert checked_error(result)["code"] == "invalid"
    assert list(response["results"][1]["error"]["fields"]) == ["type"]
    assert [(await socket.receive())["id"] for _ in range(2)] == ["a", "d"]
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [1, 2, 1_000])
async def test_an_array_may_have_up_to_a_thousand_elements(hermes: Hermes, count: int) -> None:
    """All of them are delivered, in order."""
    socket = await open_socket(hermes)
    response = await hermes.notify([GOOD | {"title": str(n)} for n in range(count)])
    assert [result["sent"] for result in response["results"]] == [True] * count
    assert [(await socket.receive())["title"] for _ in range(count)] == [str(n) for n in range(count)]


@pytest.mark.gen_test
@pytest.mark.parametrize("count", [0, 1_001])
async def test_an_array_with_no_or_too_many_elements_is_rejected(hermes: Hermes, count: int) -> None:
    """As a whole: no element is delivered."""
    socket = await open_socket(hermes)
    assert (await error_of(hermes, [GOOD] * count, 422))["code"] == "invalid"
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_an_array_of_arrays_is_an_error_for_each_element(hermes: Hermes) -> None:
    """An element must be an object."""
    response = await hermes.notify([[], [GOOD], [[GOOD]]])
    assert [checked_error(result)["code"] for result in response["results"]] == ["invalid"] * 3


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
async def test_each_field_is_valid_up_to_its_limit(hermes: Hermes, change: dict[str, Any]) -> None:
    """Characters count, not bytes; the values arrive unchanged, at exactly that user."""
    body = GOOD | change
    socket = await hermes.open("/ws/notifications", token(body["user_id"]))
    assert (await hermes.notify(body))["sent"] is True
    frame = await socket.receive()
    assert {name: frame[name] for name in body if name != "user_id"} == {
        name: value for name, value in body.items() if name != "user_id"
    }


def each(field: str, *wrong: object) -> list[tuple[dict[str, object], str]]:
    """Return each of these values in this field, with the name of the field."""
    return [({field: value}, field) for value in wrong]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("change", "field"),
    [
        *each("title", "", "x" * 257, None, 5, ["t"], {}, True),
        *each("message", "x" * 16_385, None, 5, ["m"]),
        *each("type", "loud", "", "INFO", "info ", 1, ["info"], {"a": 1}),
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
async def test_an_invalid_field_is_named(hermes: Hermes, change: dict[str, Any], field: str) -> None:
    """422 with a message for the field, and nothing is delivered."""
    socket = await open_socket(hermes)
    error = await error_of(hermes, GOOD | change, 422)
    assert error["code"] == "invalid"
    assert list(error["fields"]) == [field]
    assert isinstance(error["fields"][field], str)
    assert error["fields"][field]
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("tenant_id", ["", "x" * 257, True, 1.5, []])
async def test_the_tenant_of_a_broadcast_has_the_rules_of_a_user_id(hermes: Hermes, tenant_id: object) -> None:
    """A string of 1 to 256 characters, or an integer."""
    error = await error_of(hermes, {"tenant_id": tenant_id, "title": "t", "message": "m"}, 422)
    assert list(error["fields"]) == ["tenant_id"]


@pytest.mark.gen_test
async def test_all_invalid_fields_are_named_at_once(hermes: Hermes) -> None:
    """Also missing and unknown ones."""
    error = await error_of(hermes, {"user_id": "", "title": 5, "type": "loud", "colour": "red", "size": 1}, 422)
    assert set(error["fields"]) == {"user_id", "title", "message", "type", "colour", "size"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "addressee",
    [{}, {"user_id": "1", "tenant_id": "acme"}, {"user_id": 1, "tenant_id": 1}],
    ids=["neither", "both", "int"],
)
async def test_exactly_one_addressee_is_needed(hermes: Hermes, addressee: dict[str, Any]) -> None:
    """A user or a tenant; both or neither is an error of those fields."""
    error = await error_of(hermes, addressee | {"title": "t", "message": "m"}, 422)
    assert error["code"] == "invalid"
    assert set(error["fields"]) & {"user_id", "tenant_id"}
    assert "user_id" in json.dumps(error["fields"])
    assert "tenant_id" in json.dumps(error["fields"])


@pytest.mark.gen_test
@pytest.mark.parametrize("body", ["null", "1", '"text"', "true", "{}"])
async def test_json_that_is_not_a_notification_is_invalid(hermes: Hermes, body: str) -> None:
    """The body is JSON, so the status is 422."""
    assert (await error_of(hermes, body, 422))["code"] == "invalid"


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
    '{"deep":' + "[" * 99 + "]" * 99 + "}",
    '{"big":"' + "x" * 60_000 + '"}',
    '{"channel":"device","id":"other","timestamp":0}',
    '{"u":"\u2028\u2029"}',
]


@pytest.mark.gen_test
@pytest.mark.parametrize("data", VERBATIM, ids=lambda data: ascii(data)[:30])
@pytest.mark.parametrize("form", ["single", "array"])
async def test_data_is_passed_on_verbatim(hermes: Hermes, data: str, form: str) -> None:
    """Digits, order of keys, escapes and white space: the frame has exactly the text that was posted."""
    socket = await open_socket(hermes)
    body = f'{{"user_id":"123", "title":"\\"data\\":{{}}","message":"{{","data" : {data} , "id":"d"}}'
    if form == "array":
        body = f'[{{"user_id":"nobody","title":"data","message":"[,"}}, {body},{body} ]'
    await hermes.notify(body.encode())
    for _ in range(2 if form == "array" else 1):
        text = await socket.receive_text()
        assert text is not None
        assert f'"data":{data}' in text
        frame = json.loads(text)
        assert (frame["channel"], frame["id"], frame["title"]) == ("notifications", "d", '"data":{}')
        assert frame["data"] == json.loads(data)


@pytest.mark.gen_test
async def test_of_two_members_named_data_the_last_counts(hermes: Hermes) -> None:
    """As in JSON parsers, also if the name is written with an escape."""
    socket = await open_socket(hermes)
    for first, last in (("data", "data"), ("data", "d\\u0061ta"), ("d\\u0061ta", "data")):
        await hermes.notify(f'{{"user_id":"123","title":"t","{first}":{{"n":1}},"message":"m","{last}":{{"n":2.0}}}}')
        text = await socket.receive_text()
        assert text is not None
        assert '"data":{"n":2.0}' in text
        assert '"n":1' not in text


def nested(levels: int) -> str:
    """A ``data`` of so many levels."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


LIMITS = "at most 100 levels, and 50,000 arrays and objects in a request"


@pytest.mark.gen_test
@pytest.mark.parametrize("levels", [101, 400, 1_000])
async def test_the_levels_of_data_have_the_limit_of_device_data(hermes: Hermes, levels: int) -> None:
    """A hundred, those of ``data`` itself; more are an error of this field, and nothing is delivered."""
    socket = await open_socket(hermes)
    body = '{"user_id":"123","title":"t","message":"m","data":%s}'
    error = await error_of(hermes, body % nested(levels), 422)
    assert (error["code"], error["fields"]) == ("invalid", {"data": LIMITS})
    await hermes.notify(body % nested(100))
    assert (await socket.receive())["data"] == json.loads(nested(100))


@pytest.mark.gen_test
async def test_an_element_with_too_many_levels_fails_alone(hermes: Hermes) -> None:
    """As with every other invalid field."""
    body = '{"user_id":"123","title":"t","message":"m","data":%s}'
    response = await hermes.notify(f"[{body % nested(100)},{body % nested(101)},{body % nested(3)}]")
    assert [result["status"] for result in response["results"]] == ["success", "error", "success"]
    assert checked_error(response["results"][1])["fields"] == {"data": LIMITS}


@pytest.mark.gen_test
@pytest.mark.parametrize("unit", ["[],", "{},", '[{"a":[]}],', "[" * 600 + "]" * 600 + ","])
async def test_a_request_with_too_many_arrays_and_objects_is_rejected(hermes: Hermes, unit: str) -> None:
    """Before anything is parsed."""
    error = await error_of(hermes, "[" + unit * (1_000_000 // len(unit)) + "1]", 422)
    assert error["fields"] == {"data": LIMITS}


@pytest.mark.gen_test
@pytest.mark.parametrize("data", ["", ',"data":{}'])
@pytest.mark.parametrize(
    ("user_id", "user"),
    [
        ("-0", "0"),
        ("0", "0"),
        ("-5", "-5"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("18446744073709551616", "18446744073709551616"),
        ("1.0", None),
        ("1e0", None),
        ("-0.0", None),
    ],
)
async def test_an_id_does_not_depend_on_data(hermes: Hermes, user_id: str, user: str | None, data: str) -> None:
    """An integer of any size keeps its digits, and ``-0`` is ``0``; other numbers are rejected."""
    body = f'{{"user_id":{user_id},"title":"t","message":"m"{data}}}'
    if user is None:
        assert list((await error_of(hermes, body, 422))["fields"]) == ["user_id"]
        return
    socket = await hermes.open("/ws/notifications", token(user_id=user))
    for form in (body, f"[{body}]"):
        await hermes.notify(form)
        assert (await socket.receive())["title"] == "t"


@pytest.mark.gen_test
async def test_a_large_element_has_the_errors_of_a_small_one(hermes: Hermes) -> None:
    """Whatever its fields contain; of many unknown keys the first ones are named."""
    many = ",".join(f'"k{n}":1' for n in range(100))
    elements = {
        '{"user_id":"1","title":[%s1],"message":"m"}' % ("1," * 100_000): {"title"},
        '{"user_id":"1","title":"t","message":"m","data":{"a":"%s"}}' % ("x" * 70_000): {"data"},
        f'{{"user_id":"1","title":"t","message":"m",{many}}}': {f"k{n}" for n in range(20)},
    }
    response = await hermes.notify("[" + ",".join(elements) + "]")
    errors = [checked_error(result) for result in response["results"]]
    assert [set(error["fields"]) for error in errors] == list(elements.values())
    spaced = '[{"user_id":"1","colour":1,"title":"t",%s"message":"m"}]' % (" " * 70_000)
    (result,) = (await hermes.notify(spaced))["results"]
    assert "`colour`" in checked_error(result)["message"]


@pytest.mark.gen_test
async def test_the_loop_runs_between_the_elements_of_an_array(hermes: Hermes) -> None:
    """A hundred small elements, or one large one, are published at once; their order is kept."""
    socket = await open_socket(hermes)
    data = {"a": "x" * 40_000}
    notifications = [GOOD | {"title": str(n)} | ({"data": data} if n < 3 else {}) for n in range(950)]
    turns: list[int] = []
    published = 0
    publish = hermes.gateway.bus.publish

    def counted(message: Any) -> Any:
        nonlocal published
        published += 1
        return publish(message)

    def turn() -> None:
        turns.append(published)
        if published < len(notifications):
            asyncio.get_running_loop().call_soon(turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hermes.gateway.bus, "publish", counted)
        asyncio.get_running_loop().call_soon(turn)
        response = await hermes.notify(notifications)
    assert [result["sent"] for result in response["results"]] == [True] * len(notifications)
    assert {1, 2, 102} <= set(turns)
    assert max(after - before for before, after in pairwise(turns)) <= 100
    assert [(await socket.receive())["title"] for _ in notifications] == [str(n) for n in range(950)]


# -- bodies that are not JSON -------------------------------------------------------------------------------------

NOT_JSON = {
    "no body": b"",
    "white space": b" \r\n\t",
    "truncated": b'{"user_id":"123","title":"t","mess',
    "truncated array": b'[{"user_id":"123","title":"t","message":"m"}',
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
async def test_the_error_for_deep_nesting_names_the_limit(hermes: Hermes, name: str) -> None:
    """400 ``invalid_json``, with the number of levels that are allowed."""
    message = (await error_of(hermes, NOT_JSON[name], 400))["message"]
    assert message == "the body is nested too deeply: at most 1,024 levels of arrays and objects"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"[" * 191, b"[1," * 80, b"[" * 1_024])
async def test_the_error_for_unclosed_brackets_does_not_mention_memory(hermes: Hermes, body: bytes) -> None:
    """The parser's own message says that it could not allocate memory."""
    message = (await error_of(hermes, body, 400))["message"]
    assert message == "the body is truncated, or nested too deeply"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_a_body_that_is_not_json_gets_invalid_json(hermes: Hermes, body: bytes) -> None:
    """The status is 400."""
    assert (await error_of(hermes, body, 400))["code"] == "invalid_json"
