"""Tags: settings, near misses, and other people's tags."""

from __future__ import annotations

import pytest

from kale_nb.annotations.reading import read_marks
from kale_nb.annotations.tags import likely_meaning
from kale_nb.diagnostics import Severity
from kale_nb.pipeline.model import Retry, Secret, StepSettings
from kale_nb.source.cells import Cell, CellKind, Source
from tests.annotations.marking import clean, marks, rejects


def settings_of(*tags: str) -> StepSettings:
    return clean(("x", "step:a", *tags)).steps[0].settings


@pytest.mark.parametrize(
    ("tag", "field", "value"),
    [
        ("limit:nvidia.com/gpu:1", "limits", {"nvidia.com/gpu": "1"}),
        ("limit:cpu:500m", "limits", {"cpu": "500m"}),
        ("limit:memory:1.5Gi", "limits", {"memory": "1.5Gi"}),
        ("request:ephemeral-storage:2Gi", "requests", {"ephemeral-storage": "2Gi"}),
        ("cpu:2", "requests", {"cpu": "2"}),
        ("memory:4Gi", "requests", {"memory": "4Gi"}),
        ("image:python:3.11", "image", "python:3.11"),
        ("image:registry:5000/team/image:tag", "image", "registry:5000/team/image:tag"),
        ("image:a/b@sha256:0123", "image", "a/b@sha256:0123"),
        ("label:team:blue", "labels", {"team": "blue"}),
        ("label:example.org/team:blue-1", "labels", {"example.org/team": "blue-1"}),
        ("annotation:url:https://example.org:80/a", "annotations", {"url": "https://example.org:80/a"}),
        ("annotation:sidecar.istio.io/inject:false", "annotations", {"sidecar.istio.io/inject": "false"}),
        ("annotation:note:two words", "annotations", {"note": "two words"}),
        ("env:URL:https://example.org?a=b", "env", {"URL": "https://example.org?a=b"}),
        ("env:EMPTY:", "env", {"EMPTY": ""}),
        ("secret:db:password:DB_PASSWORD", "secrets", (Secret(secret="db", key="password", env="DB_PASSWORD"),)),
        ("retries:3", "retry", Retry(attempts=3)),
        ("retry-interval:5s", "retry", Retry(interval=5)),
        ("timeout:10m", "timeout", 600),
        ("timeout:1h30m", "timeout", 5400),
        ("timeout:90", "timeout", 90),
        ("cache:disabled", "cache", False),
        ("cache:enabled", "cache", True),
        ("report:enabled", "report", True),
    ],
)
def test_a_setting(tag: str, field: str, value: object) -> None:
    assert getattr(settings_of(tag), field) == value


def test_settings_of_all_cells_of_a_step_are_one() -> None:
    marked = clean(
        ("x", "step:a", "limit:cpu:2", "retries:3"), ("y", "limit:memory:1Gi", "retry-interval:5s"), ("z", "step:a", "cpu:1")
    )
    found = marked.steps[0].settings
    assert (found.limits, found.requests, found.retry) == (
        {"cpu": "2", "memory": "1Gi"},
        {"cpu": "1"},
        Retry(attempts=3, interval=5),
    )


def test_the_same_setting_twice_agrees() -> None:
    clean(("x", "step:a", "limit:cpu:2", "timeout:60"), ("y", "step:a", "limit:cpu:2", "timeout:1m"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("limit:cpu:2", "limit:cpu:3"),
        ("image:a", "image:b"),
        ("cache:enabled", "cache:disabled"),
        ("env:A:1", "env:A:2"),
        ("secret:s:k:E", "secret:s:other:E"),
        ("cpu:1", "request:cpu:2"),
    ],
)
def test_settings_that_contradict_each_other(one: str, other: str) -> None:
    found = rejects("KN502", "[cell 2]", ("x", "step:a", one), ("y", "step:a", other))
    assert one in found.message
    assert other in found.message
    assert "cell 1" in (found.hint or "")


