"""Values that survive: made and saved in one process, loaded and checked in another."""

import pytest

from tests.marshal import values_definitions, values_plain, values_science
from tests.marshal.battery import run_battery

# Reading these changes them, or their state cannot be told: a trace may differ.
RESTLESS: set[str] = set()


def _fixture(cases, label):
    @pytest.fixture(scope="module")
    def outcomes(tmp_path_factory):
        return run_battery(cases, tmp_path_factory.mktemp(label))

    return outcomes


plain = _fixture(values_plain.CASES, "plain")
definitions = _fixture(values_definitions.CASES, "definitions")
science = _fixture(values_science.CASES, "science")


def _judge(outcomes, name):
    made, checked = outcomes[0][name], outcomes[1][name]
    assert "error" not in made, made["error"]
    assert made["failures"] == {}
    assert "error" not in checked, checked["error"]
    assert made["unstable"] == [] or name in RESTLESS
    assert made["untraced"] == [] or name in RESTLESS


@pytest.mark.parametrize("name", values_plain.CASES)
def test_plain_value_survives(plain, name):
    _judge(plain, name)


@pytest.mark.parametrize("name", values_definitions.CASES)
def test_definition_survives(definitions, name):
    _judge(definitions, name)


@pytest.mark.parametrize("name", values_science.CASES)
def test_science_value_survives(science, name):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    _judge(science, name)
