#!/usr/bin/env python3
"""Makes tests/fixtures/models: tiny random models of every architecture, with the logits that transformers computes.

usage: make_models.py [NAME...]    needs: pip install transformers==5.24.0 torch gguf

NAME/config.json, model.safetensors   as transformers saves them
NAME/config.v4.json                   the same config with the keys of transformers 4, where they differ
NAME-inside/                          gemma3 inside a multimodal model's config, with its class's defaults left out
NAME/model.gguf                       the same weights as GGUF, for models whose converted files differ in kind
NAME/expected.json                    ids and logits at the last position, of a short and a long prompt
"""
import json
import pathlib
import sys

import gguf
import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "fixtures/models"
VOCAB = 16
COMMON = dict(vocab_size=VOCAB, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
              num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None,
              tie_word_embeddings=False)
HEADS = dict(head_dim=8)  # not hidden size / heads
YARN = dict(rope_type="yarn", rope_theta=10.0, factor=4.0, original_max_position_embeddings=16)
LONG = dict(rope_type="longrope", rope_theta=100.0, original_max_position_embeddings=16)

# name: (config class, its settings, of which some are put into the class's rope_parameters)
MODELS = {
    "llama": ("Llama", dict(HEADS, attention_bias=True, mlp_bias=True)),
    "llama-llama3": ("Llama", dict(HEADS, rope_parameters=dict(
        rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16))),
    "llama-yarn": ("Llama", dict(HEADS, rope_parameters=YARN)),
    "mistral": ("Mistral", dict(HEADS, sliding_window=8)),
    "mixtral": ("Mixtral", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=8)),
    "qwen2": ("Qwen2", dict(use_sliding_window=True, sliding_window=8, max_window_layers=1, rms_norm_eps=0.1)),
    "qwen2_moe": ("Qwen2Moe", dict(
        num_hidden_layers=3, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=6, mlp_only_layers=[0],
        shared_expert_intermediate_size=10, norm_topk_prob=False)),
    "qwen3": ("Qwen3", HEADS),
    "qwen3_moe": ("Qwen3Moe", dict(HEADS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=6,
                                   norm_topk_prob=True)),
    "phi": ("Phi", dict(qk_layernorm=True, num_key_value_heads=2, partial_rotary_factor=0.5)),
    "phi3": ("Phi3", dict(original_max_position_embeddings=16, sliding_window=24, hidden_size=16, rope_parameters=dict(
        LONG, partial_rotary_factor=0.5, short_factor=[1.0, 1.5], long_factor=[1.2, 3.0]))),
    "phimoe": ("Phimoe", dict(
        num_local_experts=4, num_experts_per_tok=2, router_jitter_noise=0.05, attention_bias=True, lm_head_bias=True,
        rope_parameters=dict(LONG, short_factor=[1.0, 1.5], long_factor=[1.2, 3.0], short_mscale=1.1,
                             long_mscale=1.3))),
    "gemma": ("Gemma", dict(HEADS, tie_word_embeddings=True)),
    "gemma2": ("Gemma2", dict(HEADS, sliding_window=8, query_pre_attn_scalar=20, attn_logit_softcapping=5.0,
                              final_logit_softcapping=3.0, tie_word_embeddings=True)),
    "gemma3": ("Gemma3Text", dict(
        head_dim=4, num_attention_heads=8, num_key_value_heads=4, num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=20, tie_word_embeddings=True,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000.0),
            sliding_attention=dict(rope_type="default", rope_theta=50.0)))),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=3, no_rope_layers=[1, 0, 1], tie_word_embeddings=True)),
    "starcoder2": ("Starcoder2", dict(sliding_window=8)),
    "granite": ("Granite", dict(embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.2,
                                logits_scaling=2.0)),
    "granitemoe": ("GraniteMoe", dict(num_local_experts=4, num_experts_per_tok=2, logits_scaling=2.0)),
    "granitemoeshared": ("GraniteMoeShared", dict(num_local_experts=4, num_experts_per_tok=2,
                                                  shared_intermediate_size=10)),
    "glm4": ("Glm4", dict(HEADS, attention_bias=True)),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", dict(num_hidden_layers=3, sliding_window=8, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"], rope_parameters=dict(
            full_attention=YARN, sliding_attention=dict(rope_type="default", rope_theta=10.0)))),
    "cohere": ("Cohere", dict(use_qk_norm=True, logit_scale=0.25, tie_word_embeddings=True)),
    "cohere2": ("Cohere2", dict(num_hidden_layers=3, sliding_window=8, logit_scale=0.25, tie_word_embeddings=True,
                                layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "deepseek_v2": ("DeepseekV2", dict(
        num_key_value_heads=2, q_lora_rank=6, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=8, v_head_dim=3,
        head_dim=8, first_k_dense_replace=1, n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3,
        moe_intermediate_size=6, n_group=4, topk_group=2, topk_method="group_limited_greedy",
        routed_scaling_factor=1.5, rms_norm_eps=1e-3,
        rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=0.7))),
    "deepseek_v3": ("DeepseekV3", dict(
        num_key_value_heads=2, q_lora_rank=None, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=8, v_head_dim=3,
        first_k_dense_replace=1, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3,
        moe_intermediate_size=6, n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5,
        num_mtp_layers=0)),
    "gpt_oss": ("GptOss", dict(
        HEADS, sliding_window=8, num_local_experts=4, num_experts_per_tok=2, rope_parameters=dict(YARN, truncate=False))),
}


