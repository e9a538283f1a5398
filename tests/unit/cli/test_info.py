"""``barevision info``: how a model is run here, and how many machines a rate takes."""

from __future__ import annotations

import json
from pathlib import Path

from barevision.choosing.choice import Choice
from barevision.choosing.speeds import Measurement, conditions, write_measurement
from barevision.engines import Plan
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepare
from barevision.settings import load_settings
from tests.support.command_line import run


def choose(models: Path) -> None:
    """Notes a choice for the embedded model."""
    choice = Choice(Plan("openvino", "bf16", 2, 1), "openvino bf16: 100 pictures a second", 0.0043, 100, 150 * 2**20)
    network = prepare(find_source("roadsigns"), models).path
    assert write_measurement(network, Measurement(conditions(load_settings()), True, choice, []))


def test_what_nobody_measured_is_said(tmp_path: Path) -> None:
    result = run("info", "--models-dir", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("roadsigns on ")
    assert "It is not measured here: a service does that as it starts" in result.stdout
    refused = run("info", "--models-dir", tmp_path, "--sizing")
    assert refused.exit_code == 1
    assert "'barevision models prepare roadsigns' does" in refused.stderr


def test_a_choice_is_shown_with_what_it_brings(tmp_path: Path) -> None:
    choose(tmp_path)
    assert "It runs with openvino bf16: 100 pictures a second" in run("info", "--models-dir", tmp_path).stdout
    sizing = run("info", "--models-dir", tmp_path, "--sizing").stdout
    assert [line.split()[-2:] for line in sizing.splitlines()[3:4]] == [["4.3", "ms"]]
    assert "150 MiB" in sizing
    assert "machines" not in sizing


def test_machines_are_counted_for_a_rate(tmp_path: Path) -> None:
    choose(tmp_path)
    # Each of them is 70 % busy at most.
    for rate, machines in ((1, 1), (70, 1), (71, 2), (1000, 15)):
        row = json.loads(run("info", "--models-dir", tmp_path, "--rate", rate, "--json").stdout)
        assert row["machines"] == machines
    cores = {"streams": 2, "threads": 1, "lone_threads": 0, "processes": 1}
    assert row["plan"] == {"engine": "openvino", "precision": "bf16", **cores}
    words = run("info", "--models-dir", tmp_path, "--sizing", "--rate", "71").stdout
    assert "machines like this one      2 for 71 pictures a second, each of them 70% busy" in words
