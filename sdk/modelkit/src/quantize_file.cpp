#include "spnl/modelkit/quantize_file.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "gguf_part.h"
#include "quantize_tensors.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/gguf_writer.h"
#include "spnl/modelkit/quantize.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {
namespace {

constexpr uint64_t kChunkElements = 1 << 18;  // a megabyte of floats

/// One tensor, row chunk by row chunk: threads take chunks as they come and write them in their
/// order, so that no more chunks are in memory than there are threads.
class TensorJob {
 public:
  TensorJob(std::string_view name, const Weight& weight, TensorType type,
            const std::stop_token& stop, GgufWriter& writer)
      : name_(name),
        weight_(weight),
        type_(type),
        stop_(stop),
        writer_(writer),
        chunk_rows_(std::max<uint64_t>(1, kChunkElements / weight.columns())) {}

  void run(unsigned threads) {
    const uint64_t chunks = (weight_.rows() + chunk_rows_ - 1) / chunk_rows_;
    {
      std::vector<std::jthread> team;
      for (uint64_t i = 1; i < std::min<uint64_t>(threads, chunks); ++i)
        team.emplace_back([this] { work(); });
      work();
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void work() {
    try {
      std::vector<float> floats;
      std::vector<std::byte> blocks;
      for (;;) {
        uint64_t first = 0;
        {
          const std::lock_guard lock(mutex_);
          if (failure_ || stop_.stop_requested() || next_ >= weight_.rows()) break;
          first = next_;
          next_ += chunk_rows_;
        }
        convert(first, std::min(chunk_rows_, weight_.rows() - first), floats, blocks);
        std::unique_lock lock(mutex_);
        turn_.wait(lock, [&] { return failure_ || written_ == first || stop_.stop_requested(); });
        if (failure_ || written_ != first) break;
        writer_.write(blocks);
        written_ = first + chunk_rows_;
        turn_.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    turn_.notify_all();
  }

  void convert(uint64_t first, uint64_t count, std::vector<float>& floats,
               std::vector<std::byte>& blocks) {
    const uint64_t columns = weight_.columns(), out_bytes = tensor_bytes(type_, columns);
    blocks.resize(count * out_bytes);
    if (type_ == weight_.type()) {
      weight_.read_blocks(first, count, blocks.data());
      return;
    }
    floats.resize(count * columns);
    weight_.read_floats(first, count, floats.data());
    const auto odd =
        std::find_if_not(floats.begin(), floats.end(), [](float x) { return std::isfinite(x); });
    if (odd != floats.end())
      throw Error(
          ErrorCode::kCorrupt,
          "tensor '" + printable(name_) + "' holds a value that is no finite number, in row " +
              std::to_string(first + static_cast<uint64_t>(odd - floats.begin()) / columns));
    for (uint64_t row = 0; row < count; ++row)
      quantize_row(type_, floats.data() + row * columns, columns, blocks.data() + row * out_bytes);
  }

  const std::string_view name_;
  const Weight& weight_;
  const TensorType type_;
  const std::stop_token& stop_;
  GgufWriter& writer_;
  const uint64_t chunk_rows_;

  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ = 0, written_ = 0;  // rows
  std::exception_ptr failure_;
};

/// A number, or the largest of a list of one per layer; 0 when absent.
uint32_t largest(const GgufFile& model, const std::string& key) {
  const GgufFile::Value* value = model.find_value(key);
  uint64_t most = 0;
  if (value != nullptr && std::holds_alternative<std::vector<int64_t>>(*value)) {
    for (const int64_t number : std::get<std::vector<int64_t>>(*value))
      most = std::max(most, static_cast<uint64_t>(std::max<int64_t>(number, 0)));
  } else {
    most = model.get_uint(key).value_or(0);
  }
  return static_cast<uint32_t>(std::min<uint64_t>(most, UINT32_MAX));
}

MixFacts facts_of(const GgufFile& model) {
  const std::string arch(model.get_string("general.architecture").value_or(""));
  MixFacts facts;
  facts.layers = largest(model, arch + ".block_count");
  facts.heads = largest(model, arch + ".attention.head_count");
  facts.kv_heads = largest(model, arch + ".attention.head_count_kv");
  facts.experts = largest(model, arch + ".expert_count");
  return facts;
}

void copy_metadata(const GgufFile& model, GgufWriter& writer) {
  for (const GgufFile::RawValue& value : model.raw_values()) {
    // What is about the old file, not the model.
    const bool old = value.key == "general.file_type" ||
                     value.key == "general.quantization_version" ||
                     value.key == "general.alignment" || value.key.starts_with("split.") ||
                     value.key.starts_with("quantize.");
    if (!old) writer.copy_value(value);
  }
}

}  // namespace

bool write_tensors(std::span<const Tensor> tensors, std::span<const Weight> weights,
                   std::span<const TensorType> types, const QuantizeOptions& options,
                   GgufWriter& writer) {
  QuantizeProgress progress{};
  progress.tensors_total = tensors.size();
  for (const Weight& weight : weights) progress.elements_total += weight.elements();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Weight& weight = weights[i];
    if (options.stop.stop_requested()) return false;
    TensorJob(tensors[i].name, weight, types[i], options.stop, writer).run(options.threads);
    if (options.stop.stop_requested()) return false;
    if (weight.data() != nullptr) forget_pages({weight.data(), weight.bytes()});
    progress.name = tensors[i].name;
    progress.from = weight.type();
    progress.to = types[i];
    progress.bytes = tensor_bytes(types[i], weight.elements());
    progress.elements += weight.elements();
    ++progress.tensors;
    if (options.progress) options.progress(progress);
  }
  return true;
}

void add_kind(const QuantMix& mix, GgufWriter& writer) {
  writer.add_value("general.quantization_version", uint32_t{2});
  writer.add_value("general.file_type", mix.file_type);
}

bool quantize_gguf(const GgufFile& model, const std::filesystem::path& path,
                   const QuantizeOptions& options) {
  const std::vector<Tensor>& tensors = model.tensors();
  const std::vector<TensorType> types = quantized_types(options.mix, facts_of(model), tensors);
  std::vector<Weight> weights;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto info = tensor_type_info(tensors[i].type);
    if (types[i] != tensors[i].type && !(info && info->can_dequantize))
      throw Error(ErrorCode::kUnsupported,
                  model.path().string() + ": tensor '" + printable(tensors[i].name) +
                      "' cannot be decoded from its type " + std::string(info ? info->name : "?"));
    weights.emplace_back(tensors[i]);
  }
  if (model.raw_values().empty())
    throw Error(ErrorCode::kUnsupported,
                model.path().string() + ": a file from before GGUF; convert it to GGUF first");
  GgufWriter writer(path);
  copy_metadata(model, writer);
  add_kind(options.mix, writer);
  for (size_t i = 0; i < tensors.size(); ++i)
    writer.add_tensor(tensors[i].name, types[i], {tensors[i].dims.data(), tensors[i].n_dims});
  if (!write_tensors(tensors, weights, types, options, writer)) return false;
  writer.finish();
  return true;
}

}  // namespace spnl::modelkit
