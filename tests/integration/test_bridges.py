"""Bridges and phones that are not ours feed a whole `livemos run`; what it tells a gRPC subscriber is held against
tshark's reading of the same packets. `bash tests/integration/bridges.sh` installs and runs all of it.
"""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bridges
import pytest
import soundfile
from capture_tools import Capture, description, rtp_alone
from comparison import CAPTURE, Comparison, Record, compare
from damaged_line import DamagedLine
from live_agent import LiveAgent
from programs import Program, free_port

from livemos.proto.quality.v1 import quality_pb2

pytestmark = [pytest.mark.senders, pytest.mark.timeout(180)]  # a busy machine takes a while to load the model
OPUS = {111: "opus/48000/2"}
GOOD = "gstreamer1.0-plugins-good"
PCMU, PCMA, G722 = {0: "PCMU/8000"}, {8: "PCMA/8000"}, {9: "G722/8000"}


@pytest.fixture(autouse=True)
def _bridges(require_bridges: Callable[[], None]) -> None:
    require_bridges()


@pytest.fixture
def wav(tmp_path: Path) -> Callable[[int], Path]:
    """wav(rate) -> 6 s of packaged clean speech as a mono 16-bit WAV at that rate."""
    packaged = sorted((bridges.ROOT / "tests" / "data" / "clean").glob("*.flac"))[0]

    def make(rate_hz: int) -> Path:
        path = tmp_path / f"clip-{rate_hz}.wav"
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(packaged), "-t", "6", "-ar", str(rate_hz), str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        return path

    return make


@contextlib.contextmanager
def listening(folder: Path, payload_types: dict[int, str], *flags: str, port: int | None = None) -> Iterator[LiveAgent]:
    """A running agent, and every packet to it in folder/capture.pcapng."""
    described = [f"--payload-type={number}={name}" for number, name in payload_types.items() if number >= 96]
    with LiveAgent(*(flags or described), port=port) as agent, Capture(folder / CAPTURE, agent.port):
        yield agent


def gstreamer(
    clip: Path, port: int, codec: dict[int, str], *, own_port: int | None = None, rtcp: bool = True
) -> Program:
    """Plays the clip. rtcp: through rtpbin, whose sender reports go to the same port as the media.

    With rtpbin the program does not always end by itself: the end of the file sometimes never leaves its RTCP pad.
    """
    ((number, encoding),) = codec.items()
    frames = "audiobuffersplit output-buffer-duration=1/50"  # a WAV reader's buffers end in shorter packets
    chain = {
        "PCMU/8000": f"{frames} ! mulawenc ! rtppcmupay",
        "PCMA/8000": f"{frames} ! alawenc ! rtppcmapay",
        "G722/8000": f"{frames} ! avenc_g722 ! rtpg722pay",
        "opus/48000/2": f"opusenc ! rtpopuspay pt={number}",
    }[encoding]
    bound = f"bind-address=127.0.0.1 bind-port={own_port}" if own_port else ""
    sink = f"udpsink host=127.0.0.1 port={port}"
    start = f"filesrc location={clip} ! wavparse ! audioconvert ! {chain}"
    through = (
        f"rtpbin name=rtp {start} ! rtp.send_rtp_sink_0 rtp.send_rtp_src_0 ! {sink} {bound} "
        f"rtp.send_rtcp_src_0 ! {sink} sync=false async=false"
    )
    pipeline = through if rtcp else f"{start} ! {sink} {bound}"
    return Program(["gst-launch-1.0", "-q", *pipeline.split()])


def check_heard(
    agent: LiveAgent, source: Any, clip: Path, codec: str, *, aligned: bool = True, silent_seconds: float = 0.0
) -> None:
    """All of the clip at its level, nothing lost, every whole segment scored or silent.

    silent_seconds: how long the sender may go on after the clip. aligned: the stream begins with the clip.
    """
    media = source.media
    assert media.codec == codec
    assert (media.lost_packets, media.late_packets, media.duplicate_packets) == (0, 0, 0)
    assert media.received_packets == media.expected_packets
    assert media.network_mos > 3.5
    heard, sent = 0.02 * media.received_packets, soundfile.info(clip).duration  # all of them send 20 ms a packet
    if aligned:
        assert sent - 0.1 < heard < sent + 0.1 + silent_seconds
    else:
        assert heard > sent
    assert agent.level_difference_db(clip, aligned=aligned) == pytest.approx(0, abs=1.5)
    scored = [segment for segment in agent.segments() if segment.HasField("mos")]
    assert len(scored) >= 8
    assert all(segment.concealed_ratio == 0 for segment in agent.segments())


