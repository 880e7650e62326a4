"""The real `kfp.Client` gets on with the tests' server, from login to the end of a run: so the server is not made to our own measure."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kale_nb.compiler import compile_path
from kale_nb.engines.kfp.compiling import compile_kfp
from kale_nb.engines.kfp.target import Target
from tests.kfp.running import needs_orchestrator
from tests.kfp_api.deployment import Fault
from tests.kfp_api.server import Server
from tests.kfp_api.submitting import CHAIN, notebook
from tests.kfp_api.test_following import PLAYED

TOKEN = "of-ana"


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    server.deployment.token = TOKEN
    kfp = pytest.importorskip("kfp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield kfp.Client(host=server.url, existing_token=TOKEN)


def package(folder: Path, text: str = CHAIN) -> Path:
    compiled = compile_path(notebook(folder, text))
    made = compile_kfp(compiled.pipeline, compiled.stepbooks, Target(image="python:3.11", snapshot=False))
    (folder / "pipeline.yaml").write_text(made.text, encoding="utf-8")
    return folder / "pipeline.yaml"


def start(client: Any, folder: Path, text: str = CHAIN) -> Any:
    client.create_experiment("real")
    pipeline = client.upload_pipeline(str(package(folder, text)), pipeline_name="chain")
    [version] = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    experiment = client.get_experiment(experiment_name="real")
    return client.run_pipeline(
        experiment.experiment_id,
        "by hand",
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
        params={"n": 4},
    )


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "state"), [(CHAIN, "SUCCEEDED"), (CHAIN.replace("print(x)", "1 / 0"), "FAILED")], ids=["well", "ill"]
)
def test_from_upload_to_the_end_of_a_run_that_is_executed(text: str, state: str, client: Any, tmp_path: Path) -> None:
    needs_orchestrator()
    run = start(client, tmp_path / "ws", text)
    ended = client.wait_for_run_completion(run.run_id, timeout=120, sleep_duration=1)
    assert ended.state == state
    names = [task.display_name for task in ended.run_details.task_details]
    assert {"one", "one-driver", "two"} <= set(names)
    assert client.get_run(run.run_id).runtime_config.parameters == {"n": 4}


def test_a_run_can_be_terminated(client: Any, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [[("RUNNING", {"one": "RUNNING"})]]
    run = start(client, tmp_path / "ws")
    assert client.get_run(run.run_id).state == "RUNNING"
    client.terminate_run(run.run_id)
    assert [client.get_run(run.run_id).state for _ in range(2)] == ["CANCELING", "CANCELED"]


def test_it_is_refused_as_by_a_real_server(client: Any, server: Server, tmp_path: Path) -> None:
    import kfp_server_api

    server.deployment.token = "of-bob"
    with pytest.raises(kfp_server_api.ApiException) as caught:
        client.list_experiments()
    assert caught.value.status == 401
    server.deployment.token = TOKEN
    server.deployment.namespaces = ("ana",)
    with pytest.raises(kfp_server_api.ApiException) as caught:
        client.list_experiments(namespace="bob")
    assert caught.value.status == 403
    with pytest.raises(kfp_server_api.ApiException) as caught:
        client.get_run("none")
    assert caught.value.status == 404
    server.deployment.namespaces = ()
    client.upload_pipeline(str(package(tmp_path / "ws")), pipeline_name="chain")
    with pytest.raises(kfp_server_api.ApiException) as caught:
        client.upload_pipeline(str(package(tmp_path / "ws")), pipeline_name="chain")
    assert caught.value.status == 409


def test_a_field_that_the_api_does_not_have_is_refused(client: Any, server: Server) -> None:
    import kfp_server_api

    with pytest.raises(kfp_server_api.ApiException) as caught:
        client._experiment_api.experiment_service_create_experiment(experiment={"display_name": "x", "colour": "red"})
    assert caught.value.status == 400
    assert "unknown field" in caught.value.body


def test_it_waits_through_a_restart_only_by_raising(client: Any, server: Server, tmp_path: Path) -> None:
    """What our own client does better: kfp's gives up when the server goes away in the middle of a wait."""
    server.deployment.scripts = [[("RUNNING", {}), ("RUNNING", {}), *PLAYED]]
    run = start(client, tmp_path / "ws")
    server.deployment.faults = [Fault("GET .*/runs/", 503)]
    import kfp_server_api

    with pytest.raises(kfp_server_api.ApiException):
        client.wait_for_run_completion(run.run_id, timeout=20, sleep_duration=1)


def test_a_server_that_stops_and_starts_keeps_what_it_knows(client: Any, server: Server, tmp_path: Path) -> None:
    server.deployment.scripts = [PLAYED]
    run = start(client, tmp_path / "ws")
    server.stop()

    def later() -> None:
        time.sleep(0.3)
        server.start()

    thread = threading.Thread(target=later)
    thread.start()
    end = time.monotonic() + 20
    found = None
    while found is None and time.monotonic() < end:
        with contextlib.suppress(Exception):
            found = client.get_run(run.run_id)
    thread.join()
    assert found is not None
    assert found.display_name == "by hand"
