// Models in Hugging Face's layout to GGUF.
#include <algorithm>

#include "arch/gguf_form.h"
#include "chat_template_source.h"
#include "quantize_tensors.h"
#include "spec_difference.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/safetensors.h"
#include "tokenizer/gguf_vocabulary.h"

namespace spnl::modelkit {
namespace {

/// The tensor as quantized_types() judges it: vectors and routers are held in F32, as other
/// programs want them.
Tensor description_of(const GgufTensor& tensor) {
  using enum TensorType;
  Tensor out{};
  out.name = tensor.name;
  const bool is_plain = tensor.weight.type() == kF16 || tensor.weight.type() == kBF16;
  const bool is_small =
      tensor.dims.size() < 2 || tensor.name.find("ffn_gate_inp") != std::string::npos;
  out.type = is_plain && !is_small ? tensor.weight.type() : kF32;
  out.n_dims = static_cast<uint32_t>(tensor.dims.size());
  out.dims = {1, 1, 1, 1};
  std::copy(tensor.dims.begin(), tensor.dims.end(), out.dims.begin());
  out.bytes = tensor_bytes(out.type, out.elements());
  return out;
}

MixFacts facts_of(const ModelSpec& spec) {
  const LayerSpec& layer = spec.layers.front();
  MixFacts facts;
  facts.layers = static_cast<uint32_t>(spec.layers.size());
  facts.heads = layer.attention.heads;
  facts.kv_heads = layer.attention.kv_heads;
  for (const LayerSpec& each : spec.layers)
    facts.experts = std::max(facts.experts, static_cast<uint32_t>(each.experts.experts.size()));
  return facts;
}

void add_value(const std::string& key, const GgufForm::Value& value, GgufWriter& writer) {
  if (const auto* list = std::get_if<std::vector<int32_t>>(&value))
    writer.add_list(key, *list);
  else if (const auto* text = std::get_if<std::string>(&value))
    writer.add_value(key, std::string_view(*text));
  else if (const auto* flag = std::get_if<bool>(&value))
    writer.add_value(key, *flag);
  else if (const auto* whole = std::get_if<uint32_t>(&value))
    writer.add_value(key, *whole);
  else
    writer.add_value(key, std::get<float>(value));
}

void add_model(const GgufForm& form, const std::string& name, GgufWriter& writer) {
  writer.add_value("general.architecture", std::string_view(form.architecture));
  writer.add_value("general.type", std::string_view("model"));
  writer.add_value("general.name", std::string_view(name));
  for (const auto& [key, value] : form.values)
    add_value(form.architecture + "." + key, value, writer);
}

void add_vocabulary(const GgufVocabulary& v, GgufWriter& writer) {
  const std::string ggml = "tokenizer.ggml.";
  writer.add_value(ggml + "model", std::string_view(v.model));
  if (!v.pre.empty()) writer.add_value(ggml + "pre", std::string_view(v.pre));
  writer.add_list(ggml + "tokens", v.tokens);
  if (!v.scores.empty()) writer.add_list(ggml + "scores", v.scores);
  writer.add_list(ggml + "token_type", v.types);
  if (!v.merges.empty()) writer.add_list(ggml + "merges", v.merges);
  const std::pair<const char*, std::optional<uint32_t>> ids[] = {{"bos_token_id", v.bos},
                                                                 {"eos_token_id", v.eos},
                                                                 {"eot_token_id", v.eot},
                                                                 {"unknown_token_id", v.unknown}};
  for (const auto& [key, id] : ids)
    if (id) writer.add_value(ggml + key, *id);
  writer.add_value(ggml + "add_bos_token", v.add_bos);
  writer.add_value(ggml + "add_eos_token", v.add_eos);
  if (v.model == "llama") writer.add_value(ggml + "add_space_prefix", v.add_space_prefix);
}

/// For people: the folder's name, or in the Hugging Face cache (models--ORG--NAME/snapshots/HASH)
/// that of the repository.
std::string name_of(const std::filesystem::path& folder) {
  std::filesystem::path named = std::filesystem::absolute(folder).lexically_normal();
  if (!named.has_filename()) named = named.parent_path();
  if (named.parent_path().filename() == "snapshots") named = named.parent_path().parent_path();
  const std::string name = named.filename().string();
  const size_t dashes = name.rfind("--");
  return dashes == name.npos ? name : name.substr(dashes + 2);
}

/// The file must mean the same model as the folder; its weights are still zeros.
void check(const std::filesystem::path& preview, const GgufForm& form,
           const std::filesystem::path& folder) {
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::kUnsupported, folder.string() + ": a model of the architecture '" +
                                             form.spec.architecture +
                                             "' that cannot be written as GGUF so far: " + why);
  };
  std::string differs;
  try {
    differs = difference(form.spec, model_spec_from_gguf(*GgufFile::open(preview)));
  } catch (const Error& error) {
    const std::string_view what = error.what();
    fail("a GGUF of it would be refused" + std::string(what.substr(what.find(": "))));
  }
  if (!differs.empty()) fail("in the folder and in a GGUF " + differs);
}

}  // namespace

bool quantize_folder(const std::filesystem::path& folder, const std::filesystem::path& path,
                     const QuantizeOptions& options) {
  const auto source = SafetensorsFolder::open(folder);
  GgufForm form = gguf_form_of_folder(*source, Config::read(folder / "config.json"));
  const GgufVocabulary vocabulary = gguf_vocabulary_of_folder(folder, form.spec.vocab_size);
  std::vector<Tensor> tensors;
  std::vector<Weight> weights;
  for (const GgufTensor& tensor : form.tensors) {
    tensors.push_back(description_of(tensor));
    weights.push_back(tensor.weight);
  }
  const auto types = quantized_types(options.mix, facts_of(form.spec), tensors);

  GgufWriter writer(path);
  add_model(form, name_of(folder), writer);
  add_kind(options.mix, writer);
  add_vocabulary(vocabulary, writer);
  if (const auto text = chat_template_text(folder))
    writer.add_value("tokenizer.chat_template", std::string_view(*text));
  for (const GgufTensor& factors : form.rope_factors)
    writer.add_tensor(factors.name, TensorType::kF32, factors.dims);
  for (size_t i = 0; i < tensors.size(); ++i)
    writer.add_tensor(tensors[i].name, types[i], form.tensors[i].dims);
  for (const GgufTensor& factors : form.rope_factors) {
    std::vector<std::byte> bytes(factors.weight.bytes());
    factors.weight.read_blocks(0, 1, bytes.data());
    writer.write(bytes);
  }
  check(writer.preview(), form, folder);
  if (!write_tensors(tensors, weights, types, options, writer)) return false;
  writer.finish();
  return true;
}

}  // namespace spnl::modelkit