def compared(
    agent: LiveAgent, source: Any, folder: Path, sender: str, codec: dict[int, str], *programs: str, lost: int = 0
) -> Comparison:
    """Write down what was heard live, and hold it against tshark; call it once the capture is closed."""
    media = source.media
    live = {name: getattr(media, name) for name in ("received_packets", "lost_packets", "duplicate_packets")}
    live |= {"reordered_packets": media.reordered_packets, "late_packets": media.late_packets}
    live |= {name: 1_000 * getattr(media, name).ToTimedelta().total_seconds() for name in ("jitter", "rfc_jitter")}
    scores = [segment.mos for segment in agent.segments() if segment.HasField("mos")]
    live |= {"scored_segments": len(scores), "mos_mean": sum(scores) / len(scores)}
    Record(sender, list(programs), agent.port, codec, lost, live).write(folder)
    both = compare(folder)
    assert both.livemos.lost_packets == both.score["lost_packets"] == media.lost_packets == lost
    assert both.tshark.received_packets == media.received_packets + media.duplicate_packets
    assert both.livemos.received_packets == media.received_packets
    return both


def check_agreement(both: Comparison, *, all_marked: bool = False) -> None:
    """On a whole stream livemos and tshark say the same. all_marked: tshark takes none of packets with a marker."""
    assert both.tshark.lost_packets == 0
    if all_marked:
        assert both.tshark.jitter_highest_ms == 0 < both.livemos.jitter_mean_ms
        return
    assert both.livemos.jitter_mean_ms == pytest.approx(both.tshark.jitter_mean_ms, abs=0.002)
    assert both.livemos.jitter_highest_ms == pytest.approx(both.tshark.jitter_highest_ms, abs=0.002)
    # the capture has the kernel's times, the live path has when its thread ran
    assert both.record.live["rfc_jitter"] == pytest.approx(both.livemos.jitter_last_ms, abs=5)


@pytest.mark.parametrize(("codec", "rate_hz"), [(OPUS, 48_000), (G722, 16_000)], ids=["opus", "g722"])
def test_gstreamer_rtpbin_with_rtcp(
    codec: dict[int, str], rate_hz: int, tmp_path: Path, wav: Callable[[int], Path]
) -> None:
    """RTP and sender reports on one port, as WebRTC does it."""
    clip = wav(rate_hz)
    with listening(tmp_path, codec) as agent:
        with gstreamer(clip, agent.port, codec):
            source = agent.only_source()
        check_heard(agent, source, clip, *codec.values())
    check_agreement(compared(agent, source, tmp_path, "GStreamer rtpbin with RTCP", codec, GOOD))


def test_ffmpeg(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """FFmpeg sends in bursts of what one read of its file held."""
    clip = wav(8_000)
    with listening(tmp_path, PCMU) as agent:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(clip), "-af", "asetnsamples=160"]
        with Program(
            [*command, "-c:a", "pcm_mulaw", "-f", "rtp", f"rtp://127.0.0.1:{agent.port}?pkt_size=172"]
        ) as sender:
            sender.finish()
        source = agent.only_source()
        check_heard(agent, source, clip, "PCMU/8000")
    check_agreement(compared(agent, source, tmp_path, "ffmpeg", PCMU, "ffmpeg"))


