"""Protocol of the parts of a gateway that the handlers use.

It is defined here because ``web/`` is a layer below `hermes.gateway`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hermes.auth.api_keys import ApiKeys
from hermes.auth.key_ring import KeyRing
from hermes.auth.principal import TokenVerifier
from hermes.auth.remote_keys import RemoteKeys
from hermes.cluster.bus import Bus
from hermes.cluster.nats_bus import NatsBus
from hermes.delivery.hub import Hub
from hermes.delivery.last_values import LastValues
from hermes.delivery.link_state import MqttLinkState
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.inbox.parts import InboxParts
from hermes.metrics import Metrics
from hermes.observe.presence import Presence
from hermes.quotas.connection_rate import ConnectionRate
from hermes.quotas.failed_auth import FailedAuth
from hermes.settings.model import Settings
from hermes.web.api.idempotency import RecentAnswers
from hermes.web.origins.rule import OriginRule
from hermes.web.origins.trusted_proxies import TrustedProxies
from hermes.web.sockets.admission import Admission
from hermes.web.sockets.disconnect import Disconnector
from hermes.web.sockets.waiting import WaitingRequests

DevAction = Callable[[object], dict[str, Any]]


class GatewayParts(Protocol):
    """Parts of a gateway, passed to every handler as ``gateway``."""

    settings: Settings
    metrics: Metrics
    hub: Hub
    bus: Bus
    cluster: NatsBus | None
    presence: Presence
    last_values: LastValues
    link: MqttLinkState
    token_verifier: TokenVerifier
    key_ring: KeyRing
    remote_keys: Sequence[RemoteKeys]
    api_keys: ApiKeys
    disconnector: Disconnector
    waiting: WaitingRequests
    outbox_limits: OutboxLimits
    origin_rule: OriginRule
    admission: Admission
    failed_auth: FailedAuth
    connection_rate: ConnectionRate
    return_rate: ReturnRate
    trusted_proxies: TrustedProxies
    started_ms: int
    inbox: InboxParts | None
    recent_answers: RecentAnswers

    def console_facts(self) -> Mapping[str, Any] | None:
        """Return the tokens, the key and the devices that the console shows.

        None without ``--dev``.
        """

    @property
    def missing(self) -> Sequence[str]:
        """What is missing beside the MQTT link, each a word and a sentence."""

    @property
    def dev_actions(self) -> Mapping[str, DevAction]:
        """The actions of ``POST /dev/NAME``, by name; none without ``--dev``."""
