"""Lets a user's own configuration files compose with the installed ones."""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

VARIABLE = "STOCKYARD_CONF"
INSTALLED = "pkg://stockyard.conf"


class UserSearchPath(SearchPathPlugin):
    """Puts $STOCKYARD_CONF, then ./conf, before the installed files.

    A user's file of a new name is one choice more; one of the same name takes the place of ours.

    It is registered when `stockyard.conf` is imported and does nothing to other Hydra applications,
    as a plugin that Hydra finds by itself would.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds the folders that exist."""
        if not any(element.path == INSTALLED for element in search_path.get_path()):
            return
        installed = Path(__file__).parent
        anchor = next(e.provider for e in search_path.get_path() if e.path == INSTALLED)
        for folder in _user_folders():
            if not folder.samefile(installed):
                search_path.prepend(
                    "stockyard-user", f"file://{folder}", SearchPathQuery(anchor, INSTALLED)
                )


def _user_folders() -> list[Path]:
    folders = [Path.cwd() / "conf"]
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser().resolve()
        if not folder.is_dir():
            raise NotADirectoryError(f"{VARIABLE} names {folder}, which is not a folder")
        # Each is put right before the installed ones, so the last one put stands nearest to them.
        folders.insert(0, folder)
    return [folder for folder in folders if folder.is_dir()]


def register_search_path() -> None:
    """Makes the plugin known to Hydra; doing it twice does no harm."""
    Plugins.instance().register(UserSearchPath)