@pytest.mark.parametrize(("codec", "rate_hz"), [(PCMU, 8_000), (OPUS, 48_000)], ids=["pcmu", "opus"])
def test_baresip_calls(codec: dict[int, str], rate_hz: int, tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """A SIP phone that was told livemos' address as the place for its media."""
    clip = wav(rate_hz)
    with listening(tmp_path, codec) as agent:
        with bridges.sip_answerer(tmp_path, agent.port, codec) as (answerer, port):
            (encoding,) = codec.values()
            channels = "" if codec is OPUS else "/1"
            with bridges.baresip(tmp_path, clip, encoding + channels, port):
                answerer.finish()
        source = agent.only_source()
        # baresip looks once a second whether its file has ended
        check_heard(agent, source, clip, *codec.values(), silent_seconds=1.0)
    check_agreement(compared(agent, source, tmp_path, "baresip", codec, "baresip-core", "sip-tester"))


def test_sipp_plays_a_capture(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """play_pcap_audio, of packets that GStreamer made."""
    clip, recorded, port = wav(8_000), tmp_path / "recorded.pcapng", free_port()
    with bridges.udp_sink(port), Capture(recorded, port), gstreamer(clip, port, PCMA, rtcp=False) as sender:
        sender.finish()
    media = rtp_alone(recorded, port)
    with listening(tmp_path, PCMA) as agent:
        with (
            bridges.sip_answerer(tmp_path, agent.port, PCMA) as (answerer, peer),
            bridges.sipp_caller(tmp_path, media, 6_500, peer, PCMA) as caller,
        ):
            caller.finish()
            answerer.finish()
        source = agent.only_source()
        check_heard(agent, source, clip, "PCMA/8000")
    check_agreement(compared(agent, source, tmp_path, "sipp play_pcap_audio", PCMA, "sip-tester"))


def test_janus_audiobridge_forwards_its_mix(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """`rtp_forward` of an AudioBridge room, asked for by docs/examples/janus_forward.py."""
    clip, room = wav(48_000), 1234
    with bridges.janus(tmp_path, "audiobridge") as url, listening(tmp_path, OPUS) as agent:
        owner = bridges.janus_plugin(url, "audiobridge")
        owner.ask("create", room=room, allow_rtp_participants=True, sampling_rate=48_000)
        bridges.run_example("janus_forward.py", url, "audiobridge", str(room), f"127.0.0.1:{agent.port}")
        # the line stands for the participant: Janus sends the mix back to its address, and takes audio from it alone
        with DamagedLine(seed=0, lost_ratio=0, repeated_ratio=0, delay_seconds=0) as line:
            plain = {"ip": "127.0.0.1", "port": line.port, "payload_type": 111}
            line.leads_to(owner.tell("join", room=room, rtp=plain)["rtp"]["port"])
            with gstreamer(clip, line.port, OPUS, rtcp=False) as sender:
                sender.finish()
            # the mix goes on in silence until the room is empty; two seconds later all of the clip is scored
            played = len(agent.segments())
            agent.wait_for(lambda: len(agent.segments()) >= played + 4)
        owner.close()
        source = agent.only_source()
        check_heard(agent, source, clip, "opus/48000/2", aligned=False)
    check_agreement(compared(agent, source, tmp_path, "Janus AudioBridge `rtp_forward`", OPUS, "janus"))


def test_janus_videoroom_forwards_a_publisher(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """A WebRTC publisher's own packets, opened and forwarded by Janus."""
    clip, room = wav(48_000), 1234
    with bridges.janus(tmp_path, "videoroom") as url, listening(tmp_path, OPUS) as agent:
        bridges.janus_plugin(url, "videoroom").ask("create", room=room)
        with bridges.videoroom_publisher(url, room, clip) as publisher:
            publisher.wait_for_line("publishing")
            bridges.run_example("janus_forward.py", url, "videoroom", str(room), f"127.0.0.1:{agent.port}")
            agent.wait_for(agent.segments)
            begun = len(agent.segments())
            publisher.say("play")
            agent.wait_for(lambda: len(agent.segments()) >= begun + 17, timeout_seconds=20)
        source = agent.only_source()
        check_heard(agent, source, clip, "opus/48000/2", aligned=False)
    packages = ("janus", "python3-aiortc")
    check_agreement(
        compared(agent, source, tmp_path, "Janus VideoRoom `rtp_forward`", OPUS, *packages), all_marked=True
    )


@contextlib.contextmanager
def copied_by_rtpengine(folder: Path) -> Iterator[tuple[LiveAgent, int, int]]:
    """A call through rtpengine that livemos subscribes to: agent, rtpengine's port for the caller, the caller's own."""
    caller, callee, own_port = free_port(), free_port(), free_port()
    with bridges.rtpengine() as address, bridges.rtpengine_client(address) as engine, bridges.udp_sink(callee):
        call = {"call_id": "call-1", "from_tag": "caller"}
        engine("offer", **call, sdp=description(caller, PCMU, "a=sendrecv"))
        answered = engine("answer", **call, to_tag="callee", sdp=description(callee, PCMU, "a=sendrecv"))
        offer, arguments = folder / "offer.sdp", (address, "call-1", "caller", f"127.0.0.1:{own_port}")
        offer.write_text(bridges.run_example("rtpengine_subscribe.py", *arguments))
        with listening(folder, PCMU, "--sdp", str(offer), port=own_port) as agent:
            yield agent, bridges.media_port(answered["sdp"]), caller
            engine("delete", call_id="call-1")


def test_rtpengine_copies_a_call(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """`subscribe request`, answered by docs/examples/rtpengine_subscribe.py; its offer is livemos' --sdp."""
    clip = wav(8_000)
    with copied_by_rtpengine(tmp_path) as (agent, port, own_port):
        with gstreamer(clip, port, PCMU, own_port=own_port):
            source = agent.only_source()
        check_heard(agent, source, clip, "PCMU/8000")
    check_agreement(compared(agent, source, tmp_path, "rtpengine `subscribe`", PCMU, "rtpengine-daemon"))


def test_a_damaged_line(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """5 % lost, 1 % repeated, delays that let packets overtake: loss is what the line took, to the packet."""
    clip = wav(8_000)
    with (
        listening(tmp_path, PCMU) as agent,
        DamagedLine(agent.port, seed=10) as line,
        gstreamer(clip, line.port, PCMU),
    ):
        source = agent.only_source()
    check_damage(compared(agent, source, tmp_path, "GStreamer over a damaged line", PCMU, GOOD, lost=line.lost), line)


def test_rtpengine_behind_a_damaged_line(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """What rtpengine never got cannot be hidden by it: the copy shows the loss of the caller's own line."""
    clip = wav(8_000)
    with (
        copied_by_rtpengine(tmp_path) as (agent, port, own_port),
        DamagedLine(port, seed=11, own_port=own_port) as line,
        gstreamer(clip, line.port, PCMU),
    ):
        source = agent.only_source()
    programs = (GOOD, "rtpengine-daemon")
    both = compared(agent, source, tmp_path, "rtpengine behind a damaged line", PCMU, *programs, lost=line.lost)
    check_damage(both, line)


def check_damage(both: Comparison, line: DamagedLine) -> None:
    """Everything the line did is told; tshark takes repeated packets for received ones that make up for lost ones."""
    live = both.record.live
    assert line.lost > 5
    assert live["duplicate_packets"] == line.repeated_packets > 0
    assert live["reordered_packets"] > 0
    assert live["scored_segments"] > 5
    assert both.tshark.lost_packets == line.lost - line.repeated_packets
    assert both.tshark.jitter_mean_ms == pytest.approx(both.livemos.jitter_mean_with_repeats_ms, abs=0.002)
    assert live["rfc_jitter"] == pytest.approx(both.livemos.jitter_last_ms, abs=5)
    assert live["rfc_jitter"] > 2


def test_a_wrong_key_is_told_and_never_scored(tmp_path: Path, wav: Callable[[int], Path]) -> None:
    """The same sealed packets to a listener with their key and to one with another, as a subscriber sees both."""
    clip, key = wav(8_000), bytes(range(28))
    ports = {"knowing": free_port(), "guessing": free_port()}
    settings = tmp_path / "agent.toml"
    settings.write_text(
        "".join(
            f'[[sources]]\ntype = "rtp"\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\n'
            f'srtp_suite = "AEAD_AES_128_GCM"\nsrtp_key = "{base64.b64encode(known).decode()}"\n'
            for (name, port), known in zip(ports.items(), (key, key[::-1]), strict=True)
        )
    )
    clients = ",".join(f"127.0.0.1:{port}" for port in ports.values())
    sealed = f"srtpenc key={key.hex()} rtp-cipher=aes-128-gcm rtp-auth=null rtcp-cipher=aes-128-gcm rtcp-auth=null"
    pipeline = (
        f"filesrc location={clip} ! wavparse ! audiobuffersplit output-buffer-duration=1/50 ! alawenc ! rtppcmapay ! "
        f"{sealed} ! multiudpsink clients={clients}"
    )
    with LiveAgent("--config", str(settings), listen=False) as agent:
        with Program(["gst-launch-1.0", "-q", *pipeline.split()]) as sender:
            agent.wait_for(lambda: len(agent.segments()) >= 4)
            before_the_end, _ = sorted(agent.sources(), key=lambda source: source.source_id)
            sender.finish()
        agent.wait_for(lambda: len(agent.stalled()) == 2 and len(agent.segments()) >= 10)
        guessing, knowing = sorted(agent.sources(), key=lambda source: source.source_id)
    assert guessing.source_id.startswith("guessing/") and knowing.source_id.startswith("knowing/")
    assert knowing.media.received_packets == guessing.media.received_packets == 300
    assert {segment.source_id for segment in agent.segments()} == {knowing.source_id}
    assert sum(segment.HasField("mos") for segment in agent.segments()) >= 8
    assert quality_pb2.Reason.Name(before_the_end.reason) == "REASON_ENCRYPTED"
    told = {quality_pb2.EventKind.Name(event.kind) for event in agent.events() if event.source_id == guessing.source_id}
    assert "EVENT_KIND_DECRYPTION_FAILED" in told