def make_model(name):
    prefix, settings = MODELS[name]
    config = getattr(transformers, prefix + "Config")(**{**COMMON, **settings})
    config._attn_implementation = config._experts_implementation = "eager"
    torch.manual_seed(len(name) + sum(map(ord, name)))
    with torch.device("cpu"):
        model = getattr(transformers, prefix.removesuffix("Text") + "ForCausalLM")(config).float().eval()
    for key, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if key.endswith("inv_freq") or "embed_scale" in key:
            continue
        around = 1.0 if "norm" in key and key.endswith("weight") and "Gemma" not in prefix else 0.0
        tensor.data = around + torch.randn_like(tensor) * (0.3 if tensor.dim() == 1 else tensor.shape[-1] ** -0.5)
    model.tie_weights()
    return model


def ids_of(length):
    return [(7 * i * i + 3 * i + 1) % VOCAB for i in range(length)]


def expected(model):
    prompts = []
    with torch.no_grad():
        for ids in (ids_of(6), ids_of(40)):
            logits = model(torch.tensor([ids])).logits[0, -1]
            prompts.append({"ids": ids, "logits": [round(float(x), 6) for x in logits]})
    return {"prompts": prompts}


def as_version_4(config):
    """The keys that transformers 4 wrote."""
    old = dict(config)
    rope = old.pop("rope_parameters", None)
    old["torch_dtype"] = old.pop("dtype", "float32")
    if rope is None:
        return old
    if "full_attention" in rope:
        local, rope = rope["sliding_attention"], rope["full_attention"]
        if local["rope_theta"] != rope["rope_theta"]:
            old["rope_local_base_freq"] = local["rope_theta"]
    rope = dict(rope)
    old["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kind = rope.pop("rope_type")
    old["rope_scaling"] = dict(rope, type="su" if kind == "longrope" else kind) if kind != "default" else None
    return old


def interleave(weight, heads):
    """The order of rows in which converters of the llama family store q and k."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path, arch, numbers, tensors):
    writer = gguf.GGUFWriter(path, arch)
    for key, value in numbers.items():
        key = f"{arch}.{key}"
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_float32(key, value)
    for key, tensor in tensors.items():
        writer.add_tensor(key, numpy.ascontiguousarray(tensor, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# What converters call a layer's modules: by their ends, for all architectures but those that `special` names.
USUAL = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
         "mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp",
         "block_sparse_moe.router.layer": "ffn_gate_inp", "self_attn.sinks": "attn_sinks",
         "block_sparse_moe.output_linear": "ffn_down_exps", "shared_mlp.output_linear": "ffn_down_shexp",
         "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
         "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
         "self_attn.kv_b_proj": "attn_kv_b", "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
         "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
         "mlp.shared_experts.down_proj": "ffn_down_shexp"}
GLM_NORMS = {"post_self_attn_layernorm": "post_attention_norm", "post_mlp_layernorm": "post_ffw_norm"}
OLMO_NORMS = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
EXPERTS = {"gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up", "down_proj": "down", "w2": "down"}

# arch, keys, special names, whether q and k are interleaved
def gguf_plan(name, c):
    rope = {"rope.freq_base": float((c["rope_parameters"].get("full_attention") or c["rope_parameters"])["rope_theta"])}
    yarn = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
    if name == "phi3":
        return "phi3", {"rope.dimension_count": 4, "attention.sliding_window": 24, **rope,
                        "rope.scaling.original_context_length": 16,
                        "rope.scaling.attn_factor": (1 + numpy.log(8.0) / numpy.log(16.0)) ** 0.5}, {}, False
    if name == "glm4":
        return "glm4", {"attention.key_length": 8, "attention.value_length": 8, "rope.dimension_count": 4, **rope
                        }, GLM_NORMS, False
    if name == "granitemoeshared":
        return "granitemoe", {"expert_count": 4, "expert_used_count": 2, "expert_shared_feed_forward_length": 10,
                              "attention.scale": 1.0, "embedding_scale": 1.0, "residual_scale": 1.0,
                              "logit_scale": 1.0, **rope}, {}, True
    if name == "olmo3":
        return "olmo2", {"attention.sliding_window": 8, "attention.sliding_window_pattern": [True, False, True],
                         **rope, **yarn}, OLMO_NORMS, False
    if name == "cohere2":
        return "cohere2", {"attention.sliding_window": 8, "attention.sliding_window_pattern": [True, False, True],
                           "logit_scale": 0.25, **rope}, {}, False
    if name == "gpt_oss":
        return "gpt-oss", {"attention.key_length": 8, "attention.value_length": 8, "attention.sliding_window": 8,
                           "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 12, **rope, **yarn
                           }, {"post_attention_layernorm": "post_attention_norm"}, False
    deepseek = {"attention.kv_lora_rank": 6, "rope.dimension_count": 8, "expert_count": 8, "expert_used_count": 3,
                "expert_feed_forward_length": 6, "expert_group_count": 4, "expert_group_used_count": 2,
                "leading_dense_block_count": 1, **rope}
    if name == "deepseek_v2":  # as older converters wrote it
        return "deepseek2", {**deepseek, "attention.q_lora_rank": 6, "attention.key_length": 12,
                             "attention.value_length": 3, "expert_shared_count": 2, "expert_weights_scale": 1.5, **yarn,
                             "rope.scaling.yarn_log_multiplier": 0.07}, {}, False
    if name == "deepseek_v3":
        return "deepseek2", {**deepseek, "attention.head_count_kv": 1, "attention.key_length": 14,
                             "attention.value_length": 6, "attention.key_length_mla": 12,
                             "attention.value_length_mla": 3, "expert_shared_count": 1, "expert_weights_scale": 2.5,
                             "expert_weights_norm": True, "expert_gating_func": 2}, {}, False
    return None


def gguf_name(key, special):
    """(blk.N.x, the rest) or the name of a tensor outside the layers; the expert's number is left out."""
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "model.norm.bias": "output_norm.bias", "lm_head.weight": "output.weight", "lm_head.bias": "output.bias"}
    if key in top:
        return top[key]
    _, _, layer, module = key.split(".", 3)
    for suffix in ("", ".weight", ".bias"):
        stem = module.removesuffix(suffix) if suffix else module
        found = special.get(stem) or USUAL.get(stem)
        if found:
            return f"blk.{layer}.{found}{suffix or ('.weight' if found.endswith(('sinks', 'exps')) else '')}"
    return None


