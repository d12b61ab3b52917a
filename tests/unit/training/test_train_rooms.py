"""Made-up rooms decay like those of a room simulator that others check."""

from __future__ import annotations

import numpy as np
import pyroomacoustics
import pytest

from livemos.agent.records import SAMPLE_RATE_HZ
from livemos.training.damages.surroundings import Room


def decay_seconds(response: np.ndarray) -> float:
    """Time to fall by 60 dB, from the backward integral between -5 and -25 dB (ISO 3382, T20)."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    level_db = 10.0 * np.log10(energy / energy[0] + 1e-12)
    return 3.0 * float(np.argmax(level_db < -25.0) - np.argmax(level_db < -5.0)) / SAMPLE_RATE_HZ


def clarity_db(response: np.ndarray) -> float:
    """Energy of the first 50 ms over that of the rest (ISO 3382, C50)."""
    energy = response.astype(np.float64) ** 2
    return float(10.0 * np.log10(energy[:800].sum() / energy[800:].sum()))


def image_sources(room: Room) -> np.ndarray:
    """The response of the same room by pyroomacoustics' image sources, talker and ear where `room` has them."""
    size = np.array(room.size_m)
    talker = size * np.random.default_rng(room.seed).uniform(0.25, 0.75, 3)
    ear = np.clip(talker + room.distance_m * np.array([0.8, 0.58, 0.15]), 0.1, size - 0.1)
    absorption, order = pyroomacoustics.inverse_sabine(room.decay_seconds, size)
    walls = pyroomacoustics.Material(absorption)
    box = pyroomacoustics.ShoeBox(size, fs=SAMPLE_RATE_HZ, materials=walls, max_order=min(order, 60))
    box.add_source(talker)
    box.add_microphone(ear)
    box.compute_rir()
    heard = np.asarray(box.rir[0][0])
    return heard[int(np.argmax(np.abs(heard))) :]


@pytest.mark.parametrize(
    "room",
    [
        Room(size_m=(4.0, 3.0, 2.5), decay_seconds=0.25, distance_m=0.8, seed=4),
        Room(size_m=(6.0, 4.0, 3.0), decay_seconds=0.4, distance_m=0.4, seed=6),
        Room(size_m=(6.0, 4.0, 3.0), decay_seconds=0.4, distance_m=1.5, seed=1),
        Room(size_m=(8.0, 5.0, 3.0), decay_seconds=0.6, distance_m=1.0, seed=3),
        Room(size_m=(9.0, 6.0, 3.5), decay_seconds=0.9, distance_m=2.0, seed=5),
    ],
    ids=lambda room: f"{room.decay_seconds} s at {room.distance_m} m",
)
def test_a_room_decays_and_blurs_like_that_of_an_independent_simulator(room: Room) -> None:
    """Rooms that ring too long or too little would teach a wrong price of reverberation."""
    ours, theirs = room.response(), image_sources(room)
    assert decay_seconds(ours) == pytest.approx(decay_seconds(theirs), rel=0.2)
    assert clarity_db(ours) == pytest.approx(clarity_db(theirs), abs=2.0)
