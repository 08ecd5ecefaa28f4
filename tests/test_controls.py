"""Colours, regions, photorealism, dreams and sizes in whole runs of a tiny network."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fast_to_compile, tiny_recipe, tiny_references, tiny_weights

from jaxstyle.cli.console.progress import span, time_left
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import save
from jaxstyle.images.masks import class_masks, load_mask, load_regions
from jaxstyle.losses import Content, Dream, GuidedGram, Matting, Neighbours, Patches, content_loss
from jaxstyle.losses.patches.matching import Search, candidates, match_patches
from jaxstyle.ops.colors import spaces as color
from jaxstyle.ops.resize import resize, resize_to
from jaxstyle.pytrees import replace, stack, to_json
from jaxstyle.references import References
from jaxstyle.runs.manifest import Files, load_references
from jaxstyle.runs.replay import recipe_from_json
from jaxstyle.solvers import Adam
from jaxstyle.transfer import presets
from jaxstyle.transfer.controls import (
    KeepColors,
    LocalAffine,
    MatchColors,
    by_class,
    by_region,
    check_controls,
    finished,
    named_colors,
    named_smoothing,
)
from jaxstyle.transfer.inputs import sized
from jaxstyle.transfer.loop import stylize, stylize_iter
from jaxstyle.transfer.presets import DREAM, with_strokes
from jaxstyle.transfer.recipe import Recipe, Stage, Start
from jaxstyle.transfer.settings import override

WEIGHTS = tiny_weights()
GIVEN = tiny_references()
LEFT = jnp.zeros((24, 32)).at[:, :16].set(1.0)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with fast_to_compile():
        yield


def last(references, recipe):
    *_, snapshot = stylize_iter(WEIGHTS, references, recipe)
    return snapshot


def two_styles(first: int, second: int) -> References:
    styles = (GIVEN.styles[0], jnp.clip(GIVEN.styles[0][::-1] ** 3, 0, 1))
    return dataclasses.replace(GIVEN, styles=(styles[first], styles[second]), regions=(LEFT, 1 - LEFT))


def test_kept_colours_are_the_photos():
    snapshot = last(GIVEN, tiny_recipe(2, colors=KeepColors()))
    photo = resize(GIVEN.content, 24)
    np.testing.assert_allclose(snapshot.image, color.with_colours_of(snapshot.picture, photo), atol=1e-5)


def test_matched_colours_change_the_painting_only():
    plain, matched = (last(GIVEN, tiny_recipe(2, colors=colors)) for colors in (None, MatchColors()))
    assert float(jnp.abs(plain.image - matched.image).max()) > 1e-3
    np.testing.assert_array_equal(matched.image, matched.picture)


def test_colours_under_vmap_are_those_of_single_runs():
    recipes = [tiny_recipe(2, colors=KeepColors(), photo_gradients=amount, seed=3) for amount in (0.0, 0.7)]
    both = jax.vmap(lambda recipe: stylize(WEIGHTS, GIVEN, recipe).image)(stack(recipes))
    for image, recipe in zip(both, recipes):
        np.testing.assert_allclose(image, last(GIVEN, recipe).image, atol=1e-3)


@pytest.mark.parametrize("recipe", [
    tiny_recipe(colors=KeepColors(space="yiq"), smoothing=LocalAffine(radius=4), photo_gradients=0.25),
    tiny_recipe(colors=MatchColors(method="pca")), by_region(tiny_recipe()), presets.PHOTO, DREAM])
def test_controls_are_recorded(recipe):
    assert recipe_from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


def test_controls_are_settings():
    recipe = override(tiny_recipe(), {"colors": "match", "photo_gradients": "0.5", "colors.method": "pca",
                                      "smoothing": "local-affine"})
    assert recipe.colors == MatchColors(method="pca") and recipe.photo_gradients == 0.5
    assert override(recipe, {"colors": "painting"}).colors is None
    assert override(recipe, {"smoothing": "none"}).smoothing is None


def test_swapping_the_masks_swaps_the_styles():
    recipe = by_region(tiny_recipe(2))
    one, two = two_styles(0, 1), two_styles(1, 0)
    swapped = dataclasses.replace(two, regions=two.regions[::-1])  # the same as the first, in another order
    np.testing.assert_allclose(last(one, recipe).image, last(swapped, recipe).image, atol=1e-4)
    assert float(jnp.abs(last(one, recipe).image - last(two, recipe).image).mean()) > 0.01


def test_what_no_region_covers_is_the_photo_itself():
    references = dataclasses.replace(GIVEN, regions=(LEFT,))
    snapshot = last(references, by_region(tiny_recipe(2)))
    photo = sized(GIVEN, Stage(size=24), 1.0).content
    np.testing.assert_allclose(snapshot.image[:, 14:], photo[:, 14:], atol=1e-6)
    assert float(jnp.abs(snapshot.image[:, :10] - photo[:, :10]).mean()) > 0.01


def test_one_region_everywhere_is_the_plain_recipe():
    whole = dataclasses.replace(GIVEN, regions=(jnp.ones((24, 32)),))
    guided, plain = last(whole, by_region(tiny_recipe(2))).image, last(GIVEN, tiny_recipe(2)).image
    np.testing.assert_allclose(guided, plain, atol=2e-3)


def test_gram_without_regions_refuses_them():
    with pytest.raises(JaxstyleError, match="GuidedGram"):
        last(dataclasses.replace(GIVEN, regions=(LEFT,)), tiny_recipe())


def test_content_mask_counts_positions():
    rng = np.random.default_rng(0)
    shapes = ((4, 5, 3), (4, 5, 3), (4, 5))
    features, target, mask = (jnp.asarray(rng.random(shape), jnp.float32) for shape in shapes)
    expected = np.mean(np.asarray(mask)[..., None] * (np.asarray(features) - np.asarray(target)) ** 2)
    np.testing.assert_allclose(content_loss(features, target, "mean", mask), expected, rtol=1e-5)
    references = dataclasses.replace(GIVEN, content_mask=LEFT)
    snapshot = last(references, tiny_recipe(2))
    assert snapshot.loss["content"] < last(GIVEN, tiny_recipe(2)).loss["content"]


def test_patches_come_from_the_style_of_their_region():
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.random((6, 8, 3)), jnp.float32)
    masks = [jnp.zeros((6, 8)).at[:, :4].set(1.0), jnp.zeros((6, 8)).at[:, 4:].set(1.0)]
    styles = [candidates([x], [x]) for x in (features, features + 5)]
    free = match_patches(features, styles, Search(3))
    bound = match_patches(features, styles, Search(3), regions=masks)
    middle = np.arange(6) + 1
    np.testing.assert_array_equal(bound.style, np.broadcast_to(middle >= 4, (4, 6)))
    assert not np.array_equal(free.style, bound.style)


@pytest.mark.parametrize("style", [
    Patches(layers=("relu1_1",), layer_weights=(1.0,)),
    Neighbours(layers=("relu1_1",), layer_weights=(1.0,))])
def test_regions_of_terms_that_match(style):
    recipe = tiny_recipe(2)
    recipe = dataclasses.replace(recipe, terms={"content": recipe.terms["content"], "style": style})
    one, two = two_styles(0, 1), two_styles(1, 0)
    swapped = dataclasses.replace(two, regions=two.regions[::-1])
    images = [last(references, recipe).image for references in (one, swapped, two)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-4)
    assert float(jnp.abs(images[0] - images[2]).mean()) > 1e-4


def test_classes_of_maps_become_regions():
    content_map = np.zeros((24, 32, 3), np.float32)
    content_map[:12, :, 0], content_map[12:, :, 2] = 1, 1
    style_map = np.zeros((32, 28, 3), np.float32)
    style_map[..., 0] = 0.97
    regions, parts = class_masks(content_map, style_map)
    assert len(regions) == 2 and parts.count(None) == 1
    np.testing.assert_array_equal(sum(regions), 1)
    mapped = dataclasses.replace(GIVEN, content_map=content_map, style_maps=(style_map,))
    recipe = by_region(tiny_recipe(2))
    references = by_class(mapped, recipe)
    assert len(references.styles) == len(references.regions) == len(references.style_regions) == 2
    assert np.isfinite(last(references, recipe).image).all()
    assert by_class(mapped, tiny_recipe()) is mapped


def test_a_stage_goes_without_a_term():
    recipe = tiny_recipe(2, sizes=(16, 16))
    stages = (Stage(size=16, steps=2, without=("style",)), Stage(size=16, steps=2))
    found = {s.stage: s.loss for s in stylize_iter(WEIGHTS, GIVEN, replace(recipe, {"stages": stages}))}
    assert found[0]["style"] == 0 < found[1]["style"]
    with pytest.raises(JaxstyleError, match="content, style"):
        replace(recipe, {"stages": (Stage(without=("matting",)),)})


def test_matting_keeps_a_photo_a_photo():
    recipe = tiny_recipe(8, start=Start(noise=0.0))
    kept = replace(recipe, {"terms": {**recipe.terms, "matting": Matting(weight=1e3, normalization="mean")}})
    photo = sized(GIVEN, Stage(size=24), 1.0)
    term = Matting(normalization="mean")
    target = term.target(photo)
    free, bound = (float(term.loss(last(GIVEN, r).picture, {}, target)) for r in (recipe, kept))
    assert bound < 0.5 * free


@pytest.mark.parametrize("jitter", [0, 3])
def test_dreams_excite_within_bounds_and_repeat(jitter):
    dream = Dream(layers=("relu2_1",), jitter=jitter)
    stages = (Stage(size=16, steps=6), Stage(size=24, steps=6))
    recipe = Recipe(terms={"dream": dream}, solver=Adam(learning_rate=0.05, box=(0.0, 1.0)),
                    start=Start(noise=0.0, carry="detail"), stages=stages)
    photo = References(content=GIVEN.content)
    values, image = [], None
    for snapshot in stylize_iter(WEIGHTS, photo, recipe):
        values.append(snapshot.loss["dream"])
        image = np.asarray(snapshot.image)
    assert -100 < values[-1] < values[0] < 0
    assert np.isfinite(image).all()
    np.testing.assert_array_equal(last(photo, recipe).image, image)
    other = last(photo, replace(recipe, {"seed": 1})).image
    assert bool(jitter) == bool(np.any(np.asarray(other) != image))


def test_details_are_carried_to_the_next_stage():
    stages = (Stage(size=12, steps=1), Stage(size=24, steps=1))
    recipe = tiny_recipe(start=Start(noise=0.0, carry="detail"), stages=stages)
    ends, begins = {}, {}
    for snapshot in stylize_iter(WEIGHTS, GIVEN, recipe):
        begins.setdefault(snapshot.stage, np.asarray(snapshot.first))
        ends[snapshot.stage] = np.asarray(snapshot.search.best.x)
    photo = sized(GIVEN, stages[1], 1.0).content
    added = ends[0] - resize_to(photo, *ends[0].shape[:2])
    np.testing.assert_allclose(begins[1], photo + resize_to(added, *photo.shape[:2], clip=False), atol=1e-5)


def test_strokes_of_print_sizes():
    picture = with_strokes(presets.GRAM, 3000, "picture")
    assert [stage.size for stage in picture.stages] == [256, 512, 1024, 2048, 3000]
    assert [stage.steps for stage in picture.stages] == [150, 100, 50, 25, 20] and picture.style_scale == 1.0
    pixels = with_strokes(presets.GRAM, 2048, "pixels")
    assert pixels.stages[-1].size * pixels.style_scale == 512
    assert with_strokes(presets.GRAM, 512, "picture").stages == presets.GRAM.stages
    for size, strokes in ((256, "picture"), (3000, "inches")):
        with pytest.raises(JaxstyleError):
            with_strokes(presets.GRAM, size, strokes)


def test_time_left_counts_pixels():
    recipe = tiny_recipe(stages=(Stage(size=10, steps=4), Stage(size=20, steps=6)))
    assert time_left(recipe, 0, 2, 1.0) == 2 + 6 * 4
    assert time_left(recipe, 1, 2, 1.0) == 4
    assert [span(s) for s in (40, 600, 7200)] == ["40 s", "10 min", "2.0 h"]


def test_masks_from_files(tmp_path):
    save(tmp_path / "left.png", np.asarray(jnp.repeat(LEFT[..., None], 3, -1)))
    mask = load_mask(tmp_path / "left.png", (48, 64))
    assert mask.shape == (48, 64) and float(mask[:, :28].min()) == 1 and float(mask[:, 36:].max()) == 0
    shares = load_regions((str(tmp_path / "left.png"), None), (24, 32), feather=0.05)
    np.testing.assert_allclose(sum(shares), 1, atol=1e-6)
    assert 0.01 < float(shares[0][0, 16]) < 0.99
    save(tmp_path / "clear.png", np.ones((24, 32, 3), np.float32), alpha=np.asarray(LEFT))
    np.testing.assert_allclose(load_mask(tmp_path / "clear.png"), LEFT, atol=1e-6)


def write(folder, **pictures):
    for name, picture in pictures.items():
        save(folder / f"{name}.png", np.asarray(picture, np.float32))
    return {name: str(folder / f"{name}.png") for name in pictures}


@pytest.mark.parametrize(("changes", "said"), [
    ({"regions": ("missing.png",)}, "no such file"),
    ({"regions": ("BLACK",)}, "black everywhere"),
    ({"regions": ("WIDE",)}, "does not fit"),
    ({"regions": ("TEXT",)}, "not a picture|picture"),
    ({"regions": ("LEFT", "LEFT")}, "2 regions for 1 paintings"),
    ({"regions": (None, None), "styles": 2}, "only one rest"),
    ({"regions": ("ALL", None), "styles": 2}, "there is no rest"),
    ({"style_regions": ("LEFT", "LEFT")}, "2 style masks for 1"),
    ({"style_regions": ("WIDE",)}, "does not fit"),
    ({"strength_mask": "LEFT", "styles": 2}, "give regions too"),
    ({"content_mask": "WIDE"}, "does not fit"),
    ({"content_mask": "BLACK"}, "black everywhere"),
    ({"content": None, "regions": ("LEFT",)}, "there is no content image"),
])
def test_bad_masks(tmp_path, changes, said):
    made = write(tmp_path, BLACK=np.zeros((24, 32, 3)), WIDE=np.ones((10, 60, 3)), ALL=np.ones((24, 32, 3)),
                 LEFT=jnp.repeat(LEFT[..., None], 3, -1), photo=GIVEN.content, painting=GIVEN.styles[0])
    (tmp_path / "text.png").write_text("no picture")
    made["TEXT"] = str(tmp_path / "text.png")

    def named(value):
        return tuple(map(named, value)) if isinstance(value, tuple) else made.get(value, value)

    fields = {name: named(value) for name, value in changes.items() if name != "styles"}
    styles = (made["painting"],) * changes.get("styles", 1)
    files = Files(**{"content": made["photo"], "styles": styles, **fields})
    with pytest.raises(JaxstyleError, match=said) as caught:
        load_references(files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [
    lambda: KeepColors(space="rgb"), lambda: MatchColors(method="mean"), lambda: named_colors("grey"),
    lambda: named_smoothing("strong"), lambda: LocalAffine(radius=0), lambda: LocalAffine(radius=2.5),
    lambda: check_controls(GIVEN, tiny_recipe(photo_gradients=1.5)),
    lambda: check_controls(GIVEN, tiny_recipe(photo_gradients=-0.1)),
    lambda: check_controls(GIVEN, tiny_recipe(photo_gradients="much")),
    lambda: check_controls(References(), tiny_recipe(photo_gradients=0.5)),
    lambda: check_controls(References(), tiny_recipe(colors=KeepColors())),
    lambda: check_controls(References(), tiny_recipe(smoothing=LocalAffine())),
    lambda: finished(GIVEN.content, References(), tiny_recipe(colors=MatchColors())),
    lambda: KeepColors().before(References(styles=GIVEN.styles)),
    lambda: override(tiny_recipe(), {"colors": "sepia"}),
    lambda: override(tiny_recipe(colors=KeepColors()), {"colors.space": "hsv"}),
    lambda: override(tiny_recipe(), {"colors.method": "pca"}),
])
def test_bad_colours_and_finishes(make):
    with pytest.raises(JaxstyleError):
        make()


@pytest.mark.parametrize("make", [
    lambda: Dream(jitter=-1), lambda: Dream(jitter=1.5), lambda: Dream(layer_weights=(1.0, 2.0)),
    lambda: Dream().target(References(), None), lambda: Start(carry="both"),
    lambda: override(DREAM, {"terms.dream.octaves": "3"}),
    lambda: override(DREAM, {"terms.dream.layers": ""}),
    lambda: last(References(content=GIVEN.content), DREAM),
    lambda: Matting(size=1), lambda: Matting(normalization="none"),
    lambda: Matting().target(References()), lambda: Content(layers=()),
    lambda: GuidedGram(shares="none"), lambda: GuidedGram().target(References(styles=GIVEN.styles), None),
    lambda: sized(dataclasses.replace(GIVEN, regions=(LEFT, LEFT)), Stage(), 1.0),
    lambda: sized(dataclasses.replace(GIVEN, style_regions=(None, None)), Stage(), 1.0),
    lambda: sized(References(styles=GIVEN.styles, content_mask=LEFT), Stage(), 1.0),
    lambda: by_class(dataclasses.replace(GIVEN, styles=GIVEN.styles * 2, content_map=GIVEN.content,
                                         style_maps=GIVEN.styles * 2), by_region(tiny_recipe())),
])
def test_bad_terms(make):
    with pytest.raises(JaxstyleError):
        make()
