"""`sdp shrink`: make a model file smaller and faster without its training code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from sdp.cli.commands.selection import Json, Quiet
from sdp.cli.errors import handle_errors
from sdp.pipeline.progress import Reporter


def shrink_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file of a Transformer encoder, in float32.")],
    texts: Annotated[Path, typer.Option(help="Texts of the kind that it reads: txt, tsv, csv, jsonl, parquet; .gz.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="The column of a table that has the texts; twice for pairs.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The folder of its tokenizer.json; by default that of the model.")
    ] = None,
    sparsity: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of the weights that become zero.")] = 0.0,
    pattern: Annotated[
        Literal["1x4", "unstructured"], typer.Option(help="1x4: blocks of four, for int8; unstructured: for fp32.")
    ] = "1x4",
    precision: Annotated[Literal["int8", "fp32"], typer.Option(help="Precision of the products.")] = "int8",
    rows: Annotated[int, typer.Option(min=16, help="Texts that the layers are refitted on.")] = 512,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens to which texts are cut.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the benchmark.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of texts.")] = 0,
    min_same: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Smallest share of equal predictions; a file with less is not kept."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an ONNX file smaller and faster without its training code: no recipe, no labels, minutes.

    By default in int8, for the operator library, which loses hardly anything. With --sparsity it is pruned as well:
    each layer is refitted by least squares to what it computed on the texts, which costs accuracy. Other texts show how
    far the new file's outputs are from the original's, and both files are measured in turns. Labels alone show what it
    costs: score it.

    Exit code: 0 made, 1 fewer equal predictions than --min-same or a damaged result, 2 wrong usage.
    """
    with handle_errors():
        from sdp.cli.render.shrink import print_shrunk
        from sdp.shrink.run import Shrink, shrink

        asked = Shrink(
            model=model,
            texts=texts,
            columns=tuple(columns or ()),
            tokenizer=tokenizer or model.parent,
            out=out,
            sparsity=sparsity,
            pattern=pattern,
            precision=precision,
            rows=rows,
            max_length=max_length,
            seed=seed,
            threads=threads,
            min_same=min_same,
        )
        report = shrink(asked, Reporter(quiet=quiet))
        if as_json:
            typer.echo(json.dumps(report.to_json(), indent=2))
        else:
            print_shrunk(report, out)
