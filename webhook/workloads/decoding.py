"""A pod in a manifest as the API server would decode it: null as what it means there, and mistakes in words.

The API server decodes an object into typed structures before it calls a webhook: null is an empty text, 0 or nothing
at all. Here the types are those of :mod:`webhook.injection.pod`, the fields that a decision looks at.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import inspect

from webhook.injection.pod import ObjectMeta, PodSpec
from webhook.injection.reasons import quote_untrusted
from webhook.json_values import Path, as_list, as_mapping

__all__ = ["Mistake", "decoded", "in_words"]

_METADATA, _SPEC = inspect.multi_type_info([ObjectMeta, PodSpec])

#: The value that null stands for, where the field is no pointer.
_ZERO: dict[type[inspect.Type], Any] = {inspect.StrType: "", inspect.IntType: 0, inspect.BoolType: False}
#: A quantity reads null as 0 (k8s.io/apimachinery resource.Quantity.UnmarshalJSON).
_ZERO_AMOUNT = "0"


class Mistake(NamedTuple):
    """What the API server refuses to decode: where in the pod, what it is, and what to write."""

    path: Path
    found: str
    instead: str


def decoded(pod: dict[str, Any], written: Callable[[Path], str]) -> tuple[dict[str, Any], list[Mistake]]:
    """Return the pod as the API server decodes it, and what it would refuse in it; mistakes stay as they are.

    Lists keep their length, so that an operation's index means the same item in both. ``written`` returns how a
    scalar is written in the manifest.
    """
    reading = _Reading(written)
    metadata = reading.value(pod.get("metadata"), _METADATA, ("metadata",))
    spec = reading.spec(pod.get("spec"))
    return pod | {"metadata": metadata, "spec": spec}, reading.mistakes


class _Reading:
    """One pod's reading; it collects the mistakes."""

    def __init__(self, written: Callable[[Path], str]) -> None:
        self.written = written
        self.mistakes: list[Mistake] = []

    def spec(self, spec: Any) -> Any:
        """Return a pod's spec as it is decoded."""
        result = self.value(spec, _SPEC, ("spec",))
        # our view of a volume is raw, and yet decisions need its name
        for number, volume in enumerate(as_list(as_mapping(result).get("volumes"))):
            if isinstance(volume, dict):
                self._name(volume, ("spec", "volumes", number))
        return result

    def _name(self, volume: dict[str, Any], path: Path) -> None:
        name = volume.get("name")
        if name is None:
            self._missing("name", path)
        elif not isinstance(name, str):
            self._wrong(name, inspect.StrType(), (*path, "name"))

    def value(self, value: Any, wanted: inspect.Type, path: Path) -> Any:
        """Return a value as it is decoded into a type; null stays null where the type has it."""
        types = wanted.types if isinstance(wanted, inspect.UnionType) else (wanted,)
        if value is None:
            return None
        for each in types:
            if isinstance(each, inspect.AnyType | inspect.RawType):
                return value
            if isinstance(each, inspect.StructType) and isinstance(value, dict):
                return self._struct(value, each, path)
            if isinstance(each, inspect.ListType) and isinstance(value, list):
                return [self._item(item, each.item_type, (*path, index)) for index, item in enumerate(value)]
            if isinstance(each, inspect.DictType) and isinstance(value, dict):
                return {key: self._item(item, each.value_type, (*path, key)) for key, item in value.items()}
            if _fits(value, each):
                return value
        self._wrong(value, wanted, path)
        return value

    def _struct(self, value: dict[str, Any], wanted: inspect.StructType, path: Path) -> dict[str, Any]:
        result = dict(value)
        for field in wanted.fields:
            name = field.encode_name
            found = value.get(name)
            if found is not None:
                result[name] = self.value(found, field.type, (*path, name))
            elif field.required:
                self._missing(name, path)
            elif name in value:
                result[name] = _zero(field.type)
        return result

    def _item(self, value: Any, wanted: inspect.Type, path: Path) -> Any:
        if value is None:
            value = _zero(wanted)
        return self.value(value, wanted, path)

    def _missing(self, name: str, path: Path) -> None:
        self.mistakes.append(Mistake(path, f"has no {name}", f"write its {name}"))

    def _wrong(self, value: Any, wanted: inspect.Type, path: Path) -> None:
        written = self.written(path) if isinstance(value, bool | int | float) else ""
        self.mistakes.append(Mistake(path, f"is {in_words(value)}", _instead(value, wanted, written)))


def _fits(value: Any, wanted: inspect.Type) -> bool:
    match wanted:
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
    return False


def _zero(wanted: inspect.Type) -> Any:
    """Return what null is decoded to, as an item or as a field: a struct without anything, "" or 0."""
    if isinstance(wanted, inspect.UnionType):
        if wanted.includes_none:
            return None
        return _ZERO_AMOUNT
    return {} if isinstance(wanted, inspect.StructType | inspect.DictType) else _ZERO.get(type(wanted))


def in_words(value: Any) -> str:
    """Return what a value is: ``the boolean true``, ``a list``."""
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quote_untrusted(value)}"
    return "a list" if isinstance(value, list) else "a mapping"


def _instead(value: Any, wanted: inspect.Type, written: str) -> str:
    """Return what to write instead of a value, as an imperative."""
    kinds = {type(each) for each in (wanted.types if isinstance(wanted, inspect.UnionType) else (wanted,))}
    if {inspect.StrType, inspect.FloatType} <= kinds:
        return "write a quantity, such as 100m or 64Mi"
    if inspect.StrType in kinds:
        return f"write {quote_untrusted(written)}, in quotes" if written else "write text"
    if inspect.IntType in kinds:
        is_number = isinstance(value, str) and value.isascii() and value.isdigit()
        return f"write {value}, without quotes" if is_number else "write a whole number"
    if inspect.BoolType in kinds:
        return f"write {value}, without quotes" if value in ("true", "false") else "write true or false"
    return "write a list" if inspect.ListType in kinds else "write a mapping"
