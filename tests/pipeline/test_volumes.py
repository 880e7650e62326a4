"""Volumes of a pipeline and those of the command line, together."""

from __future__ import annotations

import pytest

from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Volume
from kale_nb.pipeline.volumes import merged, variable


def volume(name: str, place: str) -> Volume:
    return Volume(name=name, mount_point=place)


def test_one_of_the_command_line_takes_the_place_of_the_pipelines() -> None:
    assert [v.mount_point for v in merged([volume("a", "/a")], [volume("a", "/b")], {})] == ["/b"]


def test_two_that_one_variable_would_tell_are_refused() -> None:
    with pytest.raises(UsageError, match="a-b and a.b .* KALE_DATA_A_B"):
        merged([volume("a-b", "/a")], [volume("a.b", "/b")], {})


@pytest.mark.parametrize(
    ("name", "told"), [("a__b-", "A__B_"), ("größe", "GROSSE"), ("训练", "X8BADX7EC3"), ("Ünï-cöde", "UNI_CODE")]
)
def test_the_variable_of_a_volume_is_ascii(name: str, told: str) -> None:
    assert variable(name) == f"KALE_DATA_{told}"