@pytest.mark.parametrize(
    "tag",
    [
        "limit:cpu",
        "limit:",
        "limit::2",
        "limit:cpu:",
        "limit:cpu:many",
        "limit:two words:1",
        "request:memory:4 Gi",
        "cpu:",
        "cpu:fast",
        "memory:4GB",
        "image:",
        "image:a b",
        "label:team",
        "label:team:two words",
        "label:-x:1",
        "annotation:",
        "env:1A:x",
        "env:",
        "env:A",
        "secret:a:b",
        "secret:a:b:c:d",
        "secret:a:b:1c",
        "secret:::",
        "retries:x",
        "retries:-1",
        "retries:1.5",
        "retries:",
        "timeout:soon",
        "timeout:0",
        "timeout:-5",
        "retry-interval:x",
        "retry-factor:0.5",
        "cache:maybe",
        "cache:",
        "report:x",
    ],
)
def test_a_value_that_cannot_be_read(tag: str) -> None:
    found = rejects("KN501", "[cell 1]", ("x", "step:a", tag))
    assert tag in found.message
    assert found.hint


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("stp:train", "step:train"),
        ("setp:train", "step:train"),
        ("Step:train", "step:train"),
        ("STEP:Train", "step:Train"),
        ("step train", "step:train"),
        ("step :a", "step:a"),
        ("step=a", "step:a"),
        ("step;a", "step:a"),
        ("steps:a", "step:a"),
        ("step-train", "step:train"),
        ("step_train", "step:train"),
        ("blok:a", "block:a"),
        ("block a", "block:a"),
        ("prv:a", "prev:a"),
        ("Prev:a", "prev:a"),
        ("prev a", "prev:a"),
        ("perv:a", "prev:a"),
        ("after:a", "prev:a"),
        ("import", "imports"),
        ("Imports", "imports"),
        ("imprts", "imports"),
        ("function", "functions"),
        ("fuctions", "functions"),
        ("Skip", "skip"),
        ("pipeline_parameters", "pipeline-parameters"),
        ("pipeline-parameter", "pipeline-parameters"),
        ("params", "pipeline-parameters"),
        ("pipeline_metrics", "pipeline-metrics"),
        ("metrics", "pipeline-metrics"),
        ("limits:cpu:2", "limit:cpu:2"),
        ("retry:3", "retries:3"),
        ("retry_interval:5s", "retry-interval:5s"),
        ("Timeout:5", "timeout:5"),
        ("anotation:a:b", "annotation:a:b"),
        ("imagee:x", "image:x"),
        ("step", "step:NAME"),
        (" step:a", "step:a"),
        (" imports", "imports"),
    ],
)
def test_a_near_miss_is_told_with_its_likely_meaning(tag: str, meant: str) -> None:
    found = rejects("KN109", "[cell 2]", ("x", "step:z"), ("y", tag), level=Severity.WARNING)
    assert f"`{meant}`" in found.message


@pytest.mark.parametrize(
    "tag",
    [
        "hide-input",
        "hide_input",
        "hide-cell",
        "remove_cell",
        "remove-output",
        "remove-stderr",
        "raises-exception",
        "solution",
        "slideshow",
        "slide",
        "nbgrader",
        "nbval-skip",
        "nbval-ignore-output",
        "skip-execution",
        "skip-test",
        "full-width",
        "output_scroll",
        "scroll-output",
        "margin",
        "popout",
        "thebe-init",
        "toggle",
        "exercise",
        "hidden",
        "todo",
        "WIP",
        "question 1",
        "draft:v2",
        "author:me",
        "lang:en",
        "figure:a",
        "level:1",
        "step by step guide",
        "export",
        "test",
        "jp-MarkdownHeadingCollapsed",
        "outputPrepend",
        "papermill-error-cell-tag",
        "",
        ":",
        "::",
        "训练",
    ],
)
def test_other_peoples_tags_are_left_alone(tag: str) -> None:
    assert likely_meaning(tag) is None
    clean(("x", "step:a", tag))


