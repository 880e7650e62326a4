"""The decorators, under the name that users of Kale know."""

from kale_nb.sdk import artifact, log_metric, pipeline, step

__all__ = ["artifact", "log_metric", "pipeline", "step"]
