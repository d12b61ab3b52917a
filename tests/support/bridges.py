"""Bridges and phones that are not ours, each on 127.0.0.1 with free ports and settings of its own."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capture_tools import description
from programs import Program, free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def janus_folder() -> Path:
    """Where Debian keeps Janus' plugins: /usr/lib/<machine>/janus."""
    return next(Path("/usr/lib").glob("*/janus/plugins")).parent


def free_tcp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def janus(folder: Path, *plugins: str) -> Iterator[str]:
    """Janus with the given plugins; its HTTP address."""
    home, settings, port = janus_folder(), folder / "janus", free_tcp_port()
    settings.mkdir()
    unwanted = [file.name for file in (home / "plugins").glob("*.so") if file.stem.partition("_")[2] not in plugins]
    silent = [file.name for file in (home / "transports").glob("*.so") if file.stem != "libjanus_http"]
    (settings / "janus.jcfg").write_text(
        f'general: {{ configs_folder = "{settings}" plugins_folder = "{home}/plugins" '
        f'transports_folder = "{home}/transports" events_folder = "{home}/events" '
        f'loggers_folder = "{home}/loggers" }}\n'
        f'plugins: {{ disable = "{",".join(unwanted)}" }}\ntransports: {{ disable = "{",".join(silent)}" }}\n'
    )
    (settings / "janus.transport.http.jcfg").write_text(
        f'general: {{ base_path = "/janus" http = true ip = "127.0.0.1" port = {port} https = false }}\n'
    )
    (settings / "janus.plugin.audiobridge.jcfg").write_text('general: { local_ip = "127.0.0.1" }\n')
    (settings / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")
    with Program(["janus", "-F", str(settings), "-C", str(settings / "janus.jcfg")]) as program:
        program.wait_for_line("HTTP transport timer started")
        yield f"http://127.0.0.1:{port}/janus"


def janus_plugin(url: str, plugin: str) -> Any:
    """A session with a plugin, by the class of docs/examples/janus_forward.py."""
    return runpy.run_path(str(EXAMPLES / "janus_forward.py"))["Janus"](url, plugin)


@contextlib.contextmanager
def rtpengine() -> Iterator[str]:
    """rtpengine in user space (table -1: no kernel module); its ng address."""
    address = f"127.0.0.1:{free_port()}"
    options = ["--foreground", "--log-stderr", "--table=-1", "--interface=127.0.0.1", f"--listen-ng={address}"]
    with Program(["rtpengine", *options]) as program:
        program.wait_for_line("Startup complete")
        yield address


def rtpengine_client(address: str) -> Any:
    """Its control port, by the class of docs/examples/rtpengine_subscribe.py."""
    return runpy.run_path(str(EXAMPLES / "rtpengine_subscribe.py"))["Rtpengine"](address)


_HEADERS = """[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]
"""
_ANSWER = """<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="takes a call and lets its media go to livemos">
 <recv request="INVITE" crlf="true"/>
 <send><![CDATA[
SIP/2.0 200 OK
{headers_with_tag}Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

{description}]]></send>
 <recv request="ACK"/>
 <recv request="BYE"/>
 <send><![CDATA[
SIP/2.0 200 OK
{headers}Content-Length: 0

]]></send>
</scenario>
"""


@contextlib.contextmanager
def sip_answerer(folder: Path, media_port: int, payload_types: dict[int, str]) -> Iterator[tuple[Program, int]]:
    """sipp takes one call and names 127.0.0.1:media_port, where livemos listens, as where the media belongs.

    Gives the program, which ends with the call, and its SIP port.
    """
    scenario, port = folder / "answer.xml", free_port()
    scenario.write_text(
        _ANSWER.format(
            headers=_HEADERS.format(tag=""),
            headers_with_tag=_HEADERS.format(tag=";tag=[call_number]"),
            description=description(media_port, payload_types, "a=recvonly").replace("\r\n", "\n"),
        )
    )
    with Program(_sipp(scenario, port), folder=folder) as program:
        wait_for_udp_port(port)
        yield program, port


def wait_for_udp_port(port: int, attempts: int = 500) -> None:
    """Until another program has bound it. The kernel's table is read: a trial bind would take the port away."""
    pause = threading.Event()
    for _ in range(attempts):
        bound = {line.split()[1].partition(":")[2] for line in Path("/proc/net/udp").read_text().splitlines()[1:]}
        if f"{port:04X}" in bound:
            return
        pause.wait(0.02)
    raise AssertionError(f"nobody bound UDP port {port}")


def _sipp(scenario: Path, port: int) -> list[str]:
    own = ["-i", "127.0.0.1", "-p", str(port), "-mp", str(free_port()), "-m", "1", "-nostdin", "-timeout", "40"]
    return ["sipp", "-sf", str(scenario), *own]


_REQUEST = """{method} sip:x@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:x@[remote_ip]:[remote_port]>{peer_tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
"""
_CALL = """<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="calls and plays a capture">
 <send retrans="500"><![CDATA[
{invite}Content-Type: application/sdp
Content-Length: [len]

{description}]]></send>
 <recv response="200" crlf="true"/>
 <send><![CDATA[
{ack}Content-Length: 0

]]></send>
 <nop><action><exec play_pcap_audio="{capture}"/></action></nop>
 <pause milliseconds="{milliseconds}"/>
 <send retrans="500"><![CDATA[
{bye}Content-Length: 0

]]></send>
 <recv response="200"/>
</scenario>
"""


def sipp_caller(
    folder: Path, capture: Path, milliseconds: int, peer_port: int, payload_types: dict[int, str]
) -> Program:
    """sipp calls the peer and plays the capture (pcap, Ethernet) by play_pcap_audio; ends with the call."""
    scenario = folder / "call.xml"
    in_dialog = "[peer_tag_param]"
    scenario.write_text(
        _CALL.format(
            invite=_REQUEST.format(method="INVITE", number=1, peer_tag=""),
            ack=_REQUEST.format(method="ACK", number=1, peer_tag=in_dialog),
            bye=_REQUEST.format(method="BYE", number=2, peer_tag=in_dialog),
            description=description(9, payload_types, "a=sendrecv")
            .replace("m=audio 9 ", "m=audio [media_port] ")
            .replace("\r\n", "\n"),
            capture=capture,
            milliseconds=milliseconds,
        )
    )
    return Program([*_sipp(scenario, free_port()), f"127.0.0.1:{peer_port}"], folder=folder)


def baresip(folder: Path, clip: Path, codec: str, peer_port: int) -> Program:
    """baresip calls the peer and plays the clip (16-bit WAV at the codec's rate) once."""
    settings, port = folder / "baresip", free_port()
    settings.mkdir()
    rate = codec.split("/")[1]
    lines = [
        f"sip_listen 127.0.0.1:{port}",
        f"audio_player aufile,{folder / 'heard.wav'}",
        f"audio_source aufile,{clip}",
        f"ausrc_srate {rate}",
        "audio_channels 1",
        "opus_stereo no",
        "opus_sprop_stereo no",
        "opus_application voip",
        f"module_path {next(Path('/usr/lib').glob('**/baresip/modules'))}",
        *(f"module {name}.so" for name in ("g711", "opus", "aufile")),
        "module_app account.so",
        "module_app menu.so",
    ]
    (settings / "config").write_text("\n".join([*lines, ""]))
    (settings / "contacts").write_text("\n")
    account = f"<sip:tester@127.0.0.1:{port};transport=udp>;regint=0;audio_codecs={codec}"
    (settings / "accounts").write_text(account + "\n")
    return Program(["baresip", "-f", str(settings), "-e", f"/dial sip:x@127.0.0.1:{peer_port}"], folder=folder)


@contextlib.contextmanager
def videoroom_publisher(url: str, room: int, clip: Path) -> Iterator[Program]:
    """Debian's Python and aiortc, not this environment's."""
    script = ROOT / "tests" / "integration" / "videoroom_publisher.py"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = ["/usr/bin/python3", "-W", "ignore", str(script), url, str(room), str(clip)]
    with Program(command, environment=environment) as program:
        yield program


@contextlib.contextmanager
def udp_sink(port: int) -> Iterator[None]:
    """A bound socket that nobody reads: without it the sender would be told that nobody is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", port))
        yield


def media_port(sdp: str) -> int:
    """The port of the first audio line."""
    found = re.search(r"(?m)^m=audio (\d+)", sdp)
    assert found, sdp
    return int(found[1])


def run_example(name: str, *arguments: str) -> str:
    """What docs/examples/`name` prints; fails with its words when it fails."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
