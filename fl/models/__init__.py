"""Models by composition: dense layers, an output type and its loss."""

from fl.models.model import Model, build_model, initial_model
from fl.models.shape import Gradient, Shape, StepRule, strict_dot

__all__ = ["Gradient", "Model", "Shape", "StepRule", "build_model", "initial_model", "strict_dot"]
