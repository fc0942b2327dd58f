"""The devices' door: a Sparkplug B payload → its metrics, each as one JSON object.

A metric becomes ``{"value":…,"type":"Double","timestamp":…}``, and what else means something. JSON has no NaN and no
infinities: their value is null, and ``nonfinite`` says which it was. Bytes are text, their base64 (RFC 4648 §4), and
``encoding`` says so; likewise an array whose bytes are not what its type says. A 32-bit float gets the fewest digits
that mean it: 21.4, not 21.399999618530273.
"""

import base64
import math
import struct
from collections.abc import Iterable

import orjson
from google.protobuf.message import DecodeError

from hermes.errors import PayloadError
from hermes.ingest.sparkplug.sparkplug_b_pb2 import DESCRIPTOR, Payload

METRICS_MAX = 5_000  # of one payload: half of the series that a slow socket may have waiting
VALUES_MAX = 250_000  # elements, cells, properties of one payload: an array of booleans needs a bit of it each
DEPTH_MAX = 16  # templates and property sets inside each other; one makes JSON deeper by three

TYPE_NAMES: dict[int, str] = {value.number: value.name for value in DESCRIPTOR.enum_types_by_name["DataType"].values}
TYPES = {name: number for number, name in TYPE_NAMES.items()}
BOOLEAN = TYPES["Boolean"]

# bits of what travels as two's complement in an unsigned field; dates before 1970 do
_SIGNED_BITS = {TYPES[name]: bits for name, bits in [("Int8", 8), ("Int16", 16), ("Int32", 32), ("Int64", 64)]}
_SIGNED_BITS[TYPES["DateTime"]] = 64
_FIELD_BITS = {"int_value": 32, "long_value": 64}
_ARRAY_CODES = {
    TYPES[f"{name}Array"]: code
    for name, code in [
        *[("Int8", "b"), ("Int16", "h"), ("Int32", "i"), ("Int64", "q"), ("DateTime", "q")],
        *[("UInt8", "B"), ("UInt16", "H"), ("UInt32", "I"), ("UInt64", "Q"), ("Float", "f"), ("Double", "d")],
    ]
}

_Cell = Payload.DataSet.DataSetValue | Payload.Template.Parameter | Payload.PropertyValue


def parse(payload: bytes) -> Payload:
    """The payload's fields. Raises `PayloadError`."""
    try:
        parsed = Payload.FromString(payload)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last two by protobuf without its C part
        raise PayloadError(f"no Sparkplug B payload: {error}") from None
    if len(parsed.metrics) > METRICS_MAX:
        raise PayloadError(f"{len(parsed.metrics)} metrics are over {METRICS_MAX}")
    if any(isinstance(metric.name, bytes) for metric in parsed.metrics):  # what protobuf makes of a bad text
        raise PayloadError("the name of a metric is not UTF-8")
    return parsed


