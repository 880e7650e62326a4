"""Where the server is and who asks: from what was asked for, the environment, the pod, the kubeconfig, in this order."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kale_nb.engines.kfp.submission.credentials import Credentials, FromFile, FromVariable, Nobody
from kale_nb.errors import UsageError

ENDPOINT, UI_ENDPOINT = "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT"
SA_TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"
"""kfp's own variables, with kfp's meaning."""
TOKEN, COOKIE = "KALE_KFP_TOKEN", "KALE_KFP_COOKIE"
NAMESPACE = "KALE_KFP_NAMESPACE"
_POD = Path("var/run/secrets/kubernetes.io/serviceaccount")
_POD_TOKEN = Path("var/run/secrets/kubeflow/pipelines/token")
_SYSTEM = "kubeflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for; None leaves it to the environment.

    Attributes:
        host: base address of the API, such as `https://kubeflow.example.org/pipeline`.
        ui_host: base address of the user interface, when it is another.
        ca_file: PEM file of the authorities to trust.
    """

    host: str | None = None
    ui_host: str | None = None
    namespace: str | None = None
    token_file: Path | None = None
    cookie_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server that can be asked.

    Attributes:
        host: base address of the API, without a slash at its end.
        ui: base address of the user interface's server, which also hands out artifacts.
        link: base of links for people.
        origin: what said where the server is.
        namespace: of runs and experiments; None leaves it to the server.
    """

    host: str
    ui: str
    link: str
    origin: str
    namespace: str | None
    credentials: Credentials
    trust: ssl.SSLContext | None = None
    ca_file: str = ""


def find_address(asked: Asked, environ: Mapping[str, str], root: Path = Path("/")) -> Address:
    """Return the address; asks nothing of it. UsageError when nothing says where the server is, or what says it makes no sense.

    Args:
        root: where the pod's files are looked for.
    """
    inside = bool(environ.get("KUBERNETES_SERVICE_HOST")) and (root / _POD / "token").exists()
    namespace = asked.namespace or environ.get(NAMESPACE) or (_read(root / _POD / "namespace") if inside else None)
    credentials = _credentials(asked, environ)
    trust = _trust(asked.ca_file)
    ca_file = "" if asked.ca_file is None else str(asked.ca_file.expanduser().absolute())
    ui = _base(asked.ui_host or environ.get(UI_ENDPOINT) or "", "the address of the user interface")
    host, origin = (asked.host, "--host") if asked.host else (environ.get(ENDPOINT), ENDPOINT)
    if host:
        base = _base(host, f"the address in {origin}")
        return Address(
            host=base,
            ui=ui or base,
            link=ui or base,
            origin=origin,
            namespace=namespace,
            credentials=credentials or Nobody(),
            trust=trust,
            ca_file=ca_file,
        )
    if not inside:
        raise UsageError(
            "nothing says where Kubeflow Pipelines is",
            hint=f"give --host https://KUBEFLOW/pipeline, or set {ENDPOINT}; in a notebook server of Kubeflow it is found by itself",
        )
    if credentials is None and (root / _POD_TOKEN).exists():
        credentials = FromFile(path=root / _POD_TOKEN)
    return Address(
        host=f"http://ml-pipeline.{_SYSTEM}.svc.cluster.local:8888",
        ui=ui or f"http://ml-pipeline-ui.{_SYSTEM}.svc.cluster.local",
        link=ui or "/pipeline",
        origin="the service of the cluster",
        namespace=namespace,
        credentials=credentials or Nobody(),
        trust=trust,
        ca_file=ca_file,
    )


def _credentials(asked: Asked, environ: Mapping[str, str]) -> Credentials | None:
    if asked.token_file is not None and asked.cookie_file is not None:
        raise UsageError("a token and a cookie are given", hint="give one of --token-file and --cookie-file")
    if asked.token_file is not None:
        return FromFile(path=asked.token_file.expanduser().absolute())
    if asked.cookie_file is not None:
        return FromFile(path=asked.cookie_file.expanduser().absolute(), cookie=True)
    if environ.get(TOKEN):
        return FromVariable(name=TOKEN, environ=environ)
    if environ.get(COOKIE):
        return FromVariable(name=COOKIE, environ=environ, cookie=True)
    if environ.get(SA_TOKEN_PATH):
        return FromFile(path=Path(environ[SA_TOKEN_PATH]))
    return None


def _trust(file: Path | None) -> ssl.SSLContext | None:
    if file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(file.expanduser()))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--ca-file {file} cannot be used: {error}", hint="it must be a PEM file of certificates") from error


def _base(text: str, what: str) -> str:
    """Return an address without what people paste along: a fragment, a slash at its end."""
    if not text:
        return ""
    text = text.strip() if "://" in text else f"https://{text.strip()}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{what} is no address: {text}", hint="write https://HOST/pipeline")
    if parts.username or parts.password:
        raise UsageError(
            f"{what} holds a password, which would be kept in records", hint="give credentials by --token-file or --cookie-file"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
