"""Gaussian-process regression for some hundred points: Matérn 5/2, one length scale a parameter, MAP by gradient.

Called by `gp_sampler`. Hyperparameters start from the centre of their priors each time, never from the last fit: so
the same trials give the same model, whatever was asked before. Priors: Hvarfner et al., "Vanilla Bayesian
Optimization Performs Great in High Dimensions" (2024), length scales that grow with the root of the dimension.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from hpo.samplers.encoding import Array

Groups = npt.NDArray[np.int64]
SQRT5 = math.sqrt(5.0)
JITTER = 1e-6


class Prior:
    """Log-normal priors of length scales, signal and noise variance; all in logarithms."""

    def __init__(self, dimensions: int) -> None:
        scale = max(math.log(0.5) + 0.5 * math.log(dimensions / 3), math.log(0.5))
        self.mean = np.array([scale] * dimensions + [0.0, -5.0])
        self.variance = np.array([1.0] * dimensions + [1.0, 2.25])
        self.bounds = [(math.log(0.03), math.log(30.0))] * dimensions + [(-4.0, 4.0), (-12.0, 1.0)]


def fit(features: Array, groups: Groups, y: Array, steps: int = 30) -> Array:
    """The hyperparameters with the highest posterior density: log length scales, log signal, log noise variance."""
    dimensions = int(groups[-1]) + 1
    prior = Prior(dimensions)
    n = len(y)
    squares = np.zeros((dimensions, n * n))
    for column, group in enumerate(groups):
        squares[group] += np.square(features[:, column, None] - features[:, column]).ravel()
    eye = np.eye(n)

    def loss(theta: Array) -> tuple[float, Array]:
        weights = np.exp(-2 * theta[:dimensions])
        signal, noise = math.exp(theta[dimensions]), math.exp(theta[dimensions + 1])
        r2 = (weights @ squares).reshape(n, n)
        r = np.sqrt(r2)
        decay = np.exp(-SQRT5 * r)
        kernel = signal * (1 + SQRT5 * r + 5 / 3 * r2) * decay
        try:
            factor = cho_factor(kernel + (noise + JITTER) * eye, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        a = cho_solve(factor, y, check_finite=False)
        inner = 0.5 * (cho_solve(factor, eye, check_finite=False) - np.outer(a, a))  # d loss / d covariance
        slope = inner * (-5 / 6 * signal) * (1 + SQRT5 * r) * decay  # d loss / d r2
        t = theta - prior.mean
        value = 0.5 * y @ a + np.log(np.diag(factor[0])).sum() + 0.5 * (t * t / prior.variance).sum()
        gradient = np.concatenate(
            [(squares @ slope.ravel()) * (-2 * weights), [(inner * kernel).sum(), np.trace(inner) * noise]]
        )
        return float(value), gradient + t / prior.variance

    found = minimize(loss, prior.mean, jac=True, method="L-BFGS-B", bounds=prior.bounds, options={"maxiter": steps})
    return np.asarray(found.x)


class GaussianProcess:
    """The posterior at given hyperparameters. `pending` points lower the variance and leave the mean (a believer)."""

    def __init__(self, features: Array, groups: Groups, y: Array, theta: Array, pending: Array | None = None) -> None:
        dimensions = int(groups[-1]) + 1
        self._weights = np.exp(-theta[:dimensions])[groups]
        self._signal, noise = math.exp(theta[dimensions]), math.exp(theta[dimensions + 1]) + JITTER
        known = features * self._weights
        kernel = self._kernel(known, known)
        factor = np.linalg.cholesky(kernel + noise * np.eye(len(y)))
        self._alpha = cho_solve((factor, True), y, check_finite=False)
        self._known, self._points, self._factor = known, known, factor
        if pending is not None and len(pending):
            self._points = np.vstack([known, pending * self._weights])
            kernel = self._kernel(self._points, self._points)
            self._factor = np.linalg.cholesky(kernel + noise * np.eye(len(kernel)))

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function (not of a noisy observation)."""
        kernel = self._kernel(self._points, features * self._weights)
        mean = self._alpha @ kernel[: len(self._known)]
        v = solve_triangular(self._factor, kernel, lower=True, check_finite=False, overwrite_b=True)
        variance = self._signal - np.einsum("ij,ij->j", v, v)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def _kernel(self, a: Array, b: Array) -> Array:
        r2 = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
        np.maximum(r2, 0.0, out=r2)
        r = SQRT5 * np.sqrt(r2)
        r2 *= 5 / 3
        r2 += r
        r2 += 1
        np.negative(r, out=r)
        np.exp(r, out=r)
        r2 *= r
        r2 *= self._signal
        return np.asarray(r2)
