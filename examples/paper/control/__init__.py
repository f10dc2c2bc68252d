"""Hold an agent at a wanted action: a controller of temperature or votes, and its middleware."""

from examples.paper.control.controller import ActionController, ControlStep
from examples.paper.control.middleware import ActionControlMiddleware, control_model

__all__ = ["ActionControlMiddleware", "ActionController", "ControlStep", "control_model"]
