"""Names as Kubernetes wants them: DNS labels (RFC 1123), of containers, volumes, profiles."""

import re

__all__ = ["DNS_LABEL", "MAX_LABEL_LENGTH", "is_dns_label"]

MAX_LABEL_LENGTH = 63
#: Small letters, digits and dashes, with no dash at either end; as text, to be part of a larger pattern.
DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(DNS_LABEL)


def is_dns_label(text: str) -> bool:
    """Return whether a text is a DNS label."""
    return _DNS_LABEL.fullmatch(text) is not None
