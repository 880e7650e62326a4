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
