from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livemos.agent.errors import ConfigError
from livemos.training.evaluation.command import app
from livemos.training.evaluation.formats import Format
from livemos.training.evaluation.printing import print_rows
from livemos.training.evaluation.report import Section, html


def test_an_evaluation_writes_tables_pictures_and_one_report_that_needs_nothing_else(
    data_folder: Path, peers_folder: Path, tmp_path: Path
) -> None:
    """The product of this room: what it prints, what it leaves behind, and that the report opens anywhere."""
    arguments = ["--data", str(data_folder), "--peers", str(peers_folder), "--out", str(tmp_path), "--resamples", "60"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    printed = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {"noise"} == {row["set"] for row in printed} and {"livemos", "peer", "baseline"} == {
        r["kind"] for r in printed
    }
    assert result.stdout == (tmp_path / "figures.csv").read_text(encoding="utf-8")
    lines = (tmp_path / "figures.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(printed) and json.loads(lines[0])["set"] == "noise"
    for name in ("scatter", "conditions", "correlations", "lengths", "coverage"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png;base64,") == 5 and "oracle" in report
    assert not re.search(r"(src|href)=\"(?!data:)|<script|@import|url\(", report)


def test_the_same_evaluation_gives_the_same_bytes(data_folder: Path, tmp_path: Path) -> None:
    """Committed results are only evidence if anybody can make them again."""
    for name in ("a", "b"):
        arguments = [
            "--data",
            str(data_folder),
            "--out",
            str(tmp_path / name),
            "--resamples",
            "60",
            "--format",
            "jsonl",
        ]
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    for file in ("figures.csv", "clips.csv", "lengths.csv", "doubt.csv", "scatter.png", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_robustness_alone_prints_the_ladder(clean_folder: Path, tmp_path: Path) -> None:
    """It needs no listeners, so it must not ask for rated sets."""
    few = tmp_path / "clean"
    few.mkdir()
    for name in ("en-ls6081", "en-ls2007"):
        (few / f"{name}.flac").write_bytes((clean_folder / f"{name}.flac").read_bytes())
    arguments = ["robustness", "--clean", str(few), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["damage"] for row in rows[:2]] == ["clean", "level -20 dB"]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("ladder.csv", "presence.csv", "ladder.png", "report.html")
    }


def test_people_get_a_table_that_fits_their_terminal(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns are what a terminal has; a folded figure cannot be read."""
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["--data", str(data_folder), "--format", "table", "--resamples", "60"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "noise, per clip" in result.stdout and "livemos mos_ungated" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80 and "…" not in result.stdout


def test_everything_at_once_is_one_report_with_the_goals_first(
    data_folder: Path, work_folder: Path, clean_folder: Path, tmp_path: Path
) -> None:
    """One command for a new bundle: what is committed about a model comes from a single run."""
    data, clean = tmp_path / "data", tmp_path / "clean"
    shutil.copytree(data_folder, data)
    clean.mkdir()
    for name in ("en-ls6081", "en-ls2007"):
        shutil.copy(clean_folder / f"{name}.flac", clean)
        shutil.copy(clean_folder / f"{name}.flac", data)
    fields = "path,kind,language,speaker,seconds,licence,split,category,source_repository,snr_db,bandwidth_hz"
    rows = [f"{name}.flac,clean,en,{name},9,CC0,test,,x/y,," for name in ("en-ls6081", "en-ls2007")]
    (data / "manifest.csv").write_text("\n".join([fields, *rows]) + "\n", encoding="utf-8")
    (tmp_path / "distill.csv").write_text(
        "path,distill_mos\nen-ls6081.flac,4.1\nen-ls2007.flac,4.0\n", encoding="utf-8"
    )
    options = {"data": data, "work": work_folder, "clean": clean, "reference": tmp_path / "distill.csv"}
    out = tmp_path / "out"
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    result = CliRunner().invoke(
        app, ["all", *arguments, "--out", str(out), "--resamples", "60"], catch_exceptions=False
    )
    goals = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["met"] for row in goals} == {"True", "False"} and (out / "goals.csv").read_text() == result.stdout
    report = (out / "report.html").read_text(encoding="utf-8")
    titles = re.findall("<h2>(.*?)</h2>", report)
    assert titles[0] == "Goals" and {"Beside listeners", "Severity ladders", "Clean speech by language"} <= set(titles)
    assert not list(out.glob("*.jsonl")) and sum(file.stat().st_size for file in out.iterdir()) < 1_500_000


def test_a_call_without_data_says_what_is_needed() -> None:
    """A traceback is no answer."""
    with pytest.raises(ConfigError, match="needs --data DIR"):
        CliRunner().invoke(app, [], catch_exceptions=False)


def test_evaluating_needs_no_torch(data_folder: Path) -> None:
    """What ships is judged as it ships, on a machine that only runs it."""
    program = (
        "import sys; from livemos.training.evaluation import evaluation, ladder, robustness; "
        "sys.exit(bool({'torch', 'triton', 'pesq'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=50).returncode == 0


def test_the_report_escapes_what_it_is_given() -> None:
    """Names of files and conditions come from elsewhere."""
    page = html("<b>", ["a & b"], [Section(title="x<y", note="", headings=("h",), rows=(("<i>",),))])
    assert "<i>" not in page and "&lt;i&gt;" in page and "x&lt;y" in page and "a &amp; b" in page


def test_tables_for_people_keep_their_figures_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Headings may be folded, figures and intervals may not."""
    row = {"group": "unseen", "name": "noise of kitchen20", "clips": 47, "inside_90": 1.0, "bias": -0.15}
    row |= {"pearson": -0.5312, "pearson_low": -0.98, "pearson_high": -0.05}
    print_rows(
        [row], tuple(row), Format.TABLE, "t", ("group", "name", "clips", "pearson", "bias", "inside_90"), ("pearson",)
    )
    printed = capsys.readouterr().out
    assert "-0.53 (-0.98..-0.05)" in printed and "…" not in printed and "inside" in printed
    print_rows([row], ("name", "pearson"), Format.CSV, "t")
    assert capsys.readouterr().out == "name,pearson\nnoise of kitchen20,-0.5312\n"
    print_rows([row], ("name", "pearson"), Format.JSONL, "t")
    assert json.loads(capsys.readouterr().out)["clips"] == 47
