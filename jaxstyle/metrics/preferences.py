"""What people prefer: Bradley–Terry strengths of things compared in pairs, with confidence intervals.

Bradley & Terry 1952: i beats j with probability σ(θ_i − θ_j). A draw counts as half a win of each. Every
thing also plays a few imaginary games against one of strength 0 and wins half of them, so that strengths
stay finite where one has won all its games, or where some were never compared.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from jaxstyle.errors import JaxstyleError

LEVEL, PRIOR = 0.95, 0.5
NEWTON_STEPS, CLOSE = 100, 1e-10


class Strengths(NamedTuple):
    """Of n things.

    Attributes:
      values: `[n]`, θ, their mean 0; covariance: `[n, n]` of these, from the curvature of the likelihood.
    """

    values: np.ndarray
    covariance: np.ndarray


def bradley_terry(wins: np.ndarray, prior: float = PRIOR) -> Strengths:
    """The most likely strengths (Bradley & Terry 1952; Newton's method on the concave log-likelihood).

    Args:
      wins: `[n, n]`, how often the one of the row was preferred to that of the column; draws as halves.
      prior: imaginary games of each against one of strength 0, above 0.

    Raises:
      JaxstyleError: not a square of finite numbers of at least 0, or no prior.
    """
    wins = np.array(wins, float)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not np.isfinite(wins).all() or (wins < 0).any():
        raise JaxstyleError("wins are a square table of numbers of at least 0")
    if not prior > 0:
        raise JaxstyleError(f"prior takes a number of games above 0, not {prior}")
    np.fill_diagonal(wins, 0)
    theta = np.zeros(len(wins))
    for _ in range(NEWTON_STEPS):
        slope, curvature = _derivatives(theta, wins, prior)
        step = np.linalg.solve(curvature, slope)
        # Log-odds move by at most 1: where they are far off, the curvature is too flat to be trusted.
        theta = theta + step / max(1.0, float(np.abs(step).max(initial=0)))
        if np.abs(step).max(initial=0) < CLOSE:
            break
    centre = np.eye(len(theta)) - 1 / max(1, len(theta))
    covariance = centre @ np.linalg.inv(_derivatives(theta, wins, prior)[1]) @ centre
    return Strengths(theta - theta.mean() if len(theta) else theta, covariance)


def _derivatives(theta: np.ndarray, wins: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Slope `[n]` of the log-likelihood, and its negative curvature `[n, n]`."""
    games, beats, beats_none = wins + wins.T, sigmoid(theta[:, None] - theta), sigmoid(theta)
    slope = wins.sum(1) - (games * beats).sum(1) + prior * (0.5 - beats_none)
    weight = games * beats * (1 - beats)
    own = weight.sum(1) + prior * beats_none * (1 - beats_none)
    return slope, np.diag(own) - weight


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x)."""
    return 0.5 * (1 + np.tanh(x / 2))


def chances(found: Strengths, level: float = LEVEL) -> np.ndarray:
    """The chance of each to be preferred to one of average strength: lower bound, most likely, upper bound.

    Wald's interval of θ at a confidence `level`, in probabilities.

    Returns:
      `[n, 3]`, 0 to 1.
    """
    error = normal_quantile(level) * np.sqrt(np.maximum(np.diag(found.covariance), 0))
    return sigmoid(found.values[:, None] + error[:, None] * np.array([-1.0, 0.0, 1.0]))


def wilson(wins: float, games: float, level: float = LEVEL) -> tuple[float, float]:
    """Confidence interval of a share of wins (Wilson 1927); all of 0 to 1 where there was no game."""
    if games <= 0:
        return 0.0, 1.0
    z, share = normal_quantile(level), wins / games
    middle = (share + z**2 / (2 * games)) / (1 + z**2 / games)
    half = z / (1 + z**2 / games) * np.sqrt(share * (1 - share) / games + z**2 / (4 * games**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def normal_quantile(level: float) -> float:
    """How many standard deviations to either side hold a share `level` of a normal distribution.

    Raises:
      JaxstyleError: a level outside 0 … 1.
    """
    if not 0 < level < 1:
        raise JaxstyleError(f"level takes a number between 0 and 1, not {level}")
    return NormalDist().inv_cdf((1 + level) / 2)
