"""Forecast a noisy season from its past: two models side by side, and the better one kept.

python forecast.py                     as plain Python
kale run forecast.py -p weeks=104      as a pipeline
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass

from kale.sdk import artifact, log_metric, pipeline, step


@dataclass(frozen=True)
class Forecast:
    """What a model says of the weeks that it has not seen."""

    model: str
    values: list[float]

    def error(self, truth: list[float]) -> float:
        """Return the mean absolute error."""
        return sum(abs(a - b) for a, b in zip(self.values, truth, strict=True)) / len(truth)


@step(name="load")
def load_season(weeks: int, seed: int) -> list[float]:
    """Make the sales of so many weeks."""
    noise = random.Random(seed)
    print(f"{weeks} weeks")
    return [100 + 30 * math.sin(week / 52 * 2 * math.pi) + noise.gauss(0, 4) for week in range(weeks)]


@step
def split(sales: list[float], share: float) -> tuple[list[float], list[float]]:
    """Keep the last weeks for the test."""
    cut = round(len(sales) * (1 - share))
    return sales[:cut], sales[cut:]


@step(retry_count=1)
def fit(past: list[float], ahead: int, model: str) -> Forecast:
    """Forecast the weeks ahead."""
    if model == "mean":
        return Forecast(model, [sum(past) / len(past)] * ahead)
    return Forecast(model, [past[len(past) + week - 52] for week in range(ahead)])


@step
def count(values: list[float]) -> int:
    """Count the weeks."""
    return len(values)


@artifact("best", "best.json")
@step
def compare(forecasts: dict[str, Forecast], truth: list[float]) -> str:
    """Tell the errors and keep the best forecast."""
    errors = {name: forecast.error(truth) for name, forecast in forecasts.items()}
    for name, error in errors.items():
        print(f"{name:7} {error:.2f}")
        log_metric(f"{name}_error", error)
    best = min(errors, key=lambda name: errors[name])
    with open("best.json", "w", encoding="utf-8") as file:
        json.dump({"model": best, "values": forecasts[best].values}, file)
    print("best:", best)
    return best


@pipeline(name="forecast", experiment="examples")
def forecast(weeks: int = 156, seed: int = 7, test_share: float = 0.25) -> None:
    """Forecast a season with two models."""
    sales = load_season(weeks, seed)
    past, truth = split(sales, share=test_share)
    ahead = count(truth)
    forecasts = {model: fit(past, ahead, model) for model in ("mean", "season")}
    compare(forecasts, truth)


if __name__ == "__main__":
    forecast()
