"""Convert the metrics of a Sparkplug B payload to one JSON object each.

A metric becomes ``{"value":…,"type":"Double","timestamp":…}`` with its other attributes. NaN and the infinities become
null, and ``nonfinite`` is their name. Bytes become the text of their base64 (RFC 4648 §4) with ``"encoding":"base64"``,
also those of an array that do not match its type. A 32-bit float gets the smallest number of digits that is exact:
21.4, not 21.399999618530273; after `SHORT_FLOATS_MAX` of one payload, it gets the latter.
"""

import base64
import math
import struct
from collections.abc import Generator, Iterable
from itertools import chain

import orjson
from google.protobuf.message import DecodeError

from hermes.errors import PayloadError
from hermes.ingest.sparkplug.sparkplug_b_pb2 import DESCRIPTOR, Payload
from hermes.json_nesting import MAX_CONTAINERS

METRICS_MAX = 5_000  # of one payload: half of the series that may wait for a slow socket
# Of one payload: a million cells would take half a second.
ELEMENTS_MAX = 250_000  # of arrays: those of booleans have 8 in a byte
VALUES_MAX = 50_000  # cells, properties, members of templates
SHORT_FLOATS_MAX = 5_000  # the next ones keep all digits of their double
DEPTH_MAX = 16  # nested templates and property sets; each one adds three levels of JSON

TYPE_NAMES: dict[int, str] = {value.number: value.name for value in DESCRIPTOR.enum_types_by_name["DataType"].values}
TYPES = {name: number for number, name in TYPE_NAMES.items()}
BOOLEAN = TYPES["Boolean"]

# bits of the types that are two's complement in an unsigned field; dates before 1970 are negative
_SIGNED_BITS = {TYPES[name]: bits for name, bits in [("Int8", 8), ("Int16", 16), ("Int32", 32), ("Int64", 64)]}
_SIGNED_BITS[TYPES["DateTime"]] = 64
_BITS = [tuple(bool(byte & 0x80 >> bit) for bit in range(8)) for byte in range(256)]
_FIELD_BITS = {"int_value": 32, "long_value": 64}
_ARRAY_CODES = {
    TYPES[f"{name}Array"]: code
    for name, code in [
        *[("Int8", "b"), ("Int16", "h"), ("Int32", "i"), ("Int64", "q"), ("DateTime", "q")],
        *[("UInt8", "B"), ("UInt16", "H"), ("UInt32", "I"), ("UInt64", "Q"), ("Float", "f"), ("Double", "d")],
    ]
}

STEP_VALUES = 50  # cells, properties or members between two steps of the work

_Object = Generator[None, None, dict[str, object]]
_Cell = Payload.DataSet.DataSetValue | Payload.Template.Parameter | Payload.PropertyValue


def parse(payload: bytes) -> Payload:
    """Parse a payload. Raises `PayloadError`."""
    try:
        parsed = Payload.FromString(payload)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last two only without C extension
        raise PayloadError(f"not a Sparkplug B payload: {error}") from None
    if len(parsed.metrics) > METRICS_MAX:
        raise PayloadError(f"{len(parsed.metrics)} metrics are over {METRICS_MAX}")
    if any(isinstance(metric.name, bytes) for metric in parsed.metrics):  # protobuf returns bytes for invalid UTF-8
        raise PayloadError("the name of a metric is not UTF-8")
    return parsed


