"""`wiring=my_lab.growth.Slow` and `model=my_lab.nets.Tiny`: options of these groups without a file for each.

As dnw_networks.py has it for networks of libraries. What such a class has to be is checked where all
settings are (dnw/user_classes.py).
"""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

_GROUPS = ("model", "wiring")
_SCHEME = "classes"


class UserClasses(ConfigSource):
    """The groups `model` and `wiring`, as far as their options are dotted paths."""

    @staticmethod
    def scheme() -> str:
        """Return what addresses of this source begin with."""
        return _SCHEME

    def available(self) -> bool:
        """Return True: nothing is looked into here."""
        return True

    def is_group(self, config_path: str) -> bool:
        """`model` and `wiring`."""
        return config_path.strip("/") in _GROUPS

    def is_config(self, config_path: str) -> bool:
        """Any dotted name in these groups."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in _GROUPS and "." in name and "/" not in name

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what a file of this path would hold."""
        name = config_path.partition("/")[2].removesuffix(".yaml")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=OmegaConf.create({"name": name}),
            header={"package": None},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return nothing: these names are the user's."""
        return []


class UserClassesSearchPath(SearchPathPlugin):
    """Has Hydra ask that source last."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the source; Hydra calls this once."""
        search_path.append(provider="dnw", path=f"{_SCHEME}://")
