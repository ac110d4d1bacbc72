"""Models by composition: dense layers, an output type and its loss."""

from fl.models.model import Gradient, Model, StepRule, build_model, initial_model

__all__ = ["Gradient", "Model", "StepRule", "build_model", "initial_model"]
