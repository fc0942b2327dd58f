"""Sparkplug payloads: every type becomes equivalent JSON; invalid and hostile ones are rejected."""

import base64
import json
import math
import re
import struct
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from hermes.errors import PayloadError
from hermes.ingest.sparkplug.metrics import (
    DEPTH_MAX,
    ELEMENTS_MAX,
    METRICS_MAX,
    SHORT_FLOATS_MAX,
    TYPES,
    VALUES_MAX,
    MetricReader,
    parse,
)
from hermes.ingest.sparkplug.sparkplug_b_pb2 import DESCRIPTOR, Payload
from hermes.json_nesting import MAX_CONTAINERS
from tests.support.edge_nodes import message, metric, result_of
from tests.support.growth import FACTOR, LINEAR_MAX, growth
from tests.support.paths import CHECKOUT

PROTO = CHECKOUT / "hermes" / "ingest" / "sparkplug" / "sparkplug_b.proto"
DOUBLE_MAX = 1.7976931348623157e308


def data_of(one: Payload.Metric) -> dict[str, Any]:
    """Return the JSON of a metric after encoding and decoding."""
    (parsed,) = parse(message(one)).metrics
    steps = MetricReader().data(parsed, datatype=parsed.datatype, timestamp_ms=parsed.timestamp)
    found = json.loads(result_of(steps), parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


# -- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "fields", "value"),
    [
        ("Int8", {"int_value": 127}, 127),
        ("Int8", {"int_value": 128}, -128),
        ("Int8", {"int_value": 255}, -1),
        ("Int8", {"int_value": 2**32 - 1}, -1),
        ("Int8", {"int_value": 300}, 300),
        ("Int16", {"int_value": 2**16 - 2}, -2),
        ("Int16", {"int_value": 2**32 - 2}, -2),
        ("Int32", {"int_value": 2**31 - 1}, 2**31 - 1),
        ("Int32", {"int_value": 2**31}, -(2**31)),
        ("Int32", {"long_value": 2**64 - 5}, -5),
        ("Int64", {"long_value": 2**63 - 1}, 2**63 - 1),
        ("Int64", {"long_value": 2**63}, -(2**63)),
        ("UInt8", {"int_value": 255}, 255),
        ("UInt16", {"int_value": 65_535}, 65_535),
        ("UInt32", {"int_value": 2**32 - 1}, 2**32 - 1),
        ("UInt32", {"long_value": 2**32 - 1}, 2**32 - 1),
        ("UInt64", {"long_value": 2**64 - 1}, 2**64 - 1),
        ("Float", {"float_value": 21.4}, 21.4),
        ("Float", {"float_value": 3.4028234663852886e38}, 3.4028234663852886e38),
        ("Float", {"float_value": 1e-45}, 1.4013e-45),
        ("Double", {"double_value": 0.1}, 0.1),
        ("Double", {"double_value": DOUBLE_MAX}, DOUBLE_MAX),
        ("Double", {"int_value": 3}, 3),
        ("Boolean", {"boolean_value": True}, True),
        ("Boolean", {"int_value": 1}, True),
        ("String", {"string_value": 'Grüße "\0"'}, 'Grüße "\0"'),
        ("Text", {"string_value": ""}, ""),
        ("UUID", {"string_value": "8f0e"}, "8f0e"),
        ("DateTime", {"long_value": 1_763_836_800_000}, 1_763_836_800_000),
        ("DateTime", {"long_value": 2**64 - 1_000}, -1_000),
        ("Int32", {"is_null": True}, None),
        ("Int32", {"is_null": True, "int_value": 5}, None),
        ("Int32", {}, None),
        ("Int8Array", {"bytes_value": b"\x01\xff"}, [1, -1]),
        ("Int16Array", {"bytes_value": b"\x30\x8a\x01\x00"}, [-30_160, 1]),
        ("Int32Array", {"bytes_value": struct.pack("<2i", -1, 7)}, [-1, 7]),
        ("Int64Array", {"bytes_value": struct.pack("<2q", -(2**63), 7)}, [-(2**63), 7]),
        ("UInt8Array", {"bytes_value": b"\x17\xfa"}, [23, 250]),
        ("UInt16Array", {"bytes_value": b"\xff\xff"}, [65_535]),
        ("UInt32Array", {"bytes_value": b"\xff\xff\xff\xff"}, [2**32 - 1]),
        ("UInt64Array", {"bytes_value": b"\xff" * 8}, [2**64 - 1]),
        ("FloatArray", {"bytes_value": struct.pack("<3f", 1.1, math.nan, -2)}, [1.1, None, -2.0]),
        ("DoubleArray", {"bytes_value": struct.pack("<2d", 0.1, math.inf)}, [0.1, None]),
        ("BooleanArray", {"bytes_value": b"\x0c\0\0\0\x34\xd0"}, [*map(bool, [0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1])]),
        ("BooleanArray", {"bytes_value": b"\0\0\0\0"}, []),
        ("StringArray", {"bytes_value": "ABC\0ü\0\0".encode()}, ["ABC", "ü", ""]),
        ("StringArray", {"bytes_value": b"A\0B"}, ["A", "B"]),
        ("StringArray", {"bytes_value": b""}, []),
        ("DateTimeArray", {"bytes_value": struct.pack("<q", 1_256_102_875_335)}, [1_256_102_875_335]),
    ],
)
def test_a_value_means_in_json_what_it_meant(type_: str, fields: dict[str, Any], value: object) -> None:
    """Negative integers travel in unsigned fields, arrays as bytes."""
    found = data_of(metric("x", type_, **fields))
    assert found == {"value": value, "type": type_}
    assert type(found["value"]) is type(value)


