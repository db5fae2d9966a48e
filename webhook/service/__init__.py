"""How injection is served: HTTP, TLS, settings, metrics and logs around the one entry point of the core."""
