"""Controllers: what sets the parameters of a processor."""

from nablafx.controllers.base import Controller
from nablafx.controllers.dynamic import DynamicCondController, DynamicController
from nablafx.controllers.static import QuadraticCondController, StaticCondController, StaticController

__all__ = [
    "Controller",
    "DynamicCondController",
    "DynamicController",
    "QuadraticCondController",
    "StaticCondController",
    "StaticController",
]
