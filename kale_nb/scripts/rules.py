"""What can be wrong with a script. Codes KN6xx; a syntax error is KN001 as in notebooks."""

from __future__ import annotations

import textwrap

from kale_nb.diagnostics import Severity, rule

_HEAD = "from kale.sdk import pipeline, step\n\n"
_STEP = "@step\ndef load():\n    return [1, 2]\n\n"


def _script(text: str) -> str:
    return _HEAD + textwrap.dedent(text).strip()


def _error(code: str, slug: str, what: str, why: str, example: str, mend: str, severity: Severity = Severity.ERROR) -> None:
    rule(code, slug, severity, what=what, why=why, example=_script(example), mend=mend)


_error(
    "KN601",
    "import-failed",
    "The script cannot be imported, or a module that it imports.",
    "Every step imports the script to get at its function.",
    "settings = open('settings.json').read()  # which is not there\n\n" + _STEP,
    'Correct what fails, or move it into a step or under `if __name__ == "__main__":`.',
)
_error(
    "KN602",
    "no-pipeline",
    "There is no function decorated with `@pipeline`, or not the one that was asked for.",
    "The pipeline function says which steps there are and what they pass on.",
    _STEP,
    "Decorate the function that calls the steps with `@pipeline`.",
)
_error(
    "KN603",
    "several-pipelines",
    "The script has more than one pipeline and none was chosen.",
    "A run is a run of one of them.",
    _STEP + "@pipeline\ndef small():\n    load()\n\n@pipeline\ndef large():\n    load()",
    "Choose one: `--pipeline small`.",
)
_error(
    "KN604",
    "bad-decorator",
    "A decorator is given an argument that it does not have, or a value that it cannot take.",
    "What was asked for would be lost.",
    "@step(nmae='load')\ndef load():\n    return 1",
    "Correct the argument; `@step` and `@pipeline` list theirs in the guide.",
)
_error(
    "KN605",
    "needs-a-value",
    "The pipeline's body does what needs the value of a parameter or of a result: `if`, `for`, `len`, `int`, a comparison, a print.",
    "The body runs once, before the pipeline: there are no values yet.",
    _STEP + "@pipeline\ndef flow():\n    rows = load()\n    if rows:\n        load()",
    "Move the decision or the loop into a step that takes the value.",
)
_error(
    "KN606",
    "not-a-step",
    "A step is no plain function of a module: a method, a lambda without a name, a function inside of a function, a generator.",
    "Each step imports its function by name in a process of its own and keeps what it returns.",
    "@pipeline\ndef flow():\n    @step\n    def load():\n        return 1\n    load()",
    "Define the step at the top level of a module and let it return values.",
)
_error(
    "KN607",
    "bad-call",
    "A step is called with arguments that its function does not take.",
    "The call would fail when the pipeline runs.",
    _STEP + "@pipeline\ndef flow():\n    load(3)",
    "Correct the call or the function.",
)
_error(
    "KN608",
    "wrong-count",
    "The body unpacks another number of values than the step returns.",
    "The step would fail when it has done its work.",
    _STEP.replace("[1, 2]", "1, 2") + "@pipeline\ndef flow():\n    a, b, c = load()",
    "Let both have the same number; `_` takes what is not needed.",
)
_error(
    "KN609",
    "type-mismatch",
    "A step declares another type for a parameter than the step that makes its value declares to return, or than its default has.",
    "One of the two declarations is wrong.",
    "@step\ndef load() -> str:\n    return 'a'\n\n@step\ndef double(n: int) -> int:\n    return 2 * n\n\n"
    "@pipeline\ndef flow():\n    double(load())",
    "Correct one of the hints.",
)
_error(
    "KN610",
    "made-in-the-body",
    "An argument of a step is an object that the body made and that cannot be written down as code.",
    "The body runs once, before the pipeline; the object is not there when a step runs.",
    "@step\ndef fit(model):\n    return model\n\n@pipeline\ndef flow():\n    fit(lambda x: x)",
    "Make it in a step, or at the top level of the script.",
)
_error(
    "KN611",
    "endless-pipeline",
    "The pipeline calls itself, or is called when the script is imported.",
    "It would never end: every step imports the script.",
    _STEP + "@pipeline\ndef flow():\n    load()\n\nflow()",
    'Put the call under `if __name__ == "__main__":`.',
)
_error(
    "KN612",
    "bad-parameter",
    "A parameter of the pipeline has no default, or one that no parameter can have.",
    "A run may leave any parameter out, and parameters are written into files.",
    _STEP + "@pipeline\ndef flow(rows):\n    load()",
    "Give it a default: a number, a text, a date, or a list or dict of these.",
)
_error(
    "KN613",
    "calls-no-step",
    "The pipeline's body calls no step.",
    "There is nothing to run.",
    "@pipeline\ndef flow():\n    pass",
    "Call functions that are decorated with `@step`.",
)
_error(
    "KN614",
    "printed-early",
    "The pipeline's body prints.",
    "It is run once to be read; what it prints is not part of a run.",
    _STEP + "@pipeline\ndef flow():\n    print('begin')\n    load()",
    "Print in a step.",
    Severity.WARNING,
)
_error(
    "KN615",
    "global-state",
    "A step assigns a global of its module.",
    "Each step runs in a process of its own: no other step sees it.",
    "count = 0\n\n@step\ndef load():\n    global count\n    count = 1\n\n@pipeline\ndef flow():\n    load()",
    "Return the value and pass it on.",
    Severity.WARNING,
)
_error(
    "KN616",
    "body-failed",
    "The pipeline's body raises an exception.",
    "As plain Python it would fail in the same way.",
    _STEP + "@pipeline\ndef flow():\n    rows = load()\n    missing(rows)",
    "Correct the body.",
)
_error(
    "KN617",
    "unknown-after",
    "`after=` names what was not called before.",
    "A step can only follow steps that the body calls above it.",
    "@step(after='lode')\ndef fit():\n    return 1\n\n@pipeline\ndef flow():\n    fit()",
    "Correct the name, or call the other step first.",
)
_error(
    "KN618",
    "odd-step-name",
    "A step's name has characters that no step's name may have.",
    "Names of steps become names of files, folders and pods.",
    "@step(name='load data')\ndef load():\n    return 1\n\n@pipeline\ndef flow():\n    load()",
    "Use letters, digits, `-` and `_`.",
)
