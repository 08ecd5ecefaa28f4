"""The pictures of a sweep: which photo goes with which painting, and their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import replace
from jaxstyle.runs.manifest import Files


def crossed(photos: Sequence[Path], paintings: Sequence[Path], together: bool
            ) -> dict[str, dict[str, Files]]:
    """Files of every photo with every painting, by label; a label is empty where there is only one."""
    def label(path: Path, among: Sequence[Path]) -> str:
        if len(among) == 1:
            return ""
        return path.stem if sum(p.stem == path.stem for p in among) == 1 else str(path)

    if together:
        styles = {"": tuple(map(str, paintings))}
    else:
        styles = {label(path, paintings): (str(path),) for path in paintings}
    return {label(photo, photos): {name: Files(content=str(photo), styles=chosen)
                                   for name, chosen in styles.items()} for photo in photos}


def with_maps(files: Mapping[str, Mapping[str, Files]], content_map: Path | None,
              style_maps: Mapping[str, Path]) -> dict[str, dict[str, Files]]:
    """The same files with semantic maps, given by painting.

    Raises:
      JaxstyleError: several photos, or a map is missing.
    """
    if len(files) > 1 or content_map is None:
        raise JaxstyleError("maps go with one photo: give a map of it, and one of each painting",
                            "content_map", "style_map")

    def mapped(given: Files) -> Files:
        for style in given.styles:
            if style not in style_maps:
                raise JaxstyleError(f"{style}: has no map; give one for each painting, in order", "style_map")
        return replace(given, {"content_map": str(content_map),
                               "style_maps": tuple(str(style_maps[style]) for style in given.styles)})

    return {photo: {label: mapped(given) for label, given in styles.items()}
            for photo, styles in files.items()}
