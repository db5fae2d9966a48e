"""The server: HTTP, TLS, settings, metrics and logs around ``admission.admit``."""
