"""``barevision info``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import click

from barevision.choosing.speeds import known_measurement
from barevision.cli.options import json_option, model_option, models_dir_option
from barevision.engines.processor import this_processor
from barevision.errors import ModelError
from barevision.models.catalogue import find_source
from barevision.models.prepare import prepared_path
from barevision.settings import load_settings

# Requests don't come evenly: on machines that are busier, they wait for each other.
_USED_SHARE = 0.7


@click.command()
@model_option
@models_dir_option
@click.option("--sizing", is_flag=True, help="What the machine can do with it: pictures a second, wait, memory.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="With --sizing: how many machines N pictures a second take."
)
@json_option
def info(model: str | None, models_dir: Path | None, sizing: bool, rate: float | None, as_json: bool) -> None:
    """How a model is run on this machine, and how fast that is. Measures nothing: 'barevision models prepare' does.

    Pictures a second are those of the network alone. Decoding large photos takes time beside it, on the same cores.
    """
    settings = load_settings(model=model, models_dir=models_dir)
    source = find_source(settings.model, settings.models_dir)
    processor = this_processor()
    known = known_measurement(prepared_path(source, settings.models_dir), settings)
    if known is None and (sizing or rate):
        raise ModelError(
            f"nobody measured {source.name} on this machine with these settings: 'barevision models prepare "
            f"{settings.model}' does"
        )
    choice = known and known.choice
    row = {"model": source.name, "processor": processor.name, "cores": settings.threads}
    row |= {"plan": choice and asdict(choice.plan), "reason": choice and choice.reason}
    if sizing or rate:
        row |= {"pictures_per_second": choice.rate, "seconds_alone": choice.alone, "memory_bytes": choice.memory}
    if rate:
        row["machines"] = math.ceil(rate / (_USED_SHARE * choice.rate))
    if as_json:
        click.echo(json.dumps(row))
        return
    click.echo(f"{source.name} on {processor.name}, {settings.threads} of its cores")
    if choice is None:
        click.echo("It is not measured here: a service does that as it starts, 'barevision models prepare' at once")
        return
    click.echo(f"It runs with {choice.reason}")
    if sizing or rate:
        click.echo(f"pictures a second, at most  {choice.rate:.4g}")
        click.echo(f"wait of a lone one          {choice.alone * 1000:.1f} ms")
        click.echo(f"memory                      {choice.memory / 2**20:.0f} MiB, and what pictures take")
    if rate:
        click.echo(
            f"machines like this one      {row['machines']} for {rate:g} pictures a second, each of them "
            f"{_USED_SHARE:.0%} busy"
        )
