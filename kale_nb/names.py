"""Names: what may name a step, a variable, a pipeline, and how a name is spelled for Kubernetes."""

from __future__ import annotations

import re
import unicodedata
from typing import NewType

StepName = NewType("StepName", str)
VarName = NewType("VarName", str)
RunId = NewType("RunId", str)

_STEP = re.compile(r"[\w-]+")


def is_step_name(text: str) -> bool:
    """Tell whether `text` may name a step: letters and digits of any script, `_` and `-`.

    >>> is_step_name("train-2"), is_step_name("größe"), is_step_name("two words"), is_step_name("")
    (True, True, False, False)
    """
    return _STEP.fullmatch(text) is not None and any(c.isalnum() for c in text)


def kubernetes_name(text: str) -> str:
    """Spell a name as an RFC 1123 label: lower-case ASCII letters, digits and `-`, at most 63 characters.

    Characters with no ASCII letter under them become `x` and their code point, so that different names of another script
    stay different.

    >>> kubernetes_name("Train_Model"), kubernetes_name("größe"), kubernetes_name("训练")
    ('train-model', 'grosse', 'x8badx7ec3')
    """
    out: list[str] = []
    for char in unicodedata.normalize("NFKD", text.casefold()):
        if char.isascii() and char.isalnum():
            out.append(char)
        elif unicodedata.combining(char):
            continue
        elif char.isalnum():
            out.append(f"x{ord(char):x}")
        else:
            out.append("-")
    return re.sub("-+", "-", "".join(out)).strip("-")[:63].rstrip("-") or "x"


_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RFC_1123_LABEL = re.compile(_LABEL)
_RFC_1123_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED = re.compile(rf"(?:(?P<prefix>[^/]*)/)?(?P<name>{_WORD})")
_LABEL_VALUE = re.compile(rf"(?:{_WORD})?")


def is_kubernetes_label(text: str) -> bool:
    """Tell whether Kubernetes takes `text` where it wants no dots: for a pod's volume, and so for what one is named after.

    >>> is_kubernetes_label("my-data"), is_kubernetes_label("my.data")
    (True, False)
    """
    return len(text) <= 63 and _RFC_1123_LABEL.fullmatch(text) is not None


def is_kubernetes_name(text: str) -> bool:
    """Tell whether a claim, a secret or a config map of Kubernetes may be called so.

    >>> is_kubernetes_name("my.data-2"), is_kubernetes_name("My_Data"), is_kubernetes_name("a..b")
    (True, False, False)
    """
    return len(text) <= 253 and _RFC_1123_NAME.fullmatch(text) is not None


def is_qualified_name(text: str) -> bool:
    """Tell whether `text` may be the key of a label, an annotation or a taint, or name a resource: `name`, or `domain/name`.

    >>> is_qualified_name("nvidia.com/gpu"), is_qualified_name("a/b/c"), is_qualified_name("x" * 64)
    (True, False, False)
    """
    found = _QUALIFIED.fullmatch(text)
    return found is not None and len(found["name"]) <= 63 and (found["prefix"] is None or is_kubernetes_name(found["prefix"]))


def is_label_value(text: str) -> bool:
    """Tell whether a label or a taint may have this value."""
    return len(text) <= 63 and _LABEL_VALUE.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Tell whether `text` can stand in a file: that no half of a surrogate pair is in it, as JSON's `"\\ud800"` gives."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
