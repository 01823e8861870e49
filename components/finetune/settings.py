"""Fine-tunes the base model on the group's sounds: full or LoRA, resumable at any step, checkpoints kept in the store.

Input: the latents and the dataset they were made from. Output: a pointer to the last checkpoint.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.executor import StepSettings

INPUTS = ("latents", "dataset")
OUTPUTS = ("checkpoint", "report", "metrics")
PARAMETERS = ()

# Settings that change the weights only by rounding: with other values a run continues from its checkpoints.
UNLEARNED = frozenset(
    {
        "checkpoint_every",
        "checkpoint_every_s",
        "keep_last",
        "candidates",
        "limit_s",
        "log_every",
        "validate_rows",
        "demos",
        "demo_every",
        "demo_steps",
        "demo_guidance",
        "device",
        "devices",
        "nodes",
        "threads",
        "accumulate",
        "activation_checkpointing",
        "wandb_project",
        "experiment",
    }
)

# Settings that 0.2 did not have: they count for the weights when they are set, so that runs of 0.2 go on.
ADDED = frozenset({"lora_kind", "lora_layers", "lora_start", "weights", "optimizer_state"})


class Settings(StepSettings):
    """The settings of finetune."""

    base: str = Field(default="tiny", min_length=1, description="base model; the one that encode was run with")
    mode: Literal["full", "lora"] = Field(
        default="full", description="full: all weights of the model; lora: small adapters beside them"
    )
    steps: int = Field(
        default=300, ge=1, le=10_000_000, description="optimizer steps in all; more than last time goes on from there"
    )
    batch_size: int = Field(
        default=16, ge=1, le=65_536, description="segments per optimizer step, over all GPUs and accumulation"
    )
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")
    checkpoint_every_s: float = Field(default=600.0, ge=1.0, description="seconds between checkpoints at most, for slow steps")
    keep_last: int = Field(
        default=2, ge=1, le=1000, description="checkpoints kept besides the one that ends a run; older are deleted"
    )
    candidates: int = Field(
        default=5,
        ge=1,
        le=100,
        description="checkpoints that evaluate chooses from, spread evenly over the run, the last among them; of the earlier ones only "
        "the weights are kept; 1: only the last",
    )
    learning_rate: float = Field(default=1e-4, gt=0.0, le=1.0, description="peak learning rate of AdamW")
    schedule: Literal["constant", "cosine", "inverse"] = Field(
        default="constant", description="after warm-up: constant; cosine to a tenth at the last step; inverse square root"
    )
    warmup_steps: int = Field(default=20, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(default=1e-3, ge=0.0, le=1.0, description="AdamW's decoupled weight decay")
    beta2: float = Field(default=0.999, ge=0.5, lt=1.0, description="AdamW's second moment decay")
    clip_norm: float = Field(default=1.0, ge=0.0, description="largest gradient norm; 0 does not clip")
    seed: int = Field(
        default=42, ge=0, lt=2**63, description="with the step it decides everything random: data order, noise, dropout"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="precision of the computation; fp32 is TF32 on a GPU"
    )
    weights: Literal["fp32", "bf16"] = Field(
        default="fp32", description="how the transformer's weights are kept; bf16 takes half the memory; adapters stay fp32"
    )
    optimizer_state: Literal["fp32", "bf16", "int8"] = Field(
        default="fp32", description="how AdamW's moments are kept: 8, 4 or 2 bytes a weight, in memory and in checkpoints"
    )
    accumulate: int = Field(default=1, ge=1, le=4096, description="parts a batch is computed in, to save memory; learns the same")
    activation_checkpointing: bool = Field(default=False, description="compute activations twice to save memory; learns the same")
    devices: int = Field(default=1, ge=1, le=64, description="GPUs (or processes, on a CPU) the batch is divided among")
    nodes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="machines with that many devices each; above 1 a Kubeflow TrainJob trains (on a cluster)",
    )
    device: str = Field(default="auto", pattern=r"auto|cpu|cuda", description="auto (GPUs if there are any), cpu or cuda")
    threads: int = Field(
        default=2,
        ge=1,
        le=256,
        description="threads of each process that trains on a CPU, whatever the machine has; the same number gives the same weights",
    )
    caption_dropout: float = Field(
        default=0.1, ge=0.0, le=1.0, description="share of segments trained without words (guidance needs it)"
    )
    timesteps: Literal["auto", "uniform", "logit_normal", "trunc_logit_normal", "log_snr"] = Field(
        default="auto", description="how noise levels are drawn; auto: as the base model's config says, else uniform"
    )
    train_conditioner: bool | None = Field(
        default=None, description="learn new words; default: yes where words are a table (tiny), no where they are a T5"
    )
    words_rate: float = Field(
        default=10.0,
        gt=0.0,
        le=1000.0,
        description="learning rate of a table of words, in multiples of learning_rate: new words start at 0",
    )
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0, description="decay of a running mean of the weights; 0 keeps none")
    lora_kind: Literal["lora", "rslora", "dora"] = Field(
        default="lora",
        description="mode lora: lora; rslora, scaled by lora_alpha / sqrt(lora_rank), for ranks above 32; or dora, which also learns "
        "the length of each row: often nearer to a full training at a low rank, and slower",
    )
    lora_rank: int = Field(default=16, ge=1, le=1024, description="rank of the adapters (mode lora)")
    lora_alpha: float = Field(default=16.0, gt=0.0, description="adapters are scaled by lora_alpha / lora_rank")
    lora_layers: str = Field(
        default="blocks",
        min_length=1,
        max_length=2000,
        description="linear layers of the transformer that get adapters, by comma: blocks (attention and feed-forward), attention, "
        "feed_forward, all, or parts of layers' names as in layers.3; conditioners never get any",
    )
    lora_start: str = Field(
        default="",
        max_length=500,
        description="store key of an adapter to begin with (`audiotune adapter import`); kind, rank, scale and layers are its own",
    )
    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="dropout before the adapters")
    limit_s: float = Field(
        default=0.0, ge=0.0, description="stop with a checkpoint after this many seconds of training; 0 has no limit"
    )
    log_every: int = Field(default=10, ge=1, description="steps between logged losses")
    validate_rows: int = Field(
        default=48, ge=0, description="held-out rows the validation loss is measured on at each checkpoint"
    )
    demos: int = Field(
        default=4, ge=0, le=32, description="sounds made of held-out captions, the same words and seeds each time; 0 makes none"
    )
    demo_every: int = Field(default=0, ge=0, description="steps between demos; 0: only after the last step")
    demo_steps: int | None = Field(
        default=None, ge=1, le=1000, description="denoising steps of a demo; default: the base's own, at most 30"
    )
    demo_guidance: float | None = Field(
        default=None, ge=1.0, le=30.0, description="classifier-free guidance of a demo; 1 is none; default: the base's own"
    )
    experiment: str = Field(default="audio-tune", description="MLflow experiment the run is logged to; empty: log nowhere")
    wandb_project: str = Field(default="", description="also log to this Weights & Biases project; empty: do not")

    @model_validator(mode="after")
    def _start_is_of_lora(self) -> Settings:
        if self.lora_start and self.mode != "lora":
            raise ValueError(
                'lora_start needs mode = "lora": a full training begins with its base; set mode, or leave lora_start out'
            )
        return self
