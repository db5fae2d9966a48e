"""``make bench-shipping``: what becomes of lines on their way to a store."""
