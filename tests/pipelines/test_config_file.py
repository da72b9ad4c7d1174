"""Settings of an earlier run, by flag."""

import dataclasses
import json

import pytest
import tyro

from pipelines.config_file import expand_config_file
from pipelines.corpus.tokenize import TokenizeConfig
from samtok.errors import ConfigError

EARLIER = TokenizeConfig(
    source="coco",
    annotations="a b.json",
    images="-odd",
    output="out",
    limit=None,
    reconstruct=True,
    cpus_per_actor=0.5,
)


@pytest.fixture
def read(tmp_path):
    """Parses flags beside a config file of the given content."""

    def parse(content, *flags):
        path = tmp_path / "saved.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tyro.cli(TokenizeConfig, args=expand_config_file([*flags, "--config", str(path)]))

    return parse


def test_settings_come_back(read):
    saved = dataclasses.asdict(EARLIER)
    assert read(saved) == EARLIER
    assert read({"config": saved, "counts": {}}) == EARLIER  # a manifest


def test_flags_win_wherever_they_stand(read):
    changed = read(dataclasses.asdict(EARLIER), "--output", "new", "--no-reconstruct", "--limit=3")
    assert changed == dataclasses.replace(EARLIER, output="new", reconstruct=False, limit=3)


def test_unknown_and_wrong_settings_are_refused(read):
    saved = dataclasses.asdict(EARLIER)
    for wrong in ({"colour": 1}, {"limit": "few"}, {"source": "nowhere"}):
        with pytest.raises(SystemExit) as stopped:
            read({**saved, **wrong})
        assert stopped.value.code == 2
    with pytest.raises(ConfigError, match="images-per-batch is 0"):
        read({**saved, "images_per_batch": 0})


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_files_without_settings_are_refused(read, content):
    with pytest.raises(ConfigError, match=r"saved\.json"):
        read(content)


def test_config_needs_one_file():
    for arguments in (
        ["--config"],
        ["--config="],
        ["--config", "a", "--config=b"],
        ["--config=nowhere"],
    ):
        with pytest.raises(ConfigError, match="--config"):
            expand_config_file(arguments)
    assert expand_config_file(["--output", "x"]) == ["--output", "x"]
