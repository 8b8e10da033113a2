#include "backends/plugin.h"

#include "backends/abi_check.h"
#include "backends/library.h"
#include "hub/printable.h"
#include "spnl/backend.hpp"
#include "spnl/error.h"

namespace spnl::backends {

namespace {

constexpr uint32_t kMaxEos = 1024;

ModelInfo info_of(const spnl_model_info& from) {
  ModelInfo info;
  info.architecture = text_of(from.architecture);
  info.device = text_of(from.device);
  info.dtype = text_of(from.dtype);
  if (from.eos != nullptr && from.n_eos <= kMaxEos)
    info.eos.assign(from.eos, from.eos + from.n_eos);
  info.capabilities = capability_words(from.caps);
  info.context = from.context;
  info.vocab = from.vocab;
  info.embedding_dim = from.embedding_dim;
  info.cache_block_tokens = from.cache_block_tokens;
  return info;
}

}  // namespace

Plugin::Plugin(const Manifest& manifest, HostContext context)
    : id_(manifest.id),
      table_(open_library(manifest)),
      host_(context, manifest.id),
      options_(context.options) {
  spnl_error error = empty_error();
  spnl_status status = table_->open(host_.table(), &instance_, &error);
  if (status == SPNL_OK && instance_ == nullptr) status = SPNL_INTERNAL;
  if (status != SPNL_OK)
    throw Error(ErrorCode::kNotLoadable,
                "backend " + id_ + " cannot be opened: " + failure_text(status, error),
                hub::printable(manifest.library.string()));
  const auto* score =
      static_cast<const spnl_score_v1*>(table_->extension(instance_, SPNL_EXT_SCORE));
  if (score != nullptr && score->struct_size >= kMinScore && score->score != nullptr)
    score_ = score;
}

Plugin::~Plugin() {
  table_->close(instance_);
  if (host_.allocated_bytes() > 0 && options_.log)
    options_.log(
        LogLevel::kWarning, id_,
        std::to_string(host_.allocated_bytes()) + " bytes of host memory were not given back");
}

PluginModel Plugin::load(const std::string& model, const std::string& full_name,
                         const LoadOptions& options, Operation& operation) {
  std::vector<spnl_kv> pairs;
  for (const auto& [key, value] : options.options)
    pairs.push_back({abi::str(key), abi::str(value)});
  spnl_load request{};
  request.struct_size = sizeof request;
  request.n_options = static_cast<uint32_t>(pairs.size());
  request.options = pairs.data();
  request.op = operation.number;
  request.model = abi::str(model);
  request.device = abi::str(options.device);
  if (const auto dtype = options.options.find("dtype"); dtype != options.options.end())
    request.dtype = abi::str(dtype->second);
  request.max_context = options.max_context;
  request.memory_limit = options.memory_limit;

  PluginModel out;
  out.table = table_;
  out.score = score_;
  out.name = full_name;
  spnl_error error = empty_error();
  spnl_status status = table_->model_load(instance_, &request, &out.model, &error);
  if (status == SPNL_OK && out.model == nullptr) status = SPNL_INTERNAL;
  if (status != SPNL_OK) fail_load(status, error, full_name, operation);

  spnl_model_info info{};
  info.struct_size = sizeof info;
  status = table_->model_info(out.model, &info, &error);
  if (status != SPNL_OK || operation.cancelled) {
    table_->model_unload(out.model);
    fail_load(status == SPNL_OK ? SPNL_CANCELLED : status, error, full_name, operation);
  }
  out.caps = info.caps;
  out.info = info_of(info);
  return out;
}

void Plugin::fail_load(spnl_status status, const spnl_error& error, const std::string& full_name,
                       Operation& operation) const {
  const std::string name = hub::printable(full_name);
  if (operation.cancelled) throw Error(ErrorCode::kInterrupted, "loading was stopped", name);
  const std::string text = failure_text(status, error);
  if (status == SPNL_NOT_FOUND || status == SPNL_INVALID) {
    // When the plugin passes on what resolve() told it, the original says it in full.
    const std::lock_guard lock(operation.mutex);
    const auto& original = operation.resolve_error;
    if (original &&
        std::string_view(original->what()).starts_with(std::string_view(text).substr(0, 60)))
      throw Error(ErrorCode::kNotFound, original->message(), original->where(), original->hint());
  }
  throw Error(status == SPNL_NOT_FOUND ? ErrorCode::kNotFound : ErrorCode::kNotLoadable,
              "backend " + id_ + " cannot load the model: " + text, name);
}

}  // namespace spnl::backends
