"""Gaussian-process regression for some hundred points: Matérn 5/2, one length scale a parameter, perhaps a trend or a
mean that was learned elsewhere.

Called by `gp_sampler`. The search for hyperparameters starts from the centre of their priors each time, never from the
last fit: so the same trials give the same model, whatever was asked before. Priors: Hvarfner et al., "Vanilla Bayesian
Optimization Performs Great in High Dimensions" (2024), length scales that grow with the root of the dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

from hpo.samplers.encoding import Array
from hpo.samplers.trust import kinship

Groups = npt.NDArray[np.int64]
SQRT5 = math.sqrt(5.0)
JITTER = 1e-6
STEPS = 15  # of the hyperparameters' search; it has converged to a tenth of a nat by then
BLOCK = 1 << 15  # elements of a kernel at a time: the processor's cache holds them

WORST = 1.5  # of what was learned on other data sets: a loss beyond counts as that


@dataclass(frozen=True)
class Inputs:
    """Points as a model sees them: features, functions of them to be added up with unknown weights, a known mean.

    `trust` is 1 but for results of other data, see `hpo.samplers.trust`; `noise` is 1 but for results of fewer folds.
    """

    features: Array
    lines: Array
    mean: Array
    trust: Array
    noise: Array

    @classmethod
    def plain(cls, features: Array, lines: Array | None = None) -> Inputs:
        n = len(features)
        return cls(features, np.empty((n, 0)) if lines is None else lines, np.zeros(n), np.ones(n), np.ones(n))

    def take(self, kept: Groups | slice) -> Inputs:
        return Inputs(self.features[kept], self.lines[kept], self.mean[kept], self.trust[kept], self.noise[kept])

    def join(self, other: Inputs) -> Inputs:
        return Inputs(
            np.vstack([self.features, other.features]),
            np.vstack([self.lines, other.lines]),
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self.trust, other.trust]),
            np.concatenate([self.noise, other.noise]),
        )


class Prior:
    """Log-normal priors of length scales, signal and noise variance, and the lines'; all in logarithms.

    `learned` are the signal and the noise that were left on other data sets, where the lines say how those differed.
    """

    def __init__(self, dimensions: int, lines: bool = False, learned: tuple[float, float] | None = None) -> None:
        scale = math.log(0.5) + max(0.5 * math.log(dimensions / 3), 0.0)
        variances = [*learned, 0.0] if learned else [0.0, -5.0, -2.0][: 2 + lines]
        spread = [0.5, 1.0, 0.5] if learned else [1.0, 2.25, 2.0][: 2 + lines]
        self.mean = np.array([scale] * dimensions + variances)
        self.variance = np.array([1.0] * dimensions + spread)
        limits = [(-4.0, 4.0), (-12.0, 1.0), (-9.0, 3.0)]
        self.bounds = [(math.log(0.03), math.log(30.0))] * dimensions + limits[: len(variances)]


def trend(features: Array) -> Array:
    """A straight line and a parabola along each feature."""
    x = 2 * features - 1
    return np.hstack([x, x * x - 1 / 3])


def fit(inputs: Inputs, groups: Groups, y: Array, prior: Prior) -> Array:
    """The most probable hyperparameters: log length scales, log variances of signal, noise (and lines).

    Each pair of points is looked at once, since all matrices are symmetric.
    """
    y = y - inputs.mean
    dimensions, n = int(groups[-1]) + 1, len(y)
    right, left = np.triu_indices(n)
    place, diagonal = right * n + left, np.flatnonzero(right == left)  # of the lower triangle, column by column
    squares = np.zeros((dimensions, len(place)))
    for column, group in enumerate(groups):
        values = inputs.features[:, column]
        squares[group] += np.square(values[left] - values[right])
    halves = np.where(right == left, 0.5, 1.0)  # a pair off the diagonal stands for two elements
    lines = (inputs.lines @ inputs.lines.T).ravel()[place]
    kin = kinship(inputs.trust)
    if kin is not None:
        kin = kin.ravel()[place]
        lines *= kin
    covariance = np.empty((n, n), order="F")
    flat = covariance.T.reshape(-1)

    def loss(theta: Array) -> tuple[float, Array]:
        weights = np.exp(-2 * theta[:dimensions])
        log_signal, (noise, *slopes) = theta[dimensions], np.exp(theta[dimensions + 1 :])
        r2 = (5 * weights) @ squares
        r = np.sqrt(r2)
        decay = np.exp(log_signal - r)
        if kin is not None:
            decay *= kin
        steepness = (1 + r) * decay
        kernel = steepness + r2 / 3 * decay
        known = kernel + sum(slopes) * lines if slopes else kernel.copy()
        known[diagonal] += (noise + JITTER) * inputs.noise
        flat[place] = known
        factor, failed = dpotrf(covariance, lower=1, clean=0, overwrite_a=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        determinant = np.log(factor.diagonal()).sum()
        a = dpotrs(factor, y, lower=1)[0]
        inverse = dpotri(factor, lower=1, overwrite_c=1)[0].T.reshape(-1)[place]  # a third of the work of solving
        inner = halves * (inverse - a[left] * a[right])  # d loss / d covariance
        t = theta - prior.mean
        value = 0.5 * y @ a + determinant + 0.5 * (t * t / prior.variance).sum()
        gradient = np.concatenate(
            [
                (squares @ (inner * steepness)) * (5 / 3 * weights),
                [inner @ kernel, inner[diagonal] @ inputs.noise * noise],
                [inner @ lines * slope for slope in slopes],
            ]
        )
        return float(value), gradient + t / prior.variance

    found = minimize(loss, prior.mean, jac=True, method="L-BFGS-B", bounds=prior.bounds, options={"maxiter": STEPS})
    return np.asarray(found.x)


def matched(inputs: Inputs, groups: Groups, values: Array, prior: Prior) -> Array:
    """Values moved and stretched until nothing makes them likelier: they are then in the units of the known mean.

    With covariance K and mean m the likelihood of y = a v + b, a > 0, has its maximum at a root of a quadratic.
    """
    n = len(values)
    model = GaussianProcess(inputs, groups, np.zeros(n), prior.mean)
    inverse = cho_solve((model._factor, True), np.eye(n), check_finite=False)
    ones = inverse.sum(0)
    free = inverse - np.outer(ones, ones) / ones.sum()  # of any shift
    y = (values - np.median(values)) / (values.std() or 1.0)
    for _ in range(3):
        with_mean, with_self = float(y @ free @ inputs.mean), float(y @ free @ y)
        stretch = (with_mean + math.sqrt(with_mean**2 + 4 * n * with_self)) / (2 * with_self or 1.0)
        shift = float(ones @ (inputs.mean - stretch * y)) / ones.sum()
        y = np.minimum(stretch * y + shift, WORST)
    return np.asarray(y)


class GaussianProcess:
    """The posterior at given hyperparameters. `pending` points lower the variance and leave the mean (a believer).

    Points of other data are believed as far as their trust goes, see `hpo.samplers.trust`.
    """

    def __init__(self, inputs: Inputs, groups: Groups, y: Array, theta: Array, pending: Inputs | None = None) -> None:
        dimensions = int(groups[-1]) + 1
        self._weights = SQRT5 * np.exp(-theta[:dimensions])[groups]
        self._signal, self._noise = math.exp(theta[dimensions]), math.exp(theta[dimensions + 1]) + JITTER
        self._slope = math.exp(theta[dimensions + 2]) if len(theta) > dimensions + 2 else 0.0
        self._known = len(y)
        self._see(inputs)
        self._alpha = cho_solve((self._factor, True), y - inputs.mean, check_finite=False)
        if pending is not None and len(pending.mean):
            self._see(inputs.join(pending))

    def left_out(self, y: Array) -> Array:
        """What the model says of each known point when it has seen all others (Rasmussen and Williams, 5.12)."""
        inverse = cho_solve((self._factor, True), np.eye(self._known), check_finite=False)
        return np.asarray(y - self._alpha / np.diag(inverse))

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Mean and standard deviation of the function (not of a noisy observation)."""
        size = max(1, BLOCK // len(self._points.mean))
        mean, variance = np.empty((2, len(inputs.mean)))
        for k in range(0, len(mean), size):
            part = slice(k, k + size)
            mean[part], variance[part] = self._predict(inputs.take(part))
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def _see(self, points: Inputs) -> None:
        """Points to predict from, and the factor of their covariance."""
        self._points, self._kin = points, kinship(points.trust)
        scaled, squares = self._scale(points)
        self._scaled = np.column_stack([scaled, np.ones(len(squares)), squares])
        kernel = self._kernel(points)
        if self._kin is not None:
            kernel *= self._kin
        kernel.flat[:: len(kernel) + 1] += self._noise * points.noise
        self._factor = np.asfortranarray(np.linalg.cholesky(kernel))

    def _scale(self, inputs: Inputs) -> tuple[Array, Array]:
        """In length scales, and the square of the distance from nothing."""
        scaled = inputs.features * self._weights
        return scaled, np.square(scaled).sum(1)

    def _predict(self, inputs: Inputs) -> tuple[Array, Array]:
        kernel = self._kernel(inputs)
        if self._kin is not None:
            kernel *= self._points.trust
        mean = inputs.mean + kernel[:, : self._known] @ self._alpha
        v = dtrsm(1.0, self._factor, kernel.T, lower=1, overwrite_b=1).T
        variance = self._signal - np.einsum("ij,ij->i", v, v)
        if self._slope:
            variance += self._slope * np.square(inputs.lines).sum(1)
        return mean, variance

    def _kernel(self, inputs: Inputs) -> Array:
        """A row for each of them, a column for each point that is seen."""
        scaled, squares = self._scale(inputs)
        r2 = np.column_stack([-2 * scaled, squares, np.ones(len(squares))]) @ self._scaled.T
        np.maximum(r2, 0.0, out=r2)
        r = np.sqrt(r2)
        r2 /= 3  # in place from here: this is where an ask spends its time
        r2 += r
        r2 += 1
        np.subtract(math.log(self._signal), r, out=r)
        np.exp(r, out=r)
        r2 *= r
        if self._slope:
            r2 += (self._slope * inputs.lines) @ self._points.lines.T
        return np.asarray(r2)
