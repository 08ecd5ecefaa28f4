"""Style as small pieces: every patch of the result resembles its best match in the style.

Li & Wand 2016 (CNNMRF, arXiv:1601.04589, equations 2 and 3); steered by semantic maps: Champandard 2016
(neural doodle, arXiv:1603.01768). Matching is in `losses.patches.matching`, the energy in
`losses.patches.energy`, rotated and scaled copies in `losses.patches.copies`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.losses.checks import same_length
from jaxstyle.losses.look import Features, Look
from jaxstyle.losses.patches.copies import copy_of, variants
from jaxstyle.losses.patches.energy import coverage, patch_count, patch_loss
from jaxstyle.losses.patches.matching import (
    MATCHINGS,
    Candidates,
    Search,
    allowed,
    candidates,
    match_patches,
    matching_key,
    mean_energy,
    style_starts,
    with_complement,
)
from jaxstyle.ops.masks import layer_mask, pooled
from jaxstyle.pytrees import pytree, static
from jaxstyle.references import References

NORMALIZATIONS = ("paper", "mean", "relative", "cnnmrf")


@pytree
class Patches:
    """Rebuilds the image from patches of the style's features.

    With maps in the references, patches are matched by what the maps say, too; without, by features alone.

    Attributes:
      weight: factor of the whole term; layer_weights: one factor per layer.
      gamma: weight of the maps in matching; see `matching_key` for its scale.
      variety: None: none. Else each style patch's score is lowered by variety · (the best cosine that it had
        with any patch of the image at the last evaluation), so that patches which fit everywhere are not used
        everywhere (neural doodle); the first evaluation of a stage is made twice for it.
      anchor: None: none. Else what is matched is (1 − anchor) · the image's features + anchor · the photo's,
        so that a face goes on being matched as the face it was, not as what it has drifted to (ours).
        Without a photo it changes nothing.
      anchor_with_maps: whether it counts with maps, too. Maps drawn by hand tell a face from the rest; those
        of `transfer.automatic_maps` know no faces.
      layers: where patches are compared; size: side of a patch; stride: distance between neighbouring ones,
        in the image and in the styles; the last patch of each row and column is always among them.
      rotations, scales: so many copies of each style to either side, rotated by rotation_step degrees each
        and scaled by scale_step (CNNMRF): (2·rotations + 1)·(2·scales + 1) in all.
      matching: what is matched, see `matching_key`.
      normalization: "paper": the sum of `patch_loss`; "mean": divided by the number of its squares;
        "relative": divided by what the same sum would be against zero, the mean ‖Ψ_j(S)‖² per patch (ours);
        "cnnmrf": the sum whose gradient is F − T/n at each position, T the sum of what the n patches over it
        have there (the program's, whose gradient at a layer is this times its weight).
    """

    weight: Any = 1.0
    layer_weights: tuple[Any, ...] = (1.0, 1.0)
    gamma: Any = 1.0
    variety: Any = None
    anchor: Any = None
    layers: tuple[str, ...] = static(default=("relu3_1", "relu4_1"))
    size: int = static(default=3)
    stride: int = static(default=1)
    rotations: int = static(default=0)
    scales: int = static(default=0)
    rotation_step: float = static(default=7.5)
    scale_step: float = static(default=1.05)
    anchor_with_maps: bool = static(default=False)
    matching: str = static(default="relative")
    normalization: str = static(default="relative")

    def __post_init__(self) -> None:
        one_of("patch matching", self.matching, MATCHINGS)
        one_of("patch normalization", self.normalization, NORMALIZATIONS)
        same_length("patches", self.layers, self.layer_weights)
        for name, least in (("size", 1), ("stride", 1), ("rotations", 0), ("scales", 0)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise JaxstyleError(f"{name} of patches is a whole number of at least {least}, not "
                                    f"{getattr(self, name)}")
        if self.rotations * abs(self.rotation_step) > 40:
            raise JaxstyleError(f"{self.rotations} rotations by {self.rotation_step:g}° leave too little of "
                                "the painting; together at most 40°")
        if self.scale_step <= 0:
            raise JaxstyleError(f"scale_step of patches is above 0, not {self.scale_step:g}")

    @property
    def search(self) -> Search:
        """How patches are looked for."""
        normalised = "both" if self.variety is not None else "style"
        return Search(size=self.size, stride=self.stride, peaks=self.variety is not None,
                      normalised="no" if self.matching == "neural-doodle" else normalised)

    def target(self, references: References, look: Look) -> dict[str, Any]:
        """For each layer the styles' features with their keys, the content's map, and scales."""
        if not references.styles:
            raise JaxstyleError("the patch term needs at least one style image")
        guided = references.content_map is not None
        kinds = variants(self.rotations, self.scales, self.rotation_step, self.scale_step)
        images = [[copy_of(style, *kind, max(style.shape[:2])) for kind in kinds]
                  for style in references.styles]
        maps = [[copy_of(m, *kind, max(m.shape[:2])) if guided else None for kind in kinds]
                for m in (references.style_maps if guided else references.styles)]
        features = [[look(image, self.layers) for image in copies] for copies in images]
        photo = None
        anchored = self.anchor is not None and (self.anchor_with_maps or not guided)
        if anchored and references.content is not None:
            photo = look(references.content, self.layers)
        return {layer: {"photo": None if photo is None else photo[layer],
                        "regions": tuple(references.regions),
                        **self._layer_target([[f[layer] for f in copies] for copies in features], maps,
                                             references.content_map)} for layer in self.layers}

    def _layer_target(self, features: list[list[Array]], maps: list[list[Any]], content_map: Any
                      ) -> dict[str, Any]:
        for feature in (f for copies in features for f in copies):
            if min(feature.shape[:2]) < self.size:
                raise JaxstyleError(f"a style image is too small for patches of {self.size}×{self.size} "
                                    "features; use a larger size", "size")
        semantic = [[None if m is None else pooled(m, f.shape[0], f.shape[1]) for m, f in zip(*pair)]
                    for pair in zip(maps, features)]
        own = [copies[0] for copies in features]
        drawn = [copies[0] for copies in semantic if copies[0] is not None]
        own_maps = [with_complement(each) for each in drawn] if drawn else own
        energies = (mean_energy(own), mean_energy(own_maps))
        styles = tuple(candidates(copies, [matching_key(f, m, self.gamma, self.matching, energies)
                                           for f, m in zip(copies, semantics)])
                       for copies, semantics in zip(features, semantic))
        squares, patches = jnp.zeros(()), 0
        for f in own:
            covered = coverage(f.shape[0], f.shape[1], self.size, self.stride)
            squares = squares + jnp.sum(covered * jnp.sum(jnp.square(f), axis=-1))
            patches += patch_count(f.shape[0], f.shape[1], self.size, self.stride)
        return {"styles": styles, "map": content_map, "energies": energies, "patch energy": squares / patches}

    def memory(self, target: dict[str, Any]) -> dict[str, Any]:
        """What variety remembers at the start of a stage: no scores yet; without variety nothing at all."""
        if self.variety is None:
            return {}
        def none_yet(style: Candidates) -> Array:
            shape = (len(style.shapes), *map(len, style_starts(style.shapes, self.search)))
            return jnp.zeros(shape, style.keys.dtype)

        peaks = {layer: tuple(map(none_yet, target[layer]["styles"])) for layer in self.layers}
        return {"peaks": peaks, "first": jnp.ones((), bool)}

    def loss(self, image: Array, features: Features, target: dict[str, Any], memory: dict[str, Any]
             ) -> tuple[Array, dict[str, Any]]:
        """Weighted sum over layers of the normalised `patch_loss`, without `weight`; and the new memory."""
        total, peaks = jnp.zeros((), image.dtype), {}
        for layer, weight in zip(self.layers, self.layer_weights):
            value, peaks[layer] = self._layer_loss(features[layer], target[layer], memory, layer)
            total = total + weight * value
        return total, {} if self.variety is None else {"peaks": peaks, "first": jnp.zeros((), bool)}

    def _layer_loss(self, features: Array, target: dict[str, Any], memory: dict[str, Any], layer: str
                    ) -> tuple[Array, Any]:
        height, width, channels = features.shape
        if min(height, width) < self.size:
            raise JaxstyleError(f"the image is too small for patches of {self.size}×{self.size} features; "
                                "use a larger size", "size")
        semantic = None if target["map"] is None else pooled(target["map"], height, width)
        seen = lax.stop_gradient(features)
        if target["photo"] is not None:
            seen = (1 - self.anchor) * seen + self.anchor * target["photo"]
        key = matching_key(seen, semantic, self.gamma, self.matching, target["energies"])
        styles, search, penalties = target["styles"], self.search, None
        if self.variety is not None:
            peaks = lax.cond(memory["first"], lambda: self._peaks(key, styles),
                             lambda: memory["peaks"][layer])
            penalties = [self.variety * peak for peak in peaks]
        masks = [layer_mask(mask, features) for mask in target["regions"]]
        matches = match_patches(key, styles, search, penalties, masks)
        total = patch_loss(features, styles, matches, search, shared=self.normalization == "cnnmrf")
        patches = patch_count(height, width, self.size, self.stride)
        match self.normalization:
            case "paper" | "cnnmrf":
                value = total
            case "mean":
                value = total / (patches * self.size**2 * channels)
            case _:
                floor = jnp.finfo(total.dtype).tiny
                value = total / (patches * jnp.maximum(target["patch energy"], floor))
        return value, self._legal(matches.peaks, styles)

    def _peaks(self, key: Array, styles: tuple[Candidates, ...]) -> tuple[Array, ...]:
        chosen: tuple[Array, ...] = self._legal(match_patches(key, styles, self.search).peaks, styles)
        return chosen

    def _legal(self, peaks: tuple[Array, ...] | None, styles: tuple[Candidates, ...]) -> Any:
        """Peaks with zeros where a copy has no patch, so that memory holds nothing of its padding."""
        if peaks is None:
            return ()
        masks = [allowed(style.shapes, self.search) for style in styles]
        return tuple(peak if mask is None else jnp.where(mask, peak, 0) for peak, mask in zip(peaks, masks))
