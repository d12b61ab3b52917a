"""What the operator decides: defaults < TOML file < LIVEMOS_* environment < flags. Unknown keys are errors.

What the model fixes (rates, segments, features, score names) lives in the bundle; no value lives in both.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from livemos.agent.errors import CodecError, ConfigError

ENVIRONMENT_PREFIX = "LIVEMOS_"
# variables of that prefix that are no settings: the file to read, and switches of the test suite
_OTHER_VARIABLES = frozenset({"LIVEMOS_CONFIG", "LIVEMOS_REQUIRE_BRIDGES", "LIVEMOS_REQUIRE_SENDERS"})

Port = Annotated[int, Field(ge=0, le=65_535)]
Profile = Literal["ideal", "fixed50", "fixed200", "adaptive500"]


def _decodable(payload_types: dict[int, str]) -> dict[int, str]:
    """As `run` will take them; the codecs are read only where a source names some."""
    if payload_types:
        from livemos.agent.rtp.payload_map import PayloadMap

        try:
            PayloadMap(payload_types)
        except CodecError as error:
            raise ValueError(str(error)) from error
    return payload_types


PayloadTypes = Annotated[dict[int, str], AfterValidator(_decodable)]
SourceName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GrpcSettings(_Section):
    """Where subscribers connect."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: Port = Field(50_561, description="TCP port; 0 takes a free one")
    reflection: bool = Field(True, description="answer reflection requests (grpcurl list)")


class EngineSettings(_Section):
    """What scores."""

    name: str = Field("onnxruntime", description="onnxruntime, or constant for dry runs")
    threads: int = Field(1, ge=1, le=64, description="threads inside one engine call")
    bundle: Path | None = Field(None, description="model bundle, folder or .livemos file; unset takes the packaged one")


class LimitSettings(_Section):
    """Caps: out of room, the newest work is refused and what runs goes on."""

    streams: int = Field(600, ge=1, le=20_000, description="streams open at once")
    subscribers: int = Field(64, ge=1, le=10_000, description="Subscribe calls at once")
    subscriber_queue_items: int = Field(
        4_096, ge=16, le=1_000_000, description="updates kept for a slow subscriber before it gets a gap"
    )
    scoring_calls: int = Field(8, ge=1, le=1_000, description="Score and StreamingScore calls at once")