def test_spaces_around_a_value_do_not_matter() -> None:
    marked = clean(("x", "step: a", "prev: b", "limit: cpu: 2"))
    assert marked.steps[0].name == "a"
    assert marked.steps[0].settings.limits == {"cpu": "2"}


@pytest.mark.parametrize("tags", ["step:a", 3, [1, "step:a"], {"a": 1}])
def test_tags_that_are_no_texts_are_reported(tags: object) -> None:
    texts = tuple(t for t in tags if isinstance(t, str)) if isinstance(tags, list) else ()
    cell = Cell(index=1, kind=CellKind.CODE, source="x", tags=texts, metadata={"tags": tags})
    _, found = read_marks(Source(path="nb.ipynb", stem="nb", sha256="", cells=(cell,)))
    assert "KN109" in [d.rule.code for d in found]


def test_defaults_of_the_notebook_lie_under_a_steps_own_settings() -> None:
    marked = clean(
        ("x", "step:a", "limit:cpu:4"),
        ("y", "step:b"),
        settings={"steps_defaults": ["limit:cpu:1", "label:team:blue", "retries:2"]},
    )
    a, b = (s.settings for s in marked.steps)
    assert (a.limits, b.limits) == ({"cpu": "4"}, {"cpu": "1"})
    assert a.labels == b.labels == {"team": "blue"}
    assert a.retry == b.retry == Retry(attempts=2)


def test_a_bad_tag_does_not_hide_the_good_ones() -> None:
    marked, _ = marks(("x", "step:a", "limit:cpu", "limit:memory:1Gi", "prev:b"))
    assert marked.steps[0].settings.limits == {"memory": "1Gi"}
    assert [a.name for a in marked.steps[0].after] == ["b"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("env:A:1", "secret:db:password:A"),
        ("env:A:1", "config-map:conf:mode:A"),
        ("secret:db:password:A", "config-map:conf:mode:A"),
        ("limit:cpu:1", "limit:CPU:2"),
        ("toleration:a=b:NoExecute:1", "toleration:a=b:NoExecute:2"),
    ],
)
def test_one_thing_asked_for_in_two_ways_is_a_conflict(one: str, other: str) -> None:
    rejects("KN502", "[cell 1]", ("x", "step:a", one, other))


def test_tolerations_that_differ_in_their_value_are_two() -> None:
    found = settings_of("toleration:a=b:NoSchedule", "toleration:a=c:NoSchedule", "toleration:a:NoSchedule").tolerations
    assert [t.value for t in found] == ["b", "c", None]
    magic = clean("%%step a --toleration a=b:NoSchedule --toleration a=c:NoSchedule\nx = 1").steps[0].settings
    assert [t.value for t in magic.tolerations] == ["b", "c"]


def test_cpu_in_capitals_is_cpu() -> None:
    assert settings_of("limit:CPU:2", "request:Memory:1Gi").limits == {"cpu": "2"}


@pytest.mark.parametrize(
    "tag",
    [
        f"label:{'a' * 64}:b",
        f"label:a:{'b' * 64}",
        f"label:{'a.' * 127}b/c:d",
        "label:Example.org/a:b",
        "label:a/b/c:d",
        f"annotation:{'a' * 64}:b",
        "limit:a/b/c:1",
        "secret:My_Secret:key:A",
        "secret:a..b:key:A",
        "config-map:a..b:key:A",
        "pull-secret:a.-b",
        "secret-files:certs:/a/..",
        "run-as-user:-5",
        "env:A:\ud800",
    ],
)
def test_what_kubernetes_would_not_take_is_an_error_here(tag: str) -> None:
    assert rejects("KN501", "[cell 1]", ("x", "step:a", tag)).render().encode()


def test_names_of_the_longest_kind_are_left_alone() -> None:
    found = settings_of(f"label:{'a' * 63}:{'b' * 63}", "secret:my.secret-1:tls.key:A", "annotation:example.org/a:any thing")
    assert list(found.labels) == ["a" * 63]
