"""The model: pixels -> CLIP or SigLIP -> projector -> MiniMind -> logits.

Towers are transformers' own; the language model is Qwen3 with other feed-forward layers and norms.
What is written here besides is the projector, the experts, and where images go.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
    Qwen3Model,
)
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import (
    LlavaCausalLMOutputWithPast,
    LlavaModelOutputWithPast,
)
from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP, Qwen3RMSNorm
from transformers.utils.output_capturing import OutputRecorder

from vlm.errors import RequestError
from vlm.families.common import ImagesDoNotCount
from vlm.families.minimind_v import weights
from vlm.families.minimind_v.configuration import MiniMindTextConfig, MiniMindVConfig

# ---- language model ----


class SquaringRMSNorm(Qwen3RMSNorm):
    """Of the seed generation: squares before it goes to float32."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        normed = hidden_states.float() * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * normed.to(hidden_states.dtype)


class ScalingRMSNorm(Qwen3RMSNorm):
    """Of minimind-3v: scales before it leaves float32."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden = hidden_states.float()
        variance = hidden.pow(2).mean(-1, keepdim=True)
        normed = self.weight * (hidden * torch.rsqrt(variance + self.variance_epsilon))
        return normed.to(hidden_states.dtype)


NORMS = {"seed": SquaringRMSNorm, "mid": Qwen3RMSNorm, "head": ScalingRMSNorm}


class MiniMindRouter(nn.Module):
    """Chooses the experts of every token."""

    def __init__(self, config: MiniMindTextConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.renormalises = config.renormalises
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of all experts, weights and numbers of the chosen ones.

        Args:
            hidden: (batch, tokens, width).

        Returns:
            (batch, tokens, experts), and twice (batch, tokens, chosen).
        """
        scores = functional.linear(hidden, self.weight).softmax(dim=-1)
        chosen_scores, chosen = scores.topk(self.top_k, dim=-1)
        if self.renormalises:
            chosen_scores = chosen_scores / (chosen_scores.sum(dim=-1, keepdim=True) + 1e-20)
        return scores, chosen_scores, chosen


