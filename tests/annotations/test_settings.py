"""The notebook's metadata, old and new."""

from __future__ import annotations

from typing import Any

import pytest

from kale_nb.diagnostics import Severity
from kale_nb.pipeline.model import MarshalVolume, Retry, StepSettings, Toleration
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
        ("experiment", {"name": ["a"]}),
        ("steps_defaults", {"env": {"A": {"b": 1}}}),
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


DATASETS = {"name": "datasets", "type": "pvc"}


def test_one_volume_at_two_places_is_refused_by_name() -> None:
    volumes = [{**DATASETS, "mount_point": f"/{part}", "sub_path": part} for part in ("train", "test")]
    found = rejects("KN502", "", STEP, settings={"volumes": volumes})
    assert all(part in found.message for part in ("`datasets`", "`/train`", "`/test`"))
    assert "sub_path" in (found.hint or "")


def test_one_volume_written_twice_alike_is_one() -> None:
    volume = {**DATASETS, "mount_point": "/data"}
    assert len(clean(STEP, settings={"volumes": [volume, {**volume, "mount_point": "/data/"}]}).settings.volumes) == 1


def test_a_volume_of_a_magic_counts_above_that_of_the_metadata() -> None:
    settings = {"volumes": [{**DATASETS, "mount_point": "/data"}]}
    found = clean("%pipeline --volume name=datasets,mount=/other,type=clone", STEP, settings=settings).settings.volumes
    assert [(v.mount_point, v.kind) for v in found] == [("/other", "clone")]


@pytest.mark.parametrize(
    "defaults",
    [
        ["image:a", "image:b"],
        ["env:A:1", "env:A:2"],
        ["secret:one:key:A", "secret:two:key:A"],
        ["env:A:1", "secret:one:key:A"],
        ["limit:cpu:1", "limit:CPU:2"],
        {"secrets": ["one:key:A", "two:key:A"]},
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": n} for n in (1, 2)]},
    ],
)
def test_defaults_that_contradict_each_other_are_refused_as_on_a_step(defaults: Any) -> None:
    rejects("KN502", "", STEP, settings={"steps_defaults": defaults})


def test_a_default_counts_below_the_steps_own_whatever_its_kind() -> None:
    found = clean(("x", "step:a", "secret:own:key:A"), settings={"steps_defaults": ["env:A:1", "env:B:2"]}).steps[0].settings
    assert (found.env, [s.env for s in found.secrets]) == ({"B": "2"}, ["A"])


def test_tolerations_of_one_key_and_effect_are_all_kept() -> None:
    values = [{"key": "team", "operator": "Equal", "value": v, "effect": "NoSchedule"} for v in ("red", "blue")]
    found = clean(("x", "step:a", "toleration:team=green:NoSchedule"), settings={"steps_defaults": {"tolerations": values}})
    assert sorted(str(t.value) for t in found.steps[0].settings.tolerations) == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("raw", "made"),
    [
        (
            {"key": "a", "operator": "Exists", "value": None, "effect": None, "tolerationSeconds": None},
            Toleration(key="a"),
        ),
        ({"operator": "Exists"}, Toleration(key="")),
        ({"operator": "Exists", "effect": "NoSchedule"}, Toleration(key="", effect="NoSchedule")),
        ({"key": "a", "operator": "Equal"}, Toleration(key="a", value="")),
        ({"key": "a"}, Toleration(key="a", value="")),
        ({"key": "a", "value": 1}, Toleration(key="a", value="1")),
        (
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
            Toleration(key="a", effect="NoExecute", seconds=0),
        ),
    ],
)
def test_a_toleration_in_the_form_of_kubernetes_means_what_it_means_there(raw: Any, made: Toleration) -> None:
    assert clean(STEP, settings={"steps_defaults": {"tolerations": [raw]}}).steps[0].settings.tolerations == (made,)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, "no key"),
        ({"key": "a", "efect": "NoSchedule"}, "`efect`"),
        ({"key": "a", "operator": "In"}, "operator"),
        ({"key": "a", "operator": ["Exists"]}, "operator"),
        ({"key": "a", "operator": "Exists", "value": "b"}, "no value"),
        ({"operator": "Equal", "value": "b"}, "no key"),
        ({"key": "a b", "operator": "Exists"}, "'a b'"),
        ({"key": "a", "value": True}, "True"),
        ({"key": "a", "effect": "NoSchedul"}, "NoSchedul"),
        ({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}, "tolerationSeconds"),
        ({"key": "a", "effect": "NoExecute", "tolerationSeconds": True}, "True"),
    ],
)
def test_a_toleration_that_kubernetes_would_not_take_is_an_error(raw: Any, says: str) -> None:
    found = rejects("KN501", "", STEP, settings={"steps_defaults": {"tolerations": [raw]}})
    assert says in found.message
    assert found.hint


@pytest.mark.parametrize(
    "match",
    [
        {"key": "no key", "operator": "Exists"},
        {"key": "k" * 64, "operator": "Exists"},
        {"key": "a", "operator": ["In"], "values": ["b"]},
        {"key": "a", "operator": "in", "values": ["b"]},
        {"key": "a", "operator": "In", "values": ["no value"]},
        {"key": "a", "operator": "In", "values": [None]},
        {"key": "a", "operator": "Gt", "values": ["1", "2"]},
        {"key": "a", "operator": "Lt", "values": ["many"]},
    ],
)
def test_an_affinity_that_kubernetes_would_not_take_is_an_error(match: Any) -> None:
    rejects("KN501", "", STEP, settings={"steps_defaults": {"node_affinity": [{"match": [match]}]}})


