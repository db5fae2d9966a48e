"""Pillion's certificates, made, verified and renewed; and what keeper and server share: the log, durations, files.

Nothing here imports the package ``webhook``.
"""
