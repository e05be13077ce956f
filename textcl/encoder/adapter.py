"""Adapters: small trained matrices beside the weights of a base model, which stay as they are. They need peft.

A folder of an adapter holds `adapter_config.json`, which names the base model, and `adapter_model.safetensors`, in the
layout of peft. A folder is data: of the configuration only what makes a LoRA is read, and everything else is refused.

Source: Hu et al. 2022, https://arxiv.org/abs/2106.09685 (LoRA); Kalajdzievski 2023, https://arxiv.org/abs/2312.03732
(rsLoRA); Liu et al. 2024, https://arxiv.org/abs/2402.09353 (DoRA)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.errors import UserError

if TYPE_CHECKING:
    from peft import LoraConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_KINDS = ("lora", "rslora", "dora")
_PREFIX = "base_model.model."
_NAME = "default"

# What else a configuration may hold without another vector coming of it.
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "inference_mode",
    "init_lora_weights",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "monteclora_config",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter to train.

    Args:
        kind: "lora", "rslora" (scaled by √rank) or "dora" (direction and length apart).
        rank: Columns of the small matrices; their product is scaled by 2, as with alpha = 2·rank.
    """

    kind: str
    rank: int

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """Read "lora:16".

        Raises:
            UserError: If it is something else.
        """
        kind, _, rank = text.partition(":")
        if kind not in _KINDS or not rank.isdecimal() or not 1 <= int(rank) <= 4096:
            raise UserError(
                f"expected {', '.join(_KINDS)} with a rank, such as lora:16, got {text!r}"
            )
        return cls(kind, int(rank))


@dataclass(frozen=True)
class AdapterFolder:
    """Content of the folder of an adapter.

    Args:
        path: The folder.
        base: Name or folder of the model that it belongs to.
        revision: Of the base on the hub.
        rank: As in `AdapterSpec`.
        alpha: The product of the small matrices is scaled by alpha / rank.
        targets: Layers with small matrices, by name or by the end of it.
        kind: As in `AdapterSpec`.
        bias: Which biases are part of the adapter.
        fan_in_fan_out: Whether the base keeps weights transposed, as GPT-2 does.
    """

    path: Path
    base: str
    revision: str | None
    rank: int
    alpha: float
    targets: str | Sequence[str]
    kind: str = "lora"
    bias: str = "none"
    fan_in_fan_out: bool = False

    @classmethod
    def read(cls, path: Path) -> AdapterFolder:
        """Description that the folder holds.

        Raises:
            UserError: If its configuration is damaged, of another kind, or sets what textcl does not know.
        """
        config = JsonObject.read(path / CONFIG_FILE)
        kind = config.require("peft_type", str)
        if kind != "LORA":
            raise UserError(
                f"{config.place} holds an adapter of the kind {kind}; textcl knows LORA"
            )
        read = {
            "r",
            "lora_alpha",
            "target_modules",
            "use_rslora",
            "use_dora",
            "bias",
            "fan_in_fan_out",
        }
        for key, value in config.values.items():
            if key not in read | _HARMLESS and value not in (None, False, {}, []):
                raise UserError(
                    f"{config.place} sets {key} to {value!r:.80}, which textcl does not know: merge the adapter into "
                    "its base with peft, and save that"
                )
        targets = config.values.get("target_modules")
        kinds = [
            name
            for name, on in (("rslora", "use_rslora"), ("dora", "use_dora"))
            if config.get(on, bool)
        ]
        if len(kinds) > 1:
            raise UserError(
                f"{config.place} sets both use_rslora and use_dora, which textcl does not know"
            )
        return cls(
            path,
            base=config.require("base_model_name_or_path", str),
            revision=config.get("revision", str),
            rank=config.require("r", int),
            alpha=config.require("lora_alpha", float),
            targets=targets
            if isinstance(targets, str)
            else config.require("target_modules", list[str]),
            kind=kinds[0] if kinds else "lora",
            bias=config.get("bias", str) or "none",
            fan_in_fan_out=bool(config.get("fan_in_fan_out", bool)),
        )

    def attach(self, backbone: PreTrainedModel) -> None:
        """Put the adapter into its base.

        Raises:
            UserError: If peft is not installed, or the adapter does not fit the model.
        """
        _require_peft()
        from peft import LoraConfig, set_peft_model_state_dict

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # pyright: ignore[reportArgumentType]
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
            bias=self.bias,  # pyright: ignore[reportArgumentType]
            fan_in_fan_out=self.fan_in_fan_out,
            use_rslora=self.kind == "rslora",
            use_dora=self.kind == "dora",
        )
        tensors = self._tensors()
        try:
            _inject(backbone, config, self.base, self.revision)
            outcome = set_peft_model_state_dict(backbone, tensors, adapter_name=_NAME)
        except (ValueError, RuntimeError, KeyError) as error:
            raise self._misfit(str(error).strip().splitlines()[0]) from error
        wanted = sum(parameter.requires_grad for parameter in backbone.parameters())
        if outcome.unexpected_keys or len(tensors) != wanted:
            raise self._misfit(f"it has {len(tensors)} tensors, and {wanted} were expected")

    def _tensors(self) -> dict[str, Tensor]:
        try:
            tensors = load_file(self.path / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{self.path / WEIGHTS_FILE} is no intact safetensors file: {error}"
            ) from error
        return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}

    def _misfit(self, why: str) -> UserError:
        return UserError(f"the adapter in {self.path} does not fit its base {self.base}: {why}")


