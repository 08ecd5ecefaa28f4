"""Colours in the paintings' shares, and coloured speckle: against naive NumPy, and what they do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstyle import JaxstyleError
from jaxstyle.losses import Palette, TotalVariation
from jaxstyle.losses.regularizers import quantiles
from jaxstyle.ops.colors.palette import directions
from jaxstyle.references import References

RNG = np.random.default_rng(0)


pytestmark = pytest.mark.usefixtures("x64")


def picture(height, width):
    return RNG.uniform(size=(height, width, 3))


def by_hand(image, styles, shares, count):
    """Each direction: sorted colours beside quantiles of the weighted mixture, one after the other."""
    total = 0.0
    for direction in np.asarray(directions(count)).T:
        mine = np.sort(image.reshape(-1, 3) @ direction)
        samples = sorted((value, share / style[..., 0].size) for style, share in zip(styles, shares)
                         for value in style.reshape(-1, 3) @ direction)
        upto = np.cumsum([weight for _, weight in samples])
        aims = [next(value for (value, _), part in zip(samples, upto) if part >= (i + 0.5) / mine.size)
                for i in range(mine.size)]
        total += np.square(mine - aims).sum() / (mine.size * count)
    return total


@pytest.mark.parametrize(("sizes", "blend"), [([(7, 5)], ()), ([(7, 5), (9, 4)], (3.0, 1.0))])
def test_it_is_the_loop(sizes, blend):
    image, content, styles = picture(6, 8), picture(6, 8), [picture(*size) for size in sizes]
    term = Palette(blend=blend, directions=4)
    references = References(content=jnp.asarray(content), styles=tuple(map(jnp.asarray, styles)))
    shares = np.asarray(blend or (1.0,)) / sum(blend or (1.0,))
    loss = term.loss(jnp.asarray(image), {}, term.target(references, None))
    np.testing.assert_allclose(loss, by_hand(image, styles, shares, 4), rtol=1e-10)


def test_gradients():
    term = Palette(directions=3)
    content, style = jnp.asarray(picture(5, 6)), jnp.asarray(picture(4, 4))
    target = term.target(References(content=content, styles=(style,)), None)
    check_grads(lambda x: term.loss(x, {}, target), (jnp.asarray(picture(5, 6)),), order=1, modes=["rev"],
                eps=1e-7, atol=1e-5, rtol=1e-5)


def test_the_same_colours_elsewhere_are_no_loss_and_descending_brings_them():
    style = picture(8, 8)
    shuffled = RNG.permutation(style.reshape(-1, 3)).reshape(4, 16, 3)
    term = Palette(directions=6)
    target = term.target(References(content=jnp.asarray(shuffled), styles=(jnp.asarray(style),)), None)
    np.testing.assert_allclose(term.loss(jnp.asarray(shuffled), {}, target), 0, atol=1e-20)
    image = jnp.full((4, 16, 3), 0.5) + 0.1 * picture(4, 16)
    begun = term.loss(image, {}, target)
    step = jax.jit(lambda x: x - 60 * jax.grad(lambda y: term.loss(y, {}, target))(x))
    for _ in range(200):
        image = step(image)
    assert term.loss(image, {}, target) < 0.02 * begun


def test_regions_are_mixed_by_area_and_the_rest_is_the_photo():
    content, styles = picture(6, 6), [picture(5, 5), picture(4, 7)]
    left = np.zeros((6, 6))
    left[:, :3] = 1
    top = (1 - left) * (np.arange(6) < 2)[:, None]
    references = References(content=jnp.asarray(content), styles=tuple(map(jnp.asarray, styles)),
                            regions=(jnp.asarray(left), jnp.asarray(top)))
    term, image = Palette(directions=3), picture(6, 6)
    loss = term.loss(jnp.asarray(image), {}, term.target(references, None))
    np.testing.assert_allclose(loss, by_hand(image, [*styles, content], [1 / 2, 1 / 6, 1 / 3], 3), rtol=1e-9)


def test_large_pictures_are_compared_by_blocks(monkeypatch):
    monkeypatch.setattr("jaxstyle.losses.regularizers.MOST_COLOURS", 20)
    image, style = picture(9, 8), picture(4, 5)
    term = Palette(directions=3)
    target = term.target(References(content=jnp.asarray(image), styles=(jnp.asarray(style),)), None)
    blocks = image[:8].reshape(4, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_allclose(term.loss(jnp.asarray(image), {}, target), by_hand(blocks, [style], [1.0], 3),
                               rtol=1e-10)


def test_quantiles_of_shares():
    values = [jnp.array([[0.0], [1.0]]), jnp.array([[10.0]])]
    np.testing.assert_allclose(quantiles(values, [0.0, 1.0], 3)[:, 0], [10, 10, 10])
    np.testing.assert_allclose(quantiles(values, [1.0, 0.0], 2)[:, 0], [0, 1])


def test_chroma_is_what_grey_speckle_has_not():
    noise = RNG.normal(size=(8, 8, 1)) * np.ones(3)
    colours = np.array([[0.299, 0.587, 0.114]])
    coloured = picture(8, 8)
    away = coloured - (coloured * colours).sum(-1, keepdims=True)
    plain, own = (lambda x, term=term: term.loss(jnp.asarray(x), {}, ())
                  for term in (TotalVariation(), TotalVariation(chroma=3.0)))
    np.testing.assert_allclose(own(noise), plain(noise), rtol=1e-9)
    np.testing.assert_allclose(own(coloured), plain(coloured) + 3 * plain(away), rtol=1e-9)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Palette(directions=2), "at least 3"),
    (lambda: Palette().target(References(), None), "style image"),
    (lambda: Palette(blend=(1.0, 2.0)).target(
        References(content=jnp.ones((4, 4, 3)), styles=(jnp.ones((4, 4, 3)),)), None), "2 coefficients"),
])
def test_mistakes_are_named(make, message):
    with pytest.raises(JaxstyleError, match=message):
        make()
