"""The notebook's metadata, old and new."""

from __future__ import annotations

from typing import Any

import pytest

from kale_nb.diagnostics import Severity
from kale_nb.pipeline.model import MarshalVolume, Retry
from tests.annotations.marking import clean, marks, rejects

STEP = ("x", "step:a")

V1 = {
    "autosnapshot": True,
    "docker_image": "registry:5000/kale:v0.5.1",
    "experiment": {"id": "new", "name": "exp"},
    "experiment_name": "exp",
    "katib_metadata": {
        "algorithm": {"algorithmName": "grid"},
        "maxFailedTrialCount": 3,
        "maxTrialCount": 12,
        "objective": {"objectiveMetricName": "", "type": "minimize"},
        "parallelTrialCount": 3,
        "parameters": [],
    },
    "katib_run": False,
    "pipeline_description": "",
    "pipeline_name": "dog-breed",
    "snapshot_volumes": True,
    "volumes": [
        {
            "annotations": [{"key": "rok/origin", "value": "abc"}],
            "mount_point": "/home/jovyan",
            "name": "workspace",
            "size": 6,
            "size_type": "Gi",
            "snapshot": False,
            "type": "clone",
        }
    ],
}


def test_what_the_panel_of_version_1_wrote_loads_without_a_word() -> None:
    found = clean(STEP, settings=V1).settings
    assert (found.name, found.experiment, found.description, found.image) == (
        "dog-breed",
        "exp",
        None,
        "registry:5000/kale:v0.5.1",
    )
    assert found.autosnapshot is True
    volume = found.volumes[0]
    assert (volume.name, volume.mount_point, volume.size, volume.kind) == ("workspace", "/home/jovyan", "6Gi", "clone")
    assert volume.annotations == {"rok/origin": "abc"}


def test_what_version_2_writes_loads_without_a_word() -> None:
    found = clean(
        STEP,
        settings={
            "pipeline_name": "p",
            "experiment_name": "e",
            "pipeline_description": "d",
            "base_image": "python:3.12",
            "enable_caching": False,
            "marshal_volume": True,
            "marshal_volume_size": "2Gi",
            "marshal_path": "/marshal",
            "steps_defaults": ["label:team:blue", "limit:nvidia.com/gpu:1"],
            "volumes": [],
        },
    ).settings
    assert (found.name, found.image) == ("p", "python:3.12")
    assert found.marshal_volume == MarshalVolume(enabled=True, size="2Gi", path="/marshal")
    assert (found.step_defaults.cache, found.step_defaults.labels) == (False, {"team": "blue"})
    assert found.step_defaults.limits == {"nvidia.com/gpu": "1"}


def test_defaults_of_steps_may_be_an_object() -> None:
    found = clean(
        STEP, settings={"steps_defaults": {"labels": {"a": "b"}, "limits": {"cpu": "1"}, "retry_count": 2, "timeout": 60}}
    ).steps[0]
    assert (found.settings.labels, found.settings.limits) == ({"a": "b"}, {"cpu": "1"})
    assert (found.settings.retry, found.settings.timeout) == (Retry(attempts=2), 60)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("katib_run", True, "-p name=value"),
        ("katib_metadata", {"parameters": [{"name": "lr"}]}, "-p name=value"),
        ("abs_working_dir", "/home/jovyan", "copy of the notebook's folder"),
        ("kfp_host", "http://x", "cluster"),
        ("storage_class_name", "fast", "cluster"),
        ("volume_access_mode", "rwm", "cluster"),
        ("deploy", True, "kale run"),
        ("auto_snapshot", True, "autosnapshot"),
    ],
)
def test_a_key_that_is_not_used_says_what_it_did_and_what_to_do(key: str, value: Any, says: str) -> None:
    found = rejects("KN504", "", STEP, settings={key: value}, level=Severity.WARNING)
    assert f"`{key}`" in found.message
    assert says in found.message


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_a_key_that_asks_for_nothing_is_not_worth_a_word(value: Any) -> None:
    clean(STEP, settings={"katib_run": value, "kfp_host": value})


def test_a_katib_search_is_told_once_and_only_if_it_was_on() -> None:
    search = {"parameters": [{"name": "lr"}]}
    clean(STEP, settings={"katib_run": False, "katib_metadata": search})
    rejects("KN504", "", STEP, settings={"katib_metadata": search, "katib_run": True}, level=Severity.WARNING)


def test_an_unknown_key_is_told_with_the_nearest_known_one() -> None:
    found = rejects("KN503", "", STEP, settings={"pipline_name": "x"}, level=Severity.WARNING)
    assert "pipeline_name" in (found.hint or "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pipeline_name", 3),
        ("docker_image", ["a"]),
        ("experiment", 5),
        ("volumes", {"a": 1}),
        ("volumes", [5]),
        ("volumes", [{"name": "a"}]),
        ("volumes", [{"name": "a", "mount_point": "/a", "type": "tape"}]),
        ("marshal_volume", "maybe"),
        ("marshal_volume_size", True),
        ("marshal_volume_size", "much"),
        ("autosnapshot", "yes"),
        ("steps_defaults", "label:a:b"),
        ("steps_defaults", [3]),
        ("steps_defaults", ["step:a"]),
        ("timeout", True),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_warning(key: str, value: Any) -> None:
    rejects("KN505", "", STEP, settings={key: value}, level=Severity.WARNING)


@pytest.mark.parametrize("raw", [[], "text", 3, True])
def test_metadata_that_is_no_object_is_a_warning(raw: Any) -> None:
    rejects("KN505", "", STEP, settings=raw, level=Severity.WARNING)


def test_an_unreadable_default_is_an_error_like_on_a_cell() -> None:
    rejects("KN501", "", STEP, settings={"steps_defaults": ["limit:cpu"]})


def test_experiment_name_counts_above_the_experiments_object() -> None:
    for raw in ({"experiment": {"name": "a"}, "experiment_name": "b"}, {"experiment_name": "b", "experiment": {"name": "a"}}):
        assert clean(STEP, settings=raw).settings.experiment == "b"
    assert clean(STEP, settings={"experiment": {"id": "1", "name": "a"}, "experiment_name": ""}).settings.experiment == "a"


def test_a_notebook_without_settings_has_none() -> None:
    found = clean(STEP).settings
    assert (found.name, found.image, found.volumes, found.autosnapshot) == (None, None, (), None)
    assert marks(STEP, settings={})[1] == ()
