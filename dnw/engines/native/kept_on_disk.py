"""Machine code that is kept on disk, where there is a place for it, so that a machine compiles it once.

numba keeps it beside the source, in the user's cache folder, or where NUMBA_CACHE_DIR says. Where none of
them can be written to (a container with a read-only file system and no home) it refuses to compile; on a full
disk, or over a quota, it fails when it has compiled; what a power cut left half-written it can't read, ever
again. A network is computed all the same: each process then compiles the code, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numba.core.caching import FunctionCache

from dnw.engines.native.options import compiled

log = logging.getLogger(__name__)

_REMEDY = "each process compiles it; let NUMBA_CACHE_DIR name a folder that can be written to"


def kept(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep the code on disk, if there is a place for it."""
    made = compiled(function)
    try:
        made._cache = _Cache(function)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    return made


def where(made: Any) -> str:
    """Return where the code of a function is kept, as the end of a sentence."""
    cache = made._cache
    return f"kept in {cache.cache_path}" if getattr(cache, "is_kept", False) else f"kept nowhere: {_REMEDY}"


class _Cache(FunctionCache):
    """Code on disk; that it can't be read or written costs time, and nothing else."""

    is_kept = True

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for some types; None if there is none, or it can't be read."""
        load: Callable[..., Any] = super().load_overload
        try:
            return load(sig, target_context)
        except Exception as error:  # a damaged pickle raises anything
            log.warning(
                "native engine: %s: code that can't be read (%r), compiled anew", self.cache_path, error
            )
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep code, in place of what can't be read, or say why it isn't kept."""
        save: Callable[..., None] = super().save_overload
        empty: Callable[[], None] = self.flush
        try:
            try:
                save(sig, data)
            except OSError:
                raise
            except Exception:  # it reads what is there, and that is damaged
                empty()
                save(sig, data)
        except OSError as error:
            self.is_kept = False
            log.warning("native engine: %s: code isn't kept there (%s)", self.cache_path, error.strerror)
