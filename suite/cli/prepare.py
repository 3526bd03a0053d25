"""`flipbench prepare`: a folder of images, converted once, for speed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from suite.cli.console import err, out, print_json, say
from suite.cli.options import AsJson

if TYPE_CHECKING:
    from suite.data.stored.pack_index import Summary


def prepare(
    data: Annotated[
        Literal["imagenet"], typer.Argument(metavar="imagenet", help="The data set that reads the result.")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A tree: train/<class>/*.JPEG and val.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A folder of its own for the result.")],
    encoding: Annotated[
        Literal["jpeg", "pixels"],
        typer.Option(help="Smaller JPEG files, or bare pixels: larger, and fastest to read."),
    ] = "jpeg",
    side: Annotated[int, typer.Option(min=1, help="The short side of an image in pixels.")] = 256,
    quality: Annotated[int, typer.Option(min=1, max=95, help="Of JPEG.")] = 90,
    damaged: Annotated[
        Literal["stop", "leave-out"], typer.Option(help="What to do about images that cannot be decoded.")
    ] = "stop",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Then read it all again and compare the checksums.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a tree of images once, so that training reads them faster. Run it again after a stop."""
    from suite.cli.views.prepare import bar
    from suite.data.stored.prepare import prepare as prepare_images
    from suite.machine.environment import cores

    try:
        with bar(err, "images") as show:
            summary = prepare_images(
                source,
                target,
                encoding=encoding,
                side=side,
                quality=quality,
                damaged=damaged,
                workers=workers or cores(),
                on_progress=show,
            )
    except KeyboardInterrupt:
        err.print("interrupted; the same command resumes the conversion")
        raise typer.Exit(130) from None
    problems = _check(target) if check else []
    if as_json:
        print_json({"data": data, **summary._asdict(), "checked": check, "problems": problems})
    else:
        _print(summary, target, problems if check else None)
    if problems:
        raise typer.Exit(2)


def _print(summary: "Summary", target: Path, problems: list[str] | None) -> None:
    """The content of the folder, and the problems that a check has found; None without a check."""
    from suite.cli.views.prepare import summary_text

    say(out, summary_text(summary, target))
    for problem in problems or ():
        out.print(Text(problem, style="red"), soft_wrap=True)
    if problems == []:
        out.print("every byte matches its checksum")


def _check(target: Path) -> list[str]:
    """Read every byte of the result again; the problems that were found."""
    from suite.cli.views.prepare import bar
    from suite.data.stored.verify_pack import verify as verify_images

    with bar(err, "bytes checked") as show:
        return verify_images(target, show)
