"""Settings: who wins, and what a mistyped key says."""

from __future__ import annotations

from pathlib import Path

import pytest

from livemos.agent.errors import ConfigError
from livemos.agent.settings import SOURCE_SETTINGS, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own LIVEMOS_ variables must not decide a test."""
    import os

    for variable in list(os.environ):
        if variable.startswith("LIVEMOS_"):
            monkeypatch.delenv(variable)


def _write(folder: Path, text: str) -> Path:
    file = folder / "agent.toml"
    file.write_text(text)
    return file


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer sets one value the next one overrides; every value names its origin."""
    file = _write(tmp_path, "[grpc]\nport = 1\nhost = '0.0.0.0'\n[engine]\nthreads = 2\n[limits]\nstreams = 7\n")
    monkeypatch.setenv("LIVEMOS_GRPC__PORT", "2")
    monkeypatch.setenv("LIVEMOS_ENGINE__THREADS", "3")
    effective = load_settings(file, flags={"grpc": {"port": 3}})
    origin = {key: (value, where) for key, value, where in effective.rows()}
    assert origin["grpc.port"] == (3, "flag")
    assert origin["engine.threads"] == (3, "environment")
    assert origin["grpc.host"] == ("0.0.0.0", str(file))
    assert origin["limits.streams"] == (7, str(file))
    assert origin["limits.subscribers"][1] == "default"


def test_sources_of_all_layers_add_up(tmp_path: Path) -> None:
    """`livemos run --config site.toml --rtp 5006` listens to both."""
    file = _write(
        tmp_path, '[[sources]]\ntype = "rtp"\nname = "bridge"\nport = 5004\npayload_types = {111 = "opus/48000/2"}\n'
    )
    sources = load_settings(file, flags={"sources": [{"type": "rtp", "name": "more", "port": 5006}]}).settings.sources
    assert [source.name for source in sources] == ["bridge", "more"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[grpc]\nprot = 1\n", r"unknown setting 'grpc.prot' .*did you mean 'port'"),
        ("[gprc]\nport = 1\n", r"unknown setting 'gprc' \(.*agent\.toml\); did you mean 'grpc'"),
        ("[grpc]\nport = 70000\n", r"'grpc.port' .*65535, got 70000"),
        ('[[sources]]\ntype = "rtp"\nname = "a"\nprt = 1\n', r"sources.0.rtp.prt.*did you mean 'port'"),
        ('[[sources]]\ntype = "sip"\nname = "a"\n', r"sources.0.*'rtp', 'pcap', 'microphone', 'file', 'stdin'"),
        ('[[sources]]\ntype = "rtp"\nname = "a/b"\n', r"sources.0.rtp.name"),
        (
            '[[sources]]\ntype="rtp"\nname="a"\nport=1\n[[sources]]\ntype="rtp"\nname="a"\nport=2\n',
            r"two sources are named 'a'",
        ),
        ('[[sources]]\ntype = "rtp"\nname = "a"\n', r"sources.0.rtp.*give a port, or an sdp"),
        ("grpc = [", r"not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_names_the_key_and_the_way_out(tmp_path: Path, text: str, said: str) -> None:
    """At three in the morning nobody reads the source."""
    with pytest.raises(ConfigError, match=said):
        load_settings(_write(tmp_path, text))


def test_an_unknown_environment_variable_is_refused_and_the_near_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable that is silently ignored runs the agent with other settings than meant."""
    monkeypatch.setenv("LIVEMOS_GRCP__PORT", "1")
    with pytest.raises(ConfigError, match=r"LIVEMOS_GRCP__PORT.*did you mean 'grpc'"):
        load_settings()


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: not found"):
        load_settings(tmp_path / "nowhere.toml")


def test_every_source_kind_has_settings_and_every_setting_a_description() -> None:
    """`config show` and the docs are made from these."""
    from livemos.agent.sources import SOURCES

    assert set(SOURCE_SETTINGS) == set(SOURCES)
    for kind, model in SOURCE_SETTINGS.items():
        for name, field in model.model_fields.items():
            assert field.description or name == "type", f"{kind}.{name} has no description"
