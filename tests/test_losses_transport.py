"""STROTSS' terms against loops written from the paper's equations, in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstyle.errors import JaxstyleError
from jaxstyle.losses.similarity import SelfSimilarity, similarity_loss
from jaxstyle.losses.transport import (
    LUMA,
    RelaxedTransport,
    cosine_distances,
    interpolated,
    moment_distance,
    palette_distance,
    positions,
    relaxed_transport,
)
from jaxstyle.references import References


def positive(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, shape)


def cosine_distance(a: np.ndarray, b: np.ndarray) -> float:
    return 1 - sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def loop(distance, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[distance(a, b) for b in y] for a in x])


def relaxed(costs: np.ndarray) -> float:
    return max(np.mean([min(row) for row in costs]), np.mean([min(column) for column in costs.T]))


X, Y = positive(0, 9, 5), positive(1, 12, 5)


def test_relaxed_transport_is_the_greater_one_sided_mean(x64):
    costs = loop(cosine_distance, X, Y)
    np.testing.assert_allclose(cosine_distances(jnp.asarray(X), jnp.asarray(Y)), costs, atol=1e-12)
    np.testing.assert_allclose(relaxed_transport(jnp.asarray(costs)), relaxed(costs), rtol=1e-12)
    check_grads(lambda x: relaxed_transport(cosine_distances(x, jnp.asarray(Y))), (jnp.asarray(X),), order=1,
                modes=["rev"])


def test_moments(x64):
    wanted = (np.abs(X.mean(0) - Y.mean(0)).sum() / 5 + np.abs(np.cov(X.T) - np.cov(Y.T)).sum() / 25)
    np.testing.assert_allclose(moment_distance(jnp.asarray(X), jnp.asarray(Y)), wanted, rtol=1e-12)
    check_grads(lambda x: moment_distance(x, jnp.asarray(Y)), (jnp.asarray(X),), order=1, modes=["rev"])


def test_palette(x64):
    x, y = X[:, :3] @ np.array(LUMA).T, Y[:, :3] @ np.array(LUMA).T
    costs = loop(lambda a, b: cosine_distance(a, b) + np.sqrt(max(sum((a - b) ** 2) / 3, 1e-9)), x, y)
    np.testing.assert_allclose(palette_distance(jnp.asarray(X[:, :3]), jnp.asarray(Y[:, :3])), relaxed(costs),
                               rtol=1e-9)
    same = jnp.asarray(X[:, :3])
    assert float(palette_distance(same, same)) < 1e-4
    assert np.isfinite(jax.grad(palette_distance)(same, same)).all()


def test_self_similarity(x64):
    a, b = positive(2, 7, 4), positive(3, 7, 6)

    def normalised(features: np.ndarray) -> np.ndarray:
        costs = loop(cosine_distance, features, features)
        return np.array([[costs[i, j] / sum(costs[:, j]) for j in range(7)] for i in range(7)])

    wanted = sum(sum(abs(normalised(a) - normalised(b)))) / 7
    np.testing.assert_allclose(similarity_loss(jnp.asarray(a), jnp.asarray(b)), wanted, rtol=1e-9)
    assert float(similarity_loss(jnp.asarray(a), 3 * jnp.asarray(a))) < 1e-12
    check_grads(lambda x: similarity_loss(x, jnp.asarray(b)), (jnp.asarray(a),), order=1, modes=["rev"])


def test_interpolation_is_bilinear_between_centres(x64):
    features = positive(4, 3, 4, 2)
    places = np.array([[0.5 / 3, 0.5 / 4], [1 / 3, 0.5], [0.0, 0.99], [0.7, 0.2]])

    def at(row: float, column: float) -> np.ndarray:
        y, x = row * 3 - 0.5, column * 4 - 0.5
        i, j = int(np.floor(y)), int(np.floor(x))

        def pixel(r: int, c: int) -> np.ndarray:
            return features[min(max(r, 0), 2), min(max(c, 0), 3)]

        top = (1 - (x - j)) * pixel(i, j) + (x - j) * pixel(i, j + 1)
        low = (1 - (x - j)) * pixel(i + 1, j) + (x - j) * pixel(i + 1, j + 1)
        return (1 - (y - i)) * top + (y - i) * low

    np.testing.assert_allclose(interpolated(jnp.asarray(features), jnp.asarray(places)),
                               [at(*place) for place in places], rtol=1e-12)
    centre = interpolated(jnp.asarray(features), jnp.asarray(places[:1]))
    np.testing.assert_allclose(centre[0], features[0, 0])


def test_positions_are_spread_and_differ():
    places = np.asarray(positions(jax.random.key(0), (30, 40), 50))
    assert places.shape == (50, 2) and len({tuple(place) for place in places}) == 50
    assert places.min() >= 0 and places.max() < 1
    assert all(abs(np.mean(places[:, side] < 0.5) - 0.5) < 0.2 for side in (0, 1))
    assert not np.allclose(places, positions(jax.random.key(1), (30, 40), 50))


LAYERS = ("relu1_1", "relu2_1", "relu3_1")


@pytest.fixture
def scene(network):
    references = References(content=jnp.asarray(positive(0, 24, 32, 3), jnp.float32),
                            styles=(jnp.asarray(positive(1, 28, 24, 3) ** 3, jnp.float32),), seed=5)
    return references, lambda image, layers: network.features(image, layers)


@pytest.mark.parametrize("term", [
    RelaxedTransport(layers=LAYERS, layer_weights=(1.0,) * 3, samples=40),
    SelfSimilarity(layers=LAYERS, layer_weights=(1.0,) * 3, samples=40),
])
def test_terms_draw_positions_from_their_memory(scene, term):
    references, look = scene
    target = term.target(references, look)
    image, memory = references.styles[0][:24, :24], term.memory(target)
    image = jnp.pad(image, ((0, 0), (0, 8), (0, 0)))

    def value(image, memory):
        return term.loss(image, look(image, LAYERS), target, memory)

    evaluate = jax.jit(jax.value_and_grad(value, has_aux=True))
    (first, after), grad = evaluate(image, memory)
    assert float(first) == float(evaluate(image, memory)[0][0]) > 0
    assert float(first) != float(evaluate(image, after)[0][0])
    assert np.isfinite(grad).all() and np.abs(grad).max() > 0


def test_content_is_similar_to_itself_and_weighs_less_at_greater_size(scene):
    references, look = scene
    photo, other = references.content, references.content[::-1]
    plain = SelfSimilarity(layers=LAYERS, layer_weights=(1.0,) * 3, samples=40)
    target = plain.target(references, look)
    assert float(plain.loss(photo, look(photo, LAYERS), target, plain.memory(target))[0]) < 1e-5
    full, _ = plain.loss(other, look(other, LAYERS), target, plain.memory(target))
    half = SelfSimilarity(layers=LAYERS, layer_weights=(1.0,) * 3, samples=40, full_at=16.0)
    less, _ = half.loss(other, look(other, LAYERS), target, half.memory(target))
    np.testing.assert_allclose(2 * less, full, rtol=1e-5)


def test_maps_make_wrong_matches_dear(scene):
    references, look = scene
    sky = jnp.zeros((24, 32, 2)).at[:12, :, 0].set(1).at[12:, :, 1].set(1)
    maps = References(content=references.content, styles=references.styles, seed=5, content_map=sky,
                      style_maps=(jnp.zeros((28, 24, 2)).at[:, :, 0].set(1),))
    losses = []
    for gamma in (0.0, 10.0):
        term = RelaxedTransport(layers=LAYERS, layer_weights=(1.0,) * 3, samples=40, gamma=gamma)
        target = term.target(maps, look)
        losses.append(float(term.loss(references.content, look(references.content, LAYERS), target,
                                      term.memory(target))[0]))
    assert losses[1] > losses[0] + 1


@pytest.mark.parametrize("make", [
    lambda: RelaxedTransport(layer_weights=(1.0,)), lambda: RelaxedTransport(samples=1),
    lambda: SelfSimilarity(layer_weights=(1.0,)), lambda: SelfSimilarity(samples=0),
])
def test_wrong_settings_are_refused(make):
    with pytest.raises(JaxstyleError):
        make()
