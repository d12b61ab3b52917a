from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from livemos.agent.errors import ConfigError
from livemos.training.evaluation.rated_sets import check_peers, read_peers, read_sets
from livemos.training.evaluation.scored import bands_ridge

HEAD = "file,condition,mos,mos_std,n_ratings\n"


def test_a_condition_is_the_mean_of_its_clips_with_the_spread_of_all_votes(data_folder: Path) -> None:
    """Its interval must hold what differs between talkers too, not only what differs within a clip's votes."""
    [rated] = read_sets(data_folder)
    votes = rated.condition_votes()
    assert list(votes) == ["snr40", "snr25", "snr18", "snr12", "snr6"]
    assert votes["snr40"].mos == pytest.approx(4.65) and votes["snr40"].count == 20
    # 2 x 9 x 0.7^2 within, 20 x 0.05^2 between, over 19
    assert votes["snr40"].std == pytest.approx(np.sqrt((2 * 9 * 0.49 + 20 * 0.05**2) / 19))


def test_votes_published_per_condition_are_taken_as_they_are(write_set: Callable[[str], Path]) -> None:
    """One set publishes nothing else; taking its empty cells for zero would be worse than refusing."""
    data = write_set(HEAD + "a.flac,x,,,\nb.flac,x,,,\n")
    folder = data / "rated" / "made"
    for name in ("a.flac", "b.flac"):
        (folder / name).touch()
    with pytest.raises(ConfigError, match=r"no votes for condition x in ratings\.csv, nor in conditions\.csv"):
        read_sets(data)
    (folder / "conditions.csv").write_text("condition,mos,mos_std,n_ratings\nx,3.5,0.6,60\n", encoding="utf-8")
    [rated] = read_sets(data)
    assert not rated.votes_per_clip and rated.condition_votes()["x"].mos == 3.5


def test_the_hidden_reference_of_a_mushra_test_is_not_judged(write_set: Callable[[str], Path]) -> None:
    """Listeners knew that it was there; with it every model looks better than it is."""
    data = write_set("file,condition,mos,mushra\na.flac,codec,2.0,25\nr.flac,ref,5.0,100\n")
    for name in ("a.flac", "r.flac"):
        (data / "rated" / "made" / name).touch()
    [rated] = read_sets(data)
    assert [clip.file for clip in rated.clips] == ["a.flac"] and rated.relative_scale


def test_a_wrong_folder_is_named_with_what_to_give(tmp_path: Path, data_folder: Path) -> None:
    """The first mistake anybody makes is the wrong folder."""
    with pytest.raises(ConfigError, match=r"has no rated sets \(rated/NAME/ratings\.csv\).*--data"):
        read_sets(tmp_path)
    with pytest.raises(ConfigError, match=r"--sets nonsense: not below .* choose from: noise"):
        read_sets(data_folder, ["nonsense"])
    with pytest.raises(ConfigError, match=r"has no scores/SET\.csv.*--peers"):
        check_peers(tmp_path)


def test_a_table_without_its_columns_or_audio_says_which(write_set: Callable[[str], Path]) -> None:
    """A half-copied set must not be judged on the half that is there."""
    data = write_set(HEAD + "gone.flac,x,3.0,,\n")
    with pytest.raises(ConfigError, match=r"names gone\.flac, which is not there \(1 such\)"):
        read_sets(data)
    (data / "rated" / "made" / "ratings.csv").write_text("file,votes\na,3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no column condition, mos"):
        read_sets(data)


def test_outputs_of_another_version_of_a_set_are_refused(data_folder: Path, tmp_path: Path) -> None:
    """Scores joined to the wrong clips would be a silent lie about somebody else's model."""
    [rated] = read_sets(data_folder)
    assert read_peers(tmp_path, rated) == {}
    (tmp_path / "noise.csv").write_text("file,mos,model\nother.flac,3,3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no row for audio/snr40_en-ls6081\.flac of noise"):
        read_peers(tmp_path, rated)


def test_the_band_control_never_sees_the_condition_it_predicts() -> None:
    """If it did, a wide feature vector would fit any votes and the control would say that every set is easy."""
    rng = np.random.default_rng(0)
    votes = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 4)
    conditions = np.repeat(list("abcde"), 4).tolist()
    random = bands_ridge(rng.normal(size=(20, 192)), votes, conditions)
    telling = bands_ridge(votes[:, None] + rng.normal(0, 0.05, (20, 3)), votes, conditions)
    assert np.corrcoef(telling, votes)[0, 1] > 0.9
    assert np.corrcoef(random, votes)[0, 1] < 0.3
    changed = votes.copy()
    changed[:4] = 5.0
    np.testing.assert_allclose(bands_ridge(rng.normal(size=(20, 1)) * 0 + 1, changed, conditions)[:4], 3.5)


def test_a_condition_without_published_votes_is_named(write_set: Callable[[str], Path]) -> None:
    """Half of conditions.csv is not noticed before its missing half is asked for."""
    data = write_set(HEAD + "a.flac,x,3.0,,\nb.flac,y,4.0,,\n")
    folder = data / "rated" / "made"
    for name in ("a.flac", "b.flac"):
        (folder / name).touch()
    (folder / "conditions.csv").write_text("condition,mos\nx,3.5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"conditions\.csv has no row for condition y of ratings\.csv"):
        read_sets(data)


def test_a_cell_or_file_that_cannot_be_read_is_named(write_set: Callable[[str], Path], tmp_path: Path) -> None:
    """Tables of others come with n/a and with other encodings; a traceback names neither file nor column."""
    data = write_set(HEAD + "a.flac,x,n/a,,\n")
    file = data / "rated" / "made" / "ratings.csv"
    (file.parent / "a.flac").touch()
    with pytest.raises(ConfigError, match=r"ratings\.csv: mos is 'n/a'; give a number"):
        read_sets(data)
    file.write_bytes((HEAD + "a.flac,caf\xe9,3.0,,\n").encode("latin-1"))
    with pytest.raises(ConfigError, match=r"ratings\.csv is not UTF-8"):
        read_sets(data)
    file.write_text(HEAD + "a.flac,x,3.0,,\n", encoding="utf-8")
    (tmp_path / "made.csv").write_text("file,mos,model\na.flac,3,none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"made\.csv: model is 'none'; give a number"):
        read_peers(tmp_path, read_sets(data)[0])
