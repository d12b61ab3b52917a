"""The audio part of a session description (RFC 8866): where the packets go and what their payload types carry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from livemos.agent.codecs import CODECS, Encoding, make_decoder
from livemos.agent.errors import CodecError, SdpError
from livemos.agent.rtp.seal import SUITES, SrtpKey

_PLAIN, _SEALED = ("RTP/AVP", "RTP/AVPF"), ("RTP/SAVP", "RTP/SAVPF")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_WITHOUT_DECODER = ("cn", "telephone-event", "red")  # known all the same: agent/rtp/payload_map.py


@dataclass(frozen=True, slots=True, kw_only=True)
class SdpDescription:
    """The first m=audio with a port.

    payload_types: number to encoding as rtpmap writes it; static numbers without an rtpmap are left out.
    What stands at media level goes before what the session says.
    parameters: fmtp lines, by payload type. ptime_ms is a hint only (RFC 8866 section 6.4).
    """

    address: str
    port: int
    payload_types: dict[int, str]
    parameters: dict[int, str]
    ptime_ms: float | None = None
    maxptime_ms: float | None = None
    direction: str = "sendrecv"
    rtcp_port: int | None = None  # a=rtcp (RFC 3605); None: the port behind the media's, or the same with rtcp_mux
    rtcp_mux: bool = False
    source_filter: tuple[str, ...] = ()  # the only senders of a multicast group (RFC 4570)
    keys: tuple[SrtpKey, ...] = ()  # a=crypto lines with a suite livemos opens (RFC 4568)


def parse_sdp(text: str, *, where: str = "the SDP") -> SdpDescription:
    """Raises SdpError naming `where`; media-level lines go before session-level ones."""
    session, sections = _sections(text, where)
    for media_line, lines in sections:
        fields = media_line.split()
        if fields[:1] != ["audio"]:
            continue
        if len(fields) < 4 or not fields[1].split("/")[0].isdigit():
            raise SdpError(f'{where}: "m={media_line}" is not "m=audio PORT RTP/AVP TYPE..."')
        port = int(fields[1].split("/")[0])
        if port == 0:  # offered, but refused
            continue
        if port > 65_535:
            raise SdpError(f"{where}: port {port} does not exist; use 1 to 65535")
        if fields[2] not in (*_PLAIN, *_SEALED):
            raise SdpError(f"{where}: {fields[2]} is not plain RTP; let the bridge send RTP/AVP to livemos")
        description = _describe(port, fields[3:], session, lines, where)
        if fields[2] in _SEALED and not description.keys:
            raise SdpError(
                f"{where}: {fields[2]} is not plain RTP and no a=crypto line has a suite livemos opens "
                f"({', '.join(SUITES)}); keys of DTLS-SRTP never pass a listener"
            )
        return description
    raise SdpError(f"{where}: no m=audio line with a port; give the description of an audio session")


def _sections(text: str, where: str) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Session-level lines, then each m= value with its lines."""
    session: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        # FFmpeg prints "SDP:" before the description it writes to a terminal
        if not line or line == "SDP:":
            continue
        if not re.match(r"[a-z]=", line):
            # not the line itself: a key that was wrapped would stand there
            raise SdpError(f'{where}, line {number}: it is not "letter=value"; is this an SDP file?')
        if line.startswith("m="):
            sections.append((line[2:], []))
        else:
            (sections[-1][1] if sections else session).append(line)
    return session, sections


def _describe(port: int, offered: list[str], session: list[str], lines: list[str], where: str) -> SdpDescription:
    maps, formats = _numbered(lines, "a=rtpmap:", where), _numbered(lines, "a=fmtp:", where)
    both = [*session, *lines]
    mux = "a=rtcp-mux" in both
    payload_types: dict[int, str] = {}
    for number_text in offered:
        if not number_text.isdigit() or int(number_text) > 127:
            raise SdpError(f"{where}: payload type {number_text} does not exist; use 0 to 127")
        number = int(number_text)
        if mux and 64 <= number <= 95:
            raise SdpError(f"{where}: payload type {number} is RTCP on a port with a=rtcp-mux (RFC 5761 section 4)")
        if number not in maps:
            if number >= 96:
                raise SdpError(f'{where}: payload type {number} has no "a=rtpmap:{number} NAME/CLOCK" line')
            continue
        described = maps[number] + _parameters(maps[number], formats.get(number, ""))
        if _supported(described, where):
            payload_types[number] = described
    connection = _last(lines, "c=") or _last(session, "c=")
    ptime, maxptime = _last(lines, "a=ptime:"), _last(lines, "a=maxptime:")
    rtcp = _last(lines, "a=rtcp:")
    return SdpDescription(
        address=_address(connection, where),
        port=port,
        payload_types=payload_types,
        parameters=formats,
        ptime_ms=_milliseconds(ptime, where),
        maxptime_ms=_milliseconds(maxptime, where),
        direction=next((line[2:] for line in reversed(both) if line[2:] in _DIRECTIONS), "sendrecv"),
        rtcp_port=_port(rtcp, where),
        rtcp_mux=mux,
        source_filter=_source_filter(_last(lines, "a=source-filter:") or _last(session, "a=source-filter:")),
        keys=_keys([line for line in lines if line.startswith("a=crypto:")], where),
    )


