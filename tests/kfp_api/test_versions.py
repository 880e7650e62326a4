"""Backends differ in what their CreatePVC knows: what the server says of its version decides, and what it does not say is told."""

from __future__ import annotations

import pytest

from kale_nb.engines.kfp.submission.address import Asked, find_address
from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.engine import KfpEngine
from kale_nb.engines.kfp.submission.sending import Server as Said
from kale_nb.engines.kfp.submission.sending import read_server
from kale_nb.engines.kfp.target import Target
from tests.kfp_api.server import Server


@pytest.mark.parametrize(
    ("tag", "version"),
    [("2.17.0", (2, 17, 0)), ("v2.5.1", (2, 5, 1)), ("2.18.0-rc.1", (2, 18, 0)), ("unknown", None), ("", None)],
)
def test_the_version_is_read_off_the_tag(tag: str, version: tuple[int, ...] | None, server: Server) -> None:
    server.deployment.tag = tag
    assert read_server(Client(find_address(Asked(host=server.url), {}))).version == version


@pytest.mark.parametrize(
    ("version", "native"), [((2, 17, 0), True), ((2, 16, 9), False), ((2, 5), False), ((3, 0, 0), True), (None, True)]
)
def test_older_backends_have_volumes_made_by_a_step(version: tuple[int, ...] | None, native: bool) -> None:
    said = Said(version=version, tag="", several=False)
    assert KfpEngine()._target(Target(), said).native_volumes is native
