"""The playground: a page on this machine that shows what the webhook would do with a manifest.

How it is served. What it answers is a program of its own, which :mod:`webhook.cli.preview` is.
"""
