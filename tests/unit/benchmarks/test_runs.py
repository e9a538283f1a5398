"""A run that was stopped goes on, on the same processor."""

import argparse

import pytest

from benchmarks import __main__ as command
from benchmarks import machine
from benchmarks.runs import Run

HERE = {"processor": "Zen 5", "model": "2", "architecture": "x86_64", "cores": 2, "flags": ["avx2"]}
ARGUMENTS = argparse.Namespace(quick=True, only=["nobody"], networks=[], rounds=1, name="one")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "one.jsonl")
    run.add({"machine": HERE | {"load_before": 0.1}, "arguments": {}})
    return run


@pytest.mark.parametrize("other", [{"processor": "Granite Rapids"}, {"cores": 4}, {"flags": ["avx2", "amx_bf16"]}])
def test_a_run_does_not_go_on_with_another_processor(run, other, monkeypatch, capsys):
    monkeypatch.setattr(machine, "described", lambda: HERE | other)
    command.Benchmark(ARGUMENTS, run).measure()
    assert len(run.read()) == 1
    assert "2 cores of Zen 5" in capsys.readouterr().out


def test_a_run_goes_on_with_the_same_processor(run, monkeypatch):
    now = HERE | {"load_before": 0.7}
    monkeypatch.setattr(machine, "described", lambda: now)
    command.Benchmark(ARGUMENTS, run).measure()
    assert Run(run.path).machine() == now
