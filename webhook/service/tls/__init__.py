"""TLS: the certificate that new connections get, where it comes from, and until when it may be served."""
