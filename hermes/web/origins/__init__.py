"""Where requests come from: proxies, pages of other origins, this machine."""
