"""Names of files in options: in a YAML relative to that YAML, on the command line to the working directory."""

import os

from jsonargparse.typing import Path, register_type


class Source(str):
    """A file, a folder, a glob, `hf://name[:split]` or a bundled corpus such as `demo:train`."""

    __slots__ = ()


def _resolve(value: object) -> Source:
    if not isinstance(value, str):
        raise ValueError(f"expected the name of a file, found {value!r}")
    if "://" in value or value.startswith("demo:"):
        return Source(value)
    # jsonargparse's Path knows which YAML is being read; without a mode it checks nothing.
    return Source(os.path.normpath(Path(value, mode="").absolute))


def _as_text(value: object) -> str:
    if not isinstance(value, Source):
        raise ValueError(f"expected a Source, found {value!r}")
    return str(value)


register_type(Source, serializer=_as_text, deserializer=_resolve, type_check=lambda v, t: type(v) is t)
