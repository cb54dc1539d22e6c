"""Configs as they stand on the hub, each written by the release of its time, and what they come down to."""

import math

import pytest

from rl_reason.errors import UsageError
from rl_reason.models.config import Experts, Latent
from rl_reason.models.families import FAMILIES, model_config
from rl_reason.models.weights import count

LLAMA_3_1_8B = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "rope_scaling": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "transformers_version": "4.42.3", "use_cache": True, "vocab_size": 128256,
}  # fmt: skip
DEEPSEEK_MATH_7B = {
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 100000, "eos_token_id": 100001, "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 30, "num_key_value_heads": 32,
    "pretraining_tp": 1, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 102400,
}  # fmt: skip
QWEN_2_5_MATH_7B = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
    "hidden_act": "silu", "hidden_size": 3584, "initializer_range": 0.02, "intermediate_size": 18944,
    "max_position_embeddings": 4096, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28,
    "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 10000,
    "sliding_window": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
    "use_mrope": False, "use_sliding_window": False, "vocab_size": 152064,
}  # fmt: skip
MISTRAL_7B = {
    "architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32000,
}  # fmt: skip
GEMMA_2_2B = {
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02,
    "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8,
    "num_hidden_layers": 26, "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32", "vocab_size": 256000,
}  # fmt: skip
GEMMA_3_1B = {
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attn_logit_softcapping": None,
    "eos_token_id": [1, 106], "final_logit_softcapping": None, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "initializer_range": 0.02,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text",
    "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16", "vocab_size": 262144,
}  # fmt: skip
PHI_4 = {
    "architectures": ["Phi3ForCausalLM"], "attention_bias": False, "embd_pdrop": 0.0, "hidden_act": "silu",
    "hidden_size": 5120, "initializer_range": 0.02, "intermediate_size": 17920, "max_position_embeddings": 16384,
    "model_type": "phi3", "num_attention_heads": 40, "num_hidden_layers": 40, "num_key_value_heads": 10,
    "original_max_position_embeddings": 16384, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling": None,
    "rope_theta": 250000, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "vocab_size": 100352, "bos_token_id": 100257, "eos_token_id": 100265, "pad_token_id": 100257,
}  # fmt: skip
PHI_4_MINI = PHI_4 | {
    "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 131072, "num_attention_heads": 24,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "original_max_position_embeddings": 4096,
    "partial_rotary_factor": 0.75, "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": True,
    "rope_scaling": {"long_factor": [2.0] * 48, "short_factor": [1.0] * 48, "type": "longrope"}, "vocab_size": 200064,
    "bos_token_id": 199999, "eos_token_id": 199999, "pad_token_id": 199999,
}  # fmt: skip
OLMO_2_7B = {
    "architectures": ["Olmo2ForCausalLM"], "attention_bias": False, "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "olmo2",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 500000, "tie_word_embeddings": False, "torch_dtype": "float32",
    "vocab_size": 100352,
}  # fmt: skip
SMOLLM3_3B = {
    "architectures": ["SmolLM3ForCausalLM"], "attention_bias": False, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 65536, "mlp_bias": False,
    "model_type": "smollm3", "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0] * 9,
    "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 5000000.0, "sliding_window": None, "torch_dtype": "bfloat16",
    "use_sliding_window": False, "vocab_size": 128256, "pad_token_id": 128004,
}  # fmt: skip
MIXTRAL_8X7B = {
    "architectures": ["MixtralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32,
    "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "output_router_logits": False, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
    "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32000,
}  # fmt: skip
QWEN_3_30B_A3B = {
    "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 6144,
    "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe",
    "moe_intermediate_size": 768, "norm_topk_prob": True, "num_attention_heads": 32, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
DEEPSEEK_V2_LITE = {
    "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": False, "aux_loss_alpha": 0.001,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"}, "first_k_dense_replace": 1,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 10944,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "norm_topk_prob": False, "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27,
    "num_key_value_heads": 16, "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax",
    "rope_scaling": {
        "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 4096, "type": "yarn",
    },
    "tie_word_embeddings": False, "topk_group": 1, "topk_method": "greedy", "torch_dtype": "bfloat16",
    "v_head_dim": 128, "vocab_size": 102400,
}  # fmt: skip
DEEPSEEK_R1 = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "ep_size": 1,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "first_k_dense_replace": 3,
    "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1,
    "norm_topk_prob": True, "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
    "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 2.5,
    "rope_scaling": {
        "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096, "type": "yarn",
    },
    "scoring_func": "sigmoid", "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip

PARAMETERS = [
    (LLAMA_3_1_8B, 8_030_261_248),
    (DEEPSEEK_MATH_7B, 6_910_365_696),
    (QWEN_2_5_MATH_7B, 7_615_616_512),
    (MISTRAL_7B, 7_241_732_096),
    (GEMMA_2_2B, 2_614_341_888),
    (GEMMA_3_1B, 999_885_952),
    (PHI_4, 14_659_507_200),
    (PHI_4_MINI, 3_836_021_760),
    (OLMO_2_7B, 7_298_617_344),
    (SMOLLM3_3B, 3_075_098_624),
    (MIXTRAL_8X7B, 46_702_792_704),
    (QWEN_3_30B_A3B, 30_532_122_624),
    (DEEPSEEK_V2_LITE, 15_706_484_224),
    # Without the layer that predicts a second token, and with the choice's biases.
    (DEEPSEEK_R1, 671_026_419_200),
]


@pytest.mark.parametrize("hf, parameters", PARAMETERS, ids=[hf["model_type"] for hf, _ in PARAMETERS])
def test_number_of_parameters(hf, parameters):
    assert count(model_config(hf)) == parameters


def test_every_family_is_here():
    assert {hf["model_type"] for hf, _ in PARAMETERS} == FAMILIES.keys() - {"qwen3"}


def test_llama_3_1_stretches_long_waves_only():
    """`scale_freqs` of the paper's code: waves of over 8192 tokens eight times as long, of under 2048 as they are."""
    rope = model_config(LLAMA_3_1_8B).ropes[0]
    plain = [500000.0 ** (-2 * i / 128) for i in range(64)]
    for made, old in zip(rope.frequencies, plain, strict=True):
        wave = 2 * math.pi / old
        if wave < 8192 / 4:
            assert made == pytest.approx(old)
        elif wave > 8192:
            assert made == pytest.approx(old / 8)
        else:
            assert old / 8 < made < old


def test_windows():
    assert set(model_config(MISTRAL_7B).layer_windows) == {4096}
    assert set(model_config(QWEN_2_5_MATH_7B).layer_windows) == {0}
    assert model_config(GEMMA_2_2B).layer_windows[:4] == (4096, 0, 4096, 0)
    gemma3 = model_config(GEMMA_3_1B)
    assert gemma3.layer_windows[:7] == (512,) * 5 + (0, 512)
    assert gemma3.layer_ropes[:7] == (0,) * 5 + (1, 0)
    slow = [rope.frequencies[1] for rope in gemma3.ropes]
    assert slow == pytest.approx([10000 ** (-1 / 128), 1000000 ** (-1 / 128)])


def test_gemma_2():
    config = model_config(GEMMA_2_2B)
    assert (config.attention_softcap, config.final_softcap, config.norm_offset) == (50.0, 30.0, 1.0)
    assert config.query_scale == 1 / 16 and config.embed_scale == 48.0
    assert config.tie_embeddings and config.activation == "gelu_tanh" and config.pre_norm and config.post_norm


def test_phi_4_mini_turns_three_quarters_of_a_head_and_has_two_sets_of_frequencies():
    config = model_config(PHI_4_MINI)
    rope = config.ropes[0]
    assert config.head_dim == 128 and len(rope.frequencies) == len(rope.long_frequencies) == 48
    assert rope.original_positions == 4096
    assert rope.factor == pytest.approx(math.sqrt(1 + math.log(32) / math.log(4096)))
    assert rope.frequencies[0] == 1.0 and rope.long_frequencies[0] == 0.5


def test_smollm3_has_no_positions_in_every_fourth_layer():
    assert model_config(SMOLLM3_3B).layer_ropes == (0, 0, 0, -1) * 9


def test_deepseek():
    r1 = model_config(DEEPSEEK_R1)
    assert r1.latent == Latent(query_rank=1536, rank=512, plain_dim=128, rope_dim=64, value_dim=128)
    assert r1.experts == Experts(
        count=256, per_token=8, width=2048, shared_width=2048, first_dense=3, score="sigmoid", normalize=True,
        scale=2.5, groups=8, kept_groups=4,
    )  # fmt: skip
    # 0.1 · ln(40) + 1, squared: the model's card and code multiply the scores by it.
    assert r1.query_scale == pytest.approx(192**-0.5 * 1.3688879454**2)
    assert r1.ropes[0].factor == 1.0 and r1.ropes[0].interleaved
    assert r1.cached == (1, 576, 512)
    assert [(name, len(layers)) for name, layers in r1.stacks] == [("dense_layers", 3), ("layers", 58)]
    lite = model_config(DEEPSEEK_V2_LITE)
    assert lite.experts.groups == 1 and lite.experts.shared_width == 2816 and lite.latent.query_rank == 0


def test_a_model_of_images_is_not_taken_for_its_text_part():
    with pytest.raises(UsageError, match="model_type='gemma3'.*known: .*gemma3_text"):
        model_config({"model_type": "gemma3", "text_config": GEMMA_3_1B})


def test_a_key_of_other_families_means_nothing():
    assert set(model_config(DEEPSEEK_MATH_7B | {"sliding_window": 3}).layer_windows) == {0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_experts_per_tok": 200}, "num_experts_per_tok=200: expected 1 to 128"),
        ({"n_group": 7}, "4 of 7 groups of 256 experts"),
        ({"scoring_func": "softmax"}, "scoring_func='softmax': expected 'sigmoid'"),
    ],
)
def test_experts_that_cannot_be(changes, words):
    with pytest.raises(UsageError, match=words):
        model_config(DEEPSEEK_R1 | changes)