class MetricsSettings(_Section):
    """Prometheus endpoint."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port | None = Field(None, description="TCP port of /metrics; unset: no endpoint")


class _SourceSettings(_Section):
    name: SourceName = Field(description="unique; source ids begin with it")
    labels: dict[str, str] = Field(default_factory=dict, description="given to subscribers, who may filter by them")


class RtpSourceSettings(_SourceSettings):
    """One UDP socket; every SSRC on it is a stream."""

    type: Literal["rtp"] = "rtp"
    host: str = Field("0.0.0.0", description="address to bind")
    port: Port | None = Field(None, description="UDP port, 0 takes a free one; unset: the port of the SDP")
    payload_types: PayloadTypes = Field(
        default_factory=dict, description='dynamic payload types, for example 111 = "opus/48000/2"'
    )
    sdp: Path | None = Field(None, description="session description whose audio line maps the payload types")
    idle_seconds: float = Field(30.0, gt=0, description="a stream silent for so long has ended")
    reorder_wait_seconds: float = Field(0.06, ge=0, le=5, description="how long a gap waits for late packets")
    profiles: tuple[Profile, ...] = Field(
        ("ideal",), min_length=1, description="listeners to score: ideal, fixed50, fixed200, adaptive500"
    )
    addresses: Literal["pin", "learn_once", "follow"] = Field(
        "follow", description="when a sender's address changes: keep the first, hear one sender only, or follow"
    )
    group: str | None = Field(None, description="multicast group to join; unset: the SDP's, where it names one")
    interface: str | None = Field(None, description="interface of the group, for example eth0")
    group_sources: tuple[str, ...] = Field((), description="senders of the group (source-specific multicast)")
    srtp_suite: Literal[
        "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"
    ] = Field("AES_CM_128_HMAC_SHA1_80", description="suite of srtp_key")
    srtp_key: SecretStr | None = Field(None, description="base64 of master key and salt, as SDES writes it")
    srtp_roc: int = Field(0, ge=0, lt=2**32, description="the senders' roll-over counter when listening begins")
    receive_workers: int = Field(1, ge=1, le=32, description="threads that share the port, each SSRC to one (Linux)")
    receive_buffer_bytes: int = Field(8 << 20, ge=1, le=1 << 30, description="of each socket, as the system allows")

    @model_validator(mode="after")
    def _has_a_port(self) -> Self:
        if self.port is None and self.sdp is None:
            raise ValueError("give a port, or an sdp that names one")
        return self


class PcapSourceSettings(_SourceSettings):
    """A capture (pcap, pcapng), replayed as fast as it can be scored; every SSRC in it is a stream."""

    type: Literal["pcap"] = "pcap"
    path: Path = Field(description="capture file")
    payload_types: PayloadTypes = Field(
        default_factory=dict, description='dynamic payload types, for example 111 = "opus/48000/2"'
    )
    sdp: Path | None = Field(None, description="session description that maps the payload types, and brings keys")
    profiles: tuple[Profile, ...] = Field(
        ("ideal",), min_length=1, description="listeners to score: ideal, fixed50, fixed200, adaptive500"
    )


class MicrophoneSourceSettings(_SourceSettings):
    """A capture device."""

    type: Literal["microphone"] = "microphone"
    device: str | None = Field(None, description="part of a name, or an index of `livemos devices`; unset: the default")


class FileSourceSettings(_SourceSettings):
    """An audio file, or all audio files of a folder."""

    type: Literal["file"] = "file"
    path: Path = Field(description="file or folder")
    pace: Literal["live", "fast"] = Field("live", description="live: by the clock; fast: as fast as it can be scored")
    loop: bool = Field(False, description="begin again at the end")


class StdinSourceSettings(_SourceSettings):
    """Raw PCM on standard input."""

    type: Literal["stdin"] = "stdin"
    sample_rate_hz: int = Field(16_000, ge=4_000, le=384_000, description="rate of the PCM")
    channels: int = Field(1, ge=1, le=32, description="interleaved channels, averaged to mono")
    sample_format: Literal["s16le", "f32le"] = Field("s16le", description="encoding of one sample")


SourceSettings = Annotated[
    RtpSourceSettings | PcapSourceSettings | MicrophoneSourceSettings | FileSourceSettings | StdinSourceSettings,
    Field(discriminator="type"),
]


class Settings(BaseSettings):
    """All settings of `livemos run`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    grpc: GrpcSettings = GrpcSettings()
    engine: EngineSettings = EngineSettings()
    limits: LimitSettings = LimitSettings()
    metrics: MetricsSettings = MetricsSettings()
    sources: tuple[SourceSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `load_settings` has read and merged the layers, and knows each value's origin."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Settings with the origin of each value: `default`, `environment`, `flag` or the file's path."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """(dotted key, value, origin) of every leaf."""
        for key, value in _leaves(self.settings.model_dump(mode="json")):
            origin = next((self.origins[known] for known in _key_and_parents(key) if known in self.origins), "default")
            yield key, value, origin


def load_settings(file: Path | None = None, *, flags: Mapping[str, Any] | None = None) -> EffectiveSettings:
    """Settings of a TOML file, the environment and flags (nested dicts), the later winning. Raises ConfigError.

    Without `file`, the one that LIVEMOS_CONFIG names is read. Sources add up over the layers; all else is replaced.
    """
    if file is None and os.environ.get("LIVEMOS_CONFIG"):
        file = Path(os.environ["LIVEMOS_CONFIG"])
    layers: dict[str, Mapping[str, Any]] = {}
    if file is not None:
        layers[str(file)] = _read_toml(file)
    layers["environment"] = _read_environment()
    layers["flag"] = flags or {}
    origins: dict[str, str] = {}
    merged: dict[str, Any] = {}
    for origin, layer in layers.items():
        for key, _ in _leaves(layer):
            adds_up = key == "sources" and key in origins
            origins[key] = f"{origins[key]}, {origin}" if adds_up else origin
        merged = _merge(merged, layer)
    try:
        settings = Settings(**merged)
    except ValidationError as invalid:
        raise ConfigError(_explain(invalid, origins)) from invalid
    _check_names(settings)
    return EffectiveSettings(settings, origins)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise ConfigError(f"settings file {file}: not found") from missing
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigError(f"settings file {file}: cannot be read ({unreadable})") from unreadable
    except tomllib.TOMLDecodeError as invalid:
        raise ConfigError(f"settings file {file}: not valid TOML: {invalid}") from invalid


def _read_environment() -> dict[str, Any]:
    """LIVEMOS_GRPC__PORT=1 -> {"grpc": {"port": "1"}}; lists and tables are given as JSON."""
    for variable in sorted(os.environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in _OTHER_VARIABLES:
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")[0]
            if key not in Settings.model_fields:
                raise ConfigError(f"environment variable {variable}: unknown setting {key!r}; {_hint(key, [])}")
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as invalid:
        raise ConfigError(
            f"environment variables {ENVIRONMENT_PREFIX}*: {invalid}; lists and tables are JSON"
        ) from invalid


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` wins; tables merge, lists of sources add up (flags add sources to the file's)."""
    merged = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        elif key == "sources" and isinstance(merged.get(key), list):
            merged[key] = [*merged[key], *value]
        else:
            merged[key] = value
    return merged


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _key_and_parents(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key.rpartition(".")[0]


def _explain(invalid: ValidationError, origins: Mapping[str, str]) -> str:
    """The first fault, as what, where and what to do."""
    error = invalid.errors()[0]
    # pydantic puts the union's tag between the list index and the field: sources.0.rtp.port
    parts = [str(part) for part in error["loc"]]
    key = ".".join(parts)
    givers = (*_key_and_parents(key), *(known for known in origins if known.startswith(f"{key}.")))
    origin = next((origins[known] for known in givers if known in origins), None)
    where = f" ({origin})" if origin else ""
    if error["type"] == "extra_forbidden":
        return f"unknown setting {key!r}{where}; {_hint(parts[-1], parts[:-1])}"
    given = f", got {error['input']!r}" if _may_be_shown(parts, error["input"]) else ""
    return f"setting {key!r}{where}: {error['msg'].removeprefix('Value error, ')}{given}"


def _may_be_shown(path: list[str], value: object) -> bool:
    """A mistyped number helps its reader; a whole source may hold a key, and messages end in logs and bug reports."""
    of_a_source = path[0] == "sources"
    place = 3 if of_a_source else 1  # of the field's name
    if not isinstance(value, (str, int, float)) or (of_a_source and len(path) <= place):
        return False
    field = _model_of(path[:place]).model_fields.get(path[place]) if len(path) > place else None
    return field is None or SecretStr not in (field.annotation, *get_args(field.annotation))


def _hint(key: str, path: list[str]) -> str:
    known = _known_keys(path)
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def _known_keys(path: list[str]) -> list[str]:
    return sorted(_model_of(path).model_fields)


def _model_of(path: list[str]) -> type[BaseModel]:
    """What describes the keys at a path: (), (section,) or ("sources", index, type)."""
    if not path:
        return Settings
    return SOURCE_SETTINGS[path[2]] if path[0] == "sources" else type(getattr(Settings(), path[0]))


SOURCE_SETTINGS: dict[str, type[_SourceSettings]] = {
    "rtp": RtpSourceSettings,
    "pcap": PcapSourceSettings,
    "microphone": MicrophoneSourceSettings,
    "file": FileSourceSettings,
    "stdin": StdinSourceSettings,
}


def _check_names(settings: Settings) -> None:
    names = [source.name for source in settings.sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two sources are named {name!r}; names must differ, because source ids begin with them")
