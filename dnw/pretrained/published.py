"""The weights that torchvision and timm publish: which file they are, where it is kept, and its download.

Which file it is stands in the installed sources, which are read by their syntax: importing torch takes
seconds. Files are where the libraries themselves look for them: what they have fetched is found, and what is
fetched here they find.
"""

from __future__ import annotations

import ast
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dnw import model_registry
from dnw.config import ConfigError
from shards.errors import ShardError
from shards.sources.download import download

_HUB = "https://huggingface.co"
_NAMES = ("model.safetensors", "pytorch_model.bin")  # in a repository of that hub


@dataclass(frozen=True)
class Published:
    """A file of weights.

    Attributes:
        url: where it is.
        repository: of the Hugging Face hub, owner and name; "": none, torch.hub keeps the file.
        names: of the file there, the first that there is.
    """

    url: str
    repository: str = ""
    names: tuple[str, ...] = ()

    @property
    def _name(self) -> str:
        return self.url.rpartition("/")[2]

    def cached(self) -> Path | None:
        """Return the file, if it was fetched before."""
        if not self.repository:
            path = _torch_hub() / self._name
            return path if path.is_file() else None
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  (slow to import)

        found = (try_to_load_from_cache(self.repository, name) for name in self.names)
        return next((Path(path) for path in found if isinstance(path, str)), None)

    def is_at(self, path: str) -> bool:
        """Return whether a path, which needn't exist, is one that `cached` would give."""
        folder = f"models--{self.repository.replace('/', '--')}"
        return folder in Path(path).parts if self.repository else path == str(_torch_hub() / self._name)

    def fetch(self) -> Path:
        """Download the file to where the library keeps it.

        Raises:
            ConfigError: there is no way to it from here.
        """
        try:
            return self._from_the_hub() if self.repository else self._from_its_address()
        except (OSError, ValueError, ShardError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"init: {self.url} isn't in the cache, and can't be fetched ({reason}); fetch it where "
                "there is internet, and name it with init=FILE"
            ) from None

    def _from_its_address(self) -> Path:
        path = _torch_hub() / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        known = re.search(r"-([0-9a-f]{8,})\.\w+$", path.name)  # of its SHA-256, as torch.hub has it
        own = path.with_name(
            f"{path.name}.{socket.gethostname()}-{os.getpid()}.tmp"
        )  # others may fetch it, too
        download(self.url, path, known[1] if known else "", "sha256", through=own)
        return path

    def _from_the_hub(self) -> Path:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415  (slow to import)
        from huggingface_hub.errors import RemoteEntryNotFoundError  # noqa: PLC0415

        for name in self.names[:-1]:
            try:
                return Path(hf_hub_download(self.repository, name))
            except RemoteEntryNotFoundError:  # an older repository has the other file
                continue
        return Path(hf_hub_download(self.repository, self.names[-1]))


def find(model: str) -> Published:
    """Return the weights that a library publishes for a network, those that it takes by default.

    Args:
        model: torchvision/NAME or timm/NAME.

    Raises:
        ConfigError: there are none that could be told, or they are in a form of their own.
    """
    library, _, name = model.partition("/")
    tree = ast.parse(model_registry.source(library, name))
    found = _of_torchvision(tree, name) if library == "torchvision" else _of_timm(tree, name)
    if found is None:
        raise ConfigError(f"init: {library} publishes no weights for model={model}; init=FILE takes others")
    return found


def _torch_hub() -> Path:
    """Return the folder in which torch.hub keeps weights."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = os.path.expanduser(os.environ.get("TORCH_HOME") or cache / "torch")  # noqa: PTH111  (pathlib's raises)
    return Path(home, "hub", "checkpoints")


def _of_torchvision(tree: ast.Module, name: str) -> Published | None:
    (function,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name)
    arguments = [*function.args.args, *function.args.kwonlyargs]
    hint = next(
        (ast.unparse(one.annotation) for one in arguments if one.arg == "weights" and one.annotation), ""
    )
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    chosen = next((classes[word] for word in re.findall(r"\w+", hint) if word in classes), None)
    values = {
        target.id: one.value
        for one in (chosen.body if chosen else ())
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    default = values.get("DEFAULT")
    weights = values.get(default.id) if isinstance(default, ast.Name) else None
    url = _keywords(weights).get("url")
    return Published(url) if isinstance(url, str) and url else None


def _of_timm(tree: ast.Module, name: str) -> Published | None:
    """Return the weights that timm takes: the first that it lists, unless a * or no tag marks others."""
    found: list[tuple[str, dict[str, object]]] = []
    is_marked = False
    for key, given in _listed(tree):
        architecture, _, tag = key.partition(".")
        if architecture != name or not (given.get("url") or given.get("hf_hub_id")):
            continue
        is_first = not tag or (tag.endswith("*") and not is_marked)
        is_marked |= is_first
        found.insert(0 if is_first else len(found), (tag.strip("*"), given))
    if not found:
        return None
    tag, given = found[0]
    if given.get("custom_load"):
        raise ConfigError(
            f"init: timm's weights for model=timm/{name} are in a form of their own; save its "
            "state_dict() with torch.save, and name that with init=FILE"
        )
    repository, url = str(given.get("hf_hub_id") or ""), given.get("url")
    if not repository:
        return Published(url) if isinstance(url, str) and url else None
    if repository.endswith("/"):
        repository += f"{name}.{tag}" if tag else name
    file = given.get("hf_hub_filename")
    names = (str(file),) if file else _NAMES
    return Published(f"{_HUB}/{repository}/resolve/main/{names[0]}", repository, names)


def _listed(tree: ast.Module) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the entries of timm's tables of weights, as far as they are written out."""
    tables = {
        ast.unparse(one.targets[0]): one.value
        for one in tree.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Dict)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "generate_default_cfgs":
            table = tables.get(ast.unparse(node.args[0]), node.args[0])
            entries = zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ()
            yield from (
                (str(key.value), _keywords(value)) for key, value in entries if isinstance(key, ast.Constant)
            )


def _keywords(call: ast.expr | None) -> dict[str, object]:
    """Return the plain values that a call is given; the first one without a name is an address."""
    if not isinstance(call, ast.Call):
        return {}
    given = {"url": call.args[0]} if call.args else {}
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    return {name: value.value for name, value in given.items() if isinstance(value, ast.Constant)}
