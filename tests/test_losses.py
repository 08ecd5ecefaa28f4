"""Terms: values against formulas written out in NumPy, gradients against finite differences, invariances."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import looking
from jax.test_util import check_grads
from scipy.ndimage import gaussian_filter

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses import (
    TERMS,
    Content,
    Dream,
    Gamut,
    Gram,
    GuidedGram,
    Matting,
    Neighbours,
    Palette,
    Patches,
    Pixel,
    Range,
    RelaxedTransport,
    SelfSimilarity,
    Splitting,
    Temporal,
    TotalVariation,
    content_loss,
    gamut_penalty,
    gram_loss,
    gram_matrix,
    range_penalty,
    total_variation,
)
from jaxstyle.losses.content import SURROUNDINGS, structure
from jaxstyle.losses.regularizers import LEAST_DEVIATION, colour_statistics
from jaxstyle.pytrees import replace
from jaxstyle.references import References
from jaxstyle.transfer.objective import RememberingTerm

RNG = np.random.default_rng(0)
F = RNG.normal(size=(5, 7, 4))
P = RNG.normal(size=(5, 7, 4))
STYLE = RNG.normal(size=(3, 6, 4))
LAYERS = ("a", "b")
ELSEWHERE = {Dream, GuidedGram, Matting, Neighbours, Palette, RelaxedTransport, SelfSimilarity, Splitting}
"""Terms that look at more than the reference images; see the tests of each."""

pytestmark = pytest.mark.usefixtures("x64")


def gram_by_loops(features: np.ndarray) -> np.ndarray:
    h, w, c = features.shape
    total = np.zeros((c, c))
    for i in range(h):
        for j in range(w):
            for a in range(c):
                for b in range(c):
                    total[a, b] += features[i, j, a] * features[i, j, b]
    return total / (h * w)


def test_gram_matrix_equals_loops():
    np.testing.assert_allclose(gram_matrix(jnp.asarray(F)), gram_by_loops(F), rtol=1e-12)


def test_gram_does_not_see_where_things_are():
    shuffled = np.random.default_rng(1).permutation(F.reshape(-1, 4)).reshape(F.shape)
    np.testing.assert_allclose(gram_matrix(jnp.asarray(F)), gram_matrix(jnp.asarray(shuffled)), rtol=1e-12)


@pytest.mark.parametrize(("normalization", "expected"), [
    ("paper", lambda s, c, a: s / (4 * c**2)),
    ("neural-style", lambda s, c, a: np.square(s**0.5 / c).sum() / c**2),
    ("gatys-notebook", lambda s, c, a: s / c**2),
    ("relative", lambda s, c, a: s / np.square(a).sum()),
])
def test_gram_loss_equals_formula(normalization, expected):
    target = gram_by_loops(STYLE)
    squares = np.square(gram_by_loops(F) - target).sum()
    loss = gram_loss(jnp.asarray(F), jnp.asarray(target), normalization)
    np.testing.assert_allclose(loss, expected(squares, 4, target), rtol=1e-12)


@pytest.mark.parametrize("normalization", ["paper", "neural-style", "gatys-notebook", "relative"])
def test_gram_loss_at_the_width_of_vgg(normalization):
    wide = np.random.default_rng(2).normal(size=(2, 2, 512)).astype(np.float32)
    with jax.enable_x64(False):
        loss = gram_loss(jnp.asarray(wide), jnp.zeros((512, 512)) + 0.1, normalization)
    assert np.isfinite(loss) and loss > 0


def test_paper_normalization_is_equation_4_for_images_of_one_size():
    n = F.shape[0] * F.shape[1]
    g, a = gram_by_loops(F) * n, gram_by_loops(P) * n
    expected = np.square(g - a).sum() / (4 * 4**2 * n**2)
    np.testing.assert_allclose(gram_loss(jnp.asarray(F), gram_matrix(jnp.asarray(P)), "paper"), expected)


@pytest.mark.parametrize(("normalization", "expected"), [
    ("mean", np.square(F - P).mean()), ("paper", 0.5 * np.square(F - P).sum()),
    ("relative", np.square(F - P).sum() / np.square(P).sum()),
])
def test_content_loss_equals_formula(normalization, expected):
    np.testing.assert_allclose(content_loss(jnp.asarray(F), jnp.asarray(P), normalization), expected)


def total_variation_by_loops(x: np.ndarray, form: str) -> tuple[float, int, int]:
    h, w, c = x.shape
    total, across, down = 0.0, h * (w - 1) * c, (h - 1) * w * c
    parts = [0.0, 0.0]
    for k in range(c):
        for i in range(h):
            for j in range(w):
                dx = x[i, j + 1, k] - x[i, j, k] if j + 1 < w else None
                dy = x[i + 1, j, k] - x[i, j, k] if i + 1 < h else None
                if form == "power":
                    total += (dx**2 + dy**2) ** 1.25 if dx is not None and dy is not None else 0.0
                for index, d in enumerate((dx, dy)):
                    if d is not None:
                        parts[index] += d**2 if form == "squared" else abs(d)
    if form == "power":
        return total, total / ((h - 1) * (w - 1) * c)
    return sum(parts), parts[0] / across + parts[1] / down


@pytest.mark.parametrize("form", ["squared", "l1", "power"])
def test_total_variation_equals_loops(form):
    x = RNG.uniform(size=(5, 6, 3))
    add, mean = total_variation_by_loops(x, form)
    np.testing.assert_allclose(total_variation(jnp.asarray(x), form, "sum"), add, rtol=1e-12)
    np.testing.assert_allclose(total_variation(jnp.asarray(x), form, "mean"), mean, rtol=1e-12)


def test_range_penalty_counts_only_what_is_outside():
    x = np.full((2, 2, 3), 0.5)
    assert range_penalty(jnp.asarray(x)) == 0
    x[0, 0] = (1.5, -0.25, 0.2)
    np.testing.assert_allclose(range_penalty(jnp.asarray(x)), (0.5**2 + 0.25**2) / 12)


def test_gamut_penalty_counts_colours_far_from_every_palette():
    image, styles = RNG.uniform(size=(3, 4, 3)), [RNG.uniform(size=(5, 6, 3)) ** power for power in (1, 3)]
    total = 0.0
    for colour in image.reshape(-1, 3):
        distances = []
        for style in styles:
            flat = style.reshape(-1, 3)
            away = colour - flat.mean(axis=0)
            spread = np.cov(flat.T, bias=True) + LEAST_DEVIATION**2 * np.eye(3)
            distances.append(away @ np.linalg.solve(spread, away))
        total += max(0.0, min(distances) / 0.8**2 - 1) ** 2
    assert total > 0
    palettes = [colour_statistics(jnp.asarray(style)) for style in styles]
    np.testing.assert_allclose(gamut_penalty(jnp.asarray(image), palettes, 0.8), total / 12, rtol=1e-10)


def test_colours_of_a_flat_painting_are_finite():
    palette = colour_statistics(jnp.full((4, 4, 3), 0.25))
    assert gamut_penalty(jnp.full((2, 2, 3), 0.27), [palette], 3.5) == 0
    assert 0 < gamut_penalty(jnp.full((2, 2, 3), 0.75), [palette], 3.5) < np.inf


def structure_by_loops(photo: np.ndarray) -> np.ndarray:
    luma = photo @ np.array([0.299, 0.587, 0.114])
    h, w = luma.shape
    slope = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            dx = luma[i, j + 1] - luma[i, j] if j + 1 < w else 0.0
            dy = luma[i + 1, j] - luma[i, j] if i + 1 < h else 0.0
            slope[i, j] = np.sqrt(dx**2 + dy**2)
    around = gaussian_filter(slope, max(h, w) / SURROUNDINGS, mode="nearest", truncate=3)
    return np.clip(around / around.mean(), 0, 1)


def test_structure_is_low_where_a_photo_is_flat():
    photo = np.full((45, 60, 3), 0.4)
    photo[:, 30:] = RNG.uniform(size=(45, 30, 3))
    found = structure(jnp.asarray(photo))
    np.testing.assert_allclose(found, structure_by_loops(photo), atol=1e-12)
    assert found[:, :20].max() < 1e-3 and found[:, 40:].min() > 0.5
    assert not np.asarray(structure(jnp.full((8, 9, 3), 0.4))).any()


def test_content_counts_less_where_the_photo_is_flat():
    photo = np.full((32, 32, 3), 0.4)
    photo[:, 16:] = RNG.uniform(size=(32, 16, 3))
    photo, features = jnp.asarray(photo), {"a": jnp.asarray(RNG.normal(size=(32, 32, 4)))}
    term, shown = Content(layers=("a",), normalization="mean", structure=0.75), {"a": features["a"] + 1}

    def loss(**inputs):
        target = term.target(References(content=photo, **inputs), looking((photo, features)))
        return term.loss(photo, shown, target)

    kept = 1 - 0.75 * (1 - np.asarray(structure(photo)))
    np.testing.assert_allclose(loss(), kept.mean(), rtol=1e-12)
    mask = RNG.uniform(size=(32, 32))
    np.testing.assert_allclose(loss(content_mask=jnp.asarray(mask)), (kept * mask).mean(), rtol=1e-12)


def every_term():
    content = [Content(layers=LAYERS, layer_weights=(1.0, 0.3), normalization=n)
               for n in ("mean", "paper", "relative")]
    gram = [Gram(layers=LAYERS, layer_weights=(1.0, 0.3), normalization=n)
            for n in ("paper", "neural-style", "gatys-notebook", "relative")]
    tv = [TotalVariation(form=f, reduction=r) for f in ("squared", "l1", "power") for r in ("mean", "sum")]
    patches = [Patches(layers=LAYERS, layer_weights=(1.0, 0.3), size=2, matching=m, normalization=n)
               for m, n in (("paper", "paper"), ("relative", "relative"), ("neural-doodle", "mean"))]
    tv.append(TotalVariation(chroma=2.0))
    return [*content, *gram, *patches, *tv, Pixel(), Range(), Gamut(reach=0.5), Temporal()]


def setting():
    def features(seed, shape):
        rng = np.random.default_rng(seed)
        return {layer: jnp.asarray(rng.normal(size=(*shape, 4))) for layer in LAYERS}

    image = jnp.asarray(np.random.default_rng(3).uniform(-0.2, 1.2, (6, 6, 3)))
    content = jnp.asarray(np.random.default_rng(4).uniform(size=(6, 6, 3)))
    earlier = jnp.concatenate([1 - content, content[..., :1]], -1)
    references = References(content=content, styles=(content + 0,), earlier=(earlier,))
    look = looking((references.content, features(5, (3, 3))), (references.styles[0], features(6, (4, 2))))
    return image, features(7, (3, 3)), references, look


def test_every_term_is_in_the_matrix():
    assert {type(term) for term in every_term()} | ELSEWHERE == set(TERMS)


def loss_of(term, image, features, target):
    """The loss of a term, the first one of a term with a memory."""
    if isinstance(term, RememberingTerm):
        return term.loss(image, features, target, term.memory(target))[0]
    return term.loss(image, features, target)


@pytest.mark.parametrize("term", every_term(), ids=lambda t: "-".join(
    str(v) for v in (type(t).__name__, getattr(t, "normalization", ""), getattr(t, "form", ""),
                     getattr(t, "reduction", "")) if v))
def test_contract_of_every_term(term):
    image, found, references, look = setting()
    target = term.target(references, look)
    loss = partial(loss_of, term)
    value = loss(image, found, target)
    assert value.shape == () and np.isfinite(value) and value > 0
    np.testing.assert_allclose(jax.jit(loss)(image, found, target), value, rtol=1e-12)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * 0.9]), (image, found))
    mapped = jax.vmap(lambda i, f: loss(i, f, target))(*batch)
    single = [loss(*jax.tree.map(lambda leaf, k=k: leaf[k], batch), target) for k in (0, 1)]
    np.testing.assert_allclose(mapped, single, rtol=1e-12)
    check_grads(lambda i, f: loss(i, f, target), (image, found), order=1, modes=["rev"],
                eps=1e-6, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("term", every_term(), ids=lambda t: type(t).__name__)
def test_zero_at_its_reference(term):
    _, features, references, _ = setting()
    flat = jnp.full((6, 6, 3), 0.5)
    earlier = jnp.concatenate([flat, flat[..., :1]], -1)
    references = replace(references, {"content": flat, "earlier": (earlier,)})
    look = looking((flat, features), (references.styles[0], features))
    value = loss_of(term, flat, features, term.target(references, look))
    np.testing.assert_allclose(value, 0, atol=1e-24)


def test_blending_targets_differs_from_blending_losses_by_a_constant():
    rng = np.random.default_rng(8)
    images = jnp.zeros((1, 1, 3)), jnp.ones((1, 1, 3))
    features = [{layer: jnp.asarray(rng.normal(size=(5, size, 4))) for layer in LAYERS} for size in (3, 5)]
    look = looking(*zip(images, features))
    term = Gram(layers=LAYERS, layer_weights=(1.0, 0.5), blend=(3.0, 1.0))
    gaps = []
    for seed in (1, 2):
        x = {layer: jnp.asarray(np.random.default_rng(seed).normal(size=(3, 3, 4))) for layer in LAYERS}
        single = [term.loss(jnp.zeros(()), x,
                            replace(term, {"blend": ()}).target(References(styles=(image,)), look))
                  for image in images]
        blended = term.loss(jnp.zeros(()), x, term.target(References(styles=images), look))
        gaps.append(0.75 * single[0] + 0.25 * single[1] - blended)
    np.testing.assert_allclose(gaps[0], gaps[1], rtol=1e-9)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Content(normalization="sum"), "sum"),
    (lambda: Content(layers=("a", "b")), "2 layers"),
    (lambda: Gram(normalization="frobenius"), "frobenius"),
    (lambda: TotalVariation(form="cubic"), "cubic"),
    (lambda: TotalVariation(reduction="median"), "median"),
    (lambda: Gram(layers=LAYERS, layer_weights=(1.0, 1.0), blend=(1.0, 2.0)).target(*setting()[2:]),
     "2 coefficients for 1"),
    (lambda: Content().target(References(), looking()), "content image"),
    (lambda: Pixel().target(References(), looking()), "content image"),
    (lambda: Gram().target(References(), looking()), "style image"),
    (lambda: Gamut().target(References(), looking()), "style image"),
    (lambda: Patches(matching="nearest"), "nearest"),
    (lambda: Patches(normalization="sum"), "sum"),
    (lambda: Patches(size=0), "size of patches is a whole number of at least 1"),
    (lambda: Patches().target(References(), looking()), "style image"),
    (lambda: Patches(layers=LAYERS, size=3).target(*setting()[2:]), "too small for patches of 3×3"),
])
def test_mistakes_are_named(make, message):
    with pytest.raises(JaxstyleError, match=message):
        make()
