"""What many nodes need, calculated from unit costs."""

import dataclasses

import pytest

from bench import report, scaling
from bench.scaling import Costs, Site, limits, main, text


def test_the_page_has_what_the_script_calculates() -> None:
    """Its tables are those of the default figures: python -m bench.scaling --write."""
    between = scaling.PAGE.read_text().partition(report.BEGIN)[2].partition(report.END)[0]
    assert between.strip() == text(Site(), Costs())


def test_the_largest_share_comes_first() -> None:
    """A share is what is needed, divided by what there is."""
    shares = [limit.share for limit in limits(Site(), Costs())]
    assert shares == sorted(shares, reverse=True)
    (connections,) = [limit for limit in limits(Site(nodes=50), Costs()) if limit.what == "connections"]
    assert connections.share == pytest.approx(0.53)


def test_more_of_anything_needs_no_less() -> None:
    """Nothing becomes less with more sockets, notifications or device messages."""

    def needed(site: Site) -> dict[tuple[str, str], float]:
        return {(limit.part, limit.what): limit.needed for limit in limits(site, Costs())}

    few = needed(Site())
    for more in (
        dataclasses.replace(Site(), sockets=2_000_000),
        dataclasses.replace(Site(), notifications_per_user_h=10),
        dataclasses.replace(Site(), device_messages_per_s=5_000),
    ):
        many = needed(more)
        assert all(many[key] >= few[key] for key in few)
        assert many != few


def test_each_figure_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """With a figure of the reader, the table is another one."""
    assert main([]) == 0
    default = capsys.readouterr().out
    assert main(["--nodes", "10", "--socket-kib", "20"]) == 0
    assert capsys.readouterr().out != default
