"""The Hydra configuration groups of the commands, as a package so that they ship in the wheel.

Importing it makes the schemas of the primary configurations known to Hydra, which is why a
misspelt key is refused, and puts a user's own configuration files in the search path.
"""

from stockyard.conf.schema import register_schemas
from stockyard.conf.search_path import register_search_path

register_schemas()
register_search_path()