def to_gguf(name, folder):
    config = json.loads((folder / "config.json").read_text())
    plan = gguf_plan(name, config)
    if plan is None:
        return
    arch, numbers, special, permuted = plan
    numbers = {"block_count": config["num_hidden_layers"], "context_length": 128,
               "embedding_length": config["hidden_size"], "feed_forward_length": 12, "attention.head_count": 2,
               "attention.head_count_kv": config["num_key_value_heads"],
               "attention.layer_norm_rms_epsilon": config.get("rms_norm_eps", 1e-5),
               "attention.layer_norm_epsilon": config.get("layer_norm_eps", 1e-5), **numbers}
    out, experts = {}, {}
    for key, tensor in load_file(folder / "model.safetensors").items():
        weight = tensor.numpy()
        if permuted and key.endswith(("q_proj.weight", "k_proj.weight")):
            weight = interleave(weight, 2 if "q_proj" in key else config["num_key_value_heads"])
        layer = key.split(".")[2] if "layers." in key else None
        if ".experts." in key and key.split(".experts.")[1][0].isdigit():
            number, part = key.split(".experts.")[1].split(".")[:2]
            experts.setdefault((layer, EXPERTS[part]), {})[int(number)] = weight
        elif ".experts." in key:  # gpt_oss
            part = key.split(".experts.")[1]
            suffix = "bias" if part.endswith("_bias") else "weight"
            rows = weight if suffix == "bias" else weight.swapaxes(1, 2)
            if part.startswith("gate_up"):
                out[f"blk.{layer}.ffn_gate_exps.{suffix}"] = rows[:, 0::2]
                out[f"blk.{layer}.ffn_up_exps.{suffix}"] = rows[:, 1::2]
            else:
                out[f"blk.{layer}.ffn_down_exps.{suffix}"] = rows
        elif key.endswith("block_sparse_moe.input_linear.weight"):
            half = weight.shape[1] // 2
            out[f"blk.{layer}.ffn_gate_exps.weight"], out[f"blk.{layer}.ffn_up_exps.weight"] = weight[:, :half], weight[:, half:]
        elif key.endswith("shared_mlp.input_linear.weight"):
            half = weight.shape[0] // 2
            out[f"blk.{layer}.ffn_gate_shexp.weight"], out[f"blk.{layer}.ffn_up_shexp.weight"] = weight[:half], weight[half:]
        elif name == "deepseek_v3" and key.endswith("kv_b_proj.weight"):
            heads = weight.reshape(2, 4 + 3, 6)
            out[f"blk.{layer}.attn_k_b.weight"] = heads[:, :4].swapaxes(1, 2)
            out[f"blk.{layer}.attn_v_b.weight"] = heads[:, 4:]
        else:
            out[gguf_name(key, special)] = weight
    for (layer, part), rows in experts.items():
        out[f"blk.{layer}.ffn_{part}_exps.weight"] = numpy.stack([rows[e] for e in sorted(rows)])
    if name == "phi3":
        out["rope_factors_short.weight"], out["rope_factors_long.weight"] = [1.0, 1.5], [1.2, 3.0]
    write_gguf(folder / "model.gguf", arch, numbers, out)


def wrap(folder, config):
    """The same model inside a multimodal one: a folder NAME-inside."""
    outside = folder.with_name(folder.name + "-inside")
    outside.mkdir(exist_ok=True)
    tensors = {f"language_model.{key}": tensor for key, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, outside / "model.safetensors")
    for key in ("num_attention_heads", "num_key_value_heads"):
        config.pop(key)
    (outside / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": config}) + "\n")
    (outside / "expected.json").write_text((folder / "expected.json").read_text())


def main():
    for name in sys.argv[1:] or MODELS:
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = make_model(name)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "expected.json").write_text(json.dumps(expected(model)) + "\n")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config) + "\n")
        if "rope_parameters" in config:
            (folder / "config.v4.json").write_text(json.dumps(as_version_4(config)) + "\n")
        to_gguf(name, folder)
        if name == "gemma3":
            wrap(folder, as_version_4(config))


main()
