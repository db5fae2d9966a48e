"""HTTP: listeners, connections and ASGI responses."""
