"""The objective of torch_network.yaml: a network in PyTorch that tells a diamond's price.

An example to copy from. `train(params, trial)` is called once per trial, in a worker process, with the seed and the
number of threads that are the trial's own; on a GPU where the file's `resources` ask for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import hpo

DATA = Path(__file__).resolve().parent.parent / "data" / "diamonds.parquet"


def train(params: dict[str, Any], trial: Any) -> float:
    """The lowest RMSE of the price's logarithm on the validation rows; lower is better."""
    torch.manual_seed(trial.seed)
    torch.set_num_threads(trial.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in table(params["rows"]))
    held = torch.arange(len(x), device=device) % 5 == 0
    model = network(x.shape[1], params).to(device)
    optimizer = chosen(model, params)
    best = float("inf")
    for epoch in range(params["epochs"]):
        model.train()
        for rows in torch.randperm(int((~held).sum()), device=device).split(params["batch"]):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[~held][rows]).squeeze(1), y[~held][rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = float(nn.functional.mse_loss(model(x[held]).squeeze(1), y[held]).sqrt())
        best = min(best, loss)
        trial.report(loss, epoch)  # the curve in MLflow, and what the pruner judges by
        if trial.should_prune():
            raise hpo.Pruned()  # what was reported is kept
    trial.log_metric("parameters", sum(weight.numel() for weight in model.parameters()))
    return best


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """So many rows, categories one-hot and numbers scaled; the target is log(price), centered."""
    frame = pd.read_parquet(DATA).sample(rows, random_state=0)
    x = pd.get_dummies(frame.drop(columns="price"), dtype=float).to_numpy()
    y = np.log(frame["price"].to_numpy())
    return (x - x.mean(axis=0)) / x.std(axis=0), y - y.mean()


def network(inputs: int, params: dict[str, Any]) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(params["layers"]):
        layers += [nn.Linear(inputs, params["width"]), nn.ReLU(), nn.Dropout(params["dropout"])]
        inputs = params["width"]
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def chosen(model: nn.Module, params: dict[str, Any]) -> torch.optim.Optimizer:
    """A parameter is there only when its condition holds."""
    rate = params["learning_rate"]
    if params["optimizer"] == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=params["momentum"])
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=params["weight_decay"])
