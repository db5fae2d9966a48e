"""DNS labels (RFC 1123): the names of containers, volumes and profiles."""

import re

__all__ = ["DNS_LABEL", "MAX_LABEL_LENGTH", "is_dns_label"]

MAX_LABEL_LENGTH = 63
#: Lower-case letters, digits and dashes, without a dash at either end. Text, so that larger patterns can contain it.
DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(DNS_LABEL)


def is_dns_label(text: str) -> bool:
    """Return whether a text is a DNS label."""
    return _DNS_LABEL.fullmatch(text) is not None
