"""YAML and JSON text to documents as kubectl reads them, and edits back into that text."""

from webhook.documents.editing import edited
from webhook.documents.positions import Position
from webhook.documents.rendering import as_json, as_yaml
from webhook.documents.scalars import Json
from webhook.documents.stream import BYTE_ORDER_MARK, Document, DocumentWarning, position_of, read, written_at

__all__ = [
    "BYTE_ORDER_MARK",
    "Document",
    "DocumentWarning",
    "Json",
    "Position",
    "as_json",
    "as_yaml",
    "edited",
    "position_of",
    "read",
    "written_at",
]
