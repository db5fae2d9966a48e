"""The configuration: an operator's document, checked as a whole and made ready to be used for each pod."""

from webhook.configuration.loading import load, parse

__all__ = ["load", "parse"]