class MiniMindExperts(nn.Module):
    """A weighted sum of the chosen feed-forward layers, plus those that all tokens share.

    Every expert is a module of its own, so that its layers can be held in 4 bits.
    """

    def __init__(self, config: MiniMindTextConfig) -> None:
        super().__init__()
        width: Any = config.moe_intermediate_size or config.intermediate_size
        self.gate = MiniMindRouter(config)
        self.experts = nn.ModuleList(_mlp(config, width) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(
            _mlp(config, width) for _ in range(config.shared_experts)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, width) -> the same."""
        _, weights_of, chosen = self.gate(hidden)
        flat = hidden.flatten(0, -2)  # (tokens of the batch, width)
        weights_of, chosen = weights_of.flatten(0, -2), chosen.flatten(0, -2)  # (tokens, chosen)
        mixed = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            if len(rows):
                said = expert(flat[rows]) * weights_of[rows, places, None]
                mixed = mixed.index_add(0, rows, said.to(mixed.dtype))
        mixed = mixed.view_as(hidden)  # (batch, tokens, width)
        for expert in self.shared_experts:
            mixed = mixed + expert(hidden)
        return mixed


def _mlp(config: MiniMindTextConfig, width: int) -> Qwen3MLP:
    """A feed-forward layer whose inner width is not that of the configuration."""
    mlp = Qwen3MLP(config)
    if width != config.intermediate_size:
        mlp.gate_proj = nn.Linear(config.hidden_size, width, bias=False)
        mlp.up_proj = nn.Linear(config.hidden_size, width, bias=False)
        mlp.down_proj = nn.Linear(width, config.hidden_size, bias=False)
    return mlp


def balance_loss(scores: Tensor, config: MiniMindTextConfig) -> Tensor:
    """What one layer adds to the loss in training, so that no expert is left out.

    alpha * mean over sequences of sum_e f_e P_e, where f_e counts how often expert e was chosen
    over how often it would be if all were chosen alike, and P_e is its mean score. Without
    `seq_aux` all sequences count as one; minimind-3v then adds up the chosen ones of a token.

    Args:
        scores: (batch, tokens, experts), after the softmax.
    """
    batch, tokens, experts = scores.shape
    top_k = config.num_experts_per_tok
    if not config.seq_aux:
        scores = scores.reshape(1, batch * tokens, experts)
    chosen = scores.topk(top_k, dim=-1).indices  # (sequences, tokens, chosen)
    count = functional.one_hot(chosen, experts).sum(dim=(1, 2))  # (sequences, experts)
    expected = scores.shape[1] * top_k / experts
    load = count.to(scores.dtype) / expected
    loss = (load * scores.mean(dim=1)).sum(dim=1).mean()
    times = top_k if config.generation == "head" else 1
    return loss * config.aux_loss_alpha * times


class MiniMindTextModel(Qwen3Model):
    """MiniMind without its head."""

    config: MiniMindTextConfig
    _can_record_outputs: ClassVar[dict[str, Any]] = {
        **cast(dict, Qwen3Model._can_record_outputs),
        "router_scores": OutputRecorder(MiniMindRouter, index=0),
    }

    def __init__(self, config: MiniMindTextConfig) -> None:
        super().__init__(config)
        for layer in cast(Any, self.layers):
            if config.num_experts:
                layer.mlp = MiniMindExperts(config)
            if config.generation != "head":
                layer.self_attn.q_norm = layer.self_attn.k_norm = nn.Identity()
        kind = NORMS[config.generation]
        for name, module in list(self.named_modules()):
            if isinstance(module, Qwen3RMSNorm):
                self.set_submodule(name, kind(len(module.weight), eps=config.rms_norm_eps))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MiniMindRouter):
            init.normal_(module.weight, std=self.config.initializer_range)


# ---- the whole ----


class MiniMindVProjector(nn.Module):
    """One linear layer; in minimind-3v a norm and two linear layers with a GELU between."""

    def __init__(self, config: MiniMindVConfig) -> None:
        super().__init__()
        width, inner = config.vision.hidden_size, config.text.hidden_size
        self.deep = config.generation == "head"
        self.linear_1 = nn.Linear(width, inner)
        if self.deep:
            self.layer_norm = nn.LayerNorm(width)
            self.act = ACT2FN["gelu"]
            self.linear_2 = nn.Linear(inner, inner)

    def forward(self, features: Tensor) -> Tensor:
        """(images, tokens, width of the tower) -> (images, tokens, width)."""
        if not self.deep:
            return self.linear_1(features)
        return self.linear_2(self.act(self.linear_1(self.layer_norm(features))))


@dataclass
class MiniMindVModelOutput(LlavaModelOutputWithPast):
    """Hidden states.

    Attributes:
        router_scores: of each layer (batch, tokens, experts); only in training.
    """

    router_scores: tuple[Tensor, ...] | None = None


class MiniMindVModel(LlavaModel):
    """Tower, projector and language model."""

    config: MiniMindVConfig

    def __init__(self, config: MiniMindVConfig) -> None:
        LlavaPreTrainedModel.__init__(self, cast(Any, config))
        self.vision_tower = AutoModel.from_config(config.vision, trust_remote_code=False)
        self.multi_modal_projector = MiniMindVProjector(config)
        self.language_model = AutoModel.from_config(config.text, trust_remote_code=False)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, **_: object) -> BaseModelOutputWithPooling:
        """Features of images for the language model. The tower never learns.

        Args:
            pixel_values: (images, 3, height, width), normalised; axes before these are joined.

        Returns:
            `pooler_output` (images, tokens, width of the language model), and the tower's own.
        """
        pixels = pixel_values.flatten(0, -4).to(self.vision_tower.dtype)
        with torch.no_grad():
            outputs = self.vision_tower(pixels, return_dict=True)
        features = outputs.last_hidden_state  # (images, positions, width of the tower)
        if self.config.generation != "head":
            features = features[:, 1:]  # without the class token
        outputs.pooler_output = self.multi_modal_projector(features)
        return outputs

    def get_placeholder_mask(
        self, input_ids: Tensor | None, inputs_embeds: Tensor, image_features: Tensor
    ) -> Tensor:
        """Where features go: (batch, tokens, 1).

        Raises:
            ValueError: there are no ids to find them by.
            RequestError: there are not as many placeholders as features.
        """
        if input_ids is None:
            raise ValueError("images need input_ids; embeddings do not tell where they go")
        mask = input_ids == self.config.image_token_id  # (batch, tokens)
        found, expected = int(mask.sum()), image_features.shape[:-1].numel()
        if found != expected:
            raise RequestError("placeholder_count", found=found, expected=expected)
        return mask.unsqueeze(-1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> MiniMindVModelOutput:
        """As natively; `input_ids` may hold placeholders that are no words of the vocabulary.

        Raises:
            ValueError: ids and embeddings, or pixels and their features, are both given.
            RequestError: there are not as many placeholders as features.
        """
        if (input_ids is None) is (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("give either pixel_values or mm_encoder_outputs")
        if inputs_embeds is None:
            assert input_ids is not None
            image = input_ids == self.config.image_token_id  # (batch, tokens)
            words = input_ids.masked_fill(image, self.config.text_token_id)
            inputs_embeds = cast(Tensor, self.get_input_embeddings()(words))
        features = None
        encoded = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            encoded = self.get_image_features(pixel_values)
        if encoded is not None:
            features = cast(Tensor, encoded.pooler_output).to(inputs_embeds)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds, features)
            inputs_embeds = inputs_embeds.masked_scatter(mask, features)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return MiniMindVModelOutput(**outputs, image_hidden_states=cast(Any, features))


@dataclass
class MiniMindVOutput(LlavaCausalLMOutputWithPast):
    """What the model says.

    Attributes:
        aux_loss: the part of the loss that spreads tokens over experts; None outside training.
    """

    aux_loss: Tensor | None = None


class MiniMindVForConditionalGeneration(ImagesDoNotCount, LlavaForConditionalGeneration):
    """The model with its head, which shares the weights of the embedding."""

    config: MiniMindVConfig

    def __init__(self, config: MiniMindVConfig) -> None:
        LlavaPreTrainedModel.__init__(self, cast(Any, config))
        self.model = MiniMindVModel(config)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> MiniMindVOutput:
        """As natively; in training the loss has the part of the experts in it.

        Args:
            labels: (batch, tokens); -100 and placeholders do not count.
        """
        text = self.config.text
        balances = self.training and text.num_experts > 0 and text.aux_loss_alpha > 0
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            output_router_scores=balances,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = auxiliary = None
        if balances:
            auxiliary = sum(balance_loss(each, text) for each in outputs.router_scores)
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=text.vocab_size, **kwargs
            )
            loss = loss if auxiliary is None else loss + auxiliary
        return MiniMindVOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            aux_loss=cast(Any, auxiliary),
        )

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """As natively; by default under the published names, with the tower among them."""
        self._weight_conversions = weights.published(self.config.generation)
        super().save_pretrained(save_directory, **kwargs)


AutoModel.register(MiniMindTextConfig, MiniMindTextModel, exist_ok=True)
AutoModel.register(MiniMindVConfig, MiniMindVModel, exist_ok=True)
AutoModelForImageTextToText.register(
    MiniMindVConfig, MiniMindVForConditionalGeneration, exist_ok=True
)
