"""Settings: who wins, and what a mistyped key says."""

from __future__ import annotations

import subprocess
import sys
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
        (
            '[[sources]]\ntype="rtp"\nname="a"\nport=1\npayload_types={300="opus/48000/2"}\n',
            r"sources.0.rtp.payload_types' \(.*agent\.toml\).*payload type 300.*96 to 127",
        ),
        (
            '[[sources]]\ntype="pcap"\nname="a"\npath="a.pcap"\npayload_types={111="nonsense/1"}\n',
            r"sources.0.pcap.payload_types.*no codec decodes nonsense/1",
        ),
        ("grpc = [", r"not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_names_the_key_and_the_way_out(tmp_path: Path, text: str, said: str) -> None:
    """At three in the morning nobody reads the source."""
    with pytest.raises(ConfigError, match=said):
        load_settings(_write(tmp_path, text))


KEY = "c2VjcmV0IGtleSBvZiBtaW5lIGlzIHNlY3JldCEhISEh"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[[sources]]\ntype = "rtp"\nname = "a"\nsrtp_key = "{KEY}"\n', "give a port"),
        (f'[[sources]]\ntype = "sip"\nname = "a"\nsrtp_key = "{KEY}"\n', "'sip'"),
        (f'[[sources]]\nname = "a"\nsrtp_key = "{KEY}"\n', "'type'"),
        (f'[[sources]]\ntype = "rtp"\nname = "a"\nport = 1\nsrtp_key = ["{KEY}"]\n', "srtp_key"),
        ('[[sources]]\ntype = "rtp"\nname = "a"\nport = 1\nsrtp_key = 5318008\n', "srtp_key"),
        (f'sources = \'[{{"srtp_key": "{KEY}"}}]\'\n', "'sources'"),
        (f"sources = ['srtp_key = {KEY}']\n", "sources.0"),
        (f'[engine]\nthreads = [{{srtp_key = "{KEY}"}}]\n', "engine.threads"),
    ],
)
def test_a_mistake_beside_a_key_does_not_print_the_key(tmp_path: Path, text: str, said: str) -> None:
    """The message goes to the journal and into bug reports; whoever has the key hears the calls."""
    with pytest.raises(ConfigError) as refused:
        load_settings(_write(tmp_path, text))
    assert said in str(refused.value)
    assert KEY not in str(refused.value)
    assert "5318008" not in str(refused.value)


def test_a_mistyped_value_is_repeated(tmp_path: Path) -> None:
    """Hiding keys must not hide what the operator needs to see."""
    source = '[[sources]]\ntype = "rtp"\nname = "a"\nport = 1\n'
    for line, shown in (("srtp_roc = -1", "-1"), ("profiles = ['fixed7']", "'fixed7'"), ("labels = {a = 71}", "71")):
        with pytest.raises(ConfigError, match=rf"got {shown}$"):
            load_settings(_write(tmp_path, f"{source}{line}\n"))


def test_settings_without_payload_types_read_no_codec() -> None:
    """Every command reads settings; the codecs bring libraries that take half a second."""
    code = (
        "import sys; from livemos.agent.settings import load_settings;"
        "load_settings(flags={'sources': [{'type': 'rtp', 'name': 'a', 'port': 1, 'payload_types': {}}]});"
        "print('livemos.agent.codecs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.strip() == "False"


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
