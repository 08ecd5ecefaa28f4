"""`jaxstyle replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from jaxstyle.cli.running.arguments import Settings
from jaxstyle.cli.running.job import Job, check_output
from jaxstyle.cli.running.render import render
from jaxstyle.cli.video import is_made_video, replay_video
from jaxstyle.errors import JaxstyleError
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.replay import read_manifest, recipe_from_json, recorded_files, recorded_weights
from jaxstyle.transfer.controls import by_class


@dataclass(frozen=True)
class Replay:
    """Make a picture again from the manifest that it carries: bit-identical on the same machine."""

    picture: Annotated[Path, Positional, arg(metavar="PICTURE")]
    """A picture, a video or a folder of frames that jaxstyle made."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="OUT")] = None
    """The picture to write; PICTURE-replay.png if not given."""
    content: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the photo is now, if it has moved."""
    style: Annotated[tuple[str, ...], arg(metavar="FILE ...")] = ()
    """Where the paintings are now, if they have moved."""
    start: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the start image is now, if it has moved."""
    content_map: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the map of the result is now, if it has moved."""
    style_map: Annotated[tuple[str, ...], arg(metavar="FILE ...")] = ()
    """Where the maps of the paintings are now, if they have moved."""
    region: Annotated[tuple[str, ...], arg(metavar="MASK ...")] = ()
    """Where the masks of regions are now, if they have moved."""
    style_mask: Annotated[tuple[str, ...], arg(metavar="MASK ...")] = ()
    """Where the masks of the paintings are now, if they have moved."""
    content_mask: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the content mask is now, if it has moved."""
    strength_mask: Annotated[str | None, arg(metavar="FILE")] = None
    """Where the strength mask is now, if it has moved."""
    weights: Annotated[str | None, arg(metavar="NAME")] = None
    """Name or file of the weights, if they have moved."""
    model: Annotated[str | None, arg(metavar="MODEL")] = None
    """Where the fast network of a video is now, if it has moved."""
    force: bool = False
    """Overwrite OUT if it exists."""

    def run(self, settings: Settings, console: Console) -> int:
        """Make the picture again."""
        if settings:
            raise JaxstyleError(f"replay repeats a run as it was; --{next(iter(settings))} cannot be set")
        if is_made_video(self.picture):
            return replay_video(self, console)
        data = read_manifest(self.picture)
        output = self.output or self.picture.with_name(f"{self.picture.stem}-replay{self.picture.suffix}")
        check_output(output, self.force)
        given = Files(content=self.content, styles=self.style, start=self.start,
                      content_map=self.content_map, style_maps=self.style_map, regions=self.region,
                      style_regions=self.style_mask, content_mask=self.content_mask,
                      strength_mask=self.strength_mask)
        files = recorded_files(data, given, self.picture.parent)
        recipe = recipe_from_json(data["recipe"])
        weights = recorded_weights(data, self.weights, self.picture.parent)
        references = by_class(load_references(files), recipe)
        job = Job(weights=weights, references=references, recipe=recipe, files=files, output=output,
                  keep_alpha=bool(data.get("keep_alpha")), as_it_was=True, force=self.force)
        return render(job, console)
