"""`model=torchvision/NAME` and `model=timm/NAME`: options of the group `model` without a file for each.

Hydra asks every source of configuration in turn; this one answers for all names in these two folders, so
that they work on the command line, in sweeps and in defaults lists. Whether there is such a network is
checked where all settings are, with a message of its own (dnw/model_registry.py).
"""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from dnw import model_registry
from dnw.config import LIBRARIES

_GROUP = "model/"
_SCHEME = "networks"


class Networks(ConfigSource):
    """The group `model`, as far as its options are networks of libraries."""

    @staticmethod
    def scheme() -> str:
        """Return what addresses of this source begin with."""
        return _SCHEME

    def available(self) -> bool:
        """Return True: the libraries are only looked into when names are listed."""
        return True

    def is_group(self, config_path: str) -> bool:
        """`model`, and in it a folder for each library."""
        path = f"{config_path.strip('/')}/"
        return path == _GROUP or path in {f"{_GROUP}{library}" for library in LIBRARIES}

    def is_config(self, config_path: str) -> bool:
        """Any one name in a folder."""
        library, _, name = config_path.removeprefix(_GROUP).partition("/")
        is_ours = config_path.startswith(_GROUP) and f"{library}/" in LIBRARIES
        return is_ours and name != "" and "/" not in name

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what a file of this path would hold."""
        name = config_path.removeprefix(_GROUP).removesuffix(".yaml")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=OmegaConf.create({"name": name}),
            header={"package": None},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the folders in the group, or the names in a folder."""
        library = f"{config_path.strip('/')}/".removeprefix(_GROUP)
        if library:
            return [] if results_filter == ObjectType.GROUP else model_registry.names(library.rstrip("/"))
        return [] if results_filter == ObjectType.CONFIG else [name.rstrip("/") for name in LIBRARIES]


class NetworksSearchPath(SearchPathPlugin):
    """Has Hydra ask that source last."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the source; Hydra calls this once."""
        search_path.append(provider="dnw", path=f"{_SCHEME}://")
