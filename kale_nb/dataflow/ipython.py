"""IPython's own input transformation, behind one door: the only place of the pure half that may import IPython, and only when asked."""

from __future__ import annotations

import warnings


def transform(code: str) -> str | None:
    """Return the Python that IPython runs for `code`, or None when IPython itself refuses it.

    Source: `IPython.core.inputtransformer2.TransformerManager.transform_cell`.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TransformerManager().transform_cell(code)
    except (SyntaxError, ValueError):
        return None
