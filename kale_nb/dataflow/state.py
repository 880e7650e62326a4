"""What a step does beyond its variables: process-wide state that stays behind, and values known from the text not to travel."""

from __future__ import annotations

import ast
from collections.abc import Mapping

_STATE_CALLS = {
    "os.chdir": "the working directory",
    "os.putenv": "an environment variable (os.environ)",
    "environ.update": "environment variables (os.environ)",
    "os.environ.update": "environment variables (os.environ)",
    "os.environ.setdefault": "an environment variable (os.environ)",
    "load_dotenv": "environment variables (os.environ)",
    "warnings.filterwarnings": "the warning filters",
    "warnings.simplefilter": "the warning filters",
    "locale.setlocale": "the locale",
    "sys.path.append": "the module search path",
    "sys.path.insert": "the module search path",
    "sys.setrecursionlimit": "the recursion limit",
    "decimal.setcontext": "the decimal context",
    "setcontext": "the decimal context",
    "np.set_printoptions": "numpy's print options",
    "numpy.set_printoptions": "numpy's print options",
    "np.seterr": "numpy's error handling",
    "numpy.seterr": "numpy's error handling",
    "pd.set_option": "pandas' options",
    "pandas.set_option": "pandas' options",
    "pd.options": "pandas' options",
    "plt.style.use": "matplotlib's style",
    "plt.rc": "matplotlib's settings",
    "matplotlib.use": "matplotlib's backend",
    "mpl.use": "matplotlib's backend",
    "plt.rcParams.update": "matplotlib's settings",
    "sns.set": "seaborn's style",
    "sns.set_theme": "seaborn's style",
    "sns.set_style": "seaborn's style",
    "torch.manual_seed": "torch's random state",
    "torch.set_default_dtype": "torch's default type",
    "tf.random.set_seed": "tensorflow's random state",
    "set_config": "scikit-learn's settings",
    "sklearn.set_config": "scikit-learn's settings",
}
_STATE_TARGETS = {
    "environ": "an environment variable (os.environ)",
    "os.environ": "an environment variable (os.environ)",
    "plt.rcParams": "matplotlib's settings",
    "mpl.rcParams": "matplotlib's settings",
    "matplotlib.rcParams": "matplotlib's settings",
    "pd.options": "pandas' options",
    "pandas.options": "pandas' options",
    "sys.path": "the module search path",
    "getcontext().prec": "the decimal context",
    "decimal.getcontext().prec": "the decimal context",
}
_LINE_MAGICS = {
    "cd": "the working directory",
    "env": "an environment variable (os.environ)",
    "set_env": "an environment variable (os.environ)",
}

_STUCK_CALLS = {
    "open": "an open file",
    "io.open": "an open file",
    "gzip.open": "an open file",
    "threading.Lock": "a lock",
    "threading.RLock": "a lock",
    "Lock": "a lock",
    "RLock": "a lock",
    "threading.Thread": "a thread",
    "Thread": "a thread",
    "sqlite3.connect": "a database connection",
    "psycopg2.connect": "a database connection",
    "socket.socket": "a socket",
    "subprocess.Popen": "a running process",
    "ThreadPoolExecutor": "a pool of threads",
    "ProcessPoolExecutor": "a pool of processes",
    "concurrent.futures.ThreadPoolExecutor": "a pool of threads",
    "concurrent.futures.ProcessPoolExecutor": "a pool of processes",
    "multiprocessing.Pool": "a pool of processes",
    "asyncio.create_task": "an asyncio task",
}
_FROM = {"Lock": "threading", "RLock": "threading", "Thread": "threading"}


def state_change(node: ast.AST) -> str | None:
    """Return what process-wide state a call or an assignment target changes, or None.

    >>> state_change(ast.parse("os.chdir('x')").body[0].value)
    'the working directory'
    """
    if isinstance(node, ast.Call):
        name = _dotted(node.func)
        if name is None:
            return None
        if name == "get_ipython().run_line_magic" and node.args and isinstance(node.args[0], ast.Constant):
            line = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else ""
            magic = str(node.args[0].value)
            return _LINE_MAGICS.get(magic) if magic == "cd" or "=" in str(line) or " " in str(line).strip() else None
        return _STATE_CALLS.get(name)
    if isinstance(node, ast.Subscript):
        return _STATE_TARGETS.get(_dotted(node.value) or "")
    if isinstance(node, ast.Attribute):
        whole = _dotted(node) or ""
        return _STATE_TARGETS.get(whole) or next((what for t, what in _STATE_TARGETS.items() if whole.startswith(t + ".")), None)
    return None


def stuck_kind(value: ast.expr, imports: Mapping[str, str]) -> str | None:
    """Return what kind of untransportable value an expression makes, or None.

    >>> stuck_kind(ast.parse("(i for i in x)").body[0].value, {})
    'a generator'
    """
    if isinstance(value, ast.GeneratorExp):
        return "a generator"
    if isinstance(value, ast.Call):
        name = _dotted(value.func)
        if name is None:
            return None
        if name in _FROM and _FROM[name] not in imports.get(name, ""):
            return None
        return _STUCK_CALLS.get(name)
    return None


def _dotted(node: ast.AST) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and not node.args:
        inner = _dotted(node.func)
        if inner is None:
            return None
        parts.append(f"{inner}()")
    else:
        return None
    return ".".join(reversed(parts))
