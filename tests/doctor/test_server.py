"""What a look finds of Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kale_nb.engines.kfp.cluster.connection import ClusterAsked
from kale_nb.engines.kfp.submission.address import Asked
from kale_nb.engines.kfp.submission.preflight import Checked, diagnose
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.preflight import Diagnosis, Mark
from tests.doctor.looking import of_key
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server


def look(url: str, *, snapshot: bool = True, environ: dict[str, str] | None = None, **asked: Any) -> Diagnosis:
    return diagnose(
        Checked(
            asked=Asked(host=url or None, **asked),
            cluster=ClusterAsked(),
            environ=environ or {},
            folder="/home/jovyan",
            hostname="here",
            target=Target(snapshot=snapshot),
            patience=0.0,
        )
    )


def test_a_server_that_answers_and_is_new_enough(server: Server) -> None:
    found = look(server.url, snapshot=False)
    assert found.ready
    assert [each.key for each in found.findings] == ["kfp-server", "kfp-access", "kfp-version"]
    assert of_key(found, "kfp-version").found == "its version is 2.17.0"


def test_an_older_backend_makes_volumes_by_a_step_of_ours_and_tells_what_that_needs(server: Server) -> None:
    server.deployment.tag = "2.16.1"
    found = of_key(look(server.url), "kfp-version")
    assert found.mark is Mark.WARNING
    assert "made by a step of kale's" in found.found
    assert "create persistentvolumeclaims" in found.why
    assert of_key(look(server.url, snapshot=False), "kfp-version").mark is Mark.OK


@pytest.mark.parametrize("tag", ["", "nightly"])
def test_a_version_that_is_not_told_is_a_warning(server: Server, tag: str) -> None:
    server.deployment.tag = tag
    assert of_key(look(server.url), "kfp-version").mark is Mark.WARNING


def test_several_users_and_no_namespace(server: Server) -> None:
    server.deployment.several = True
    found = of_key(look(server.url), "kfp-access")
    assert (found.mark, "--namespace" in found.mend) == (Mark.MISSING, True)
    server.deployment.namespaces = ("mine",)
    assert of_key(look(server.url, namespace="mine"), "kfp-access").mark is Mark.OK
    assert of_key(look(server.url, namespace="theirs"), "kfp-access").mark is Mark.MISSING


def test_who_asks_is_told_and_not_with_what(server: Server, tmp_path: Path) -> None:
    server.deployment.token = "secret-word"
    token = tmp_path / "token"
    token.write_text("secret-word")
    found = look(server.url, token_file=token)
    assert str(token) in of_key(found, "kfp-server").found
    assert "secret-word" not in repr(found)
    token.write_text("other")
    assert "401" in str([each.found for each in look(server.url, token_file=token).findings])


@pytest.mark.parametrize("action", ["page", "redirect", "not-json", 403, 404, 500, "drop"])
def test_whatever_the_server_does_is_a_finding(server: Server, action: int | str) -> None:
    server.deployment.faults.append(Fault("GET .*", action, times=99))
    found = look(server.url)
    assert of_key(found, "kfp-server").mark is Mark.MISSING
    assert of_key(found, "kubernetes").mark is Mark.MISSING, "the look goes on"


def test_the_health_needs_no_login_and_the_rest_does(server: Server) -> None:
    server.deployment.faults.append(Fault("GET .*/experiments", "redirect", times=9))
    found = look(server.url, snapshot=False)
    assert of_key(found, "kfp-server").mark is Mark.OK
    assert of_key(found, "kfp-access").mark is Mark.MISSING


def test_nothing_says_where_anything_is(tmp_path: Path) -> None:
    found = look("", environ={"HOME": str(tmp_path)})
    assert {each.key: each.mark for each in found.findings} == {"kfp-server": Mark.MISSING, "kubernetes": Mark.MISSING}
    assert all(each.mend for each in found.findings)


def test_a_kubeconfig_that_is_none_is_a_finding(server: Server, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("}{")
    found = look(server.url, environ={"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "config")})
    assert "cannot be used" in of_key(found, "kubernetes").found
