"""How injection is served: HTTP, TLS, settings, metrics and logs around ``webhook.injection.admission``."""
