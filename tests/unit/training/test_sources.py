"""What may shape a model that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from livemos.agent.errors import ConfigError
from livemos.training.sources import Library, attributions, may_ship


@pytest.mark.parametrize(
    "licence",
    [
        "CC0 1.0", "CC0 / dataset CC BY 3.0", "CC BY 4.0 (VCTK); repository MIT", "CC-BY / dataset CC BY 3.0",
        "Apache-2.0", "MIT (repository); CMU ARCTIC", "MIT OR Apache-2.0", "BSD-3-Clause",
        "Public Domain (SOUNDS_LICENSING.md)",
    ],
)  # fmt: skip
def test_permissive_licences_may_ship(licence: str) -> None:
    """These ask for a notice at most; the model card gives it."""
    assert may_ship(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY-SA 3.0", "CC BY-NC 4.0", "CC BY-ND 4.0", "GPL-2+ (package copyright file)", "GPL-3.0",
        "LGPL-3.0 (repository licence)",
        'custom attribution licence in README ("Jenny (Dioco)")',
        "free for commercial and non-commercial purposes (README)", "",
        "unknown",
    ],
)  # fmt: skip
def test_binding_or_unclear_licences_may_not(licence: str) -> None:
    """A permissive start ("CC BY") must not let the rest ("-SA") through, and no licence is no permission."""
    assert not may_ship(licence)


def test_a_permissive_library_holds_no_binding_recording(data_folder: Path) -> None:
    """The filter has to be applied, not only to exist."""
    speakers = Library.open(data_folder, "train", permissive=True).speakers(0.0)
    assert set(speakers) == {"anna", "bert"}
    assert set(Library.open(data_folder, "train", permissive=False).speakers(0.0)) == {"anna", "bert", "gnu", "share"}


def test_a_missing_manifest_is_named_with_the_option_that_gives_it(tmp_path: Path) -> None:
    """The first thing people forget is the data folder."""
    with pytest.raises(ConfigError, match="--data"):
        Library.open(tmp_path, "train", permissive=True)


def test_attributions_name_source_licence_and_number_of_files(library: Library) -> None:
    """They go into the model card as they are."""
    assert "made/up (clean, 2 files): CC0 1.0" in attributions(library.recordings)
