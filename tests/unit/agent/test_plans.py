"""A compiled plan is run only where it belongs; anything else is one error that names the command to run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from livemos.agent.engine.plans import PlanCache, PlanSettings, encode_plan, publish, read_plan
from livemos.agent.errors import EngineError

PLAN = bytes(range(256)) * 40
GRAPH = "ab" * 32
REBUILD = "livemos export --plans my.livemos"
SETTINGS = PlanSettings(
    runtime="tensorrt-rtx", version="1.7.1", precision="fp16", compute_capabilities=("8.0", "8.9"), buckets=(1, 16)
)


def read(path: Path, device: str | None = "8.9", graph: str = GRAPH, settings: PlanSettings = SETTINGS) -> bytes:
    return read_plan(path, graph, settings, device=device, rebuild=REBUILD)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.plan"
    publish(path, encode_plan(PLAN, GRAPH, SETTINGS))
    return path


def test_a_sound_plan_is_read_back_whole(file: Path) -> None:
    """The first condition of everything else."""
    assert read(file) == PLAN
    assert read(file, device=None) == PLAN


def _header(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        magic, header, plan = content.split(b"\n", 2)
        fields = json.loads(header)
        change(fields)
        return b"\n".join([magic, json.dumps(fields).encode(), plan])

    return edit


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "the file is empty"),
    "something else": (lambda content: b"\x80\x04" + content, "this is no livemos plan"),
    "cut in the header": (lambda content: content[:60], "truncated inside its header"),
    "cut in the plan": (lambda content: content[:-100], "truncated: 10,140 of 10,240 bytes"),
    "a byte changed": (lambda content: content[:-1] + b"\x00", r"damaged \(sha256 differs\)"),
    "header is no JSON": (lambda content: content.replace(b"{", b"(", 1), "its header is damaged"),
    "header lacks a field": (_header(lambda fields: fields.pop("plan_bytes")), "its header is incomplete"),
    "another graph": (_header(lambda fields: fields.update(graph_sha256="cd" * 32)), "belongs to another model"),
    "another version": (
        _header(lambda fields: fields["settings"].update(version="1.6.0")),
        r"written by tensorrt-rtx 1\.6\.0, this machine has tensorrt-rtx 1\.7\.1",
    ),
    "no profiles": (_header(lambda fields: fields["settings"].update(buckets=[])), r"profiles up to batches of \[\]"),
    "another setting": (_header(lambda fields: fields["settings"].update(tf32=True)), "built with other settings"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_plan_that_must_not_run_is_refused_with_the_command_that_builds_it(file: Path, damage: str) -> None:
    """A runtime's own words for these are an address, a None or a crash."""
    change, says = DAMAGES[damage]
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(EngineError, match=says) as refused:
        read(file)
    assert str(refused.value).endswith(f"build it again with: {REBUILD}")
    assert "\n" not in str(refused.value)


def test_a_missing_plan_names_the_command_too(tmp_path: Path) -> None:
    """It is what everybody meets first."""
    with pytest.raises(EngineError, match=f"not found; build it again with: {REBUILD}"):
        read(tmp_path / "none.plan")


def test_a_plan_for_other_gpus_is_refused(file: Path) -> None:
    """TensorRT for RTX has nothing for compute capability 9.0."""
    with pytest.raises(EngineError, match=r"compute capability 8\.0, 8\.9, this one has 9\.0"):
        read(file, device="9.0")


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.8"}, {"precision": "fp32"}, {"compute_capabilities": ("8.0",)}, {"buckets": (1, 32)},
        {"tf32": True}, {"runtime": "tensorrt"},
    ],
    ids=str,
)  # fmt: skip
def test_the_same_inputs_reuse_a_plan_and_any_changed_one_builds(tmp_path: Path, change: dict[str, Any]) -> None:
    """A key that forgets a setting serves a plan of another one."""
    cache, builds = PlanCache(tmp_path), []

    def build() -> bytes:
        builds.append(1)
        return PLAN

    assert cache.get_or_build(GRAPH, SETTINGS, build, rebuild=REBUILD)[1]
    assert not cache.get_or_build(GRAPH, SETTINGS, build, rebuild=REBUILD)[1]
    assert cache.get_or_build(GRAPH, replace(SETTINGS, **change), build, rebuild=REBUILD)[1]
    assert cache.get_or_build("cd" * 32, SETTINGS, build, rebuild=REBUILD)[1]
    assert len(builds) == 3
    assert cache.path(GRAPH, replace(SETTINGS, **change)) != cache.path(GRAPH, SETTINGS) != cache.path("cd", SETTINGS)


def test_a_truncated_plan_in_the_cache_is_built_again(tmp_path: Path) -> None:
    """A full disk or a killed copy must not stay for ever."""
    cache = PlanCache(tmp_path)
    path, _ = cache.get_or_build(GRAPH, SETTINGS, lambda: PLAN, rebuild=REBUILD)
    path.write_bytes(path.read_bytes()[:-10])
    assert cache.get_or_build(GRAPH, SETTINGS, lambda: PLAN, rebuild=REBUILD) == (path, True)
    assert read(path) == PLAN


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A half plan under the right name would be found by the next start."""
    cache = PlanCache(tmp_path)

    def fail() -> bytes:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        cache.get_or_build(GRAPH, SETTINGS, fail, rebuild=REBUILD)
    assert not list(tmp_path.glob("*.plan"))
    assert cache.get_or_build(GRAPH, SETTINGS, lambda: PLAN, rebuild=REBUILD)[1]


RACER = """
import sys, time
from pathlib import Path
from livemos.agent.engine.plans import PlanCache, PlanSettings
folder, own, racers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
settings = PlanSettings(runtime="r", version="1", precision="fp16", compute_capabilities=("8.0",), buckets=(1, 16))
def build():
    with (folder / "builds").open("a") as file:
        file.write("built\\n")
    until = time.monotonic() + 0.05  # a build takes a while: the others arrive meanwhile
    while time.monotonic() < until:
        pass
    return bytes(range(256)) * 4_000
print("ready", flush=True)
sys.stdin.readline()
for turn in range(5):
    (folder / f"arrived.{turn}.{own}").touch()
    while len(list(folder.glob(f"arrived.{turn}.*"))) < racers:
        pass
    PlanCache(folder / str(turn)).get_or_build("ab" * 32, settings, build, rebuild="again")
"""


def test_processes_that_start_at_once_build_each_plan_once_and_whole(tmp_path: Path) -> None:
    """Two agents start on one machine after every reboot."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), str(own), "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=50)
        assert racer.returncode == 0
    assert (tmp_path / "builds").read_text() == "built\n" * 5
    settings = replace(SETTINGS, runtime="r", version="1", compute_capabilities=("8.0",))
    for turn in range(5):
        (path,) = (tmp_path / str(turn)).glob("*.plan")
        assert read_plan(path, GRAPH, settings, device="8.0", rebuild="") == bytes(range(256)) * 4_000
        assert not list((tmp_path / str(turn)).glob(".*"))  # no partial files stay


def test_profiles_cover_every_batch_up_to_the_last_bucket() -> None:
    """A batch without a profile fails inside the runtime."""
    assert SETTINGS.profiles() == [(1, 1), (2, 16)]
    assert [SETTINGS.profile_of(batch) for batch in (1, 2, 16)] == [0, 1, 1]
    with pytest.raises(ValueError, match="fits none of the profiles"):
        SETTINGS.profile_of(17)