class MetricReader:
    """Reads the metrics of one payload; what they may grow to is bounded for all of them together."""

    def __init__(self) -> None:
        self._values_left = VALUES_MAX

    def data(self, metric: Payload.Metric, *, datatype: int, timestamp_ms: int) -> bytes:
        """The JSON text of a metric's object. Type and time are what its birth and its payload say where it is silent
        itself; 0 where nobody does. Raises `PayloadError`.
        """
        try:
            return orjson.dumps(self._object(metric, datatype, timestamp_ms, 0))
        except TypeError:  # where a text should be, protobuf gives bytes
            raise PayloadError("a text of the payload is not UTF-8") from None

    def _object(self, metric: Payload.Metric, datatype: int, timestamp_ms: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {"value": self._value(metric, datatype, depth)}
        if datatype:
            found["type"] = TYPE_NAMES.get(datatype, str(datatype))
        if timestamp_ms:
            found["timestamp"] = timestamp_ms
        _mark(found)
        if metric.is_historical:
            found["historical"] = True
        if metric.is_transient:
            found["transient"] = True
        if metric.HasField("metadata"):
            found["metadata"] = {field.name: value for field, value in metric.metadata.ListFields()}
        if metric.HasField("properties"):
            found["properties"] = self._properties(metric.properties, depth + 1)
        return found

    def _value(self, metric: Payload.Metric, datatype: int, depth: int) -> object:
        field = metric.WhichOneof("value")
        if field is None or metric.is_null:
            return None
        if field == "bytes_value":
            return self._bytes(metric.bytes_value, datatype)
        if field == "dataset_value":
            return self._dataset(metric.dataset_value)
        if field == "template_value":
            return self._template(metric.template_value, depth + 1)
        return scalar(field, getattr(metric, field), datatype)

    def _bytes(self, packed: bytes, datatype: int) -> object:
        """An array; bytes where they are none."""
        if datatype == TYPES["BooleanArray"]:
            return self._booleans(packed)
        if datatype == TYPES["StringArray"]:
            return self._strings(packed)
        code = _ARRAY_CODES.get(datatype)
        if code is None or len(packed) % struct.calcsize(f"<{code}"):
            return packed
        count = len(packed) // struct.calcsize(f"<{code}")
        self._take(count)
        elements = struct.unpack(f"<{count}{code}", packed)
        return [_shortest(element) for element in elements] if code == "f" else elements

    def _booleans(self, packed: bytes) -> object:
        """Four bytes of count, then bits, the highest of each byte first."""
        count = int.from_bytes(packed[:4], "little")
        if len(packed) < 4 or (count + 7) // 8 > len(packed) - 4:
            return packed
        self._take(count)
        return [bool(packed[4 + index // 8] & 0x80 >> index % 8) for index in range(count)]

    def _strings(self, packed: bytes) -> object:
        """A zero byte ends each."""
        parts = packed.removesuffix(b"\0").split(b"\0") if packed else []
        self._take(len(parts))
        try:
            return [part.decode() for part in parts]
        except UnicodeDecodeError:
            return packed

    def _dataset(self, dataset: Payload.DataSet) -> dict[str, object]:
        types = list(dataset.types)
        rows = []
        for row in dataset.rows:
            self._take(1 + len(row.elements))
            rows.append([_cell(cell, types[at] if at < len(types) else 0) for at, cell in enumerate(row.elements)])
        names = [TYPE_NAMES.get(number, str(number)) for number in types]
        return {"columns": list(dataset.columns), "types": names, "rows": rows}

    def _template(self, template: Payload.Template, depth: int) -> dict[str, object]:
        self._descend(depth)
        found: dict[str, object] = {}
        if template.template_ref:
            found["template"] = template.template_ref
        if template.version:
            found["version"] = template.version
        if template.is_definition:
            found["definition"] = True
        found["metrics"] = self._members(template.metrics, depth)
        if template.parameters:
            self._take(len(template.parameters))
            found["parameters"] = {each.name: _cell(each, each.type) for each in template.parameters}
        return found

    def _members(self, metrics: Iterable[Payload.Metric], depth: int) -> dict[str, object]:
        """A template's metrics; a member that has only an alias goes by that."""
        found: dict[str, object] = {}
        for metric in metrics:
            self._take(1)
            name = metric.name or str(metric.alias)
            found[name] = self._object(metric, metric.datatype, metric.timestamp, depth)
        return found

    def _properties(self, properties: Payload.PropertySet, depth: int) -> dict[str, object]:
        self._descend(depth)
        self._take(len(properties.values))
        pairs = zip(properties.keys, properties.values, strict=False)
        return {key: self._property(value, depth) for key, value in pairs}

    def _property(self, value: Payload.PropertyValue, depth: int) -> object:
        if value.is_null:
            return None
        match value.WhichOneof("value"):
            case "propertyset_value":
                return self._properties(value.propertyset_value, depth + 1)
            case "propertysets_value":
                self._take(len(value.propertysets_value.propertyset))
                return [self._properties(each, depth + 1) for each in value.propertysets_value.propertyset]
            case _:
                return _cell(value, value.type)

    def _take(self, count: int) -> None:
        self._values_left -= count
        if self._values_left < 0:
            raise PayloadError(f"the payload holds more than {VALUES_MAX} values")

    def _descend(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise PayloadError(f"templates or property sets are nested more than {DEPTH_MAX} deep")


def scalar(field: str, value: object, datatype: int) -> object:
    """What one of the simple fields holds, by its type; where the two do not fit, as it came."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _integer(value, _FIELD_BITS[field], datatype)
    if isinstance(value, bytes):
        raise PayloadError("a text of the payload is not UTF-8")
    return _shortest(value) if field == "float_value" and isinstance(value, float) else value


def _integer(value: int, field_bits: int, datatype: int) -> int | bool:
    """Some devices extend the sign to the field's width, some to the type's: -1 as an Int8 comes as 255 or 2³²-1."""
    bits = _SIGNED_BITS.get(datatype)
    if bits is None:
        return bool(value) if datatype == BOOLEAN else value
    width = bits if value < 1 << bits else field_bits
    return value - (1 << width) if value >> width - 1 else value


def _cell(cell: _Cell, datatype: int) -> object:
    field = cell.WhichOneof("value")
    return None if field is None else scalar(field, getattr(cell, field), datatype)


def _mark(found: dict[str, object]) -> None:
    """Say what had to become something else to be JSON."""
    value = found["value"]
    if isinstance(value, bytes):
        found["value"] = base64.b64encode(value).decode()
        found["encoding"] = "base64"
    elif isinstance(value, float) and not math.isfinite(value):
        found["value"] = None
        found["nonfinite"] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _shortest(value: float) -> float:
    """The double with the fewest digits that is this 32-bit float."""
    if value.is_integer() or not math.isfinite(value):
        return value
    for digits in (6, 7, 8):
        rounded = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", rounded))[0] == value:
            return rounded
    return float(f"{value:.9g}")
