"""Configurations as the commands compose them."""

from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig


def composed(*overrides: str, name: str = "config", **arguments: Any) -> DictConfig:
    """Composes a primary configuration with overrides."""
    with initialize_config_module("stockyard.conf", version_base="1.3"):
        return compose(name, overrides=list(overrides), **arguments)