@pytest.mark.parametrize(
    ("type_", "packed"),
    [
        ("Bytes", b"\0\xff"),
        ("File", b""),
        ("Int32Array", b"\0\0\0"),
        ("BooleanArray", b"\xff\xff\xff\xff\x01"),
        ("BooleanArray", b"\0"),
        ("StringArray", b"\xff\0"),
        ("String", b"abc"),
    ],
)
def test_bytes_become_base64_with_its_encoding(type_: str, packed: bytes) -> None:
    """Also those of an array that do not match its type, so that they are visible."""
    found = data_of(metric("x", type_, bytes_value=packed))
    assert found == {"value": base64.b64encode(packed).decode(), "type": type_, "encoding": "base64"}


@pytest.mark.parametrize(("number", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
@pytest.mark.parametrize("type_", ["Float", "Double"])
def test_a_number_that_json_does_not_have_is_null(type_: str, number: float, name: str) -> None:
    """With its name."""
    found = data_of(metric("x", type_, **{f"{type_.lower()}_value": number}))
    assert found == {"value": None, "type": type_, "nonfinite": name}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_short_float_is_the_same_float(number: float) -> None:
    """The number with fewer digits equals it."""
    value = data_of(metric("x", "Float", float_value=number))["value"]
    assert struct.pack("<f", value) == struct.pack("<f", number)
    assert len(repr(value)) <= len(repr(number))


def test_an_unknown_type_is_a_number() -> None:
    """There may be newer types."""
    assert data_of(Payload.Metric(name="x", datatype=99, int_value=2**32 - 1)) == {"value": 2**32 - 1, "type": "99"}
    assert data_of(Payload.Metric(name="x", int_value=1)) == {"value": 1}


def test_a_dataset_is_a_table() -> None:
    """Each cell by the type of its column; missing ones are null."""
    cells = [{"int_value": 2**32 - 1}, {"string_value": "a"}, {"double_value": math.nan}, {}]
    table = Payload.DataSet(
        num_of_columns=4,
        columns=["n", "s", "d", "e"],
        types=[TYPES[name] for name in ("Int8", "String", "Double", "Boolean")],
        rows=[{"elements": cells}, {"elements": [*cells, {"int_value": 9}]}],
    )
    assert data_of(metric("x", "DataSet", dataset_value=table))["value"] == {
        "columns": ["n", "s", "d", "e"],
        "types": ["Int8", "String", "Double", "Boolean"],
        "rows": [[-1, "a", None, None], [-1, "a", None, None, 9]],
    }


def test_a_template_is_an_object_of_its_metrics() -> None:
    """With its reference and parameters; templates may be nested."""
    inner = Payload.Template(metrics=[metric("rpm", "Int32", int_value=3, timestamp=9)], is_definition=True)
    outer = Payload.Template(
        template_ref="Motor",
        version="v1",
        metrics=[metric("axis", "Template", template_value=inner), metric("", "Bytes", alias=4, bytes_value=b"\1")],
        parameters=[{"name": "index", "type": TYPES["Int8"], "int_value": 255}, {"name": "none"}],
    )
    axis = {"definition": True, "metrics": {"rpm": {"value": 3, "type": "Int32", "timestamp": 9}}}
    assert data_of(metric("x", "Template", template_value=outer))["value"] == {
        "template": "Motor",
        "version": "v1",
        "metrics": {
            "axis": {"value": axis, "type": "Template"},
            "4": {"value": "AQ==", "type": "Bytes", "encoding": "base64"},
        },
        "parameters": {"index": -1, "none": None},
    }


def test_the_other_attributes_of_a_metric_are_included() -> None:
    """Properties, metadata and flags, if they have a meaning."""
    scale = Payload.PropertySet(keys=["low", "high"], values=[{"type": TYPES["Int8"], "int_value": 255}, {}])
    properties = Payload.PropertySet(
        keys=["Quality", "engUnit", "gone", "scale", "scales"],
        values=[
            {"type": TYPES["Int32"], "int_value": 500},
            {"type": TYPES["String"], "string_value": "°C"},
            {"type": TYPES["Int32"], "is_null": True, "int_value": 1},
            {"type": TYPES["PropertySet"], "propertyset_value": scale},
            {"type": TYPES["PropertySetList"], "propertysets_value": {"propertyset": [scale, scale]}},
        ],
    )
    full = metric(
        "x",
        "Int8",
        int_value=1,
        timestamp=7,
        is_historical=True,
        is_transient=True,
        properties=properties,
        metadata={"content_type": "text/csv", "size": 0, "is_multi_part": False},
    )
    assert data_of(full) == {
        "value": 1,
        "type": "Int8",
        "timestamp": 7,
        "historical": True,
        "transient": True,
        "metadata": {"is_multi_part": False, "content_type": "text/csv", "size": 0},
        "properties": {
            "Quality": 500,
            "engUnit": "°C",
            "gone": None,
            "scale": {"low": -1, "high": None},
            "scales": [{"low": -1, "high": None}] * 2,
        },
    }
    assert data_of(metric("x", "Int8", int_value=1, is_historical=False)) == {"value": 1, "type": "Int8"}


# -- errors and limits ------------------------------------------------------------------------------------------------


def read_all(payload: bytes) -> list[bytes]:
    """Return the JSON of every metric."""
    reader = MetricReader()
    return [
        result_of(reader.data(each, datatype=each.datatype, timestamp_ms=each.timestamp))
        for each in parse(payload).metrics
    ]


@pytest.mark.parametrize(
    "payload",
    [
        message(metric("name", "String", string_value="a long text"))[:-3],
        b'{"value": 1}',
        b"ON",
        b"\xff" * 1_048_576,
        b"\x12" * 1_048_576,
        b"\x09\x00",
    ],
)
def test_what_is_not_a_payload_is_rejected(payload: bytes) -> None:
    """Truncated, JSON, text, noise."""
    with pytest.raises(PayloadError, match="not a Sparkplug B payload"):
        parse(payload)


@pytest.mark.parametrize(
    "one",
    [
        metric("\x01\x02"),
        metric("x", "String", string_value="\x01\x02"),
        metric("x", "Int8", metadata={"md5": "\x01\x02"}),
        metric("x", "Int8", properties={"keys": ["\x01\x02"], "values": [{}]}),
        metric("x", "Int8", properties={"keys": ["a"], "values": [{"string_value": "\x01\x02"}]}),
        metric("x", "DataSet", dataset_value={"columns": ["\x01\x02"]}),
        metric("x", "DataSet", dataset_value={"rows": [{"elements": [{"string_value": "\x01\x02"}]}]}),
        metric("x", "Template", template_value={"template_ref": "\x01\x02"}),
        metric("x", "Template", template_value={"metrics": [metric("\x01\x02")]}),
    ],
)
def test_a_text_that_is_not_utf8_is_rejected(one: Payload.Metric) -> None:
    """In each field."""
    with pytest.raises(PayloadError, match="UTF-8"):
        read_all(message(one).replace(b"\x01\x02", b"\xc3\x28"))


@pytest.mark.parametrize("kind", ["template", "property set"])
def test_depth_is_bounded(kind: str) -> None:
    """At a depth that all readers of JSON accept."""

    def nested(depth: int) -> bytes:
        if kind == "template":
            one = metric("m", "Int8", int_value=1)
            for _ in range(depth):
                one = metric("m", "Template", template_value={"metrics": [one]})
            return message(one)
        properties = Payload.PropertySet()
        for _ in range(depth - 1):
            properties = Payload.PropertySet(keys=["p"], values=[{"propertysets_value": {"propertyset": [properties]}}])
        return message(metric("m", "Int8", int_value=1, properties=properties))

    (data,) = read_all(nested(DEPTH_MAX))
    assert data.count(b"{") < 100
    with pytest.raises(PayloadError, match="nested"):
        read_all(nested(DEPTH_MAX + 1))
    with pytest.raises(PayloadError):
        read_all(nested(33))


def test_a_payload_with_thousands_of_levels_is_rejected() -> None:
    """The parser limits the depth of its stack."""
    body = b""
    for _ in range(3_000):
        for tag in (b"\x12", b"\x92\x01"):  # metrics, template_value
            size, digits = len(body), b""
            while size > 127:
                digits, size = digits + bytes([size & 127 | 128]), size >> 7
            body = tag + digits + bytes([size]) + body
    with pytest.raises(PayloadError):
        parse(b"\x12\x00" + body[1:] if body[0] != 0x12 else body)


def test_the_number_of_metrics_is_bounded() -> None:
    """Otherwise half a million of two bytes each fit into 1 MiB."""
    assert len(parse(b"\x12\x00" * METRICS_MAX).metrics) == METRICS_MAX
    with pytest.raises(PayloadError, match="metrics are over"):
        parse(b"\x12\x00" * 100_000)


def booleans(count: int) -> Payload.Metric:
    """Return an array of this many booleans."""
    return metric("x", "BooleanArray", bytes_value=count.to_bytes(4, "little") + b"\xff" * (count // 8 + 1))


@pytest.mark.parametrize(
    "metrics",
    [
        [booleans(ELEMENTS_MAX + 1)],
        [booleans(ELEMENTS_MAX // 2 + 1)] * 2,
        [metric("x", "Int8Array", bytes_value=b"\0" * (ELEMENTS_MAX + 1))],
        [metric("x", "StringArray", bytes_value=b"\0" * (ELEMENTS_MAX + 1))],
        [metric("x", "DataSet", dataset_value={"rows": [{}] * (VALUES_MAX + 1)})],
        [metric("x", "Template", template_value={"metrics": [{}] * (VALUES_MAX + 1)})],
    ],
    ids=["booleans", "twice", "bytes", "strings", "rows", "members"],
)
def test_a_small_payload_does_not_become_a_large_one(metrics: list[Payload.Metric]) -> None:
    """All elements of the payload are counted together."""
    with pytest.raises(PayloadError, match="more than"):
        read_all(message(*metrics))


def property_sets(count: int) -> Payload.Metric:
    """Return a metric with so many empty property sets in one list."""
    sets: dict[str, Any] = {"propertyset": [{} for _ in range(count)]}
    return metric("x", "Int8", int_value=1, properties={"keys": ["p"], "values": [{"propertysets_value": sets}]})


@pytest.mark.parametrize(
    "metrics",
    [
        [metric("x", "DataSet", dataset_value={"rows": [{}] * MAX_CONTAINERS})],
        [metric("x", "DataSet", dataset_value={"rows": [{}] * (MAX_CONTAINERS // 2)})] * 2,
        [metric("x", "Template", template_value={"metrics": [{}] * (MAX_CONTAINERS // 2)})],
        [property_sets(MAX_CONTAINERS - 1)],  # the property of the list is a value, too
    ],
    ids=["rows", "twice", "members", "property sets"],
)
def test_a_payload_has_at_most_as_many_containers_as_one_of_json(metrics: list[Payload.Metric]) -> None:
    """The arrays and objects of all its metrics are counted together."""
    with pytest.raises(PayloadError, match="more than 50,000 arrays and objects"):
        read_all(message(*metrics))


def test_a_payload_may_have_almost_as_many_containers() -> None:
    """Those around the rows are counted, too."""
    rows = MAX_CONTAINERS - 6
    (data,) = read_all(message(metric("x", "DataSet", dataset_value={"rows": [{}] * rows})))
    assert len(json.loads(data)["value"]["rows"]) == rows


def test_a_large_array_needs_linear_time() -> None:
    """Up to the largest one, so that it does not block the event loop for long."""
    sizes = (ELEMENTS_MAX // FACTOR, ELEMENTS_MAX)
    payloads = {size: message(metric("x", "BooleanArray", bytes_value=booleans(size).bytes_value)) for size in sizes}
    assert growth(lambda size: read_all(payloads[size]), sizes[0]) < LINEAR_MAX
    assert json.loads(read_all(payloads[ELEMENTS_MAX])[0])["value"] == [True] * ELEMENTS_MAX


def test_the_first_floats_of_a_payload_have_few_digits_and_the_others_all() -> None:
    """To find the digits takes 20 times as long as to write the double."""
    single = struct.unpack("<f", struct.pack("<f", 21.4))[0]
    half = SHORT_FLOATS_MAX // 2
    metrics = [metric(name, "FloatArray", bytes_value=struct.pack("<f", 21.4) * (half + 1)) for name in "xyz"]
    first, second, third = (json.loads(data)["value"] for data in read_all(message(*metrics)))
    assert first == [21.4] * (half + 1)
    assert second == [21.4] * (half - 1) + [single] * 2
    assert third == [single] * (half + 1)


@given(st.binary(max_size=200))
def test_any_bytes_become_metrics_or_are_rejected(payload: bytes) -> None:
    """Without any other exception."""
    try:
        texts = read_all(payload)
    except PayloadError:
        return
    for text in texts:
        assert "value" in json.loads(text, parse_constant=pytest.fail)


@given(st.data())
def test_a_damaged_payload_becomes_metrics_or_is_rejected(data: st.DataObject) -> None:
    """One byte of a valid payload is replaced."""
    template = Payload.Template(metrics=[metric("r", "Int16", int_value=1)], parameters=[{"name": "p", "int_value": 1}])
    good = message(
        metric("t", "Template", template_value=template),
        metric(
            "d", "DataSet", dataset_value={"columns": ["c"], "types": [1], "rows": [{"elements": [{"int_value": 1}]}]}
        ),
        metric("b", "BooleanArray", bytes_value=b"\x03\0\0\0\xe0"),
        metric("p", "Double", double_value=1.5, properties={"keys": ["k"], "values": [{"type": 3, "int_value": 5}]}),
    )
    at = data.draw(st.integers(0, len(good) - 1))
    broken = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        texts = read_all(broken)
    except PayloadError:
        return
    assert all("value" in json.loads(text, parse_constant=pytest.fail) for text in texts)


# -- the compiled fields ----------------------------------------------------------------------------------------------


def defined() -> dict[str, tuple[int, str, bool]]:
    """Return the fields of the .proto: full name → number, type, whether it is repeated."""
    found: dict[str, tuple[int, str, bool]] = {}
    scopes: list[str] = []
    text = re.sub(r"//.*", "", PROTO.read_text())
    line = re.compile(
        r"(?P<scope>message|enum|oneof)\s+(?P<name>\w+)\s*\{"
        r"|(?P<end>\})"
        r"|(?:(?P<label>optional|repeated)\s+)?(?P<type>\w+)\s+(?P<field>\w+)\s*=\s*(?P<number>\d+);"
        r"|(?P<value>\w+)\s*=\s*(?P<value_number>\d+);"
    )
    for part in line.finditer(text):
        path = [scope for scope in scopes if not scope.startswith("oneof ")]
        if part["scope"]:
            scopes.append(f"oneof {part['name']}" if part["scope"] == "oneof" else part["name"])
        elif part["end"]:
            scopes.pop()
        elif part["field"]:
            found[".".join([*path, part["field"]])] = (int(part["number"]), part["type"], part["label"] == "repeated")
        else:
            found[".".join([*path, part["value"]])] = (int(part["value_number"]), "enum", False)
    assert scopes == []
    return found


SCALARS = {1: "double", 2: "float", 4: "uint64", 8: "bool", 9: "string", 12: "bytes", 13: "uint32"}


def compiled(message_type: Descriptor) -> dict[str, tuple[int, str, bool]]:
    """Return the same of a compiled message and its inner messages."""
    prefix = message_type.full_name.removeprefix(f"{DESCRIPTOR.package}.")
    found: dict[str, tuple[int, str, bool]] = {}
    proto = DescriptorProto()
    message_type.CopyToProto(proto)
    for field, label in zip(message_type.fields, [field.label for field in proto.field], strict=True):
        type_ = field.message_type.name if field.message_type else SCALARS[field.type]
        found[f"{prefix}.{field.name}"] = (field.number, type_, label == FieldDescriptorProto.LABEL_REPEATED)
    for inner in message_type.nested_types:
        found |= compiled(inner)
    return found


def test_the_compiled_fields_are_those_of_the_proto() -> None:
    """Otherwise run `make proto`."""
    fields = defined()
    assert len(fields) == 103, "fields and values of the specification, without its extension points"
    types = {f"DataType.{name}": (number, "enum", False) for name, number in TYPES.items()}
    assert fields == compiled(DESCRIPTOR.message_types_by_name["Payload"]) | types


def test_it_works_without_the_c_extension_of_protobuf() -> None:
    """Some small machines do not have a wheel with it."""
    program = """
import sys
from google.protobuf.internal import api_implementation
from hermes.errors import PayloadError
from hermes.ingest.sparkplug.metrics import MetricReader, parse
assert api_implementation.Type() == "python"
(metric,) = parse(bytes.fromhex(sys.argv[1])).metrics
try:
    next(MetricReader().data(metric, datatype=metric.datatype, timestamp_ms=0))
except StopIteration as end:
    print(end.value.decode())
for broken in (b"\\x12\\x03\\x0a\\x01\\xff", b"{", b"\\x12\\x05"):
    try:
        parse(broken)
    except PayloadError:
        print("rejected")
"""
    payload = message(metric("x", "Float", float_value=21.4)).hex()
    ran = subprocess.run(
        [sys.executable, "-c", program, payload],
        env={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ['{"value":21.4,"type":"Float"}', "rejected", "rejected", "rejected"]
