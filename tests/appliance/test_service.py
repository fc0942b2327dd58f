"""The unit under a real systemd: ready, reload, watchdog, a broker that is away, stop.

The steps run inside a booted Debian, as those of `tests.appliance.test_package`.
"""

import re
from pathlib import Path

import pytest

from tests.appliance.test_package import STEPS, Seen, boot
from tests.appliance.test_package import debian_root as debian_root

pytestmark = pytest.mark.slow

FUNCTIONS = STEPS.partition("step install")[0]
SERVICE_STEPS = (
    FUNCTIONS
    + r"""
show() { systemctl show --property=ActiveState,MainPID,NRestarts,StatusText,Result hermes; }
pid() { systemctl show --property=MainPID --value hermes; }
restarts() {  # N: wait until systemd has started it again so often, at most four minutes
    for _ in $(seq 240); do
        [ "$(systemctl show --property=NRestarts --value hermes)" -ge "$1" ] && [ "$(pid)" -gt 0 ] && return 0
        sleep 1
    done
    return 1
}
says() {  # TEXT: wait until the status has it, at most one minute
    for _ in $(seq 60); do
        systemctl show --property=StatusText hermes | grep "$1" && return 0
        sleep 1
    done
    return 1
}
notify_with() {  # KEY
    curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8080/notify -H "X-API-Key: $1" \
        -H 'Content-Type: application/json' -d '{"user_id":"1","title":"t","message":"m"}'
}
broker() { printf 'listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n' >/root/broker.conf
    /usr/lib/hermes/_internal/broker/mosquitto -c /root/broker.conf >/dev/null 2>&1 & }

step install dpkg --install /root/first.deb
step init hermes init --host 127.0.0.1
# this pipe is read later: when it is full, the log blocks the event loop
mkfifo /run/hermes-log && exec 9<>/run/hermes-log
mkdir -p /etc/systemd/system/hermes.service.d
printf '[Service]\nStandardError=file:/run/hermes-log\n' >/etc/systemd/system/hermes.service.d/log.conf
systemctl daemon-reload

step start systemctl start hermes
step show-started show
step health answers /health
step status hermes status
step quiet hermes status --quiet

echo the-new-key-of-the-site >>/etc/hermes/api-keys
step notify-before notify_with the-new-key-of-the-site
step reload systemctl reload hermes
step notify-after notify_with the-new-key-of-the-site
step show-reloaded show

kill -STOP "$(pid)"
step frozen restarts 1
step health-frozen answers /health
step show-frozen show

curl --silent --max-time 60 --output /dev/null 'http://127.0.0.1:8080/nothing/[1-3000]' || true
step blocked restarts 2
cat <&9 >/root/seen/log &
step health-blocked answers /health
step show-blocked show

broker
step ready answers /ready
step up says 'MQTT up'
step show-up show
kill "$!"
sleep 180
step show-away show
broker
step ready-again answers /ready
step back says 'MQTT up'
step show-back show

step stop systemctl stop hermes
step show-stopped show
step analyze systemd-analyze verify hermes.service
step journal journalctl --unit hermes --output cat
"""
)


@pytest.fixture(scope="module")
def seen(package: Path, debian_root: Path) -> Seen:
    """Boot the Debian, which performs the steps and powers off."""
    return boot(debian_root, SERVICE_STEPS, package=package)


def shown(seen: Seen, step: str) -> dict[str, str]:
    """Return the unit's properties of a step."""
    return dict(re.findall(r"^(\w+)=(.*)$", seen.output(f"show-{step}"), re.MULTILINE))


def test_it_is_ready_without_a_broker(seen: Seen) -> None:
    """``systemctl start`` returns when it listens; the status names what is missing."""
    seen.output("start")
    state = shown(seen, "started")
    assert (state["ActiveState"], state["NRestarts"]) == ("active", "0")
    assert state["StatusText"].startswith("http://127.0.0.1:8080; MQTT ")
    assert "ready       no; " in seen.output("status")
    assert seen.output("quiet") == ""


def test_a_reload_applies_new_keys_in_the_same_process(seen: Seen) -> None:
    """No socket would have been closed."""
    seen.output("reload")
    assert (seen.output("notify-before"), seen.output("notify-after")) == ("401", "200")
    assert shown(seen, "reloaded")["MainPID"] == shown(seen, "started")["MainPID"]


@pytest.mark.parametrize(("step", "restarts"), [("frozen", "1"), ("blocked", "2")])
def test_the_watchdog_restarts_it(seen: Seen, step: str, restarts: str) -> None:
    """A stopped process, and an event loop that waits for its log."""
    seen.output(step)
    seen.output(f"health-{step}")
    state = shown(seen, step)
    assert (state["ActiveState"], state["NRestarts"]) == ("active", restarts)
    assert "watchdog" in seen.output("journal").lower()


def test_a_broker_that_is_away_for_three_minutes_restarts_nothing(seen: Seen) -> None:
    """The link comes back by itself."""
    up, away, back = shown(seen, "up"), shown(seen, "away"), shown(seen, "back")
    assert up["MainPID"] == away["MainPID"] == back["MainPID"] != "0"
    assert up["NRestarts"] == back["NRestarts"]
    seen.output("up")
    assert "MQTT up" not in away["StatusText"]
    seen.output("back")


def test_a_stop_ends_with_success(seen: Seen) -> None:
    """And systemd finds nothing to say about the installed unit."""
    seen.output("stop")
    state = shown(seen, "stopped")
    assert (state["ActiveState"], state["Result"], state["MainPID"]) == ("inactive", "success", "0")
    assert seen.output("analyze") == ""
