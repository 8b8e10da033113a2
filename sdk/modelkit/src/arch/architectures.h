#pragma once
/// One function for each family; registry.cpp says which model is read by which.
#include "spnl/modelkit/model_spec.h"

namespace spnl::modelkit {

class ModelReader;
class ReadObserver;

/// As the function of model_spec.h; `observer`, when there is one, is told what is read.
ModelSpec model_spec_from_folder(const TensorSource& tensors, const Config& config,
                                 ReadObserver* observer);
/// What GGUF files call the architecture of a folder, which must be a known one.
std::string gguf_architecture(const Config& config);

ModelSpec llama_spec(const ModelReader& in);
ModelSpec qwen2_spec(const ModelReader& in);
ModelSpec qwen2_moe_spec(const ModelReader& in);
ModelSpec qwen3_spec(const ModelReader& in);
ModelSpec qwen3_moe_spec(const ModelReader& in);
ModelSpec phi_spec(const ModelReader& in);
ModelSpec phi3_spec(const ModelReader& in);
ModelSpec phimoe_spec(const ModelReader& in);
ModelSpec gemma_spec(const ModelReader& in);
ModelSpec gemma2_spec(const ModelReader& in);
ModelSpec gemma3_spec(const ModelReader& in);
ModelSpec smollm3_spec(const ModelReader& in);
ModelSpec starcoder2_spec(const ModelReader& in);
ModelSpec granite_spec(const ModelReader& in);
ModelSpec glm4_spec(const ModelReader& in);
ModelSpec olmo2_spec(const ModelReader& in);
ModelSpec cohere_spec(const ModelReader& in);
ModelSpec cohere2_spec(const ModelReader& in);
ModelSpec deepseek_spec(const ModelReader& in);
ModelSpec gpt_oss_spec(const ModelReader& in);

}  // namespace spnl::modelkit
