"""Recorded demand and places: the shipped data, and readers of the user's own tables."""

from stockyard.envs.data._long import PanelError
from stockyard.envs.data._shipped import Metros, load_metros, load_panel
from stockyard.envs.data.adapters import read_favorita, read_m5, read_online_retail
from stockyard.envs.data.panel import DemandPanel

__all__ = [
    "DemandPanel",
    "Metros",
    "PanelError",
    "load_metros",
    "load_panel",
    "read_favorita",
    "read_m5",
    "read_online_retail",
]