def test_what_an_affinity_may_ask_for_is_left_alone() -> None:
    matches = [
        {"key": "example.org/cores", "operator": "Gt", "values": [8]},
        {"key": "zone", "operator": "NotIn", "values": ["a", "b_1"]},
        {"key": "gpu", "operator": "DoesNotExist"},
    ]
    found = clean(STEP, settings={"steps_defaults": {"node_affinity": [{"match": matches}]}}).steps[0].settings
    assert [m.values for m in found.node_affinity[0].match] == [("8",), ("a", "b_1"), ()]


def test_null_among_the_defaults_asks_for_nothing() -> None:
    assert clean(STEP, settings={"steps_defaults": {"image": None, "env": {"A": None}}}).steps[0].settings == StepSettings()


VOLUME = {"name": "a", "mount_point": "/a", "size": "1Gi"}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"type": ["pvc"]}, "type"),
        ({"annotations": 3}, "annotations"),
        ({"annotations": [3]}, "annotations"),
        ({"annotations": {"no key": "a"}}, "annotations"),
        ({"annotations": {"a": [1]}}, "annotations"),
        ({"size": [3]}, "size"),
        ({"size": 3, "size_type": 5}, "size_type"),
        ({"read_only": "yes"}, "read_only"),
        ({"type": "pvc", "snapshot": "yes"}, "snapshot"),
    ],
)
def test_a_property_of_a_volume_of_the_wrong_kind_is_told(more: dict[str, Any], key: str) -> None:
    found = rejects("KN505", "", STEP, settings={"volumes": [{**VOLUME, **more}]}, level=Severity.WARNING)
    assert f"volumes[0].{key}" in found.message


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"type": "new_pvc", "snapshot": True}, "snapshot"),
        ({"type": "pv", "snapshot": True}, "snapshot"),
        ({"type": "new_pvc", "snapshot_name": "before"}, "snapshot_name"),
        ({"type": "pvc", "snapshot_name": "before"}, "snapshot_name"),
    ],
)
def test_a_snapshot_that_is_not_taken_is_told(more: dict[str, Any], key: str) -> None:
    found = rejects("KN504", "", STEP, settings={"volumes": [{**VOLUME, **more}]}, level=Severity.WARNING)
    assert f"volumes[0].{key}`" in found.message


def test_what_kales_panel_leaves_blank_in_a_volume_is_not_worth_a_word() -> None:
    blank = {"snapshot": False, "snapshot_name": "", "annotations": [{"key": "", "value": ""}], "size_type": "Gi", "size": ""}
    clean(STEP, settings={"volumes": [{**VOLUME, **blank}]})


def test_a_folder_outside_of_the_volume_is_an_error() -> None:
    rejects("KN501", "", STEP, settings={"volumes": [{**VOLUME, "sub_path": "a/../../b"}]})
    rejects("KN501", "[cell 1]:1:11", "%pipeline --volume name=a,mount=/a,sub-path=../b", STEP)


@pytest.mark.parametrize(
    "text", ["name=a,mount=/a,read-only=perhaps", "name=a,mount=/a,snapshot=yes", "name=a,mount=/a,type=pv,snapshot=yes"]
)
def test_a_volume_on_one_line_is_as_strict(text: str) -> None:
    rejects("KN501", "[cell 1]:1:11", f"%pipeline --volume {text}", STEP)


def test_places_are_kept_in_their_shortest_spelling() -> None:
    settings = {"marshal_volume": True, "marshal_path": "/m//n/", "volumes": [{**VOLUME, "mount_point": "//home/x/../jovyan/"}]}
    step = ("x", "step:a", "secret-files:certs:/etc//certs/.")
    found = clean("%pipeline --volume b:/b/./c", step, settings=settings)
    assert [v.mount_point for v in found.settings.volumes] == ["/home/jovyan", "/b/c"]
    assert found.settings.marshal_volume.path == "/m/n"
    assert [f.path for f in found.steps[0].settings.secret_files] == ["/etc/certs"]


def test_volumes_that_steps_would_be_told_by_one_variable_are_refused() -> None:
    volumes = [{"name": name, "mount_point": f"/{name}", "size": "1Gi"} for name in ("a-b", "a.b")]
    found = rejects("KN502", "", STEP, settings={"volumes": volumes})
    assert "KALE_DATA_A_B" in found.message


def test_a_place_for_a_marshal_volume_that_there_is_not_is_told() -> None:
    rejects("KN504", "", STEP, settings={"marshal_path": "/m"}, level=Severity.WARNING)
    rejects("KN504", "[cell 1]:1:11", "%pipeline --marshal-path /m", STEP, level=Severity.WARNING)
    clean(STEP, settings={"marshal_path": "/m", "marshal_volume": False})
    clean(STEP, settings={"marshal_path": "/m", "marshal_volume_size": "1Gi"})


@pytest.mark.parametrize(
    ("key", "value"), [("pipeline_description", "half \ud800"), ("volumes", [{**VOLUME, "storage_class": "\udc00"}])]
)
def test_half_a_character_in_the_metadata_is_an_error_that_can_be_printed(key: str, value: Any) -> None:
    found = rejects("KN505", "", STEP, settings={key: value})
    assert found.render().encode()
