"""Create ``docs/console.png``, the picture of the README: the console of a running ``hermes serve --dev``.

``python -m tests.support.screenshots``, or ``make screenshots``. The data is real. The picture is taken when the charts
are filled and a notification has just arrived.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from tests.support.consoles import Console, chromium, notify
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, hermes

PICTURE = CHECKOUT / "docs" / "console.png"
SIZE = ViewportSize(width=1280, height=1000)
RECORDED_S = 115.0  # nearly the span of the charts
MAX_BYTES = 200_000


def take(program: Program, path: Path) -> None:
    """Wait until the charts are filled, then take the picture."""
    with chromium() as browser:
        context = browser.new_context(viewport=SIZE, reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
        context.add_cookies([{"name": "hermes_theme", "value": "light", "url": program.url}])
        console = Console(context.new_page(), f"{program.url}/")
        console.watch()
        console.open("overview")
        console.expect_all_open()
        _fill(console.page, program)
        console.page.screenshot(path=path)
        context.close()
        assert console.unexpected == []


def _fill(page: Page, program: Program) -> None:
    """Wait until the charts are filled and a notification is shown."""
    page.wait_for_timeout(RECORDED_S * 1000)
    notify(program, message="Pump 4: pressure at 4.1 bar")
    expect(page.locator("#toasts > *")).to_have_count(1)


def main() -> int:
    """Take the picture; return 1 if it is too big for a README."""
    with (
        tempfile.TemporaryDirectory() as state,
        hermes("serve", "--dev", "--port", "0", XDG_STATE_HOME=state) as program,
    ):
        program.wait_for("Ctrl-C stops it")
        take(program, PICTURE)
    size = PICTURE.stat().st_size
    print(f"{PICTURE}: {size:,} bytes")
    return 0 if size <= MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
