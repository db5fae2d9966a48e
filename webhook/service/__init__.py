"""How injection is served: HTTP, TLS, settings, metrics and logs around the one door of the core."""
