"""The objective of custom_objective.yaml: a small network in plain NumPy, trained on two interleaved spirals.

An example to copy from. `train(params, trial)` is called once per trial, in a worker process.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import hpo


def train(params: dict[str, Any], trial: Any) -> float:
    """The lowest loss on the validation half; lower is better."""
    random = np.random.default_rng(trial.seed)
    x, y = spirals(400, np.random.default_rng(0))  # the same points for every trial
    x, y, held_x, held_y = x[::2], y[::2], x[1::2], y[1::2]
    size = int(params["hidden"])
    weights = [random.normal(0, 0.5, (2, size)), np.zeros(size), random.normal(0, 0.5, size), np.zeros(1)]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    best = np.inf
    step = 0
    for epoch in range(params["epochs"]):
        order = random.permutation(len(x))
        for start in range(0, len(x), params["batch"]):
            rows = order[start : start + params["batch"]]
            step += 1
            for weight, gradient, moment in zip(weights, gradients(weights, x[rows], y[rows]), moments, strict=True):
                weight -= params["learning_rate"] * direction(params, gradient, moment, step)
        loss = float(log_loss(forward(weights, held_x)[0], held_y))
        best = min(best, loss)
        trial.report(loss, epoch)  # the curve in MLflow, and what the pruner judges by
        if trial.should_prune():
            raise hpo.Pruned()  # what was reported is kept
    trial.log_metric("accuracy", float(np.mean((forward(weights, held_x)[0] > 0.5) == held_y)))
    return best


def spirals(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 2) on two spirals, and which one each lies on."""
    turn = np.sqrt(random.uniform(0.05, 1, count)) * 2 * np.pi
    label = np.arange(count) // 2 % 2  # in pairs, so that both halves of the rows hold both spirals
    angle = turn + np.pi * label
    points = np.column_stack([turn * np.cos(angle), turn * np.sin(angle)]) / np.pi
    return points + random.normal(0, 0.2, points.shape), label.astype(float)


def forward(weights: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the second spiral, and the hidden layer."""
    hidden = np.tanh(x @ weights[0] + weights[1])
    score = np.clip(hidden @ weights[2] + weights[3], -30, 30)
    return 1 / (1 + np.exp(-score)), hidden


def log_loss(probability: np.ndarray, y: np.ndarray) -> Any:
    return -np.mean(y * np.log(probability) + (1 - y) * np.log1p(-probability))


def gradients(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    probability, hidden = forward(weights, x)
    error = (probability - y) / len(y)
    back = np.outer(error, weights[2]) * (1 - hidden**2)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, np.array([error.sum()])]


def direction(params: dict[str, Any], gradient: np.ndarray, moment: list[np.ndarray], step: int) -> np.ndarray:
    """Which way to go: plain momentum, or Adam. A parameter is there only when its condition holds."""
    if params["optimizer"] == "sgd":
        moment[0] = params["momentum"] * moment[0] + gradient
        return moment[0]
    moment[0] = 0.9 * moment[0] + 0.1 * gradient
    moment[1] = params["beta2"] * moment[1] + (1 - params["beta2"]) * gradient**2
    return moment[0] / (1 - 0.9**step) / (np.sqrt(moment[1] / (1 - params["beta2"] ** step)) + 1e-8)
