"""What `pip install` puts on a machine, against what the tree holds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from livemos.agent.lazy_commands import Benchmarks, Commands, LazyGroup

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("agent", "kernels", "export", "training", "proto")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _packages_in_the_tree() -> set[str]:
    folders = {file.parent.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("__init__.py")}
    # proto/livemos/quality is the package livemos.proto.quality: the .proto's own folder is part of its contract
    return {f"livemos.{str(folder).replace('/', '.')}".replace("proto.livemos.", "proto.") for folder in folders}


def test_every_folder_with_python_is_a_package_that_is_installed() -> None:
    """A folder that is forgotten here is missing from the wheel, and only there."""
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == _packages_in_the_tree()


def test_every_module_lies_in_a_folder_that_is_a_package() -> None:
    """The other way to lose a module: a folder without __init__.py."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.relative_to(ROOT)} lies outside any package"


def test_the_agent_alone_needs_neither_torch_nor_librosa() -> None:
    """Two commands and a small machine: what the agent imports decides that, so it is asked in a process of its own."""
    code = (
        "import sys; from livemos.agent import Agent, Scorer, load_settings; "
        "heavy = {'torch', 'librosa', 'numba', 'triton', 'onnx', 'pandas'} & set(sys.modules); print(sorted(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    names = {requirement.split(">")[0].split("=")[0].strip() for requirement in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "librosa", "numba", "triton", "onnx"}


@pytest.mark.parametrize("group", [Commands, Benchmarks])
def test_each_command_of_the_help_is_an_entry_point_and_the_other_way_round(group: type[LazyGroup]) -> None:
    """Commands are found by entry point; one without a summary would show an empty line."""
    own = {"agent"} if group is Benchmarks else set()
    named = set(group.summaries) - own
    assert set(PROJECT["project"]["entry-points"][group.entry_point_group]) == named
    assert {entry_point.name for entry_point in entry_points(group=group.entry_point_group)} == named


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_ships_its_types(room: str) -> None:
    """Users of the Python interface check their code against ours."""
    assert (ROOT / room / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][f"livemos.{room}"]


def test_the_public_names_are_sorted_importable_and_each_has_a_home() -> None:
    """What `livemos.agent` promises is one list."""
    from livemos import agent

    assert agent.__all__ == sorted(agent.__all__)
    assert set(agent.__all__) == set(agent._HOMES)
    for name in agent.__all__:
        assert getattr(agent, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Socrer'"):
        agent.Socrer  # noqa: B018
