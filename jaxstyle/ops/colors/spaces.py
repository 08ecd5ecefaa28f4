"""Colour as arrays: spaces that part lightness from colour, and colours of one picture given to another.

Everything here is pure JAX on RGB in [0, 1] with the sRGB transfer curve, `[..., 3]`, safe under `jit` and
`vmap`, and finite for grey and flat pictures.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxstyle.errors import JaxstyleError

SPACES = ("oklab", "yiq")
MATCHES = ("cholesky", "pca", "monge-kantorovich")
EPSILON = 1e-5
"""Added to the diagonal of covariances (of colours in [0, 1]), so that flat ones can be inverted."""
LUMA = (0.299, 0.587, 0.114)

_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])
_LMS_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                        [1.9779984951, -2.4285922050, 0.4505937099],
                        [0.0259040371, 0.7827717662, -0.8086757660]])
_TO_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def srgb_to_linear(rgb: Array) -> Array:
    """sRGB values as linear light (IEC 61966-2-1), `[..., 3]`; values outside [0, 1] go on smoothly."""
    bright = ((jnp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return jnp.where(rgb > 0.04045, bright, rgb / 12.92)


def linear_to_srgb(light: Array) -> Array:
    """Inverse of `srgb_to_linear`."""
    bright = 1.055 * jnp.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return jnp.where(light > 0.0031308, bright, light * 12.92)


def rgb_to_oklab(rgb: Array) -> Array:
    """sRGB `[..., 3]` as OKLab (Ottosson 2020): lightness in [0, 1], and a, b about [-0.4, 0.4]."""
    return _times(jnp.cbrt(_times(srgb_to_linear(rgb), _TO_LMS)), _LMS_TO_LAB)


def oklab_to_rgb(lab: Array) -> Array:
    """Inverse of `rgb_to_oklab`; colours that sRGB lacks come out beyond [0, 1] (see `in_gamut`)."""
    lms = _times(lab, np.linalg.inv(_LMS_TO_LAB)) ** 3
    return linear_to_srgb(_times(lms, np.linalg.inv(_TO_LMS)))


def rgb_to_yiq(rgb: Array) -> Array:
    """sRGB `[..., 3]` as YIQ: luma of weights .299, .587, .114, and two colour differences."""
    return _times(rgb, _TO_YIQ)


def yiq_to_rgb(yiq: Array) -> Array:
    """Inverse of `rgb_to_yiq`; may lie beyond [0, 1]."""
    return _times(yiq, np.linalg.inv(_TO_YIQ))


def _times(x: Array, matrix: np.ndarray) -> Array:
    """Every colour `[..., 3]` multiplied by a matrix `[3, 3]`."""
    return jnp.matmul(x, jnp.asarray(matrix.T, x.dtype), precision=lax.Precision.HIGHEST)


def split(rgb: Array, space: str = "oklab") -> tuple[Array, Array]:
    """Lightness `[..., 1]` and colour `[..., 2]` of sRGB `[..., 3]` in one of `SPACES`.

    Raises:
      JaxstyleError: an unknown space.
    """
    values = {"oklab": rgb_to_oklab, "yiq": rgb_to_yiq}[_space(space)](rgb)
    return values[..., :1], values[..., 1:]


def join(lightness: Array, colour: Array, space: str = "oklab") -> Array:
    """sRGB `[..., 3]` in [0, 1] of a lightness `[..., 1]` and a colour `[..., 2]`.

    Colours that sRGB lacks at this lightness are made paler until it has them, so that the lightness (which
    carries the drawing) is kept. A lightness beyond black and white is clipped.
    """
    back = {"oklab": oklab_to_rgb, "yiq": yiq_to_rgb}[_space(space)]
    lightness = jnp.clip(lightness, 0, 1)

    def rgb(share: Array) -> Array:
        return back(jnp.concatenate([lightness, share * colour], axis=-1))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        good = in_gamut(rgb(middle))
        return jnp.where(good, middle, low), jnp.where(good, high, middle)

    whole = jnp.ones_like(lightness)
    low, _ = lax.fori_loop(0, 12, halve, (jnp.zeros_like(lightness), whole))
    return jnp.clip(rgb(jnp.where(in_gamut(rgb(whole)), whole, low)), 0, 1)


def in_gamut(rgb: Array, slack: float = 1e-4) -> Array:
    """Whether all three values `[..., 3]` are in [0, 1] but for `slack`, as `[..., 1]`."""
    return jnp.all((rgb >= -slack) & (rgb <= 1 + slack), axis=-1, keepdims=True)


def _space(name: str) -> str:
    if name not in SPACES:
        raise JaxstyleError(f"colour space '{name}' is not one of {', '.join(SPACES)}")
    return name


def greyed(image: Array, space: str = "oklab") -> Array:
    """The lightness of a picture `[H, W, 3]` as a grey picture `[H, W, 3]`."""
    lightness, colour = split(image, space)
    return join(lightness, jnp.zeros_like(colour), space)


def shifted_luminance(style: Array, content: Array, space: str = "oklab", spread: bool = False) -> Array:
    """The style `[h, w, 3]` in grey, its mean lightness moved to that of the content `[H, W, 3]`.

    The preparation of luminance-only transfer (Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving Color
    in Neural Artistic Style Transfer", section 3.2).

    Args:
      spread: also give it the content's standard deviation, as that paper's equation does.
    """
    ours, colour = split(style, space)
    theirs, _ = split(content, space)
    away = ours - jnp.mean(ours)
    if spread:
        away = away * jnp.std(theirs) / jnp.sqrt(jnp.var(ours) + EPSILON)
    return join(away + jnp.mean(theirs), jnp.zeros_like(colour), space)


def with_colours_of(image: Array, photo: Array, space: str = "oklab") -> Array:
    """The lightness of an image `[H, W, 3]` with the colours of a photo of equal shape."""
    lightness, _ = split(image, space)
    _, colour = split(photo, space)
    return join(lightness, colour, space)


def moments(image: Array) -> tuple[Array, Array]:
    """Mean `[3]` and covariance `[3, 3]` of the colours of a picture `[H, W, 3]`."""
    flat = image.reshape(-1, image.shape[-1])
    mean = jnp.mean(flat, axis=0)
    centred = flat - mean[None]
    return mean, jnp.matmul(centred.T, centred, precision=lax.Precision.HIGHEST) / flat.shape[0]


def colour_map(source: Array, target: Array, method: str = "monge-kantorovich") -> Array:
    """A matrix T `[3, 3]` with T S Tᵀ = C for covariances S (`source`) and C (`target`), `[3, 3]` each.

    "cholesky": L_C L_S⁻¹; "pca": C^½ S^-½; "monge-kantorovich": S^-½ (S^½ C S^½)^½ S^-½, the symmetric one,
    which moves colours least (Pitié & Kokaram 2007). `EPSILON` is added to both diagonals first (Gatys et al.
    2016, section 3.1).

    Raises:
      JaxstyleError: an unknown method.
    """
    if method not in MATCHES:
        raise JaxstyleError(f"colour match '{method}' is not one of {', '.join(MATCHES)}")
    identity = EPSILON * jnp.eye(source.shape[0], dtype=source.dtype)
    source, target = source + identity, target + identity
    def dot(a: Array, b: Array) -> Array:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

    if method == "cholesky":
        ours, theirs = jnp.linalg.cholesky(source), jnp.linalg.cholesky(target)
        return jax.scipy.linalg.solve_triangular(ours, theirs.T, lower=True, trans=1).T
    root, inverse = _roots(source)
    if method == "pca":
        return dot(_roots(target)[0], inverse)
    middle = _roots(dot(dot(root, target), root))[0]
    return dot(dot(inverse, middle), inverse)


def _roots(matrix: Array) -> tuple[Array, Array]:
    """Symmetric square root of a positive matrix `[n, n]`, and its inverse."""
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    root = jnp.sqrt(jnp.maximum(values, jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(values))))

    def scaled(scale: Array) -> Array:
        return jnp.matmul(vectors * scale[None], vectors.T, precision=lax.Precision.HIGHEST)

    return scaled(root), scaled(1 / root)


def matched(image: Array, photo: Array, method: str = "monge-kantorovich") -> Array:
    """An image `[h, w, 3]` with the mean and covariance of the colours of a photo `[H, W, 3]`, not clipped.

    Where it is flatter than `EPSILON` it stays flat.
    """
    mean, covariance = moments(image)
    wanted_mean, wanted = moments(photo)
    transform = colour_map(covariance, wanted, method)
    moved = jnp.matmul(image - mean[None, None], transform.T, precision=lax.Precision.HIGHEST)
    return moved + wanted_mean[None, None]
