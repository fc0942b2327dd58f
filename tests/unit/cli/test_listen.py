"""``hermes listen`` prints one line for each frame, whatever devices write."""

import json

import pytest

from hermes.cli.listen import one_line

UNPRINTABLE = [
    *range(0x7F, 0xA0),
    0xAD,
    0x61C,
    0x200B,
    0x200E,
    0x2028,
    0x2029,
    0x202E,
    0x2066,
    0xFEFF,
    0xE0001,
    0xE0041,
]


@pytest.mark.parametrize("code_point", UNPRINTABLE)
def test_no_character_reaches_the_terminal_that_controls_it(code_point: int) -> None:
    """C1, DEL, bidirectional and invisible characters become escapes of the same JSON value."""
    value = {"data": f"21 °C {chr(code_point)}[31m 東京 🙂"}
    line = one_line(json.dumps(value, ensure_ascii=False))
    assert line.isprintable()
    assert "東京 🙂" in line
    assert json.loads(line) == value


def test_a_payload_with_line_breaks_is_one_line() -> None:
    """A device could write a whole frame of another device into a line of its own."""
    payload = '[\n{"channel":"device","device_id":"victim"}\r\n,\t1]'
    line = one_line('{"channel":"device","data":' + payload + "}")
    assert line == '{"channel":"device","data":[ {"channel":"device","device_id":"victim"}  , 1]}'
