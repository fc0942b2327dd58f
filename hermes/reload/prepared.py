"""The new objects of one reload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermes.auth.api_keys import ApiKey
from hermes.auth.keys import Source, VerificationKey
from hermes.auth.oidc import KeyLocation
from hermes.settings.model import Settings
from hermes.settings.urls.mqtt import MqttUrl
from hermes.web.origins.trusted_proxies import Network
from hermes.web.tls.certificate import LoadedCertificate


@dataclass(frozen=True, slots=True)
class Prepared:
    """All new objects of one reload, complete before the first one is used.

    ``keys`` are by source; those that are missing stay. ``certificate`` and ``locations`` are None if they stay.
    """

    settings: Settings
    keys: Mapping[Source, Sequence[VerificationKey]]
    api_keys: Sequence[ApiKey]
    proxies: Sequence[Network]
    certificate: LoadedCertificate | None
    locations: Sequence[KeyLocation] | None
    claims_changed: bool
    mqtt_url: MqttUrl | None
