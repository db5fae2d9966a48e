"""TLS: the serving certificate, its sources, and whether it may be served."""
