"""What a plain scalar means to kubectl, and how a value must be written to mean itself there.

kubectl reads manifests with sigs.k8s.io/yaml, that is go-yaml v2: YAML 1.1 words (also ``y`` and ``n``), Go's
integer syntax, no sexagesimals, timestamps as strings. Source: resolve.go of go.yaml.in/yaml/v2.
"""

import base64
import json
import math
import re
import struct
from decimal import Decimal

from webhook.injection.reasons import quote_untrusted

__all__ = [
    "Json",
    "Scalar",
    "in_json",
    "is_literal",
    "key_text",
    "quoted",
    "resolve",
    "resolve_tagged",
    "same",
    "text_of",
]

Scalar = str | int | float | bool | None
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

_WORDS: dict[str, Scalar] = {
    form: value
    for words, value in (("y yes true on", True), ("n no false off", False), ("null", None))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
}
_WORDS |= {"": None, "~": None}

_WORDS |= {sign + form: float(sign + "inf") for sign in ("", "+", "-") for form in (".inf", ".Inf", ".INF")}
_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)

_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))",
    re.ASCII,
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_MAX_INT64 = 2**63 - 1
_MAX_UINT64 = 2**64 - 1
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
#: What begins with a dot goes to strconv.ParseFloat as it stands.
_DOTTED = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?", re.ASCII)
#: From here on Go's encoding/json writes a float with an exponent.
_EXPONENT = 1e21
#: Below and above these strconv.FormatFloat 'g' writes a number's fewest digits with an exponent.
_KEY_EXPONENTS = range(-4, 6)

_TAG = "tag:yaml.org,2002:"
_NAMES = {"bool": bool, "int": int, "float": float, "null": type(None), "timestamp": str}


def same(one: Json, other: Json) -> bool:
    """Return whether two values are the same JSON: True is not 1 there, 1.0 is."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, int):
        return one == float(other)
    if isinstance(one, int) and isinstance(other, float):
        return float(one) == other
    return one == other


def resolve(text: str) -> Scalar:
    """Return what an untagged plain scalar is. A float may be infinite or no number: see :func:`in_json`."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text[0] == ".":
        return _float(text, text.replace("_", "") if _DOTTED.fullmatch(text) else text)
    digits = text.replace("_", "")
    integer = _integer(digits)
    return integer if integer is not None else _float(text, digits)


def _integer(digits: str) -> int | None:
    """Return what strconv.ParseInt, then ParseUint, with base 0 and 64 bits make of it; None for an error."""
    match = _INTEGER.fullmatch(digits)
    if match is None or match.lastgroup is None:
        return None
    number = int(match[match.lastgroup], _BASES[match.lastgroup])
    if match["sign"] == "-":
        number = -number
    highest = _MAX_INT64 if match["sign"] else _MAX_UINT64
    return number if -_MAX_INT64 - 1 <= number <= highest else None


def _float(text: str, digits: str) -> Scalar:
    """Return the number, or the text where it is none or beyond 64 bits."""
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return number
    return text


_NO_LINE_ENDS = {ord(character): None for character in "\r\n"}


def resolve_tagged(tag: str, text: str) -> Scalar:
    """Return what a scalar with a tag is; a tag of the user's own makes a string of it."""
    name = tag.removeprefix(_TAG)
    if name == "binary":
        try:
            # Go ignores line ends, and programs write binary values on several lines
            return base64.b64decode(text.translate(_NO_LINE_ENDS), validate=True).decode("utf-8", "replace")
        except ValueError:
            raise ValueError(f"{quote_untrusted(text)} is no base64") from None
    if name not in _NAMES:
        return text
    value = resolve(text)
    if name == "float" and type(value) is int and value <= _MAX_INT64:
        return float(value)
    if type(value) is not _NAMES[name]:
        raise ValueError(f"{quote_untrusted(text)} is no {name}")
    return value


def in_json(value: Scalar) -> Scalar:
    """Return the scalar as JSON has it, a float without fraction as an int; ValueError for infinity and NaN."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise ValueError("infinity and NaN are no numbers in JSON; quote them if a string is meant")
    # by its digits: Go writes 18446744073709552000, not the nearest integer
    return int(Decimal(repr(value))) if value.is_integer() and abs(value) < _EXPONENT else value


def key_text(value: Scalar) -> str:
    """Return a mapping's key as the string that JSON has: ``1`` and ``yes`` become ``"1"`` and ``"true"``."""
    if value is None:
        raise ValueError("a key is null; JSON has only strings as keys")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _shortest(value)
    if isinstance(value, int) and value > _MAX_INT64:
        raise ValueError("a key is a number beyond 64 bits; quote it")
    return str(value)


def _shortest(number: float) -> str:
    """Return strconv.FormatFloat(number, 'g', -1, 32), with which sigs.k8s.io/yaml writes keys."""
    if math.isnan(number):
        return ".nan"
    try:
        wanted = struct.pack("<f", number)
    except OverflowError:
        wanted = struct.pack("<f", math.copysign(math.inf, number))
    number = struct.unpack("<f", wanted)[0]
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    places = next(n for n in range(17) if struct.pack("<f", float(f"{number:.{n}e}")) == wanted)
    text = f"{number:.{places}e}"
    exponent = int(text.partition("e")[2])
    return f"{number:.{max(places - exponent, 0)}f}" if exponent in _KEY_EXPONENTS else text


#: Strings that need no quotes in a block, in a flow collection: few forms, so that every reader agrees.
_PLAIN = re.compile(r"(?:[A-Za-z_/]|--?[A-Za-z])(?:[A-Za-z0-9_./@%+=,;$()*<>|&~^-]|:(?=[^\s])| (?=[^\s#]))*", re.ASCII)
_PLAIN_IN_FLOW = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+=-]*", re.ASCII)
_QUANTITY = re.compile(r"[1-9][0-9]*(?:[KMGTP]i|[mkMGTP])", re.ASCII)
#: Not printable in YAML, or a line break to a YAML 1.1 reader.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def text_of(value: Scalar, *, flow: bool = False) -> str:
    """Return a scalar as YAML on one line; a string that reads as anything else is quoted."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN_IN_FLOW if flow else _PLAIN
    if (plain.fullmatch(value) or _QUANTITY.fullmatch(value)) and resolve(value) == value:
        return value
    if '"' in value and "'" not in value and value.isprintable() and not _ESCAPED.search(value):
        return f"'{value}'"
    return quoted(value)


def quoted(text: str) -> str:
    """Return the string in double quotes: valid as JSON and as YAML, on one line."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def is_literal(text: str) -> bool:
    """Return whether a string of several lines can be written as a literal block (``|``)."""
    lines = text.split("\n")
    return (
        len(lines) > 1
        and not text[0].isspace()
        and not text.endswith("\n\n")
        and all(line.replace("\t", " ").isprintable() and not _ESCAPED.search(line) for line in lines)
    )
