"""A pipeline as JSON and back (`kale_nb.pipeline.codec`)."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_nb.compiler import check
from kale_nb.location import Location
from kale_nb.names import StepName, VarName
from kale_nb.pipeline import codec
from kale_nb.pipeline.model import (
    Certainty,
    MarshalVolume,
    Need,
    Offer,
    Pipeline,
    Retry,
    Secret,
    Step,
    StepSettings,
    Volume,
)
from kale_nb.pipeline.params import Param

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.ipynb"))


def _there_and_back(pipeline: Pipeline) -> Pipeline:
    return codec.from_json(json.loads(json.dumps(codec.to_json(pipeline))))


def _without_path(pipeline: Pipeline) -> Pipeline:
    """The file form does not say again in each place which file it is."""

    def bare(at: Location | None) -> Location | None:
        return None if at is None else dataclasses.replace(at, path="")

    steps = tuple(
        dataclasses.replace(
            s, location=bare(s.location), needs=tuple(dataclasses.replace(n, location=bare(n.location)) for n in s.needs)
        )
        for s in pipeline.steps
    )
    params = tuple(dataclasses.replace(p, location=None) for p in pipeline.params)
    return dataclasses.replace(pipeline, steps=steps, params=params)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_comes_back_the_same(path: Path) -> None:
    pipeline = check(path).pipeline
    assert pipeline is not None
    assert _there_and_back(pipeline) == _without_path(pipeline)


def test_what_is_at_its_default_is_not_written() -> None:
    made = codec.to_json(Pipeline(name="p", source="p.ipynb", source_sha256="0", steps=(Step(name=StepName("a"), index=0),)))
    assert made == {
        "format": codec.FORMAT,
        "name": "p",
        "source": "p.ipynb",
        "source_sha256": "0",
        "steps": [{"name": "a", "index": 0}],
    }


TEXT = st.text(max_size=12)
MAPPING = st.dictionaries(TEXT, TEXT, max_size=3)
SETTINGS = st.builds(
    StepSettings,
    image=st.none() | TEXT,
    limits=MAPPING,
    requests=MAPPING,
    labels=MAPPING,
    annotations=MAPPING,
    env=MAPPING,
    secrets=st.lists(st.builds(Secret, secret=TEXT, key=TEXT, env=TEXT), max_size=2).map(tuple),
    retry=st.none() | st.builds(Retry, attempts=st.integers(0, 9), interval=st.floats(0, 1e6)),
    timeout=st.none() | st.floats(0, 1e9),
    cache=st.none() | st.booleans(),
    report=st.none() | st.booleans(),
)
LOCATIONS = st.none() | st.builds(
    Location, path=st.just(""), cell=st.none() | st.integers(1, 99), line=st.none() | st.integers(1, 99)
)
STEP_NAMES = TEXT.map(StepName)
STEPS = st.builds(
    Step,
    name=STEP_NAMES,
    index=st.integers(0, 99),
    after=st.lists(STEP_NAMES, max_size=3).map(tuple),
    settings=SETTINGS,
    cells=st.lists(st.integers(1, 99), max_size=4).map(tuple),
    needs=st.lists(
        st.builds(
            Need,
            name=TEXT.map(VarName),
            certainty=st.sampled_from(Certainty),
            producers=st.lists(STEP_NAMES, max_size=2).map(tuple),
            location=LOCATIONS,
        ),
        max_size=3,
    ).map(tuple),
    offers=st.lists(st.builds(Offer, name=TEXT.map(VarName), certainty=st.sampled_from(Certainty)), max_size=3).map(tuple),
    rebinds=st.lists(TEXT.map(VarName), max_size=3).map(tuple),
    result=st.none() | TEXT.map(VarName),
    location=LOCATIONS,
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.dates()
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(TEXT, inner, max_size=3),
)
PARAMS = st.builds(Param, name=TEXT.map(VarName), type=st.just("any"), default=VALUES, description=st.none() | TEXT)
PIPELINES = st.builds(
    Pipeline,
    name=TEXT,
    source=TEXT,
    source_sha256=TEXT,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    params=st.lists(PARAMS, max_size=3).map(tuple),
    kernel=TEXT,
    experiment=st.none() | TEXT,
    description=st.none() | TEXT,
    image=st.none() | TEXT,
    volumes=st.lists(st.builds(Volume, name=TEXT, mount_point=TEXT, size=st.none() | TEXT, annotations=MAPPING), max_size=2).map(
        tuple
    ),
    marshal_volume=st.builds(MarshalVolume, enabled=st.booleans(), size=st.none() | TEXT, path=st.none() | TEXT),
    autosnapshot=st.none() | st.booleans(),
    explicit_order=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(PIPELINES)
def test_any_pipeline_comes_back_the_same(pipeline: Pipeline) -> None:
    assert _there_and_back(pipeline) == pipeline


@pytest.mark.parametrize(
    "value",
    [(1, (2, [3])), {1, 2}, frozenset({"a"}), math.inf, -0.0, {"a": (1,)}, datetime.date(2024, 2, 29), b"bytes", 1 + 2j, None],
)
def test_a_parameter_keeps_value_and_type(value: object) -> None:
    pipeline = Pipeline(
        name="p", source="p", source_sha256="0", steps=(), params=(Param(name=VarName("v"), type="any", default=value),)
    )
    found = _there_and_back(pipeline).params[0].default
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "data", [{}, {"format": "kale-nb/pipeline/99"}, {"format": codec.FORMAT}, {"format": codec.FORMAT, "bogus": 1}]
)
def test_what_is_no_pipeline_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        codec.from_json(data)