def _port(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    port = text.split()[0] if text.split() else ""
    if not port.isdigit() or not 0 < int(port) <= 65_535:
        raise SdpError(f'{where}: "a=rtcp:{text}" does not name a port')
    return int(port)


def _source_filter(text: str | None) -> tuple[str, ...]:
    """Senders of " incl IN IP4 GROUP SENDER..." (RFC 4570 section 3); excluding filters cannot be joined."""
    fields = text.split() if text else []
    return tuple(fields[4:]) if fields[:2] == ["incl", "IN"] else ()


def _keys(lines: list[str], where: str) -> tuple[SrtpKey, ...]:
    """Of "a=crypto:TAG SUITE inline:KEY[|lifetime][|MKI][;inline:...]", the first key of each line.

    Suites unknown here are passed over, a broken key is an error.
    """
    keys = []
    for line in lines:
        _, suite, parameters, *_ = [*line.split(), "", "", ""]
        if suite in SUITES and parameters.startswith("inline:"):
            keys.append(SrtpKey.parse(suite, parameters.removeprefix("inline:"), where=where))
    return tuple(keys)


def _numbered(lines: list[str], prefix: str, where: str) -> dict[int, str]:
    values: dict[int, str] = {}
    for line in lines:
        if line.startswith(prefix):
            number, _, value = line.removeprefix(prefix).partition(" ")
            if not number.isdigit() or not value.strip():
                raise SdpError(f'{where}: "{line}" is not "{prefix}TYPE VALUE"')
            values[int(number)] = value.strip()
    return values


def _parameters(encoding: str, parameters: str) -> str:
    """Those of a=fmtp that its codec must know, as Encoding writes them."""
    spec = CODECS.get(encoding.partition("/")[0].lower())
    given = (pair.strip().partition("=") for pair in parameters.split(";"))
    known = [(name.lower(), value.strip()) for name, _, value in given if spec and name.lower() in spec.parameters]
    return "".join(f";{name}={value}" for name, value in known if value)


def _supported(text: str, where: str) -> bool:
    """False for encodings without a codec here, whatever stands behind their name: a bridge offers many, sends one."""
    name = text.partition("/")[0].strip().lower()
    if name not in CODECS and name not in _WITHOUT_DECODER:
        return False
    try:
        encoding = Encoding.parse(text)
    except CodecError as error:
        raise SdpError(f"{where}: {error}") from error
    if name in _WITHOUT_DECODER:
        return True
    try:
        make_decoder(encoding)  # also its parameters may be beyond it
    except CodecError:
        return False
    return True


def _last(lines: list[str], prefix: str) -> str | None:
    found = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return found[-1] if found else None


def _address(connection: str | None, where: str) -> str:
    if connection is None:
        raise SdpError(f'{where}: no "c=IN IP4 ADDRESS" line for the audio')
    fields = connection.split()
    if len(fields) != 3 or fields[0] != "IN" or fields[1] not in ("IP4", "IP6"):
        raise SdpError(f'{where}: "c={connection}" is not "c=IN IP4 ADDRESS" or "c=IN IP6 ADDRESS"')
    return fields[2].split("/")[0]  # behind the slash: time to live, number of groups


def _milliseconds(text: str | None, where: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise SdpError(f'{where}: "a=ptime:{text}" is not a number of milliseconds') from None
    if not 0 < value <= 1_000:
        raise SdpError(f"{where}: a packet of {value:g} ms cannot be; a=ptime is 1 to 1000")
    return value