def add_adapter(
    backbone: PreTrainedModel, spec: AdapterSpec, base: str, revision: str | None = None
) -> None:
    """Put a fresh adapter beside every linear layer of a model; from here on only the adapter learns.

    The vectors stay as they are, for one of the two small matrices is 0.

    Args:
        backbone: The base.
        spec: Kind and rank.
        base: Name or folder of the base, which a saved adapter names.
        revision: Of the base on the hub.

    Raises:
        UserError: If peft is not installed, or the model has an adapter already.
    """
    _require_peft()
    if has_adapter(backbone):
        raise UserError(
            "the model to start from has an adapter already: merge it first, with textcl export --backend torch"
        )
    from peft import LoraConfig

    config = LoraConfig(
        r=spec.rank,
        lora_alpha=2 * spec.rank,
        target_modules="all-linear",
        use_rslora=spec.kind == "rslora",
        use_dora=spec.kind == "dora",
    )
    _inject(backbone, config, base, revision)


def has_adapter(backbone: nn.Module) -> bool:
    """Whether the model has an adapter."""
    return bool(getattr(backbone, "peft_config", None))


def save_adapter(backbone: PreTrainedModel, folder: Path) -> None:
    """Write the adapter of a model in the layout of peft."""
    from peft import get_peft_model_state_dict

    config = _config(backbone)
    # no embedding is among them; asked to find out, peft would look for the base on the hub
    tensors = get_peft_model_state_dict(backbone, adapter_name=_NAME, save_embedding_layers=False)
    named = {
        f"{_PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()
    }
    save_file(named, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    content = {
        **config.to_dict(),
        "inference_mode": True,
        "target_modules": _targets(config),
    }
    write_json(folder / CONFIG_FILE, dict(sorted(content.items())))


def merge_adapter(backbone: PreTrainedModel) -> None:
    """Add the adapter's products to the weights of the base, and take it out; the vectors stay, to rounding."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(n, m) for n, m in backbone.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(backbone.get_submodule(parent), own, module.get_base_layer())
    del backbone.peft_config
    backbone._hf_peft_config_loaded = False  # pyright: ignore[reportPrivateUsage]
    backbone.requires_grad_(True)


def _inject(backbone: PreTrainedModel, config: LoraConfig, base: str, revision: str | None) -> None:
    config.base_model_name_or_path, config.revision = base, revision
    backbone.requires_grad_(False)
    backbone.add_adapter(config, adapter_name=_NAME)
    backbone.peft_config[_NAME].base_model_name_or_path = base
    for parameter in backbone.parameters():
        if parameter.requires_grad:  # small updates would vanish in numbers of 8 bits
            parameter.data = parameter.data.float()
    backbone.eval()


def _config(backbone: PreTrainedModel) -> LoraConfig:
    return backbone.peft_config[_NAME]  # pyright: ignore[reportReturnType]


def _targets(config: LoraConfig) -> str | list[str]:
    targets = config.target_modules
    return targets if isinstance(targets, str) else sorted(targets or ())


def _require_peft() -> None:
    if importlib.util.find_spec("peft") is None:
        raise UserError('adapters need peft: pip install "textcl-train[peft]"')
