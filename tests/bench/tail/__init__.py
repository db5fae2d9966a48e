"""``make bench-tail``: what becomes of numbered lines between an app's file and a sidecar's output, and the cost."""
