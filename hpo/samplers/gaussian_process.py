"""Gaussian-process regression for some hundred points: Matérn 5/2, one length scale a parameter, perhaps a trend.

Called by `gp_sampler`. The search for hyperparameters starts from the centre of their priors each time, never from the
last fit: so the same trials give the same model, whatever was asked before. Priors: Hvarfner et al., "Vanilla Bayesian
Optimization Performs Great in High Dimensions" (2024), length scales that grow with the root of the dimension.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from hpo.samplers.encoding import Array
from hpo.samplers.trust import kinship

Groups = npt.NDArray[np.int64]
SQRT5 = math.sqrt(5.0)
JITTER = 1e-6
STEPS = 15  # of the hyperparameters' search; it has converged to a tenth of a nat by then


class Prior:
    """Log-normal priors of length scales, signal and noise variance, and the trend's; all in logarithms."""

    def __init__(self, dimensions: int, trend: bool) -> None:
        scale = math.log(0.5) + max(0.5 * math.log(dimensions / 3), 0.0)
        self.mean = np.array([scale] * dimensions + [0.0, -5.0, -2.0][: 2 + trend])
        self.variance = np.array([1.0] * dimensions + [1.0, 2.25, 2.0][: 2 + trend])
        limits = [(-4.0, 4.0), (-12.0, 1.0), (-9.0, 3.0)]
        self.bounds = [(math.log(0.03), math.log(30.0))] * dimensions + limits[: 2 + trend]


def _basis(features: Array) -> Array:
    """A straight line and a parabola along each feature."""
    x = 2 * features - 1
    return np.hstack([x, x * x - 1 / 3])


def fit(features: Array, groups: Groups, y: Array, trend: bool = False, kin: Array | None = None) -> Array:
    """The most probable hyperparameters: log length scales, log variances of signal, noise (and trend).

    `kin`: the correlation of each two values beside that of their points, see `hpo.samplers.trust`.
    """
    dimensions = int(groups[-1]) + 1
    prior = Prior(dimensions, trend)
    n = len(y)
    squares = np.zeros((dimensions, n * n))
    for column, group in enumerate(groups):
        squares[group] += np.square(features[:, column, None] - features[:, column]).ravel()
    eye = np.eye(n)
    basis = _basis(features)
    lines = basis @ basis.T if trend else np.zeros((n, n))
    if kin is not None:
        lines *= kin

    def loss(theta: Array) -> tuple[float, Array]:
        weights = np.exp(-2 * theta[:dimensions])
        signal, noise, *slopes = np.exp(theta[dimensions:])
        r2 = (weights @ squares).reshape(n, n)
        r = np.sqrt(r2)
        decay = np.exp(-SQRT5 * r)
        if kin is not None:
            decay *= kin
        kernel = signal * (1 + SQRT5 * r + 5 / 3 * r2) * decay
        try:
            covariance = kernel + sum(slopes) * lines + (noise + JITTER) * eye
            factor = cho_factor(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        a = cho_solve(factor, y, check_finite=False)
        inner = 0.5 * (cho_solve(factor, eye, check_finite=False) - np.outer(a, a))  # d loss / d covariance
        steepness = inner * (-5 / 6 * signal) * (1 + SQRT5 * r) * decay  # d loss / d r2
        t = theta - prior.mean
        value = 0.5 * y @ a + np.log(np.diag(factor[0])).sum() + 0.5 * (t * t / prior.variance).sum()
        gradient = np.concatenate(
            [
                (squares @ steepness.ravel()) * (-2 * weights),
                [(inner * kernel).sum(), np.trace(inner) * noise],
                [(inner * lines).sum() * slope for slope in slopes],
            ]
        )
        return float(value), gradient + t / prior.variance

    found = minimize(loss, prior.mean, jac=True, method="L-BFGS-B", bounds=prior.bounds, options={"maxiter": STEPS})
    return np.asarray(found.x)


class GaussianProcess:
    """The posterior at given hyperparameters. `pending` points lower the variance and leave the mean (a believer).

    `trust` of each known point, see `hpo.samplers.trust`.
    """

    def __init__(
        self, features: Array, groups: Groups, y: Array, theta: Array, pending: Array | None = None,
        trust: Array | None = None,
    ) -> None:  # fmt: skip
        dimensions = int(groups[-1]) + 1
        self._weights = np.exp(-theta[:dimensions])[groups]
        self._signal, noise = math.exp(theta[dimensions]), math.exp(theta[dimensions + 1]) + JITTER
        self._trend = math.exp(theta[dimensions + 2]) if len(theta) > dimensions + 2 else 0.0
        self._known = len(y)
        self._trust, kin = trust, None if trust is None else kinship(trust)
        kernel = self._kernel(features, features)
        kernel = (kernel if kin is None else kernel * kin) + noise * np.eye(len(y))
        self._points, self._factor = features, np.linalg.cholesky(kernel)
        self._alpha = cho_solve((self._factor, True), y, check_finite=False)
        if pending is not None and len(pending):
            self._points = np.vstack([features, pending])
            kernel = self._kernel(self._points, self._points)
            if trust is not None and (kin := kinship(np.concatenate([trust, np.ones(len(pending))]))) is not None:
                kernel *= kin
            self._factor = np.linalg.cholesky(kernel + noise * np.eye(len(kernel)))

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function (not of a noisy observation)."""
        kernel = self._kernel(self._points, features)
        if self._trust is not None:
            kernel[: self._known] *= self._trust[:, None]
        mean = self._alpha @ kernel[: self._known]
        v = solve_triangular(self._factor, kernel, lower=True, check_finite=False, overwrite_b=True)
        variance = self._signal - np.einsum("ij,ij->j", v, v)
        if self._trend:
            variance += self._trend * np.square(_basis(features)).sum(1)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def _kernel(self, one: Array, other: Array) -> Array:
        a, b = one * self._weights, other * self._weights
        r2 = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
        np.maximum(r2, 0.0, out=r2)
        r = SQRT5 * np.sqrt(r2)
        r2 *= 5 / 3  # in place from here: this is where an ask spends its time
        r2 += r
        r2 += 1
        np.negative(r, out=r)
        np.exp(r, out=r)
        r2 *= r
        r2 *= self._signal
        if self._trend:
            r2 += self._trend * (_basis(one) @ _basis(other).T)
        return np.asarray(r2)
