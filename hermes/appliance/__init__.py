"""What Hermes needs as a service: service manager, packages, bundled programs."""