class MetricReader:
    """Read the metrics of one payload.

    `ELEMENTS_MAX`, `VALUES_MAX` and `MAX_CONTAINERS` limit all of them together. The event loop need not wait for all
    of it: a generator yields None after each small step of its work, and returns the result.
    """

    def __init__(self) -> None:
        self._elements_left = ELEMENTS_MAX
        self._short_floats_left = SHORT_FLOATS_MAX
        self._values_left = VALUES_MAX
        self._columns_left = VALUES_MAX
        self._containers_left = MAX_CONTAINERS

    def data(self, metric: Payload.Metric, *, datatype: int, timestamp_ms: int) -> Generator[None, None, bytes]:
        """Return the JSON text of a metric's object, in steps.

        ``datatype`` and ``timestamp_ms`` are those of the metric, its birth or its payload; 0 if none has them. Raises
        `PayloadError`.
        """
        try:
            return orjson.dumps((yield from self._object(metric, datatype, timestamp_ms, 0)))
        except TypeError:  # protobuf returns bytes for invalid UTF-8
            raise PayloadError("a text of the payload is not UTF-8") from None

    def _object(self, metric: Payload.Metric, datatype: int, timestamp_ms: int, depth: int) -> _Object:
        self._count_containers(2)  # its object and that of the metadata
        match metric.WhichOneof("value"):
            case "dataset_value" if not metric.is_null:
                value: object = yield from self._dataset(metric.dataset_value)
            case "template_value" if not metric.is_null:
                value = yield from self._template(metric.template_value, depth + 1)
            case "bytes_value" if not metric.is_null:
                value = yield from self._bytes(metric.bytes_value, datatype)
            case field:
                value = (
                    None if metric.is_null or field is None else self._scalar(field, getattr(metric, field), datatype)
                )
        fields: dict[str, object] = {"value": value}
        if datatype:
            fields["type"] = TYPE_NAMES.get(datatype, str(datatype))
        if timestamp_ms:
            fields["timestamp"] = timestamp_ms
        _replace_non_json(fields)
        if metric.is_historical:
            fields["historical"] = True
        if metric.is_transient:
            fields["transient"] = True
        if metric.HasField("metadata"):
            fields["metadata"] = {field.name: value for field, value in metric.metadata.ListFields()}
        if metric.HasField("properties"):
            fields["properties"] = yield from self._properties(metric.properties, depth + 1)
        return fields

    def _bytes(self, packed: bytes, datatype: int) -> Generator[None, None, object]:
        """Return the array, or the bytes if they do not match its type."""
        self._count_containers(1)
        if datatype == TYPES["BooleanArray"]:
            return self._booleans(packed)
        if datatype == TYPES["StringArray"]:
            return self._strings(packed)
        code = _ARRAY_CODES.get(datatype)
        if code is None or len(packed) % struct.calcsize(f"<{code}"):
            return packed
        count = len(packed) // struct.calcsize(f"<{code}")
        self._count_elements(count)
        elements = struct.unpack(f"<{count}{code}", packed)
        if code != "f":
            return elements
        floats = list(elements)
        for at in range(min(len(floats), max(self._short_floats_left, 0))):
            floats[at] = self._shortest(floats[at])
            if at % STEP_VALUES == STEP_VALUES - 1:
                yield
        return floats

    def _booleans(self, packed: bytes) -> object:
        """Unpack four bytes of count and then bits, the highest of each byte first."""
        count = int.from_bytes(packed[:4], "little")
        if len(packed) < 4 or (count + 7) // 8 > len(packed) - 4:
            return packed
        self._count_elements(count)
        return list(chain.from_iterable(_BITS[byte] for byte in packed[4:]))[:count]

    def _strings(self, packed: bytes) -> object:
        """Unpack texts that end with a zero byte each."""
        self._count_elements(packed.removesuffix(b"\0").count(b"\0") + bool(packed))
        try:
            return packed.removesuffix(b"\0").decode().split("\0") if packed else []
        except UnicodeDecodeError:
            return packed

    def _dataset(self, dataset: Payload.DataSet) -> _Object:
        self._count_containers(4 + len(dataset.rows))
        self._columns_left -= max(len(dataset.types), len(dataset.columns))
        if self._columns_left < 0:
            raise PayloadError(f"the payload holds more than {VALUES_MAX:,} columns")
        types = list(dataset.types)
        rows: list[list[object]] = []
        left = STEP_VALUES
        for row in dataset.rows:
            self._count(1 + len(row.elements))
            cells: list[object] = []
            rows.append(cells)
            left -= 1
            for at, cell in enumerate(row.elements):
                cells.append(self._cell(cell, types[at] if at < len(types) else 0))
                left -= 1
                if left < 0:
                    left = STEP_VALUES
                    yield
        names = [TYPE_NAMES.get(number, str(number)) for number in types]
        return {"columns": list(dataset.columns), "types": names, "rows": rows}

    def _template(self, template: Payload.Template, depth: int) -> _Object:
        self._descend(depth)
        self._count_containers(3)
        fields: dict[str, object] = {}
        if template.template_ref:
            fields["template"] = template.template_ref
        if template.version:
            fields["version"] = template.version
        if template.is_definition:
            fields["definition"] = True
        fields["metrics"] = yield from self._members(template.metrics, depth)
        if template.parameters:
            self._count(len(template.parameters))
            parameters: dict[str, object] = {}
            for number, each in enumerate(template.parameters):
                parameters[each.name] = self._cell(each, each.type)
                if number % STEP_VALUES == 0:
                    yield
            fields["parameters"] = parameters
        return fields

    def _members(self, metrics: Iterable[Payload.Metric], depth: int) -> _Object:
        """Return a template's metrics by name, or by alias if they have only that."""
        fields: dict[str, object] = {}
        for number, metric in enumerate(metrics):
            self._count(1)
            name = metric.name or str(metric.alias)
            fields[name] = yield from self._object(metric, metric.datatype, metric.timestamp, depth)
            if number % STEP_VALUES == 0:
                yield
        return fields

    def _properties(self, properties: Payload.PropertySet, depth: int) -> _Object:
        self._descend(depth)
        self._count_containers(1)
        self._count(len(properties.values))
        fields: dict[str, object] = {}
        for number, (key, value) in enumerate(zip(properties.keys, properties.values, strict=False)):
            fields[key] = yield from self._property(value, depth)
            if number % STEP_VALUES == STEP_VALUES - 1:
                yield
        return fields

    def _property(self, value: Payload.PropertyValue, depth: int) -> Generator[None, None, object]:
        if value.is_null:
            return None
        match value.WhichOneof("value"):
            case "propertyset_value":
                return (yield from self._properties(value.propertyset_value, depth + 1))
            case "propertysets_value":
                sets = value.propertysets_value.propertyset
                self._count_containers(1)
                self._count(len(sets))
                found = []
                for each in sets:
                    found.append((yield from self._properties(each, depth + 1)))
                    yield
                return found
            case _:
                return self._cell(value, value.type)

    def _cell(self, cell: _Cell, datatype: int) -> object:
        field = cell.WhichOneof("value")
        return None if field is None else self._scalar(field, getattr(cell, field), datatype)

    def _scalar(self, field: str, value: object, datatype: int) -> object:
        """Return the value of a simple field by its type, unchanged if they do not match."""
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            return _integer(value, _FIELD_BITS[field], datatype)
        if isinstance(value, bytes):
            raise PayloadError("a text of the payload is not UTF-8")
        return self._shortest(value) if field == "float_value" and isinstance(value, float) else value

    def _shortest(self, value: float) -> float:
        """Return the double with the fewest digits that equals this 32-bit float."""
        self._short_floats_left -= 1
        if self._short_floats_left < 0 or value.is_integer() or not math.isfinite(value):
            return value
        for digits in (6, 7, 8):
            rounded = float(f"{value:.{digits}g}")
            if struct.unpack("<f", struct.pack("<f", rounded))[0] == value:
                return rounded
        return float(f"{value:.9g}")

    def _count_elements(self, count: int) -> None:
        self._elements_left -= count
        if self._elements_left < 0:
            raise PayloadError(f"the payload holds more than {ELEMENTS_MAX:,} elements of arrays")

    def _count(self, count: int) -> None:
        self._values_left -= count
        if self._values_left < 0:
            raise PayloadError(f"the payload holds more than {VALUES_MAX:,} values")

    def _count_containers(self, count: int) -> None:
        self._containers_left -= count
        if self._containers_left < 0:
            raise PayloadError(f"the payload holds more than {MAX_CONTAINERS:,} arrays and objects")

    def _descend(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise PayloadError(f"templates or property sets are nested more than {DEPTH_MAX} deep")


def _integer(value: int, field_bits: int, datatype: int) -> int | bool:
    """Convert two's complement; devices send an Int8 of -1 as 255 or as 2³²-1."""
    bits = _SIGNED_BITS.get(datatype)
    if bits is None:
        return bool(value) if datatype == BOOLEAN else value
    width = bits if value < 1 << bits else field_bits
    return value - (1 << width) if value >> width - 1 else value


def _replace_non_json(fields: dict[str, object]) -> None:
    """Replace a value that JSON does not have, and add its encoding or name."""
    value = fields["value"]
    if isinstance(value, bytes):
        fields["value"] = base64.b64encode(value).decode()
        fields["encoding"] = "base64"
    elif isinstance(value, float) and not math.isfinite(value):
        fields["value"] = None
        fields["nonfinite"] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
