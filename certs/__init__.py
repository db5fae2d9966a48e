"""Pillion's certificates: made, verified and renewed without knowing anything of the webhook."""
