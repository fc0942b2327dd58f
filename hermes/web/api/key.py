"""``GET /key``: what the caller's API key may do, for example for the console."""

from hermes.web.api_handler import ApiHandler


class KeyHandler(ApiHandler):
    """Respond with name, scopes and tenant of the key; any valid key may ask."""

    methods = ("GET", "HEAD")

    def get(self) -> None:
        """Respond with ``{"name":…,"scopes":[…],"tenant_id":…}``."""
        caller = self.caller
        assert caller is not None  # `prepare` has found it
        self.write_json(200, {"name": caller.name, "scopes": sorted(caller.scopes), "tenant_id": caller.tenant_id})

    head = get
