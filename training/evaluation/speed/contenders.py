"""Whole paths from audio to scores, each a function of a batch of 1 s segments at 16 kHz.

Public networks get the same segments as they are, so none pays for resampling; DNSMOS P.835 and Distill-MOS work on a
fixed longer input whatever they get, and pay for it. All run on one thread; batches beyond 16 go in chunks of 16, as in
livemos, which is where a processor's cache is still kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from livemos.agent.bundle import Bundle, load_bundle
from livemos.agent.engine import make_engine
from livemos.agent.errors import ConfigError
from livemos.agent.records import SAMPLE_RATE_HZ, Samples
from livemos.agent.segment_scorer import SegmentScorer

_CHUNK = 16
_DNSMOS_SAMPLES = 144_160
Score = Callable[[Samples], object]  # (B, 16000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """name, precision as shown; kind: livemos, part (of livemos) or peer."""

    name: str
    kind: str
    precision: str
    score: Score


def bundle_contenders(path: Path | None) -> Iterator[Contender]:
    """A bundle in every precision it holds, and its features alone. Raises BundleError, EngineError."""
    bundle = load_bundle(path)
    front_end = bundle.manifest.features.build()
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    for precision in bundle.manifest.graph_files():
        yield Contender(name=name, kind="livemos", precision=precision, score=_segment_path(bundle, precision))
    yield Contender(name=f"{name}, features alone", kind="part", precision="fp32", score=front_end)


def _segment_path(bundle: Bundle, precision: str) -> Score:
    scorer = SegmentScorer(bundle, make_engine(f"onnxruntime/{precision}", bundle, threads=1))
    return lambda segments: scorer.score(segments, np.zeros(len(segments), np.float32))


def _in_chunks(score: Score, segments: Samples) -> None:
    for start in range(0, len(segments), _CHUNK):
        score(segments[start : start + _CHUNK])


def peer_contenders(models: Path) -> Iterator[Contender]:
    """The public networks whose files lie in `models`; Distill-MOS where its package is installed. Raises ConfigError.

    NISQA v2 is here to be timed alone: its licence forbids commercial use, and nothing learns from it.
    """
    makers: dict[str, tuple[str, Callable[[Path], Score]]] = {
        "NISQA v2": ("nisqa_v2.pt", _nisqa),
        "CS22 baseline 2": ("cs22_baseline2.pt", partial(_conferencing_speech, baseline=2)),
        "CS22 baseline 1": ("cs22_baseline1.pt", partial(_conferencing_speech, baseline=1)),
        "DNSMOS Pro": ("dnsmospro_nisqa.pt", _dnsmos_pro),
        "DNSMOS P.835": ("dnsmos_p835.onnx", _dnsmos),
        "PLCMOS v2": ("plcmos_v2.onnx", _plcmos),
    }
    found = {name: maker for name, maker in makers.items() if (models / maker[0]).exists()}
    if not found:
        files = ", ".join(file for file, _ in makers.values())
        raise ConfigError(f"{models} holds none of {files}; give the folder of the public models with --peers")
    import torch

    torch.set_num_threads(1)
    for name, (file, make) in found.items():
        yield Contender(name=name, kind="peer", precision="fp32", score=partial(_in_chunks, make(models / file)))
    if find_spec("distillmos") is not None:
        yield Contender(name="Distill-MOS", kind="peer", precision="fp32", score=partial(_in_chunks, _distill()))


def _nisqa(file: Path) -> Score:
    from livemos.training.evaluation.speed.nisqa import load_nisqa

    return partial(load_nisqa(file).score, sample_rate_hz=SAMPLE_RATE_HZ)


def _conferencing_speech(file: Path, baseline: int) -> Score:
    from livemos.training.teachers.conferencing_speech import load_conferencing_speech

    return partial(load_conferencing_speech(file, baseline).score, sample_rate_hz=SAMPLE_RATE_HZ)


def _dnsmos_pro(file: Path) -> Score:
    from livemos.training.teachers.dnsmos_pro import load_dnsmos_pro

    return load_dnsmos_pro(file).score


def _session(file: Path) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _dnsmos(file: Path) -> Score:
    session: object = _session(file)
    copies = -(-_DNSMOS_SAMPLES // SAMPLE_RATE_HZ)
    return (
        lambda segments: session.run(  # type: ignore[attr-defined]
            None, {"input_1": np.tile(segments, (1, copies))[:, :_DNSMOS_SAMPLES]}
        )
    )


def _plcmos(file: Path) -> Score:
    from livemos.training.labelers import plcmos

    session = _session(file)
    return lambda segments: [plcmos(session, segment) for segment in segments]


def _distill() -> Score:
    import torch

    model = import_module("distillmos").ConvTransformerSQAModel().eval()

    def score(segments: Samples) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(segments))

    return score
